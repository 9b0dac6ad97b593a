/** What is said about a checkpoint, by worker, host and views alike: overview, rows of the tensor tree, statistics, experts. */
import * as z from 'zod/mini';
import type { Of } from './define.ts';
import { count, fact, flag, floats, jsonObject, list, measured, num, pageRequest, problem, text } from './wire.ts';

export const expertSummary = z.object({
  layers: count,
  layerIndices: list(count),
  perLayer: count,
  topK: z.nullable(count),
  shared: count,
  width: z.nullable(num),
  sharedWidth: z.nullable(num),
  layout: z.nullable(text),
  parallelSizes: list(count),
});

export const fileState = z.object({
  name: text,
  path: text,
  bytes: num,
  state: z.enum(['ok', 'missing', 'unreadable']),
});

/** Memory of the weights at one precision. */
export const memoryEstimate = z.object({
  dtype: text,
  bytes: num,
  activeBytes: z.nullable(num),
  note: z.nullable(text),
});

/** The facts of a checkpoint: from `inspectCheckpoint`, the folder and the estimates. No tensor data is read for it. */
/** What a checkpoint seems to be before its headers are read: from its folder's listing and config.json alone. */
export const peek = z.object({
  /** Weight files, and their bytes on disk. */
  files: count,
  bytes: num,
  modelType: z.nullable(text),
  layers: z.nullable(count),
  hidden: z.nullable(count),
  experts: z.nullable(count),
  topK: z.nullable(count),
});
export type PeekFacts = Of<typeof peek>;

export const overview = z.object({
  /** Shown name: the folder or file. */
  name: text,
  /** Absolute path that was opened. */
  path: text,
  format: z.enum(['hf', 'safetensors', 'gguf']),
  kind: z.enum(['dense', 'moe', 'unknown']),
  modelType: z.nullable(text),
  tensorCount: count,
  parameters: z.object({ total: z.nullable(num), active: z.nullable(num) }),
  /** Bytes of the tensors' data. */
  bytes: num,
  /** Number of tensors of each dtype. */
  dtypes: list(z.object({ dtype: text, tensors: count }), 1000),
  shards: count,
  files: list(fileState, 100_000),
  tied: flag,
  layers: z.nullable(count),
  experts: z.nullable(expertSummary),
  memory: list(memoryEstimate, 20),
  /** Null where the config does not tell. */
  kvCache: z.nullable(z.object({ bytesPer1kTokens: num, dtype: text, how: text })),
  problems: list(problem, 10_000),
  /** Problems left out of `problems`. */
  moreProblems: count,
  /** Config and index only: no data to read, nothing to write from. */
  planOnly: flag,
  /** `__metadata__` or GGUF key-values, as text; long values are cut. */
  metadata: list(z.object({ key: text, value: text, cut: flag }), 10_000),
  config: z.nullable(jsonObject),
  /** True where the folder holds a manifest of ours: it can be verified and reverted. */
  upcycled: flag,
  /** More rows for the overview table. */
  facts: list(fact, 200),
});
export type Overview = Of<typeof overview>;

/** Which rows of the tensor tree are asked for. Stateless: the same view gives the same rows until the files change. */
export const rowView = z.object({
  /** Filter language of src/view; '' for all. */
  filter: text,
  order: z.enum(['name', 'size', 'file']),
  descending: flag,
  /** `tree`: nested by module, like layers collapsed into one; `flat`: tensors alone. */
  shape: z.enum(['tree', 'flat']),
  /** Ids of the groups whose state differs from the default (as the model opens them). */
  toggled: list(text, 100_000),
  /** What holds for groups not in `toggled`. */
  open: z.enum(['default', 'all', 'none']),
});
export type RowView = Of<typeof rowView>;

const rowCommon = {
  /** Stable over reloads; what `toggled` lists and `reveal` takes. */
  id: text,
  /** 1-based, for aria-level. */
  level: z.int(),
  /** 1-based position among its siblings, and how many they are. */
  position: z.int(),
  siblings: z.int(),
  /** What is shown: the last part of the name, or a pattern like `layers.0–31`. */
  label: text,
  /** Where the filter hit in `label`: [from, to) pairs. */
  hits: list(z.tuple([count, count]), 1000),
  bytes: num,
  /** Elements. */
  elements: num,
  /** A problem lies in it. */
  severity: z.nullable(z.enum(['error', 'warning', 'info'])),
};

export const groupRow = z.object({
  ...rowCommon,
  kind: z.literal('group'),
  expanded: flag,
  tensors: count,
  /** Dtypes inside, joined by the viewer; at most a few. */
  dtypes: list(text, 50),
  /** Common shape, where all tensors have one. */
  shape: z.nullable(list(num, 64)),
  /** How many like things a pattern row stands for (32 layers), or null. */
  repeats: z.nullable(count),
  role: z.nullable(text),
});

export const tensorRow = z.object({
  ...rowCommon,
  kind: z.literal('tensor'),
  /** Full name on disk. */
  name: text,
  dtype: text,
  shape: list(num, 64),
  file: text,
  role: z.nullable(text),
  layer: z.nullable(count),
  /** Number of the expert, `packed` where all lie in the tensor. */
  expert: z.nullable(z.union([count, z.literal('packed')])),
});

export const treeRow = z.discriminatedUnion('kind', [groupRow, tensorRow]);
export type GroupRow = Of<typeof groupRow>;
export type TensorRow = Of<typeof tensorRow>;
export type TreeRow = Of<typeof treeRow>;

export const rowsRequest = z.object({ view: rowView, ...pageRequest.shape });

export const rowsPage = z.object({
  start: count,
  rows: list(treeRow, 2000),
  /** Rows of this view in all. */
  total: count,
  /** Tensors that the filter lets through, of all. */
  matched: count,
  tensors: count,
  matchedBytes: num,
  /** What is wrong with the filter, with its place in the text; then the rows are those without it. */
  filterProblem: z.nullable(z.object({ message: text, from: count, to: count })),
});
export type RowsPage = Of<typeof rowsPage>;

/** Where a tensor's row stands in a view, its groups opened. */
export const locateRequest = z.object({ view: rowView, tensor: text });
export const located = z.object({ view: rowView, index: z.nullable(count) });

export const tensorFacts = z.object({
  name: text,
  dtype: text,
  shape: list(num, 64),
  elements: num,
  bytes: num,
  file: text,
  path: text,
  /** Absolute byte offset; null where only config and index are at hand. */
  begin: z.nullable(num),
  role: z.nullable(text),
  layer: z.nullable(count),
  expert: z.nullable(z.union([count, z.literal('packed')])),
  /** Hugging Face name, where it differs. */
  alias: z.nullable(text),
  problems: list(problem, 100),
  /** Null where statistics can be computed, else why not. */
  statsUnavailable: z.nullable(text),
  /** Python that reads this tensor. */
  python: text,
});
export type TensorFacts = Of<typeof tensorFacts>;

export const statsRequest = z.object({
  tensor: text,
  bins: z.int().check(z.gte(2), z.lte(1000)),
  /** `log`: bins of |x| in decades, signs apart. */
  scale: z.enum(['linear', 'log']),
  /** How many of the first values to send. */
  first: z.int().check(z.gte(0), z.lte(1000)),
});

export const histogram = z.object({
  scale: z.enum(['linear', 'log']),
  /** One more than bins, ascending. */
  edges: list(num, 2002),
  counts: list(num, 2001),
  /** Exact zeros, which a log histogram has no bin for; 0 for a linear one. */
  zeros: num,
  /** Values beyond the edges. */
  outside: num,
});

export const tensorStats = z.object({
  tensor: text,
  elements: num,
  finite: num,
  nan: num,
  positiveInfinite: num,
  negativeInfinite: num,
  zeros: num,
  /** Over the finite values; null where there are none. */
  min: z.nullable(num),
  max: z.nullable(num),
  mean: z.nullable(num),
  std: z.nullable(num),
  absMean: z.nullable(num),
  norm: z.nullable(num),
  /** `exact` or how they were estimated. */
  quantiles: z.object({ how: text, values: list(z.object({ q: num, value: num }), 100) }),
  histogram: z.nullable(histogram),
  first: list(measured, 1000),
  bytesRead: num,
  seconds: num,
  /** What was sampled, skipped or guessed. */
  notes: list(text, 100),
});
export type TensorStats = Of<typeof tensorStats>;

export const bytesProgress = z.object({ bytesDone: num, bytesTotal: num, what: text });
export type BytesProgress = Of<typeof bytesProgress>;

export const expertFlag = z.enum(['dead', 'duplicate', 'not-finite', 'outlier']);

export const projectionNorms = z.object({
  gate: z.nullable(num),
  up: z.nullable(num),
  down: z.nullable(num),
  all: z.nullable(num),
});

/** One expert of one layer, from its weights alone. */
export const expertMetric = z.object({
  /** Routed: its number; shared experts are apart. */
  expert: z.union([count, z.literal('shared')]),
  /** Frobenius norms. */
  norm: projectionNorms,
  /** ‖expert − dense parent‖ / ‖parent‖; null without a parent. */
  distance: z.nullable(num),
  /** Cosine of its weights with the most similar other expert, and which that is. */
  nearest: z.nullable(z.object({ expert: count, cosine: num })),
  /** Effective rank (estimate) of the matrix named in `rankOf`. */
  effectiveRank: z.nullable(num),
  /** Norm of its row of the router. */
  routerNorm: z.nullable(num),
  flags: list(expertFlag, 10),
  /** The first expert whose weights are the same, where `duplicate`. */
  duplicateOf: z.nullable(count),
});
export type ExpertMetric = Of<typeof expertMetric>;

export const layerExperts = z.object({
  layer: count,
  experts: list(expertMetric, 65_536),
  /** Which matrix the effective rank is of, and how it is estimated. */
  rankOf: z.nullable(text),
  router: z.nullable(z.object({ tensor: text, meanNorm: num, stdNorm: num, zero: flag })),
  /** Mean of all pairwise cosines, and their extremes. */
  cosine: z.nullable(z.object({ mean: num, min: num, max: num })),
  notes: list(text, 100),
});
export type LayerExperts = Of<typeof layerExperts>;

/** What can be shown of experts, before any data is read. */
export const expertGrid = z.object({
  summary: z.nullable(expertSummary),
  layers: list(z.object({ layer: count, experts: count, shared: flag, router: z.nullable(text) }), 100_000),
  /** The dense parent that distances are taken to. */
  parent: z.nullable(z.object({ path: text, name: text, why: text })),
  /** Why there are no metrics (plan only, layout not read), or null. */
  unavailable: z.nullable(text),
  /** A freshly upcycled model: identical experts are expected, and the view says so. */
  identicalExpected: flag,
  notes: list(text, 100),
});
export type ExpertGrid = Of<typeof expertGrid>;

export const expertMetricsRequest = z.object({
  /** Layers to compute; null: all. */
  layers: z.nullable(list(count, 100_000)),
  /** Dense checkpoint to take distances to; null: the one that the grid names, if any. */
  parent: z.nullable(text),
});
export const expertMetricsProgress = z.object({ done: count, total: count, layer: z.nullable(layerExperts) });
export const expertMetricsResult = z.object({
  layers: list(layerExperts, 100_000),
  seconds: num,
  notes: list(text, 100),
});

export const metricName = z.enum(['norm', 'distance', 'nearest', 'effectiveRank', 'routerNorm']);
export type MetricName = z.output<typeof metricName>;

export const similarityRequest = z.object({ layer: count, part: z.enum(['all', 'gate', 'up', 'down', 'router']) });
export const similarity = z.object({
  layer: count,
  part: z.enum(['all', 'gate', 'up', 'down', 'router']),
  /** Experts, in order; rows and columns of `values`. */
  experts: list(count, 65_536),
  /** E×E cosines, row by row; NaN where an expert is all zeros. */
  values: floats,
  min: z.nullable(num),
  max: z.nullable(num),
  /** One line for people who do not see the picture. */
  summary: text,
  notes: list(text, 100),
});
export type Similarity = Of<typeof similarity>;
