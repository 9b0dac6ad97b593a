/**
 * The exactness matrix (upcycling.md §5.2): which dense family can become which MoE exactly, and, for every other pair,
 * the one field that blocks it and the nearest exact alternative.
 */
import { MoeError } from '../common/errors.ts';
import type { TargetType } from '../recipe/types.ts';
import type { DenseSpec } from './spec.ts';
import { finiteNumber, flag } from './spec.ts';

/** Dense model_type → targets that are exact, the default first. */
const EXACT: Readonly<Record<string, readonly TargetType[]>> = {
  llama: ['mixtral', 'qwen2_moe', 'granitemoe'],
  mistral: ['mixtral', 'qwen2_moe'],
  phi3: ['mixtral'],
  qwen2: ['qwen2_moe'],
  qwen3: ['qwen3_moe'],
  olmo2: ['flex_olmo'],
  granite: ['granitemoe'],
  gemma: ['mixtral'],
};

/** MoE families that exist but that nothing dense becomes exactly. */
const NEVER: Readonly<Record<string, string>> = {
  olmoe: 'q_norm/k_norm: OLMoE norms the whole q and k projections before RoPE, and an RMSNorm cannot be the identity',
  phimoe: 'sparsemixer router: its expert weights do not sum to 1, and its LayerNorms have biases',
  deepseek_v2: 'kv_lora_rank: multi-head latent attention needs a factorisation of k and v',
  deepseek_v3: 'kv_lora_rank: multi-head latent attention needs a factorisation of k and v',
  gpt_oss: 'swiglu activation: experts compute (up + 1)·gate·sigmoid(1.702·gate) with clamps, and attention has sinks',
  llama4: 'expert input: routed experts are scaled at their input, so copies do not add up to the dense FFN',
  llama4_text: 'expert input: routed experts are scaled at their input, so copies do not add up to the dense FFN',
  ernie4_5_moe: 'rope: it interleaves rotary pairs, so q and k would have to be reordered; this pair is not proven',
  granitemoeshared: 'shared_mlp: its shared expert is added without a gate; use granitemoe',
};

/** Why no dense checkpoint becomes this (known) MoE family exactly; undefined for any other name. */
export function neverReason(target: string): string | undefined {
  return Object.hasOwn(NEVER, target) ? NEVER[target] : undefined;
}

/** What a target asks of this source beyond the pair: the field that blocks it, and what would work instead. */
interface Blocker {
  readonly field: string;
  readonly why: string;
  readonly nearest: string;
}

function blockerOf(spec: DenseSpec, target: TargetType): Blocker | null {
  const { config } = spec;
  const type = spec.modelType;
  if (spec.mlpBias) {
    return { field: 'mlp_bias', why: 'no MoE family has biases in its experts', nearest: 'none is known' };
  }
  if (type === 'phi3' && finiteNumber(config, 'partial_rotary_factor', 1) !== 1) {
    return {
      field: 'partial_rotary_factor',
      why: 'mixtral rotates the whole head, this model only a part of it',
      nearest: 'none is known',
    };
  }
  if (spec.attentionBias && target === 'mixtral' && type !== 'mistral') {
    return {
      field: 'attention_bias',
      why: 'mixtral has no attention biases',
      nearest: type === 'llama' ? 'granitemoe (it has biases on q, k, v and o)' : 'none is known',
    };
  }
  if (spec.attentionBias && target === 'qwen2_moe' && type !== 'qwen2') {
    return {
      field: 'attention_bias',
      why: 'qwen2_moe has biases on q, k and v but none on o_proj',
      nearest: 'granitemoe (it has biases on q, k, v and o)',
    };
  }
  if (type === 'qwen3' && flag(config, 'use_sliding_window', false)) {
    return {
      field: 'use_sliding_window',
      why: 'qwen3_moe applies its window to every layer, qwen3 only to some',
      nearest: 'none is known; with use_sliding_window: false it is exact',
    };
  }
  return null;
}

/** What the recipe asks that decides between targets. */
export interface TargetWish {
  readonly target: 'auto' | TargetType;
  /** Every layer MoE? */
  readonly allLayers: boolean;
  readonly order: 'topk-softmax' | 'softmax-topk';
}

/** Throws `target-not-exact` with field, reason and nearest alternative. */
function refuse(spec: DenseSpec, target: string, field: string, why: string, nearest: string): never {
  throw new MoeError('input', 'target-not-exact', `${spec.modelType} → ${target} cannot be exact: ${field}: ${why}`, {
    field,
    hint: `Nearest exact alternative: ${nearest}.`,
  });
}

const PAIR_BLOCKERS: Readonly<Record<string, Readonly<Partial<Record<TargetType, [field: string, why: string]>>>>> = {
  llama: {
    qwen3_moe: ['q_norm/k_norm', 'qwen3_moe norms each head of q and k; an RMSNorm cannot be the identity'],
    flex_olmo: ['norm placement', 'flex_olmo norms after attention and FFN, and norms q and k'],
  },
  mistral: {
    qwen3_moe: ['q_norm/k_norm', 'qwen3_moe norms each head of q and k; an RMSNorm cannot be the identity'],
    flex_olmo: ['norm placement', 'flex_olmo norms after attention and FFN, and norms q and k'],
    granitemoe: ['sliding_window', 'granitemoe has no sliding window'],
  },
  phi3: {
    qwen2_moe: ['sliding_window', 'the window and long-rope of phi3 are not proven in qwen2_moe'],
    qwen3_moe: ['q_norm/k_norm', 'qwen3_moe norms each head of q and k; an RMSNorm cannot be the identity'],
    flex_olmo: ['norm placement', 'flex_olmo norms after attention and FFN, and norms q and k'],
    granitemoe: ['sliding_window', 'granitemoe has no sliding window'],
  },
  qwen2: {
    mixtral: ['attention bias', 'qwen2 has biases on q, k and v; mixtral has none'],
    qwen3_moe: ['q_norm/k_norm', 'qwen3_moe norms each head of q and k; an RMSNorm cannot be the identity'],
    flex_olmo: ['norm placement', 'flex_olmo norms after attention and FFN, and norms q and k'],
    granitemoe: ['attention bias', 'granitemoe has a bias on o_proj too, or none at all'],
  },
  qwen3: {
    mixtral: ['q_norm/k_norm', 'mixtral does not norm q and k'],
    qwen2_moe: ['q_norm/k_norm', 'qwen2_moe does not norm q and k'],
    flex_olmo: ['norm placement', 'flex_olmo norms q and k over the whole projection, and after attention and FFN'],
    granitemoe: ['q_norm/k_norm', 'granitemoe does not norm q and k'],
  },
  olmo2: {
    mixtral: ['norm placement', 'olmo2 norms after attention and FFN, mixtral before'],
    qwen2_moe: ['norm placement', 'olmo2 norms after attention and FFN, qwen2_moe before'],
    qwen3_moe: ['norm placement', 'olmo2 norms after attention and FFN, qwen3_moe before'],
    granitemoe: ['norm placement', 'olmo2 norms after attention and FFN, granitemoe before'],
  },
  granite: {
    mixtral: ['residual_multiplier', 'mixtral has none of Granite’s four multipliers'],
    qwen2_moe: ['residual_multiplier', 'qwen2_moe has none of Granite’s four multipliers'],
    qwen3_moe: ['residual_multiplier', 'qwen3_moe has none of Granite’s four multipliers'],
    flex_olmo: ['residual_multiplier', 'flex_olmo has none of Granite’s four multipliers'],
  },
  gemma: {
    qwen2_moe: ['hidden_activation', 'only gemma → mixtral is proven (norms and embedding scale folded)'],
    qwen3_moe: ['q_norm/k_norm', 'qwen3_moe norms each head of q and k; an RMSNorm cannot be the identity'],
    flex_olmo: ['norm placement', 'flex_olmo norms after attention and FFN, and norms q and k'],
    granitemoe: ['hidden_activation', 'only gemma → mixtral is proven (norms and embedding scale folded)'],
  },
};

/**
 * The target that this source becomes under the recipe's wish. `auto` takes the family's first exact target that can
 * express the layer subset and router order. Throws MoeError `target-not-exact` (exit 3) otherwise.
 */
export function chooseTarget(spec: DenseSpec, wish: TargetWish): TargetType {
  const exact = EXACT[spec.modelType] ?? [];
  const [first] = exact;
  if (first === undefined) refuse(spec, wish.target, 'model_type', 'no exact mapping is known', 'none');
  const target =
    wish.target === 'auto'
      ? (spec.modelType === 'llama' || spec.modelType === 'mistral') &&
        (!wish.allLayers || wish.order === 'softmax-topk')
        ? 'qwen2_moe'
        : first
      : wish.target;
  if (!exact.includes(target)) {
    const [field, why] = PAIR_BLOCKERS[spec.modelType]?.[target] ?? ['model_type', 'no exact mapping is known'];
    refuse(spec, target, field, why, first);
  }
  const blocker = blockerOf(spec, target);
  if (blocker !== null) refuse(spec, target, blocker.field, blocker.why, blocker.nearest);
  return target;
}

/** The exact target of this family that can keep dense layers, or order softmax before top-k; for hints. */
export function flexibleTarget(spec: DenseSpec, able: (target: TargetType) => boolean): TargetType | undefined {
  return EXACT[spec.modelType]?.find(able);
}
