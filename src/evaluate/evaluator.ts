/** Expressions to values: see plan/expr.ts for what each operation means. */
import { createHash } from 'node:crypto';
import { isDtype } from 'safetensors-js';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import type { Expr, IndexSet, PromptGate } from '../plan/expr.ts';
import { randomPermutation, randomShard, randomStream, randomSubset } from '../random/index.ts';
import { requireFloat } from './codec.ts';
import {
  AverageValue,
  FillValue,
  GateValue,
  MapValue,
  NoiseValue,
  RandomValue,
  RedrawValue,
  redrawStatistics,
} from './computed.ts';
import type { RedrawStatistics } from './computed.ts';
import { DequantiseValue } from './dequantise.ts';
import { OrthogonalValue, SvdNoiseValue, orthogonalBasis, projectNoise, svdBasis } from './matrix.ts';
import type { SvdBasis } from './matrix.ts';
import { SourceValue, concatOf, reshapeOf, sliceOf, takeOf } from './moves.ts';
import { dealByNorm } from './norms.ts';
import { ResolvedLog, decodeOwners, decodeRows, encodeOwners, expressionDigest } from './resolved.ts';
import { SourceSet } from './sources.ts';
import type { SourceLayout, Value } from './value.ts';

/** Remembers the last few results of something costly. */
class Recent<T> {
  private readonly items = new Map<string, T>();

  constructor(private readonly limit: number) {}

  get(key: string, make: () => T): T {
    const known = this.items.get(key);
    if (known !== undefined) {
      this.items.delete(key);
      this.items.set(key, known);
      return known;
    }
    // Dropped before the new one is made, so that only `limit` of them ever exist.
    while (this.items.size >= this.limit) {
      const oldest = this.items.keys().next().value;
      if (oldest === undefined) break;
      this.items.delete(oldest);
    }
    const made = make();
    this.items.set(key, made);
    return made;
  }
}

/** Evaluates expressions over opened sources, any range of any tensor, in bounded memory. Close `sources` when done. */
export class Evaluator {
  readonly sources: SourceSet;
  private readonly indexSets = new Recent<Int32Array>(48);
  private readonly bases = new Recent<SvdBasis>(1);
  private readonly projections = new Recent<Float64Array>(2);
  private readonly orthogonals = new Recent<Float64Array>(2);

  constructor(
    checkpoints: readonly Checkpoint[],
    readonly seed: number,
    readonly resolved: ResolvedLog = new ResolvedLog(),
    sources?: SourceSet,
  ) {
    this.sources = sources ?? new SourceSet(checkpoints);
  }

  /** Elements [begin, end) of the expression's value, in storage form. */
  readBytes(expr: Expr, begin: number, end: number): Buffer {
    const value = this.compile(expr);
    const out = Buffer.from(new ArrayBuffer(value.byteCount(begin, end)));
    value.read(begin, end, out);
    return out;
  }

  /** Shape, dtype and reader of an expression. Throws `plan-expression` for an impossible one. */
  compile(expr: Expr): Value {
    switch (expr.op) {
      case 'source':
        return this.source(expr.from, expr.tensor);
      case 'dequantise':
        if (expr.of.op !== 'source') return impossible('dequantise of something that is not a source tensor');
        return new DequantiseValue(this.sources, expr.of.from, this.sources.tensor(expr.of.from, expr.of.tensor));
      case 'slice':
        return this.slice(expr.of, expr.dim, expr.begin, expr.end);
      case 'concat':
        return concatOf(
          expr.dim,
          expr.of.map((part) => this.compile(part)),
        );
      case 'reshape':
        return reshapeOf(this.compile(expr.of), expr.shape);
      case 'take': {
        const of = this.compile(expr.of);
        const size = of.shape[expr.dim] ?? impossible(`take along dimension ${String(expr.dim)}`);
        return takeOf(of, expr.dim, this.indices(expr.index, size));
      }
      case 'scale':
      case 'offset': {
        const of = this.compile(expr.of);
        if (expr.op === 'scale' && expr.by === 1) return of;
        return new MapValue(of, requireFloat(of.dtype, expr.op), expr.op, expr.by);
      }
      case 'cast': {
        const of = this.compile(expr.of);
        return of.dtype === expr.dtype ? of : new MapValue(of, requireFloat(expr.dtype, 'cast'), 'cast', 0);
      }
      case 'average': {
        const parts = expr.of.map((part) => this.compile(part));
        const first = parts[0] ?? impossible('average of nothing');
        for (const part of parts) {
          if (part.shape.join() !== first.shape.join()) impossible('average of tensors of different shapes');
        }
        return new AverageValue(parts, requireFloat(first.dtype, 'average'), first.shape);
      }
      case 'noise': {
        const of = this.compile(expr.of);
        const stream = randomStream(this.seed, expr.key);
        const mask = randomStream(this.seed, `${expr.key}#mask`);
        return new NoiseValue(of, requireFloat(of.dtype, 'noise'), expr.std, expr.ratio, stream, mask);
      }
      case 'redraw':
        return this.redraw(expr);
      case 'svd-noise':
        return this.svdNoise(expr);
      case 'random': {
        const { dist } = expr;
        const [base, factor] = dist.kind === 'normal' ? [dist.mean, dist.std] : [dist.low, dist.high - dist.low];
        const stream = randomStream(this.seed, expr.key);
        return new RandomValue(requireFloat(expr.dtype, 'random'), expr.shape, dist.kind, base, factor, stream);
      }
      case 'orthogonal': {
        const [rows, columns] = expr.shape;
        return new OrthogonalValue(requireFloat(expr.dtype, 'orthogonal'), expr.shape, expr.gain, () =>
          this.orthogonals.get(`${expr.key} ${String(rows)} ${String(columns)}`, () =>
            orthogonalBasis(rows, columns, this.seed, expr.key),
          ),
        );
      }
      case 'prompt-gate':
        return new GateValue(requireFloat(expr.dtype, 'prompt-gate'), expr.shape, () => this.gateRows(expr));
      case 'fill':
        return new FillValue(expr.dtype, expr.shape, expr.value);
    }
  }

  /** Rows of a prompt gate; they must have been resolved before. */
  private gateRows(expr: PromptGate): Float32Array {
    const known = this.resolved.gates.get(expressionDigest(expr));
    if (known !== undefined) return decodeRows(known.rows);
    throw new MoeError(
      'internal',
      'gates-unresolved',
      `The router of layer ${String(expr.layer)} comes from prompts, but the model was not run to get it.`,
    );
  }

  private source(from: number, name: string): Value {
    const tensor = this.sources.tensor(from, name);
    if (!isDtype(tensor.dtype)) return impossible(`"${name}" is ${tensor.dtype} and is not dequantised`);
    return new SourceValue(this.sources, from, tensor, tensor.dtype);
  }

  /** Slices move inside element-wise operations, so that nothing is computed only to be cut away. */
  private slice(of: Expr, dim: number, begin: number, end: number): Value {
    const inner = (expr: Expr): Expr => ({ op: 'slice', of: expr, dim, begin, end });
    if (of.op === 'scale' || of.op === 'offset' || of.op === 'cast') {
      return this.compile({ ...of, of: inner(of.of) });
    }
    if (of.op === 'average') return this.compile({ ...of, of: of.of.map(inner) });
    return sliceOf(this.compile(of), dim, begin, end);
  }

  /** The indices of a set over a dimension of `size`. */
  indices(index: IndexSet, size: number): Int32Array {
    if ('size' in index && index.size !== size) {
      impossible(`an index set over ${String(index.size)} entries of a dimension of ${String(size)}`);
    }
    switch (index.kind) {
      case 'unpermute-rope': {
        const d = size / index.heads;
        if (!Number.isInteger(d) || d % 2 !== 0)
          impossible(`unpermute of ${String(size)} rows in ${String(index.heads)} heads`);
        return Int32Array.from({ length: size }, (_, row) => {
          const within = row % d;
          const half = d / 2;
          return row - within + 2 * (within % half) + Math.floor(within / half);
        });
      }
      case 'repeat':
        return Int32Array.from({ length: size * index.times }, (_, i) => Math.floor(i / index.times));
      case 'permutation':
        return this.recent(index, () => randomPermutation(size, this.seed, index.key));
      case 'random-shard':
        return this.recent(index, () => randomShard(size, index.shards, index.shard, this.seed, index.key));
      case 'random-subset':
        return this.recent(index, () => randomSubset(size, index.ratio, this.seed, index.key));
      case 'norm-shard': {
        const { shard: _shard, ...deal } = index;
        const key = expressionDigest(deal);
        let known = this.resolved.normShard.get(key);
        if (known === undefined) {
          const [gate, up, down] = index.of;
          const owners = dealByNorm(this.compile(gate), this.compile(up), this.compile(down), size, index.shards);
          known = { owners: encodeOwners(owners) };
          this.resolved.normShard.set(key, known);
        }
        const { owners } = known;
        return this.recent({ key, shard: index.shard }, () => {
          const mine: number[] = [];
          decodeOwners(owners).forEach((owner, neuron) => {
            if (owner === index.shard) mine.push(neuron);
          });
          return Int32Array.from(mine);
        });
      }
    }
  }

  private recent(index: unknown, make: () => Int32Array): Int32Array {
    return this.indexSets.get(JSON.stringify(index), make);
  }

  private redraw(expr: Extract<Expr, { op: 'redraw' }>): Value {
    const of = this.compile(expr.of);
    const size = of.shape[expr.dim] ?? impossible(`redraw along dimension ${String(expr.dim)}`);
    const chosen = new Uint8Array(size);
    for (const index of this.indices(expr.index, size)) chosen[index] = 1;
    const statistics = (): RedrawStatistics => {
      const digest = expressionDigest(expr);
      const known = this.resolved.redraw.get(digest) ?? redrawStatistics(of, expr.dim, chosen);
      this.resolved.redraw.set(digest, known);
      return known;
    };
    let memo: RedrawStatistics | undefined;
    return new RedrawValue(
      of,
      requireFloat(of.dtype, 'redraw'),
      expr.dim,
      chosen,
      randomStream(this.seed, expr.key),
      () => (memo ??= statistics()),
    );
  }

  private svdNoise(expr: Extract<Expr, { op: 'svd-noise' }>): Value {
    const of = this.compile(expr.of);
    const [m, n] = of.shape;
    if (m === undefined || n === undefined || of.shape.length !== 2)
      return impossible('svd-noise of something that is no matrix');
    // The start of the iteration depends on the matrix alone, so that all experts share one basis.
    const key = expressionDigest({ of: expr.of, rank: expr.rank });
    const stream = randomStream(this.seed, expr.key);
    const basis = (): SvdBasis =>
      this.bases.get(key, () => {
        const made = svdBasis(of, expr.rank, this.seed, key);
        const bytes = Buffer.from(made.u.buffer, made.u.byteOffset, made.u.byteLength);
        this.resolved.svd.set(key, {
          rank: made.rank,
          residual: made.residual,
          steps: made.steps,
          basisSha256: createHash('sha256').update(bytes).digest('hex'),
        });
        return made;
      });
    const projected = (): Float64Array =>
      this.projections.get(`${key} ${expr.key}`, () => projectNoise(basis(), m, n, stream));
    return new SvdNoiseValue(of, requireFloat(of.dtype, 'svd-noise'), expr.scale, stream, basis, projected);
  }
}

function impossible(what: string): never {
  throw new MoeError('input', 'plan-expression', `The plan has an impossible expression: ${what}.`);
}

/** Where the value of a pure move lies in its source; null for anything computed or scattered. */
export function layoutOf(value: Value): SourceLayout | null {
  return value.layout();
}
