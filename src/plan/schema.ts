/** Runtime validation of a plan that comes from a file: its shape here, its hash and sources where it is used. */
import { DTYPES } from 'safetensors-js';
import { z } from 'zod';
import type { JsonValue } from '../common/json.ts';
import type { Expr, IndexSet } from './expr.ts';
import { PROMPT_INITS, ROUTER_INITS } from '../recipe/types.ts';
import { PLAN_SCHEMA } from './types.ts';

const whole = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const finite = z.number();
const name = z.string().min(1).max(4096);
const dtype = z.enum(DTYPES);
const shape = z.array(whole).max(8);
/** A plain file name: nothing that could leave the output or source folder. */
const fileName = z
  .string()
  .min(1)
  .max(255)
  .refine((text) => !/[/\\\0]/.test(text) && text !== '.' && text !== '..', 'must be a plain file name');

const json: z.ZodType<JsonValue> = z.lazy(() =>
  z.union([z.null(), z.boolean(), finite, z.string(), z.array(json), z.record(z.string(), json)]),
);
const jsonObject = z.record(z.string(), json);

const prompts = z.array(
  z.strictObject({ positive_prompts: z.array(z.string()), negative_prompts: z.array(z.string()) }),
);

const expr: z.ZodType<Expr> = z.lazy(() =>
  z.discriminatedUnion('op', [
    z.strictObject({ op: z.literal('source'), from: whole, tensor: name }),
    z.strictObject({ op: z.literal('dequantise'), of: expr }),
    z.strictObject({ op: z.literal('slice'), of: expr, dim: whole, begin: whole, end: whole }),
    z.strictObject({ op: z.literal('concat'), dim: whole, of: z.array(expr).min(1) }),
    z.strictObject({ op: z.literal('reshape'), of: expr, shape }),
    z.strictObject({ op: z.literal('take'), of: expr, dim: whole, index: indexSet }),
    z.strictObject({ op: z.literal('scale'), of: expr, by: finite }),
    z.strictObject({ op: z.literal('offset'), of: expr, by: finite }),
    z.strictObject({ op: z.literal('cast'), of: expr, dtype }),
    z.strictObject({ op: z.literal('average'), of: z.array(expr).min(1) }),
    z.strictObject({ op: z.literal('noise'), of: expr, std: finite, ratio: finite, key: name }),
    z.strictObject({ op: z.literal('redraw'), of: expr, dim: whole, index: indexSet, key: name }),
    z.strictObject({ op: z.literal('svd-noise'), of: expr, rank: whole, scale: finite, key: name }),
    z.strictObject({
      op: z.literal('random'),
      shape,
      dtype,
      dist: z.discriminatedUnion('kind', [
        z.strictObject({ kind: z.literal('normal'), mean: finite, std: finite }),
        z.strictObject({ kind: z.literal('uniform'), low: finite, high: finite }),
      ]),
      key: name,
    }),
    z.strictObject({ op: z.literal('orthogonal'), shape: z.tuple([whole, whole]), dtype, gain: finite, key: name }),
    z.strictObject({
      op: z.literal('prompt-gate'),
      shape: z.tuple([whole, whole]),
      dtype,
      mode: z.enum(PROMPT_INITS),
      layer: whole,
      prompts,
    }),
    z.strictObject({ op: z.literal('fill'), shape, dtype, value: finite }),
  ]),
);

const indexSet: z.ZodType<IndexSet> = z.lazy(() =>
  z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('unpermute-rope'), heads: whole.min(1) }),
    z.strictObject({ kind: z.literal('repeat'), times: whole.min(1) }),
    z.strictObject({ kind: z.literal('permutation'), key: name, size: whole }),
    z.strictObject({ kind: z.literal('random-shard'), key: name, size: whole, shards: whole.min(1), shard: whole }),
    z.strictObject({
      kind: z.literal('norm-shard'),
      key: name,
      size: whole,
      shards: whole.min(1),
      shard: whole,
      of: z.tuple([expr, expr, expr]),
    }),
    z.strictObject({ kind: z.literal('random-subset'), key: name, size: whole, ratio: finite }),
  ]),
);

const expertInit = z.discriminatedUnion('method', [
  z.strictObject({ method: z.literal('copy') }),
  z.strictObject({ method: z.literal('noise'), std: finite, ratio: finite }),
  z.strictObject({ method: z.literal('permute') }),
  z.strictObject({ method: z.literal('drop'), ratio: finite, variant: z.enum(['paper', 'official']) }),
  z.strictObject({ method: z.literal('split'), by: z.enum(['sequential', 'random', 'norm']) }),
  z.strictObject({ method: z.literal('svd'), rank: whole, scale: finite }),
]);
const target = z.enum(['mixtral', 'qwen2_moe', 'qwen3_moe', 'flex_olmo', 'granitemoe']);
const sharedPlan = z.enum(['none', 'a', 'b', 'c']);

/** The resolved recipe inside a plan (a user's recipe file has its own, forgiving schema). */
export const resolvedRecipeSchema = z.strictObject({
  base: z.string().nullable(),
  parents: z.array(z.strictObject({ path: z.string(), experts: whole })),
  rest: z.enum(['base', 'average']),
  target: z.union([z.literal('auto'), target]),
  experts: whole,
  top_k: whole,
  granularity: whole.min(1),
  layers: z.union([z.literal('all'), z.templateLiteral(['every:', z.number()]), z.array(whole)]),
  expert_init: expertInit,
  router: z.strictObject({
    init: z.enum(ROUTER_INITS),
    std: finite,
    order: z.enum(['topk-softmax', 'softmax-topk']),
    prompts: prompts.optional(),
  }),
  scale: z.enum(['auto', 'none', 'exact', 'megatron']),
  shared_expert: z.union([z.literal('auto'), sharedPlan, z.strictObject({ plan: sharedPlan, width: whole })]),
  tie: z.union([z.literal('auto'), z.boolean()]),
  output: z.strictObject({
    dtype: z.enum(['same', 'float32', 'bfloat16', 'float16']),
    shard_size: whole.min(1),
    clone: z.union([z.literal('auto'), z.boolean()]),
  }),
  config: jsonObject,
  seed: whole,
  preset: z.string().optional(),
});

const flops = z.object({ trainingLinear: finite, trainingCausal: finite, forward2N: finite });

/** A plan file. Unknown members (derived ones such as `tensors[].sources`) are ignored. */
export const planSchema = z.object({
  schema: z.literal(PLAN_SCHEMA),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  recipe: resolvedRecipeSchema,
  sources: z
    .array(
      z.object({
        path: z.string(),
        format: z.enum(['hf', 'safetensors', 'gguf']),
        modelType: z.string().nullable(),
        tensors: z.record(
          z.string(),
          z.object({ dtype: z.string(), shape, file: name, begin: z.number().int(), bytes: whole }),
        ),
      }),
    )
    .min(1),
  target: z.object({
    modelType: z.string(),
    parameters: z.object({ total: whole, active: whole }),
    bytes: whole,
    fileBytes: whole,
    config: jsonObject,
    configFloats: z.array(z.string()),
  }),
  source: z.object({ modelType: z.string(), parameters: whole, bytes: whole }),
  layers: z.array(z.object({ layer: whole, kind: z.enum(['moe', 'dense']) })),
  preconditions: z.array(
    z.object({ kind: z.literal('equal-tensors'), from: whole, a: name, b: name, message: z.string() }),
  ),
  files: z
    .array(
      z.object({
        name: fileName,
        tensors: z.array(name),
        headerBytes: whole,
        dataBytes: whole,
        cloneOf: fileName.optional(),
      }),
    )
    .min(1),
  tensors: z.array(z.object({ name, dtype, shape, bytes: whole, file: fileName, expr })),
  exactness: z.object({ class: z.enum(['bit-exact', 'exact', 'approximate', 'not-preserving']), reason: z.string() }),
  flopsPerToken: flops.extend({ sequence: whole, dense: flops, definition: z.string() }),
  peakMemoryBytes: whole,
  peakMemoryReason: z.string(),
  physicalBytes: whole,
  warnings: z.array(z.object({ code: z.string(), message: z.string() })),
  assumptions: z.array(z.string()),
});
