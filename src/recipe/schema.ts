/** The zod schema of `*.moe.yaml`: shape, ranges, defaults. Relations between fields are checked in check.ts. */
import * as z from 'zod';
import { fieldText } from './fields.ts';
import { ROUTER_INITS, TARGETS } from './types.ts';
import { parseLayers, parseSize } from './units.ts';

const MAX_COUNT = 65_536;

/** Description for editors, taken from the one table of fields. */
function doc(path: string): { description: string } {
  const about = fieldText(path.split('.'))?.about;
  if (about === undefined) throw new Error(`no text for field ${path}`);
  return { description: about };
}

const count = () => z.int().min(1).max(MAX_COUNT);
const amount = () => z.number().min(0);
const share = () => z.number().min(0).max(1);

/** The six methods, each with its own fields and defaults. */
export const EXPERT_INITS = {
  copy: z.strictObject({ method: z.literal('copy').meta(doc('expert_init.method')) }),
  noise: z.strictObject({
    method: z.literal('noise').meta(doc('expert_init.method')),
    std: amount().default(0.02).meta(doc('expert_init.std')),
    ratio: share().default(0.5).meta(doc('expert_init.ratio')),
  }),
  permute: z.strictObject({ method: z.literal('permute').meta(doc('expert_init.method')) }),
  drop: z.strictObject({
    method: z.literal('drop').meta(doc('expert_init.method')),
    ratio: share().default(0.5).meta(doc('expert_init.ratio')),
    variant: z.enum(['paper', 'official']).default('paper').meta(doc('expert_init.variant')),
  }),
  split: z.strictObject({
    method: z.literal('split').meta(doc('expert_init.method')),
    by: z.enum(['sequential', 'random', 'norm']).default('sequential').meta(doc('expert_init.by')),
  }),
  svd: z.strictObject({
    method: z.literal('svd').meta(doc('expert_init.method')),
    rank: count().default(512).meta(doc('expert_init.rank')),
    scale: amount().default(0.5).meta(doc('expert_init.scale')),
  }),
} as const;

export type MethodName = keyof typeof EXPERT_INITS;
export const METHOD_NAMES = Object.keys(EXPERT_INITS) as readonly MethodName[];

const expertInit = z.discriminatedUnion('method', [
  EXPERT_INITS.copy,
  EXPERT_INITS.noise,
  EXPERT_INITS.permute,
  EXPERT_INITS.drop,
  EXPERT_INITS.split,
  EXPERT_INITS.svd,
]);

/** `noise` alone stands for `{method: noise}` with its defaults. */
const expertInitInput = z
  .union([z.enum(METHOD_NAMES).transform((method) => EXPERT_INITS[method].parse({ method })), expertInit])
  .prefault('copy')
  .meta(doc('expert_init'));

const layers = z
  .union([
    z.enum(['all']),
    z.string().regex(/^\s*(?:all|every\s*:\s*\d+|\d+\s*(?:-\s*\d+)?(?:\s*,\s*\d+\s*(?:-\s*\d+)?)*)\s*$/),
    z.int().min(0),
    z.array(z.union([z.int().min(0), z.string().regex(/^\s*\d+\s*(?:-\s*\d+)?\s*$/)])).min(1),
  ])
  .transform((value, context) => {
    const result = parseLayers(value);
    if (result.ok) return result.layers;
    context.addIssue({ code: 'custom', message: result.why });
    return z.NEVER;
  })
  .prefault('all')
  .meta({ ...doc('layers'), examples: ['all', 'every:2', '0-15,24-31', [0, 2, 5]] });

const shardSize = z
  .union([z.int().min(1), z.string().regex(/^\s*\d+(?:\.\d+)?\s*(?:[kKmMgGtT](?:[iI])?)?[bB]?\s*$/)])
  .transform((value, context) => {
    const bytes = parseSize(value);
    if (bytes !== null) return bytes;
    context.addIssue({ code: 'custom', message: 'this is no size' });
    return z.NEVER;
  })
  .prefault('5GB')
  .meta(doc('output.shard_size'));

const plan = z.enum(['none', 'a', 'b', 'c']);

const prompt = z.string().regex(/\S/);
const expertPrompts = z
  .strictObject({
    positive_prompts: z.array(prompt).min(1).meta(doc('router.prompts.[].positive_prompts')),
    negative_prompts: z.array(prompt).default([]).meta(doc('router.prompts.[].negative_prompts')),
  })
  .meta(doc('router.prompts.[]'));

/** The members of a recipe; `recipeSchema` is the object of them. */
export const RECIPE_SHAPE = {
  preset: z.string().optional().meta(doc('preset')),
  base: z.string().min(1).nullable().default(null).meta(doc('base')),
  parents: z
    .array(
      z
        .strictObject({
          path: z.string().min(1).meta(doc('parents.[].path')),
          experts: count().meta(doc('parents.[].experts')),
        })
        .meta(doc('parents.[]')),
    )
    .default([])
    .meta(doc('parents')),
  rest: z.enum(['base', 'average']).default('base').meta(doc('rest')),
  target: z
    .enum(['auto', ...TARGETS])
    .default('auto')
    .meta(doc('target')),
  experts: count().default(8).meta(doc('experts')),
  top_k: count().default(2).meta(doc('top_k')),
  granularity: count().default(1).meta(doc('granularity')),
  layers,
  expert_init: expertInitInput,
  router: z
    .strictObject({
      init: z.enum(ROUTER_INITS).default('normal').meta(doc('router.init')),
      std: amount().default(0.02).meta(doc('router.std')),
      order: z.enum(['topk-softmax', 'softmax-topk']).default('topk-softmax').meta(doc('router.order')),
      prompts: z.array(expertPrompts).optional().meta(doc('router.prompts')),
    })
    .prefault({})
    .meta(doc('router')),
  scale: z.enum(['auto', 'none', 'exact', 'megatron']).default('auto').meta(doc('scale')),
  shared_expert: z
    .union([
      z.enum(['auto', 'none', 'a', 'b', 'c']),
      z.strictObject({
        plan: plan.meta(doc('shared_expert.plan')),
        width: z.int().min(1).meta(doc('shared_expert.width')),
      }),
    ])
    .default('auto')
    .meta(doc('shared_expert')),
  tie: z
    .union([z.literal('auto'), z.boolean()])
    .default('auto')
    .meta(doc('tie')),
  output: z
    .strictObject({
      dtype: z.enum(['same', 'float32', 'bfloat16', 'float16']).default('same').meta(doc('output.dtype')),
      shard_size: shardSize,
      clone: z
        .union([z.literal('auto'), z.boolean()])
        .default('auto')
        .meta(doc('output.clone')),
    })
    .prefault({})
    .meta(doc('output')),
  config: z.record(z.string(), z.json()).default({}).meta(doc('config')),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(42).meta(doc('seed')),
} as const;

export const recipeSchema = z.strictObject(RECIPE_SHAPE);

/** Known keys at a path of objects, for spelling help; empty where the keys are free or there are none. */
export const KNOWN_KEYS: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ['', Object.keys(RECIPE_SHAPE)],
  ['parents.[]', ['path', 'experts']],
  ['router', ['init', 'std', 'order', 'prompts']],
  ['router.prompts.[]', ['positive_prompts', 'negative_prompts']],
  ['shared_expert', ['plan', 'width']],
  ['output', ['dtype', 'shard_size', 'clone']],
]);

/** Fields of a method besides `method` itself. */
export function methodFields(method: MethodName): readonly string[] {
  return Object.keys(EXPERT_INITS[method].shape).filter((key) => key !== 'method');
}
