/** The expressions of one MoE layer: experts, router and shared expert out of one or several dense FFNs. */
import type { Dtype } from 'safetensors-js';
import { isDtype } from 'safetensors-js';
import type { Part, Target } from '../families/targets/types.ts';
import { layerPrefix } from '../families/targets/types.ts';
import type { Recipe, SharedPlan } from '../recipe/types.ts';
import type { Expr, IndexSet } from './expr.ts';
import type { Parent } from './logical.ts';
import type { Scaling } from './scale.ts';
import { bytesOf } from './infer.ts';

const PARTS: readonly Part[] = ['gate', 'up', 'down'];
/** The dimension along which neurons lie: rows of gate and up, columns of down. */
const NEURON_DIM: Readonly<Record<Part, number>> = { gate: 0, up: 0, down: 1 };

/** An output tensor before it has a file. */
export interface Draft {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly expr: Expr;
  /** Which routed expert it belongs to; null for everything else. */
  readonly expert: number | null;
  readonly layer: number | null;
}

export interface MoeContext {
  readonly recipe: Recipe;
  readonly target: Target;
  readonly hidden: number;
  readonly intermediate: number;
  /** Width of a routed expert. */
  readonly width: number;
  /** parents[replica]: whose FFN replica r is a copy of. */
  readonly replicaParents: readonly Parent[];
  readonly shared: { readonly plan: SharedPlan; readonly width: number };
  readonly scaling: Scaling;
  /** Output dtype of a tensor that is stored as `native`. */
  outputDtype(native: Dtype): Dtype;
}

/** A dense FFN of one parent and layer: expressions and the dtype that they have. */
interface DenseFfn {
  readonly parts: Readonly<Record<Part, Expr>>;
  readonly native: Dtype;
}

/** dtype of a stored tensor once dequantised. */
export function nativeDtype(parent: Parent, name: string): Dtype {
  if (!parent.quantised && parent.checkpoint.gguf === null && parent.checkpoint.aliases.size === 0) {
    const direct = parent.physical.get(name)?.dtype;
    if (direct !== undefined && isDtype(direct)) return direct;
  }
  const physical = parent.checkpoint.gguf?.get(name)?.tensor ?? parent.checkpoint.aliases.get(name) ?? name;
  const stored = parent.physical.get(physical)?.dtype ?? parent.physical.get(name)?.dtype;
  return stored !== undefined && isDtype(stored) ? stored : 'F32';
}

/** The FFN of a parent's layer as three matrices [I,H], [I,H], [H,I]; a fused gate_up is sliced (gate rows first). */
export function denseFfn(parent: Parent, layer: number): DenseFfn {
  const prefix = `${layerPrefix(layer)}mlp.`;
  const width = parent.spec.intermediate;
  const down = parent.tensor(`${prefix}down_proj.weight`);
  if (parent.family.modelType === 'phi3') {
    const fused = parent.tensor(`${prefix}gate_up_proj.weight`);
    return {
      parts: {
        gate: { op: 'slice', of: fused, dim: 0, begin: 0, end: width },
        up: { op: 'slice', of: fused, dim: 0, begin: width, end: 2 * width },
        down,
      },
      native: nativeDtype(parent, `${prefix}gate_up_proj.weight`),
    };
  }
  return {
    parts: { gate: parent.tensor(`${prefix}gate_proj.weight`), up: parent.tensor(`${prefix}up_proj.weight`), down },
    native: nativeDtype(parent, `${prefix}gate_proj.weight`),
  };
}

const BITS: Readonly<Partial<Record<Dtype, number>>> = { F16: 16, BF16: 16, F32: 32, F64: 64 };

/** Casts before the arithmetic when the output is wider, so that it rounds in the wider type; after it otherwise. */
export function castAround(expr: Expr, native: Dtype, output: Dtype, arithmetic: (inner: Expr) => Expr): Expr {
  if (native === output) return arithmetic(expr);
  const widens = (BITS[output] ?? 0) > (BITS[native] ?? 0);
  return widens
    ? arithmetic({ op: 'cast', of: expr, dtype: output })
    : { op: 'cast', of: arithmetic(expr), dtype: output };
}

function scaled(expr: Expr, by: number): Expr {
  return by === 1 ? expr : { op: 'scale', of: expr, by };
}

function slicePart(context: MoeContext, ffn: DenseFfn, layer: number, part: Part, shard: number, from: number): Expr {
  const { recipe, width, intermediate } = context;
  const whole = ffn.parts[part];
  const shards = recipe.granularity;
  if (shards === 1) return whole;
  const dim = NEURON_DIM[part];
  const by = recipe.expert_init.method === 'split' ? recipe.expert_init.by : 'sequential';
  if (by === 'sequential') return { op: 'slice', of: whole, dim, begin: shard * width, end: (shard + 1) * width };
  const key = `split.${String(from)}.${String(layer)}`;
  const index: IndexSet =
    by === 'random'
      ? { kind: 'random-shard', key, size: intermediate, shards, shard }
      : {
          kind: 'norm-shard',
          key,
          size: intermediate,
          shards,
          shard,
          of: [ffn.parts.gate, ffn.parts.up, ffn.parts.down],
        };
  return { op: 'take', of: whole, dim, index };
}

/** The recipe's change to one expert's matrix. `name` is the output tensor's name (or its part of a stacked one). */
function initialise(context: MoeContext, expr: Expr, layer: number, expert: number, part: Part, name: string): Expr {
  const init = context.recipe.expert_init;
  const place = `${String(layer)}.${String(expert)}`;
  const dim = NEURON_DIM[part];
  switch (init.method) {
    case 'copy':
    case 'split':
      return expr;
    case 'noise':
      return { op: 'noise', of: expr, std: init.std, ratio: init.ratio, key: name };
    case 'permute':
      return {
        op: 'take',
        of: expr,
        dim,
        index: { kind: 'permutation', key: `permute.${place}`, size: context.width },
      };
    case 'drop': {
      // Paper: gate, up and down lose the same neurons. Official code: each matrix draws its own set (upcycling.md §9.2).
      const key = init.variant === 'paper' ? `drop.${place}` : `drop.${place}.${part}`;
      return {
        op: 'redraw',
        of: expr,
        dim,
        index: { kind: 'random-subset', key, size: context.width, ratio: init.ratio },
        key: name,
      };
    }
    case 'svd':
      return { op: 'svd-noise', of: expr, rank: init.rank, scale: init.scale, key: name };
  }
}

function routerExpr(context: MoeContext, layer: number, name: string, dtype: Dtype): Expr {
  const { recipe, hidden } = context;
  const { init, std, prompts = [] } = recipe.router;
  const rows = recipe.experts / recipe.granularity;
  const shape: readonly [number, number] = [rows, hidden];
  const one = ((): Expr => {
    switch (init) {
      case 'zero':
        return { op: 'fill', shape, dtype, value: 0 };
      case 'normal':
        return { op: 'random', shape, dtype, dist: { kind: 'normal', mean: 0, std }, key: name };
      case 'uniform': {
        const half = std * Math.sqrt(3);
        return { op: 'random', shape, dtype, dist: { kind: 'uniform', low: -half, high: half }, key: name };
      }
      case 'orthogonal':
        return { op: 'orthogonal', shape, dtype, gain: std * Math.sqrt(hidden), key: name };
      case 'hidden':
      case 'hidden_avg':
      case 'cheap_embed':
        return { op: 'prompt-gate', shape, dtype, mode: init, layer, prompts };
    }
  })();
  if (recipe.granularity === 1) return one;
  if (init === 'zero') return { op: 'fill', shape: [recipe.experts, hidden], dtype, value: 0 };
  // Virtual group: row e·G + g is r_e, so that the top-k takes whole replicas.
  return { op: 'take', of: one, dim: 0, index: { kind: 'repeat', times: recipe.granularity } };
}

/** All output tensors of MoE layer `layer`. */
export function moeLayer(context: MoeContext, layer: number): Draft[] {
  const { recipe, target, hidden, width, shared, scaling, replicaParents } = context;
  const drafts: Draft[] = [];
  const push = (name: string, dtype: Dtype, shape: readonly number[], expr: Expr, expert: number | null): void => {
    drafts.push({ name, dtype, shape, bytes: bytesOf(dtype, shape), expr, expert, layer });
  };
  const ffnOf = new Map<Parent, DenseFfn>();
  const ffn = (parent: Parent): DenseFfn => {
    const known = ffnOf.get(parent) ?? denseFfn(parent, layer);
    ffnOf.set(parent, known);
    return known;
  };
  const [base] = replicaParents;
  if (base === undefined) return drafts;
  const native = ffn(base).native;
  const dtype = context.outputDtype(native);

  const routerName = target.router(layer);
  push(routerName, dtype, [recipe.experts, hidden], routerExpr(context, layer, routerName, dtype), null);

  // Replicas of one parent share the very same expression objects: the writer and the hash see them once.
  const cache = new Map<string, Expr>();
  const perExpert = ['copy', 'split'].includes(recipe.expert_init.method) ? null : recipe.expert_init.method;
  const expertExpr = (expert: number, part: Part, name: string): Expr => {
    const parent = replicaParents[Math.floor(expert / recipe.granularity)] ?? base;
    const shard = expert % recipe.granularity;
    const key = perExpert === null ? `${String(parent.from)}.${String(shard)}.${part}` : name;
    const known = cache.get(key);
    if (known !== undefined) return known;
    const source = ffn(parent);
    const silent = part === 'down' && shared.plan === 'c';
    const shape = part === 'down' ? [hidden, width] : [width, hidden];
    const made: Expr = silent
      ? { op: 'fill', shape, dtype, value: 0 }
      : castAround(slicePart(context, source, layer, part, shard, parent.from), source.native, dtype, (inner) =>
          scaled(initialise(context, inner, layer, expert, part, name), scaling[part]),
        );
    cache.set(key, made);
    return made;
  };

  if (target.experts.layout === 'stacked') {
    const input: Expr[] = [];
    const output: Expr[] = [];
    const inputName = target.experts.input(layer);
    const outputName = target.experts.output(layer);
    for (let expert = 0; expert < recipe.experts; expert += 1) {
      const member = (part: Part, name: string): Expr => expertExpr(expert, part, `${name}#${String(expert)}.${part}`);
      input.push(member('gate', inputName), member('up', inputName));
      output.push(member('down', outputName));
    }
    const stacked = (of: Expr[], shape: readonly number[]): Expr => ({
      op: 'reshape',
      of: { op: 'concat', dim: 0, of },
      shape,
    });
    const inputShape = [recipe.experts, 2 * width, hidden];
    const outputShape = [recipe.experts, hidden, width];
    push(inputName, dtype, inputShape, stacked(input, inputShape), null);
    push(outputName, dtype, outputShape, stacked(output, outputShape), null);
  } else {
    const { name } = target.experts;
    for (let expert = 0; expert < recipe.experts; expert += 1) {
      for (const part of PARTS) {
        const tensor = name(layer, expert, part);
        push(
          tensor,
          dtype,
          part === 'down' ? [hidden, width] : [width, hidden],
          expertExpr(expert, part, tensor),
          expert,
        );
      }
    }
  }
  if (target.sharedExpert) pushShared(context, layer, ffn(base), push);
  return drafts;
}

type Push = (name: string, dtype: Dtype, shape: readonly number[], expr: Expr, expert: number | null) => void;

/** The gated shared expert of qwen2_moe by plan a, b or c (upcycling.md §3.1 point 5): sigmoid(0) = 1/2. */
function pushShared(context: MoeContext, layer: number, ffn: DenseFfn, push: Push): void {
  const { hidden, intermediate, shared } = context;
  const dtype = context.outputDtype(ffn.native);
  const { width } = shared;
  const prefix = `${layerPrefix(layer)}mlp.`;
  const narrowed = (part: Part): Expr =>
    width === intermediate
      ? ffn.parts[part]
      : { op: 'slice', of: ffn.parts[part], dim: NEURON_DIM[part], begin: 0, end: width };
  const copy = (part: Part, by: number): Expr =>
    castAround(narrowed(part), ffn.native, dtype, (inner) => scaled(inner, by));
  const rows = [width, hidden];
  push(`${prefix}shared_expert.gate_proj.weight`, dtype, rows, copy('gate', 1), null);
  push(`${prefix}shared_expert.up_proj.weight`, dtype, rows, copy('up', 1), null);
  const down: Expr =
    shared.plan === 'a'
      ? { op: 'fill', shape: [hidden, width], dtype, value: 0 }
      : copy('down', shared.plan === 'c' ? 2 : 1);
  push(`${prefix}shared_expert.down_proj.weight`, dtype, [hidden, width], down, null);
  push(
    `${prefix}shared_expert_gate.weight`,
    dtype,
    [1, hidden],
    { op: 'fill', shape: [1, hidden], dtype, value: 0 },
    null,
  );
}
