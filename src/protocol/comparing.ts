/** What is said about two checkpoints side by side, by worker, host and views alike. From `DiffReport` of src/diff. */
import * as z from 'zod/mini';
import type { Of } from './define.ts';
import { count, flag, json, list, num, pageRequest, text } from './wire.ts';

export const compareSide = z.object({
  name: text,
  path: text,
  modelType: z.nullable(text),
  kind: z.enum(['dense', 'moe', 'unknown']),
  parameters: z.nullable(num),
  bytes: num,
  tensors: count,
});

export const compareSummary = z.object({
  a: compareSide,
  b: compareSide,
  /** Null while values are not compared. */
  identical: z.nullable(flag),
  equal: count,
  changed: count,
  added: count,
  removed: count,
  reshaped: count,
  dtypeChanged: count,
  notCompared: count,
  /** How experts are matched; null where neither or both sides are dense. */
  mode: z.nullable(z.enum(['dense-vs-moe', 'moe-vs-moe'])),
  /** Which side is the dense one. */
  dense: z.nullable(z.enum(['a', 'b'])),
  config: z.nullable(list(z.object({ field: text, a: json, b: json }), 10_000)),
  /** Expert tensors in layouts that are not laid beside dense projections. */
  skipped: list(text, 1000),
  moreSkipped: count,
  /** Tensors of either side that are compared as experts and are no rows of their own. */
  asExperts: z.object({ a: count, b: count }),
  notes: list(text, 1000),
  valuesCompared: flag,
});
export type CompareSummary = Of<typeof compareSummary>;

export const compareState = z.enum(['equal', 'changed', 'added', 'removed', 'reshaped', 'dtype', 'not-compared']);

export const compareRow = z.object({
  name: text,
  state: compareState,
  a: z.nullable(z.object({ dtype: text, shape: list(num, 64) })),
  b: z.nullable(z.object({ dtype: text, shape: list(num, 64) })),
  relativeL2: z.nullable(num),
  maxAbs: z.nullable(num),
  notFinite: z.nullable(num),
  reason: z.nullable(text),
});
export type CompareRow = Of<typeof compareRow>;

export const compareRowsRequest = z.object({
  filter: text,
  states: list(compareState, 10),
  order: z.enum(['name', 'distance']),
  ...pageRequest.shape,
});
export const compareRowsPage = z.object({ start: count, total: count, rows: list(compareRow, 2000) });

export const compareExpert = z.object({
  layer: count,
  expert: z.union([count, z.literal('shared')]),
  relativeL2: z.nullable(num),
  exactScale: z.nullable(num),
  /** Where its neurons come from, in words: `all, in order`, `rows 0–511`, `permuted`. */
  neurons: text,
  found: num,
  width: num,
  gate: z.nullable(num),
  up: z.nullable(num),
  down: z.nullable(num),
  note: z.nullable(text),
});
export type CompareExpert = Of<typeof compareExpert>;

export const compareExperts = z.object({ experts: list(compareExpert), notes: list(text, 1000) });
