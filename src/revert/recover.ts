/**
 * Which source tensors an output still holds, and how to get them out: expressions read backwards. Knowing the value of an
 * expression gives its operand, or a part of it; parts from several experts add up.
 */
import type { Checkpoint, SourceTensor } from '../checkpoint/types.ts';
import { grouped } from '../common/errors.ts';
import { canonicalJson } from '../common/json.ts';
import { Evaluator, ResolvedLog, SourceSet, concatOf, reshapeOf, sliceOf, takeOf } from '../evaluate/index.ts';
import type { Value } from '../evaluate/index.ts';
import { isFloatDtype } from '../evaluate/codec.ts';
import { MapValue } from '../evaluate/computed.ts';
import type { Expr } from '../plan/expr.ts';
import { inferDtype, inferShape } from '../plan/infer.ts';
import type { SourceLookup } from '../plan/infer.ts';
import { planSourceLookup } from '../plan/json.ts';
import { complementOf } from '../random/index.ts';
import { isPowerOfTwo } from '../verify/claims.ts';
import { sourcesRead } from '../write/contents.ts';
import type { Content, PlanContents } from '../write/contents.ts';
import type { Manifest } from '../write/manifest.ts';
import { largest } from '../common/lists.ts';

/** `value` holds the entries `at` of a tensor along `dim`, in that order. */
interface Piece {
  readonly dim: number;
  readonly at: Int32Array;
  readonly value: Value;
}

interface Node {
  readonly expr: Expr;
  readonly depth: number;
  readonly shape: readonly number[];
  whole?: Value;
  readonly pieces: Piece[];
  readonly reasons: Set<string>;
}

export interface Recovered {
  /** Readers of the tensors that can be had, by name. */
  readonly values: ReadonlyMap<string, Value>;
  /** Why the others cannot, by name. */
  readonly reasons: ReadonlyMap<string, string>;
  /** Close when done. */
  readonly sources: SourceSet;
}

/** Mantissa and exponent bits: a cast rounds unless the target has at least as many of both. */
const FORMAT: Readonly<Partial<Record<string, readonly [number, number]>>> = {
  F64: [52, 11],
  F32: [23, 8],
  BF16: [7, 8],
  F16: [10, 5],
};

export function widens(from: string, to: string): boolean {
  const a = FORMAT[from];
  const b = FORMAT[to];
  return a !== undefined && b !== undefined && b[0] >= a[0] && b[1] >= a[1];
}

function depthOf(expr: Expr): number {
  switch (expr.op) {
    case 'source':
    case 'random':
    case 'orthogonal':
    case 'prompt-gate':
    case 'fill':
      return 0;
    case 'concat':
    case 'average':
      return 1 + largest(expr.of.map(depthOf), 0);
    default:
      return 1 + depthOf(expr.of);
  }
}

function range(begin: number, end: number): Int32Array {
  return Int32Array.from({ length: end - begin }, (_, i) => begin + i);
}

/** The output's contents as tensors of a checkpoint, so that values can be read from them. */
function outputAsCheckpoint(folder: string, layout: PlanContents, lookup: SourceLookup): Checkpoint {
  const tensors = new Map<string, SourceTensor>();
  for (const content of layout.contents) {
    const [target] = content.targets;
    const file = target === undefined ? undefined : layout.files[target.file]?.file.name;
    if (target === undefined || file === undefined) continue;
    const name = contentName(content);
    tensors.set(name, {
      name,
      dtype: inferDtype(content.expr, lookup),
      shape: inferShape(content.expr, lookup),
      file,
      begin: target.offset,
      bytes: content.bytes,
    });
  }
  return {
    path: folder,
    root: folder,
    format: 'hf',
    config: null,
    tensors,
    aliases: new Map(),
    gguf: null,
    files: layout.files.map(({ file, bytes }) => ({
      name: file.name,
      path: `${folder}/${file.name}`,
      bytes,
      state: 'ok',
    })),
    index: null,
    sidecars: [],
    problems: [],
    planOnly: false,
  };
}

function contentName(content: Content): string {
  return `content ${String(content.id)}`;
}

class Solver {
  private readonly nodes = new Map<string, Node>();
  private readonly lookup: SourceLookup;

  constructor(
    private readonly evaluator: Evaluator,
    manifest: Manifest,
  ) {
    this.lookup = planSourceLookup(manifest.plan.sources);
  }

  private node(expr: Expr): Node {
    const key = canonicalJson(expr);
    let node = this.nodes.get(key);
    if (node === undefined) {
      node = { expr, depth: depthOf(expr), shape: inferShape(expr, this.lookup), pieces: [], reasons: new Set() };
      this.nodes.set(key, node);
    }
    return node;
  }

  /** The whole value of an expression is known: so is, mostly, that of its operands. */
  learn(expr: Expr, value: Value): void {
    const node = this.node(expr);
    if (node.whole !== undefined) return;
    node.whole = value;
    switch (expr.op) {
      case 'slice':
        this.learnPiece(expr.of, { dim: expr.dim, at: range(expr.begin, expr.end), value });
        return;
      case 'concat': {
        let offset = 0;
        for (const part of expr.of) {
          const length = this.node(part).shape[expr.dim] ?? 0;
          this.learn(part, sliceOf(value, expr.dim, offset, offset + length));
          offset += length;
        }
        return;
      }
      case 'reshape':
        this.learn(expr.of, reshapeOf(value, this.node(expr.of).shape));
        return;
      case 'take': {
        const size = this.node(expr.of).shape[expr.dim] ?? 0;
        this.learnPiece(expr.of, { dim: expr.dim, at: this.evaluator.indices(expr.index, size), value });
        return;
      }
      case 'redraw': {
        const size = node.shape[expr.dim] ?? 0;
        const kept = complementOf(this.evaluator.indices(expr.index, size), size);
        this.node(expr.of).reasons.add('values were re-drawn');
        this.learnPiece(expr.of, { dim: expr.dim, at: kept, value: takeOf(value, expr.dim, kept) });
        return;
      }
      default: {
        const [operand, inverse] = this.invert(expr);
        if (inverse !== null && operand !== null) this.learn(operand, inverse(value));
      }
    }
  }

  /** Element-wise operations backwards: the operand and the way to it, or the reason why there is none. */
  private invert(expr: Expr): readonly [Expr | null, ((value: Value) => Value) | null] {
    const blocked = (operand: Expr, reason: string): readonly [Expr, null] => {
      this.node(operand).reasons.add(reason);
      return [operand, null];
    };
    switch (expr.op) {
      case 'scale': {
        if (!isPowerOfTwo(expr.by)) return blocked(expr.of, `it was scaled by ${String(expr.by)}, which rounds`);
        const dtype = inferDtype(expr.of, this.lookup);
        if (!isFloatDtype(dtype)) return blocked(expr.of, `${dtype} cannot be scaled back`);
        return [expr.of, (value) => new MapValue(value, dtype, 'scale', 1 / expr.by)];
      }
      case 'cast': {
        const dtype = inferDtype(expr.of, this.lookup);
        if (!isFloatDtype(dtype) || !widens(dtype, expr.dtype)) {
          return blocked(expr.of, `it was rounded from ${dtype} to ${expr.dtype}`);
        }
        return [expr.of, (value) => new MapValue(value, dtype, 'cast', 0)];
      }
      case 'offset':
        return blocked(expr.of, `${String(expr.by)} was added, which rounds`);
      case 'noise':
        return blocked(expr.of, 'noise was added');
      case 'svd-noise':
        return blocked(expr.of, 'noise was added outside its top singular directions');
      case 'dequantise':
        return blocked(expr.of, 'it was dequantised; the quantised blocks do not follow from the values');
      case 'average':
        for (const part of expr.of) this.node(part).reasons.add('it was averaged with other parents');
        return [null, null];
      default:
        return [null, null];
    }
  }

  private learnPiece(expr: Expr, piece: Piece): void {
    const node = this.node(expr);
    if (node.whole === undefined) node.pieces.push(piece);
  }

  /** Puts pieces together, outermost expressions first, and passes down those that do not make a whole. */
  solve(): void {
    const settled = new Set<Node>();
    for (;;) {
      let next: Node | undefined;
      for (const node of this.nodes.values()) {
        if (settled.has(node) || node.whole !== undefined || node.pieces.length === 0) continue;
        if (next === undefined || node.depth > next.depth) next = node;
      }
      if (next === undefined) return;
      settled.add(next);
      const whole = this.assemble(next);
      if (whole === null) this.passDown(next);
      else this.learn(next.expr, whole);
    }
  }

  /** A node's value out of its pieces along one dimension; null (and the reason) where some entries are in none. */
  private assemble(node: Node): Value | null {
    for (const dim of new Set(node.pieces.map((piece) => piece.dim))) {
      const size = node.shape[dim] ?? 0;
      const used: Value[] = [];
      const place = new Int32Array(size).fill(-1);
      let offset = 0;
      let covered = 0;
      for (const { dim: along, at, value } of node.pieces) {
        if (along !== dim || covered === size) continue;
        let fresh = 0;
        at.forEach((index, i) => {
          if (place[index] !== -1) return;
          place[index] = offset + i;
          fresh += 1;
        });
        if (fresh === 0) continue;
        covered += fresh;
        used.push(value);
        offset += at.length;
      }
      if (covered < size) {
        node.reasons.add(
          `${grouped(size - covered)} of its ${grouped(size)} entries along dimension ${String(dim)} are in no expert any more`,
        );
        continue;
      }
      const joined = concatOf(dim, used);
      const inOrder = offset === size && place.every((at, index) => at === index);
      return inOrder ? joined : takeOf(joined, dim, place);
    }
    return null;
  }

  private passDown(node: Node): void {
    const { expr, pieces } = node;
    if (expr.op === 'slice' || expr.op === 'take') {
      const size = this.node(expr.of).shape[expr.dim] ?? 0;
      const indices = expr.op === 'slice' ? range(expr.begin, expr.end) : this.evaluator.indices(expr.index, size);
      for (const piece of pieces) {
        if (piece.dim !== expr.dim) continue;
        this.learnPiece(expr.of, { ...piece, at: piece.at.map((index) => indices[index] ?? 0) });
      }
    } else if (expr.op === 'scale' || expr.op === 'cast') {
      const [operand, inverse] = this.invert(expr);
      if (operand === null || inverse === null) return;
      for (const piece of pieces) this.learnPiece(operand, { ...piece, value: inverse(piece.value) });
    }
    // What stops here stops the tensors inside as well.
    for (const reason of node.reasons) this.blame(expr, reason);
  }

  private blame(expr: Expr, reason: string): void {
    if (!('of' in expr)) return;
    const operands: readonly Expr[] = 'op' in expr.of ? [expr.of] : expr.of;
    for (const operand of operands) this.node(operand).reasons.add(reason);
  }

  source(from: number, tensor: string): Node {
    return this.node({ op: 'source', from, tensor });
  }

  /** Reasons reach the source tensors through whatever lies between. */
  spreadReasons(): void {
    const byDepth = [...this.nodes.values()].sort((a, b) => b.depth - a.depth);
    for (const node of byDepth) {
      if (node.whole !== undefined && node.depth > 0) continue;
      for (const reason of node.reasons) this.blame(node.expr, reason);
    }
  }
}

/** Works out which tensors of parent `from` the output in `folder` still holds. Reads no tensor data. */
export function recover(manifest: Manifest, layout: PlanContents, folder: string, from: number): Recovered {
  const lookup = planSourceLookup(manifest.plan.sources);
  const checkpoint = outputAsCheckpoint(folder, layout, lookup);
  const sources = new SourceSet([checkpoint]);
  const evaluator = new Evaluator([checkpoint], manifest.plan.recipe.seed, new ResolvedLog(manifest.resolved), sources);
  const solver = new Solver(evaluator, manifest);
  for (const content of layout.contents) {
    solver.learn(content.expr, evaluator.compile({ op: 'source', from: 0, tensor: contentName(content) }));
  }
  solver.solve();
  solver.spreadReasons();
  const values = new Map<string, Value>();
  const reasons = new Map<string, string>();
  for (const name of sourcesRead(layout.contents, manifest.sources.length)[from] ?? []) {
    const node = solver.source(from, name);
    if (node.whole !== undefined) values.set(name, node.whole);
    else {
      reasons.set(name, node.reasons.size === 0 ? 'the output holds only parts of it' : [...node.reasons].join('; '));
    }
  }
  return { values, reasons, sources };
}
