/**
 * Two checkpoints against each other: structure by names, values tensor by tensor in float64 sums and bounded memory. Where
 * one is dense and the other has experts, each expert is laid beside the dense feed-forward of its layer.
 */
import { throwIfAborted } from '../checkpoint/errors.ts';
import type { Checkpoint, StorageDtype } from '../checkpoint/types.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import { Accumulator } from './compare.ts';
import type { Distance } from './compare.ts';
import { compareExperts } from './experts.ts';
import type { ExpertDistance, ExpertNote } from './experts.ts';
import { isDecodable, rowsPerStep, sameBytes } from './matrix.ts';
import type { Matrix } from './matrix.ts';
import { Model } from './model.ts';
import type { FfnParts, LayerFfns, Named } from './model.ts';

export interface TensorDistance extends Distance {
  readonly name: string;
}

export interface DiffReport {
  /** Nothing differs: names, shapes, dtypes and all values. */
  readonly identical: boolean;
  /** Names that only b has, and only a has. Feed-forwards that are compared as experts are in neither. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly reshaped: readonly { readonly name: string; readonly a: readonly number[]; readonly b: readonly number[] }[];
  readonly dtypeChanged: readonly { readonly name: string; readonly a: StorageDtype; readonly b: StorageDtype }[];
  /** Values of every tensor of one name and shape in both; `a` is the reference. */
  readonly tensors: readonly TensorDistance[];
  /** Fields of config.json that differ, dotted; null where one side has no config. */
  readonly config: readonly { readonly field: string; readonly a: JsonValue; readonly b: JsonValue }[] | null;
  /** Present where one side is dense and the other has experts, or both have experts under different names. */
  readonly experts?: {
    /** dense-vs-moe: every expert against the dense feed-forward. moe-vs-moe: each expert against its like. */
    readonly mode: 'dense-vs-moe' | 'moe-vs-moe';
    /** Which of the two is the dense one (the reference). */
    readonly dense: 'a' | 'b' | null;
    readonly distances: readonly ExpertDistance[];
    readonly likes: readonly (TensorDistance & { readonly layer: number; readonly expert: number | 'shared' })[];
    readonly notes: readonly ExpertNote[];
    /** Expert tensors in layouts that are not laid beside dense projections. */
    readonly skipped: readonly string[];
    /** How many tensors of either side are compared as experts and therefore are neither added nor removed. */
    readonly paired: { readonly a: number; readonly b: number };
  };
  /** Tensors that could not be compared as numbers, with the reason. */
  readonly notCompared: readonly { readonly name: string; readonly reason: string }[];
}

export interface DiffOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?:
    ((progress: { readonly done: number; readonly total: number; readonly name: string }) => void) | undefined;
  /** False: structure and config only, no data is read. */
  readonly values?: boolean;
}

/** Compares b with a. Throws MoeError `input` where data cannot be read, `cancelled` on abort. */
export async function diffCheckpoints(a: Checkpoint, b: Checkpoint, options: DiffOptions = {}): Promise<DiffReport> {
  const left = new Model(a, options.signal);
  const right = new Model(b, options.signal);
  try {
    return await new Diff(left, right, options).run();
  } finally {
    await left.close();
    await right.close();
  }
}

class Diff {
  private readonly a: Model;
  private readonly b: Model;
  private readonly options: DiffOptions;
  private readonly withValues: boolean;
  private readonly notCompared: { name: string; reason: string }[] = [];
  private done = 0;
  private total = 0;

  constructor(a: Model, b: Model, options: DiffOptions) {
    this.a = a;
    this.b = b;
    this.options = options;
    const noData = a.cp.planOnly || b.cp.planOnly;
    this.withValues = options.values !== false && !noData;
    if (options.values !== false && noData) {
      this.notCompared.push({ name: '*', reason: 'one side has no weights, so only structure is compared' });
    }
    for (const [side, cp] of [
      ['a', a.cp],
      ['b', b.cp],
    ] as const) {
      for (const name of cp.pieces?.keys() ?? []) {
        this.notCompared.push({ name, reason: `in ${side} it lies in pieces (DCP shards)` });
      }
    }
  }

  async run(): Promise<DiffReport> {
    const names = new Set([...this.a.names(), ...this.b.names()]);
    const added: string[] = [];
    const removed: string[] = [];
    const reshaped: { name: string; a: readonly number[]; b: readonly number[] }[] = [];
    const dtypeChanged: { name: string; a: StorageDtype; b: StorageDtype }[] = [];
    const pairs: (readonly [Named, Named])[] = [];
    for (const name of names) {
      const x = this.a.get(name);
      const y = this.b.get(name);
      if (x === null || y === null) {
        if (x === null && y !== null) added.push(name);
        if (y === null && x !== null) removed.push(name);
        continue;
      }
      if (x.dtype !== y.dtype) dtypeChanged.push({ name, a: x.dtype, b: y.dtype });
      if (x.shape.length !== y.shape.length || x.shape.some((dim, d) => dim !== y.shape[d])) {
        reshaped.push({ name, a: x.shape, b: y.shape });
      } else pairs.push([x, y]);
    }
    this.total = pairs.length;
    const tensors: TensorDistance[] = [];
    for (const [x, y] of this.withValues ? pairs : []) {
      const distance = await this.values(x.name, x.matrix(), y.matrix());
      if (distance !== null) tensors.push(distance);
    }
    const fused = await this.fused(removed, this.a, this.b, tensors, false);
    for (const name of await this.fused(added, this.b, this.a, tensors, true)) fused.add(name);
    const experts = added.length + removed.length > 0 ? await this.experts(added, removed) : null;
    const config = configChanges(this.a.cp.config, this.b.cp.config);
    const paired = new Set([...fused, ...(experts?.paired ?? [])]);
    const report = {
      added: added.filter((name) => !paired.has(name)),
      removed: removed.filter((name) => !paired.has(name)),
      reshaped,
      dtypeChanged,
      tensors,
      config,
      ...(experts === null ? {} : { experts: experts.report }),
      notCompared: this.notCompared,
    };
    // Layouts that differ are a difference, however equal the values.
    const structure = added.length + removed.length + reshaped.length + dtypeChanged.length === 0;
    const equal = tensors.every((tensor) => tensor.equal) && this.notCompared.length === 0 && this.withValues;
    return { identical: structure && equal && (config === null || config.length === 0), ...report };
  }

  /**
   * q, k and v in one tensor on one side (`whole`), apart on the other: compared part by part. Gives the names on both sides.
   */
  private async fused(
    names: readonly string[],
    whole: Model,
    parts: Model,
    tensors: TensorDistance[],
    swapped: boolean,
  ): Promise<Set<string>> {
    const paired = new Set<string>();
    for (const name of names) {
      const match = /^(.*\.)qkv_proj\.(weight|bias)$/.exec(name);
      const joined = match === null ? null : whole.get(name);
      if (match === null || joined === null) continue;
      const apart = ['q_proj', 'k_proj', 'v_proj'].map((part) =>
        parts.get(`${match[1] ?? ''}${part}.${match[2] ?? ''}`),
      );
      const found = apart.filter((part) => part !== null);
      const rows = found.reduce((sum, part) => sum + (part.shape[0] ?? 0), 0);
      if (found.length !== 3 || rows !== joined.shape[0]) continue;
      paired.add(name);
      let first = 0;
      for (const part of found) {
        paired.add(part.name);
        const count = part.shape[0] ?? 0;
        const slice = joined.slice(first, count);
        first += count;
        if (!this.withValues) continue;
        if (slice === null) this.notCompared.push({ name: part.name, reason: `it is a part of ${name} in a GGUF` });
        else {
          const distance = await this.values(part.name, ...pairOf(slice, part.matrix(), swapped));
          if (distance !== null) tensors.push(distance);
        }
      }
    }
    return paired;
  }

  /** Bytes first where both sides are stored alike; numbers only where the bytes differ. */
  private async values(name: string, x: Matrix, y: Matrix): Promise<TensorDistance | null> {
    throwIfAborted(this.options.signal);
    this.options.onProgress?.({ done: this.done++, total: this.total, name });
    const rows = Math.min(x.rows, y.rows);
    if (x.rows !== y.rows || x.cols !== y.cols) {
      this.notCompared.push({ name, reason: 'stored in rows of different lengths' });
      return null;
    }
    const readable = isDecodable(x.dtype) && isDecodable(y.dtype);
    const sums = new Accumulator();
    if (x.raw !== null && y.raw !== null && x.dtype === y.dtype && (await sameBytes(x.raw, y.raw))) {
      sums.addEqual(rows * x.cols);
      return { name, ...sums.distance() };
    }
    if (!readable) {
      const type = isDecodable(x.dtype) ? y.dtype : x.dtype;
      this.notCompared.push({ name, reason: `the bytes differ, and values of ${type} are not read` });
      return null;
    }
    const step = rowsPerStep(x.cols);
    for (let from = 0; from < rows; from += step) {
      throwIfAborted(this.options.signal);
      const to = Math.min(rows, from + step);
      const base = await x.read(from, to);
      sums.add(base, await y.read(from, to), base.length);
    }
    return { name, ...sums.distance() };
  }

  /** What `added` and `removed` have in common as feed-forwards. */
  private async experts(
    added: readonly string[],
    removed: readonly string[],
  ): Promise<{ readonly report: NonNullable<DiffReport['experts']>; readonly paired: ReadonlySet<string> } | null> {
    const a = this.a.ffns();
    const b = this.b.ffns();
    const differing = new Set([...added, ...removed]);
    const paired = new Set<string>();
    const pair = (ffns: LayerFfns): number => {
      let count = 0;
      for (const name of ffns.names)
        if (differing.has(name)) {
          paired.add(name);
          count++;
        }
      return count;
    };
    const skipped = [...a.skipped, ...b.skipped];
    if (a.hasExperts && b.hasExperts) {
      const counts = { a: pair(a), b: pair(b) };
      const likes = this.withValues ? await this.likes(a, b) : [];
      return {
        report: { mode: 'moe-vs-moe', dense: null, distances: [], likes, notes: [], skipped, paired: counts },
        paired,
      };
    }
    if (a.hasExperts === b.hasExperts) return null;
    const denseIsA = b.hasExperts;
    const [dense, moe] = denseIsA ? [a, b] : [b, a];
    if (!dense.hasDense) return null;
    const counts = { a: pair(a), b: pair(b) };
    const { experts, notes } = this.withValues
      ? await compareExperts(dense, moe, (layer, expert) => this.say(layer, expert), this.options.signal)
      : { experts: [], notes: [] };
    return {
      report: {
        mode: 'dense-vs-moe',
        dense: denseIsA ? 'a' : 'b',
        distances: experts,
        likes: [],
        notes,
        skipped,
        paired: counts,
      },
      paired,
    };
  }

  private say(layer: number, expert: number | 'shared'): void {
    this.options.onProgress?.({
      done: this.done++,
      total: this.total,
      name: `layer ${String(layer)} expert ${String(expert)}`,
    });
  }

  /** Experts of two MoE checkpoints that are laid out differently. */
  private async likes(a: LayerFfns, b: LayerFfns): Promise<NonNullable<DiffReport['experts']>['likes']> {
    const found: (TensorDistance & { readonly layer: number; readonly expert: number | 'shared' })[] = [];
    for (const layer of a.layerNumbers) {
      const mine = new Map<number | 'shared', FfnParts>(a.experts(layer));
      const theirs = new Map<number | 'shared', FfnParts>(b.experts(layer));
      for (const [map, shared] of [
        [mine, a.shared(layer)],
        [theirs, b.shared(layer)],
      ] as const) {
        if (shared !== null) map.set('shared', shared);
      }
      for (const [expert, parts] of mine) {
        const other = theirs.get(expert);
        for (const part of ['gate', 'up', 'down'] as const) {
          const x = parts[part];
          const y = other?.[part];
          if (x === undefined || y === undefined) continue;
          const name = `layer ${String(layer)} expert ${String(expert)} ${part}`;
          const distance = await this.values(name, x, y);
          if (distance !== null) found.push({ ...distance, layer, expert });
        }
      }
    }
    return found;
  }
}

function pairOf(x: Matrix, y: Matrix, swapped: boolean): [Matrix, Matrix] {
  return swapped ? [y, x] : [x, y];
}

const MAX_FIELDS = 500;

/** Fields that differ, dotted; an absent field counts as null. */
export function configChanges(
  a: JsonObject | null,
  b: JsonObject | null,
): { readonly field: string; readonly a: JsonValue; readonly b: JsonValue }[] | null {
  if (a === null || b === null) return null;
  const changes: { field: string; a: JsonValue; b: JsonValue }[] = [];
  const walk = (x: JsonObject, y: JsonObject, prefix: string): void => {
    for (const key of new Set([...Object.keys(x), ...Object.keys(y)])) {
      if (changes.length >= MAX_FIELDS) return;
      const left = Object.hasOwn(x, key) ? (x[key] ?? null) : null;
      const right = Object.hasOwn(y, key) ? (y[key] ?? null) : null;
      if (isJsonObject(left) && isJsonObject(right)) walk(left, right, `${prefix}${key}.`);
      else if (JSON.stringify(left) !== JSON.stringify(right)) changes.push({ field: prefix + key, a: left, b: right });
    }
  };
  walk(a, b, '');
  return changes;
}
