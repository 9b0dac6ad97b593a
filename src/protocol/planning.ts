/** What is said about a recipe and its plan, by worker, host and plan editor alike. */
import * as z from 'zod/mini';
import type { Of } from './define.ts';
import { count, exactness, flag, json, jsonObject, list, num, pageRequest, text } from './wire.ts';

/** As `At` of src/recipe: 1-based, ends exclusive. */
export const textRange = z.object({ line: z.int(), column: z.int(), endLine: z.int(), endColumn: z.int() });

/** As `RecipeProblem` of src/recipe. */
export const recipeProblem = z.object({
  severity: z.enum(['error', 'warning']),
  code: text,
  message: text,
  /** Dotted field, '' for the whole recipe. */
  field: text,
  /** `a.moe.yaml`, `preset NAME`; null for relations between defaults. */
  from: z.nullable(text),
  at: z.nullable(textRange),
  hint: z.nullable(text),
});
export type WireRecipeProblem = Of<typeof recipeProblem>;

/** One step of a path into the recipe: a key or an index. */
export const recipePath = list(z.union([text, count]), 40);
export type RecipePath = Of<typeof recipePath>;

/** A control of the plan editor: a recipe field, its value now and what it may be. */
export const recipeField = z.object({
  path: recipePath,
  /** Dotted: `router.std`. */
  field: text,
  label: text,
  /** What it means. */
  about: text,
  /** "a whole number from 1 to 65536". */
  expected: text,
  control: z.enum(['number', 'text', 'choice', 'switch', 'size', 'layers', 'path', 'parents', 'prompts', 'json']),
  choices: list(z.object({ value: text, label: text, about: z.nullable(text) }), 200),
  min: z.nullable(num),
  max: z.nullable(num),
  /** The value that holds, defaults filled in, as written (before `auto` is resolved); null where unset. */
  value: z.nullable(json),
  /** What `auto` came to, where the plan tells. */
  resolved: z.nullable(json),
  /** `default`, `preset NAME`, `a.moe.yaml line 3`. */
  origin: text,
  /** Not meaningful with the other values, and why; shown disabled. */
  disabled: z.nullable(text),
  problems: list(recipeProblem, 100),
});
export type RecipeField = Of<typeof recipeField>;

/** The recipe, parsed. `values` is `Recipe` of src/recipe as JSON. */
export const parsedRecipe = z.object({
  values: jsonObject,
  /** Absolute. */
  basePath: z.nullable(text),
  parentPaths: list(text, 10_000),
  preset: z.nullable(text),
  kind: z.enum(['moe-workbench', 'mergekit-moe', 'mergekit-merge']),
});
export type ParsedRecipe = Of<typeof parsedRecipe>;

/** One pattern row: "layers 0–31 mlp.up_proj → experts 0–7 w3, copy". Expands to its tensors. */
export const planRow = z.object({
  id: text,
  /** `0–31`; '' outside the layers. */
  layers: text,
  source: text,
  target: text,
  /** `0–7`; '' where the target is no expert. */
  experts: text,
  how: text,
  tensors: count,
  bytes: num,
  /** Source and result have the same bytes. */
  copied: flag,
});
export type PlanRow = Of<typeof planRow>;

/** A slice of a source tensor that a target tensor reads. */
export const planSlice = z.object({
  source: text,
  /** Which checkpoint: 0 is the base. */
  from: count,
  /** `rows 0–511 of 1408`, '' for all of it. */
  slice: text,
  /** Bytes read. */
  bytes: num,
});

export const planTensor = z.object({
  name: text,
  dtype: text,
  shape: list(num, 64),
  bytes: num,
  file: text,
  how: text,
  sources: list(planSlice, 10_000),
});
export type WirePlanTensor = Of<typeof planTensor>;

/** One output file in the shard bar. */
export const shardBar = z.object({
  name: text,
  bytes: num,
  tensors: count,
  /** Its data is another's, shared by cloning. */
  cloneOf: z.nullable(text),
  /** What lies in it, by kind, largest first: shares of the bar. */
  parts: list(
    z.object({
      label: text,
      kind: z.enum(['expert', 'router', 'shared', 'attention', 'norm', 'embed', 'head', 'other']),
      bytes: num,
    }),
    50,
  ),
});
export type ShardBar = Of<typeof shardBar>;

const flops = z.object({ trainingLinear: num, trainingCausal: num, forward2N: num });

export const planSummary = z.object({
  /** `Plan.hash`: what a run must match. */
  hash: text,
  sources: list(
    z.object({ path: text, format: text, modelType: z.nullable(text), parameters: z.nullable(num), bytes: num }),
    10_000,
  ),
  targetType: text,
  /** `8 experts, top-2`. */
  headline: text,
  total: num,
  active: num,
  dense: num,
  /** Bytes of the weight files, as listed and as they will occupy the disk. */
  bytes: num,
  physicalBytes: num,
  /** True where an output folder was named, so that cloning is judged for its file system. */
  physicalKnown: flag,
  freeBytes: z.nullable(num),
  sourceBytes: num,
  peakMemoryBytes: num,
  peakMemoryReason: text,
  flops: z.object({ ...flops.shape, sequence: count, dense: flops, definition: text }),
  moeLayers: list(count, 100_000),
  layers: count,
  tensors: count,
  files: count,
  exactness,
  warnings: list(z.object({ code: text, message: text }), 10_000),
  assumptions: list(text, 1000),
  rows: list(planRow, 10_000),
  shards: list(shardBar, 10_000),
  /** Files left out of `shards`. */
  moreShards: count,
  /** Config and index only: can be planned, not run, and why. */
  planOnly: z.nullable(text),
  config: jsonObject,
  seconds: num,
});
export type PlanSummary = Of<typeof planSummary>;

/** The tensors of one pattern row. */
export const planRowRequest = z.object({ hash: text, row: text, ...pageRequest.shape });
export const planRowPage = z.object({ row: text, start: count, total: count, tensors: list(planTensor, 2000) });

/** An edit of the recipe: a field gets a value, or goes back to its default (`remove`). */
export const recipeChange = z.discriminatedUnion('op', [
  z.object({ op: z.literal('set'), path: recipePath, value: json }),
  z.object({ op: z.literal('remove'), path: recipePath }),
]);
export type RecipeChange = Of<typeof recipeChange>;

/** What to plan. `text` stands for the file's contents (an unsaved buffer). */
export const planRequest = z.object({
  file: z.nullable(text),
  text: z.nullable(text),
  preset: z.nullable(text),
  sets: list(text, 1000),
  src: z.nullable(text),
  /** Relative paths without a file are relative to this. */
  cwd: z.nullable(text),
  /** Where the output would go, to judge cloning and free space; null: unknown. */
  out: z.nullable(text),
});
export type PlanRequest = Of<typeof planRequest>;
