/** All tensors of a checkpoint by number, with the patterns of their names: what rows, filters and orders are made from. */
import type { Checkpoint, Problem, SourceTensor, TensorPiece } from '../checkpoint/types.ts';
import { elementsOf } from '../inspect/facts.ts';
import type { TensorRole } from '../inspect/expert-names.ts';
import { naturalCompare } from './natural.ts';
import { NamePattern, patternKey } from './name-pattern.ts';

export type Severity = Problem['severity'];
/** 0: none; higher is worse. */
const SEVERITIES: readonly (Severity | null)[] = [null, 'info', 'warning', 'error'];

/** Pairs of patterns are remembered up to this many patterns: at most a quarter of a million entries. */
const MAX_PAIRED = 512;

/** The severity behind a rank of `TensorTable.severity`. */
export function severityOf(rank: number): Severity | null {
  return SEVERITIES[rank] ?? null;
}

export class TensorTable {
  readonly tensors: readonly SourceTensor[];
  readonly patterns: readonly NamePattern[];
  /** Pattern of each tensor. */
  readonly pattern: Int32Array;
  /** Worst problem of each tensor, as a rank for `severityOf`. */
  readonly severity: Uint8Array;
  readonly elements: Float64Array;
  /** Names of tensors that lie in pieces: shown, but not readable as they are. */
  readonly inPieces: ReadonlySet<string>;
  readonly bytes: number;
  private readonly firstIndex: Int32Array;
  private readonly indices: Int32Array;
  private numbers: Map<string, number> | undefined;
  private readonly keys: ReadonlyMap<string, number>;
  private readonly pairs = new Map<number, number>();
  private sorted: Int32Array | undefined;

  constructor(cp: Checkpoint, problems: readonly Problem[]) {
    const pieces = [...(cp.pieces ?? [])].map(([name, parts]) => joined(name, parts));
    const tensors = [...cp.tensors.values(), ...pieces];
    const { length } = tensors;
    this.tensors = tensors;
    this.inPieces = new Set(pieces.map((tensor) => tensor.name));
    this.pattern = new Int32Array(length);
    this.elements = new Float64Array(length);
    this.severity = new Uint8Array(length);
    this.firstIndex = new Int32Array(length + 1);
    const known = new Map<string, number>();
    const patterns: NamePattern[] = [];
    const indices: number[] = [];
    let bytes = 0;
    for (let i = 0; i < length; i++) {
      const tensor = tensors[i];
      if (tensor === undefined) continue;
      const before = indices.length;
      const key = patternKey(tensor.name, indices);
      // A name that holds a '#' of its own must not be taken for the pattern of others.
      const at = known.get(key);
      const slots = indices.length - before;
      if (at !== undefined && patterns[at]?.slots === slots) this.pattern[i] = at;
      else {
        this.pattern[i] = patterns.length;
        known.set(key, patterns.length);
        patterns.push(new NamePattern(key, slots));
      }
      this.firstIndex[i + 1] = indices.length;
      this.elements[i] = elementsOf(tensor.shape);
      bytes += tensor.bytes;
    }
    this.patterns = patterns;
    this.keys = known;
    this.indices = Int32Array.from(indices);
    this.bytes = bytes;
    this.markProblems(problems);
  }

  get count(): number {
    return this.tensors.length;
  }

  /** Number of the tensor of that name; null where there is none. */
  find(name: string): number | null {
    if (this.numbers !== undefined) return this.numbers.get(name) ?? null;
    // A walk over numbers: a map of all names would cost more than a few look-ups ever do.
    const indices: number[] = [];
    const pattern = this.keys.get(patternKey(name, indices));
    if (pattern === undefined) return null;
    for (let i = 0; i < this.count; i++) {
      if (this.pattern[i] !== pattern) continue;
      if (indices.every((value, slot) => this.index(i, slot) === value) && this.tensors[i]?.name === name) return i;
    }
    // Patterns of names that hold a `#` of their own share keys.
    return this.patterns.every(({ indexed }) => indexed) ? null : (this.allNumbers().get(name) ?? null);
  }

  private allNumbers(): ReadonlyMap<string, number> {
    this.numbers ??= new Map(this.tensors.map((tensor, i) => [tensor.name, i]));
    return this.numbers;
  }

  tensor(i: number): SourceTensor {
    const tensor = this.tensors[i];
    if (tensor === undefined) throw new RangeError(`no tensor ${String(i)}`);
    return tensor;
  }

  patternOf(i: number): NamePattern {
    const pattern = this.patterns[this.pattern[i] ?? -1];
    if (pattern === undefined) throw new RangeError(`no tensor ${String(i)}`);
    return pattern;
  }

  /** Index in slot `slot` of a tensor's name. */
  index(i: number, slot: number): number {
    return this.indices[(this.firstIndex[i] ?? 0) + slot] ?? 0;
  }

  role(i: number): TensorRole {
    return this.patternOf(i).meaning.role;
  }

  layer(i: number): number | null {
    const { meaning, layerSlot } = this.patternOf(i);
    return layerSlot === null ? meaning.layer : this.index(i, layerSlot);
  }

  expert(i: number): number | 'packed' | null {
    const { meaning, expertSlot } = this.patternOf(i);
    return expertSlot === null ? meaning.expert : this.index(i, expertSlot);
  }

  /** All tensors in natural order of their names. Made once, at the first call. */
  get byName(): Int32Array {
    if (this.sorted === undefined) {
      const all = Array.from({ length: this.count }, (_, i) => i);
      // Array sort (not typed) makes use of the runs that files in saving order have.
      this.sorted = Int32Array.from(all.sort((a, b) => this.compareNames(a, b)));
    }
    return this.sorted;
  }

  compareNames(a: number, b: number): number {
    const p = this.pattern[a] ?? 0;
    const q = this.pattern[b] ?? 0;
    const common = p === q ? (this.patterns[p]?.slots ?? 0) : this.divergence(p, q);
    const slots = Math.abs(common) >> 1;
    const aFrom = this.firstIndex[a] ?? 0;
    const bFrom = this.firstIndex[b] ?? 0;
    for (let slot = 0; slot < (p === q ? common : slots); slot++) {
      const difference = (this.indices[aFrom + slot] ?? 0) - (this.indices[bFrom + slot] ?? 0);
      if (difference !== 0) return difference;
    }
    if (p === q) return naturalCompare(this.tensor(a).name, this.tensor(b).name);
    return common < 0 ? -1 : 1;
  }

  /** How two patterns differ: 2·(indices before that place) + 1, negative where `p` comes first. Remembered for pairs. */
  private divergence(p: number, q: number): number {
    const known = this.patterns.length <= MAX_PAIRED ? this.pairs.get(p * MAX_PAIRED + q) : undefined;
    if (known !== undefined) return known;
    const a = this.patterns[p]?.key ?? '';
    const b = this.patterns[q]?.key ?? '';
    let slots = 0;
    let i = 0;
    let token = 0;
    for (; i < a.length && i < b.length && a.charCodeAt(i) === b.charCodeAt(i); i++) {
      if (a.charCodeAt(i) === 35) slots++;
      if (a.charCodeAt(i) === 46) token = i + 1;
    }
    const order = naturalCompare(a.slice(token), b.slice(token)) < 0 ? -1 : 1;
    const result = order * (2 * slots + 1);
    if (this.patterns.length <= MAX_PAIRED) this.pairs.set(p * MAX_PAIRED + q, result);
    return result;
  }

  private markProblems(problems: readonly Problem[]): void {
    if (problems.length > 50) this.allNumbers();
    for (const { tensor, severity } of problems) {
      const at = tensor === undefined || tensor === '' ? null : this.find(tensor);
      if (at !== null) this.severity[at] = Math.max(this.severity[at] ?? 0, SEVERITIES.indexOf(severity));
    }
  }
}

/** A tensor in pieces, shown as the box around them. */
function joined(name: string, pieces: readonly TensorPiece[]): SourceTensor {
  const [first] = pieces;
  const shape = (first?.shape ?? []).map((_, dim) =>
    pieces.reduce((size, piece) => Math.max(size, (piece.offsets[dim] ?? 0) + (piece.shape[dim] ?? 0)), 0),
  );
  return {
    name,
    dtype: first?.dtype ?? 'U8',
    shape,
    file: first?.file ?? '',
    begin: -1,
    bytes: pieces.reduce((sum, piece) => sum + piece.bytes, 0),
  };
}
