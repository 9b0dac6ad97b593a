/** What the weights of a layer's experts tell without running the model: sizes, distances, likeness, flags. */
import { createHash } from 'node:crypto';
import { throwIfAborted } from '../checkpoint/errors.ts';
import { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { compareExperts } from '../diff/experts.ts';
import { LayerFfns } from '../diff/model.ts';
import { rowsPerStep, storedMatrix } from '../diff/matrix.ts';
import { parseTensorName } from '../inspect/index.ts';
import type { ExpertMetric, LayerExperts } from '../protocol/checkpoint.ts';
import { RankSketch, SKETCH_ROWS } from './effective-rank.ts';
import { PARTS, layerParts, mapExperts } from './expert-parts.ts';
import type { LayerParts, Part, PartRows } from './expert-parts.ts';
import { flagsOf } from './flags.ts';
import { Gram, MAX_GRAM_EXPERTS, gramOf } from './gram.ts';

export interface MetricsOptions {
  /** Layers to compute; null: all MoE layers. */
  readonly layers: readonly number[] | null;
  /** Dense checkpoint to take distances to. */
  readonly parent: Checkpoint | null;
  readonly signal?: AbortSignal | undefined;
  /** Told after each matrix, with the layer once it is done. */
  readonly onProgress?: ((progress: { done: number; total: number; layer: LayerExperts | null }) => void) | undefined;
}

export interface MetricsResult {
  readonly layers: readonly LayerExperts[];
  readonly seconds: number;
  readonly notes: readonly string[];
}

/**
 * Metrics of the experts, layer by layer; memory is bounded by blocks of rows.
 * @throws MoeError `cancelled`, and those of reading
 */
export async function expertMetrics(cp: Checkpoint, options: MetricsOptions): Promise<MetricsResult> {
  const started = performance.now();
  const map = mapExperts(cp);
  const wanted = options.layers ?? [...map.layers.keys()];
  const notes: string[] = [];
  const missing = wanted.filter((layer) => !map.layers.has(layer));
  if (missing.length > 0) notes.push(`no experts were found in layer ${missing.join(', ')}`);
  const layers = wanted.filter((layer) => map.layers.has(layer));
  const reader = new RangeReader(cp, { signal: options.signal });
  const parent = options.parent === null ? null : new Parent(options.parent, options.signal);
  const out: LayerExperts[] = [];
  try {
    for (const layer of layers) {
      throwIfAborted(options.signal);
      const tell = (share: number): void =>
        options.onProgress?.({ done: Math.floor((out.length + share) * 100), total: layers.length * 100, layer: null });
      const parts = layerParts(map, layer, reader);
      if (parts === null) continue;
      const one = await layerMetrics(parts, reader, parent, options.signal, tell);
      out.push(one);
      options.onProgress?.({ done: out.length * 100, total: layers.length * 100, layer: one });
    }
    return { layers: out, seconds: (performance.now() - started) / 1000, notes };
  } finally {
    await reader.close();
    await parent?.close();
  }
}

/** The dense feed-forwards of the parent, by layer. */
class Parent {
  readonly reader: RangeReader;
  private readonly byLayer = new Map<number, string[]>();

  constructor(
    private readonly cp: Checkpoint,
    signal: AbortSignal | undefined,
  ) {
    this.reader = new RangeReader(cp, { signal });
    for (const name of cp.tensors.keys()) {
      const { role, layer, tower } = parseTensorName(name);
      if (role !== 'ffn' || layer === null || tower !== 'text') continue;
      const names = this.byLayer.get(layer);
      if (names === undefined) this.byLayer.set(layer, [name]);
      else names.push(name);
    }
  }

  ffn(layer: number): LayerFfns {
    const found = new LayerFfns(false);
    for (const name of this.byLayer.get(layer) ?? []) {
      const tensor = this.cp.tensors.get(name);
      if (tensor !== undefined) found.take(tensor, this.reader);
    }
    return found;
  }

  close(): Promise<void> {
    return this.reader.close();
  }
}

/** One expert as the first reading finds it. */
interface Read {
  readonly expert: number | 'shared';
  readonly norms: Readonly<Record<Part, number | null>>;
  readonly all: number | null;
  readonly finite: boolean;
  readonly digest: string;
  readonly rank: number | null;
}

async function layerMetrics(
  parts: LayerParts,
  reader: RangeReader,
  parent: Parent | null,
  signal: AbortSignal | undefined,
  tell: (share: number) => void,
): Promise<LayerExperts> {
  const notes = [...parts.notes];
  const rankPart = (['up', 'gate', 'down'] as const).find((part) => [...parts.routed.values()][0]?.has(part));
  const reads: Read[] = [];
  const all: readonly (readonly [number | 'shared', ReadonlyMap<Part, PartRows>])[] = [
    ...parts.routed,
    ...(parts.shared === null ? [] : [['shared', parts.shared] as const]),
  ];
  let sketched = false;
  for (const [i, [expert, rows]] of all.entries()) {
    const read = await readExpert(expert, rows, rankPart ?? 'up', signal);
    sketched ||= read.sketched;
    reads.push(read);
    tell((0.6 * (i + 1)) / all.length);
  }
  const cosines = await likeness(parts, notes, signal, (share) => {
    tell(0.6 + 0.2 * share);
  });
  const distances = await distancesOf(parts, reader, parent, notes, signal, (share) => {
    tell(0.8 + 0.2 * share);
  });
  const router = await routerNorms(parts, reader, notes);
  const flags = flagsOf(reads.filter((read) => read.expert !== 'shared'));
  const experts = reads.map((read): ExpertMetric => {
    const { expert, norms } = read;
    const flag = typeof expert === 'number' ? flags.get(expert) : undefined;
    return {
      expert,
      norm: { gate: norms.gate, up: norms.up, down: norms.down, all: read.all },
      distance: distances.get(expert) ?? null,
      nearest: typeof expert === 'number' ? (cosines?.nearest.get(expert) ?? null) : null,
      effectiveRank: read.rank,
      routerNorm: typeof expert === 'number' ? (router?.norms[expert] ?? null) : null,
      flags: flag?.flags ?? (read.finite ? [] : ['not-finite']),
      duplicateOf: flag?.duplicateOf ?? null,
    };
  });
  const how = sketched
    ? `estimated from a random sketch of ${String(SKETCH_ROWS)} rows, so at most ${String(SKETCH_ROWS)}`
    : 'of all singular values';
  return {
    layer: parts.layer,
    experts,
    rankOf: rankPart === undefined ? null : `${rankPart} projection: exp of the entropy ${how}`,
    router: router?.summary ?? null,
    cosine: cosines?.summary ?? null,
    notes,
  };
}

/** Norms, digest and rank in one reading. */
async function readExpert(
  expert: number | 'shared',
  parts: ReadonlyMap<Part, PartRows>,
  rankPart: Part,
  signal: AbortSignal | undefined,
): Promise<Read & { readonly sketched: boolean }> {
  const norms: Record<Part, number | null> = { gate: null, up: null, down: null };
  const hash = createHash('sha256');
  let squares = 0;
  let finite = true;
  let sketch: RankSketch | null = null;
  for (const part of PARTS) {
    const rows = parts.get(part);
    if (rows === undefined) continue;
    const own = part === rankPart ? new RankSketch(rows.rows, rows.cols) : null;
    let sum = 0;
    const step = rowsPerStep(rows.cols);
    for (let begin = 0; begin < rows.rows; begin += step) {
      throwIfAborted(signal);
      const values = await rows.read(begin, Math.min(rows.rows, begin + step));
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      for (const x of values) sum += x * x;
      own?.add(values, begin);
    }
    hash.update(`${part} ${String(rows.rows)} ${String(rows.cols)}`);
    norms[part] = Number.isFinite(sum) ? Math.sqrt(sum) : null;
    finite &&= Number.isFinite(sum);
    squares += sum;
    sketch = own ?? sketch;
  }
  const known = finite && parts.size > 0;
  return {
    expert,
    norms,
    all: known ? Math.sqrt(squares) : null,
    finite,
    digest: hash.digest('hex'),
    rank: sketch?.effectiveRank() ?? null,
    sketched: sketch !== null && !sketch.exact,
  };
}

interface Likeness {
  readonly nearest: ReadonlyMap<number, { readonly expert: number; readonly cosine: number }>;
  readonly summary: { readonly mean: number; readonly min: number; readonly max: number } | null;
}

async function likeness(
  parts: LayerParts,
  notes: string[],
  signal: AbortSignal | undefined,
  tell: (share: number) => void,
): Promise<Likeness | null> {
  const gram = await partsGram(parts, PARTS, notes, signal, tell);
  if (gram === null || gram.experts < 2) return null;
  const numbers = [...parts.routed.keys()];
  const cosines = gram.cosines();
  const nearest = new Map<number, { expert: number; cosine: number }>();
  let [sum, count, min, max] = [0, 0, Infinity, -Infinity];
  for (const [i, expert] of numbers.entries()) {
    for (const [j, other] of numbers.entries()) {
      const cosine = cosines[i * numbers.length + j] ?? NaN;
      if (i === j || Number.isNaN(cosine)) continue;
      if (cosine > (nearest.get(expert)?.cosine ?? -Infinity)) nearest.set(expert, { expert: other, cosine });
      if (j > i) continue;
      sum += cosine;
      count++;
      min = Math.min(min, cosine);
      max = Math.max(max, cosine);
    }
  }
  return { nearest, summary: count === 0 ? null : { mean: sum / count, min, max } };
}

/** Inner products over some projections of all routed experts; null (with a note) where they cannot be laid side by side. */
export async function partsGram(
  parts: LayerParts,
  which: readonly Part[],
  notes: string[],
  signal: AbortSignal | undefined,
  tell: (share: number) => void = () => undefined,
): Promise<Gram | null> {
  const experts = [...parts.routed.values()];
  const [first] = experts;
  if (first === undefined) return null;
  if (experts.length > MAX_GRAM_EXPERTS) {
    notes.push(
      `${String(experts.length)} experts are too many to compare each with each (at most ${String(MAX_GRAM_EXPERTS)})`,
    );
    return null;
  }
  const present = which.filter((part) => first.has(part));
  const total = new Gram(experts.length);
  const sampled: string[] = [];
  for (const [i, part] of present.entries()) {
    const rows = experts.map((expert) => expert.get(part));
    const shape = first.get(part);
    const alike = rows.filter(
      (one): one is PartRows => one !== undefined && one.rows === shape?.rows && one.cols === shape.cols,
    );
    if (alike.length !== rows.length) {
      notes.push(`the experts’ ${part} projections differ in shape, or some are missing: cosines leave them out`);
      continue;
    }
    const gram = await gramOf(alike, signal, (done, rowsInAll) => {
      tell((i + done / Math.max(1, rowsInAll)) / present.length);
    });
    if (gram.sampled) {
      sampled.push(`${part} ${String(gram.taken)} of ${String(gram.rows)}`);
      // Each projection weighs as much as all of its rows would.
      scaleProducts(gram, gram.rows / Math.max(1, gram.taken));
    }
    total.add(gram);
  }
  if (sampled.length > 0) notes.push(`cosines are estimated from evenly spaced rows: ${sampled.join(', ')}`);
  return total.rows === 0 ? null : total;
}

function scaleProducts(gram: Gram, factor: number): void {
  for (let i = 0; i < gram.products.length; i++) gram.products[i] = (gram.products[i] ?? 0) * factor;
}

async function distancesOf(
  parts: LayerParts,
  reader: RangeReader,
  parent: Parent | null,
  notes: string[],
  signal: AbortSignal | undefined,
  tell: (share: number) => void,
): Promise<ReadonlyMap<number | 'shared', number>> {
  const distances = new Map<number | 'shared', number>();
  if (parent === null) return distances;
  const dense = parent.ffn(parts.layer);
  if (dense.dense(parts.layer)?.gate === undefined) {
    notes.push(`the dense parent has no gated feed-forward in layer ${String(parts.layer)}: no distances`);
    return distances;
  }
  const moe = new LayerFfns(parts.transposed);
  for (const tensor of parts.tensors) moe.take(tensor, reader);
  if (moe.skipped.length > 0) {
    notes.push(
      'experts are stored transposed or in an unusual order, in which they are not laid beside the dense parent: no distances',
    );
  }
  let seen = 0;
  const compared = await compareExperts(
    dense,
    moe,
    () => {
      tell(seen++ / Math.max(1, parts.routed.size + 1));
    },
    signal,
  );
  let assumed = 0;
  for (const { expert, relativeL2, neurons } of compared.experts) {
    if (relativeL2 !== null) distances.set(expert, relativeL2);
    if (neurons.kind === 'assumed') assumed++;
  }
  if (assumed > 0)
    notes.push(
      `${String(assumed)} experts share no neuron with the dense parent: their distance takes the neurons in order`,
    );
  for (const note of compared.notes.slice(0, 20)) notes.push(`expert ${String(note.expert)} ${note.message}`);
  return distances;
}

/** Rows of a router are few: read at once. */
const MAX_ROUTER_VALUES = 2 ** 26;

async function routerNorms(
  parts: LayerParts,
  reader: RangeReader,
  notes: string[],
): Promise<{ readonly norms: readonly number[]; readonly summary: NonNullable<LayerExperts['router']> } | null> {
  const { router } = parts;
  if (router === null) return null;
  const rows = await routerRows(parts, reader, notes);
  if (rows === null) return null;
  const norms = rows.map((row) => Math.sqrt(row.reduce((sum, x) => sum + x * x, 0)));
  if (!norms.every(Number.isFinite)) {
    notes.push(`the router ${router.name} holds values that are not finite: no norms`);
    return null;
  }
  const mean = norms.reduce((sum, x) => sum + x, 0) / Math.max(1, norms.length);
  const variance = norms.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, norms.length);
  const zero = norms.every((norm) => norm === 0);
  return { norms, summary: { tensor: router.name, meanNorm: mean, stdNorm: Math.sqrt(variance), zero } };
}

/** One row per expert; null (with a note) where the router cannot be read so. */
export async function routerRows(
  parts: LayerParts,
  reader: RangeReader,
  notes: string[],
): Promise<Float64Array[] | null> {
  const { router } = parts;
  if (router === null) return null;
  const [experts = 0, width = 0] = router.shape;
  if (parts.routed.size > 0 && experts !== parts.routed.size) {
    notes.push(
      `the router ${router.name} has ${String(experts)} rows for ${String(parts.routed.size)} experts: its rows are not shown`,
    );
    return null;
  }
  if (experts * width > MAX_ROUTER_VALUES || /^[IU]\d/.test(router.dtype)) {
    notes.push(`the router ${router.name} is not read: ${router.dtype} [${router.shape.join(', ')}]`);
    return null;
  }
  const values = await storedMatrix(reader, router).read(0, experts);
  return Array.from({ length: experts }, (_, e) => values.subarray(e * width, (e + 1) * width));
}
