/** Families of mixtures that we read and run, and do not write. */
import type { ConfigReader } from './config-reader.ts';
import {
  LLAMA,
  everyLayerMoe,
  expertCount,
  layerTypes,
  noMlpBias,
  plainMultipliers,
  rotatedLayers,
  windowEverywhere,
} from './family.ts';
import type { FamilyTraits } from './family.ts';
import { ropeKind, ropeReader, yarnMagnitude } from './rope.ts';
import { PLAIN_ROUTER } from './router-spec.ts';
import type { MoeFfn } from './spec.ts';

/** Groups of experts; none where all groups may be chosen from. */
function groupsOf(config: ConfigReader, by: 'best' | 'two-best'): MoeFfn['router']['groups'] {
  const [count, kept] = [config.size('n_group', 8), config.size('topk_group', 4)];
  return kept === count ? null : { count, kept, by };
}

/** ERNIE 4.5: mixtures from one layer to another; a bias moves the choice, and the weights sum to 1. */
const ernieFfn: FamilyTraits['ffn'] = (config, index) => {
  const end = config.integer('moe_layer_end_index', -1, -1);
  const sparse =
    (index + 1) % config.size('moe_layer_interval', 1) === 0 &&
    index >= config.integer('moe_layer_start_index', 1, 0) &&
    (end === -1 || index <= end);
  if (!sparse) return { kind: 'dense', width: config.size('intermediate_size') };
  const width = config.size('moe_intermediate_size', 1536);
  const shared = config.integer('moe_num_shared_experts', 2, 0);
  return {
    kind: 'moe',
    experts: config.size('moe_num_experts', 64),
    topK: config.size('moe_k', 6),
    width,
    order: 'softmax-topk',
    normalise: true,
    router: { ...PLAIN_ROUTER, choiceBias: true },
    shared: shared > 0 ? { width: width * shared, gated: false } : null,
  };
};

const latentOf: FamilyTraits['latent'] = (config) => ({
  // null is a choice of its own: queries come from the input.
  queryRank:
    config.has('q_lora_rank') && config.value('q_lora_rank') === undefined ? null : config.size('q_lora_rank', 1536),
  keyValueRank: config.size('kv_lora_rank', 512),
  plainDim: config.size('qk_nope_head_dim', 128),
});

/** DeepSeek: the first layers dense, then routed experts beside shared ones that are one wide FFN. */
function deepseekFfn(
  defaults: {
    readonly experts: number;
    readonly topK: number | undefined;
    readonly width: number;
    readonly dense: number;
    readonly shared: number;
  },
  router: (config: ConfigReader) => Pick<MoeFfn, 'normalise' | 'router'>,
): FamilyTraits['ffn'] {
  return (config, index) => {
    if (index < config.integer('first_k_dense_replace', defaults.dense, 0))
      return { kind: 'dense', width: config.size('intermediate_size') };
    const width = config.size('moe_intermediate_size', defaults.width);
    return {
      kind: 'moe',
      experts: config.size('n_routed_experts', defaults.experts),
      topK: config.size('num_experts_per_tok', defaults.topK),
      width,
      order: 'softmax-topk',
      ...router(config),
      shared: { width: width * config.size('n_shared_experts', defaults.shared), gated: false },
    };
  };
}

/** 1/√(head) times the square of yarn's scale for all dimensions, as DeepSeek's attention has it. */
const deepseekMultipliers: FamilyTraits['multipliers'] = (config, sizes) => {
  const rope = ropeReader(config);
  const all = rope.optionalNumber('mscale_all_dim') ?? 0;
  const plain = plainMultipliers(config, sizes);
  if (ropeKind(rope) === 'default' || all === 0) return plain;
  return { ...plain, attentionScale: plain.attentionScale * yarnMagnitude(rope.number('factor', 1), all) ** 2 };
};

const DEEPSEEK: FamilyTraits = {
  ...LLAMA,
  latent: latentOf,
  interleavedRope: () => true,
  multipliers: deepseekMultipliers,
};

const LLAMA4: FamilyTraits = {
  ...LLAMA,
  theta: 500_000,
  eps: 1e-5,
  maxPositions: 131_072,
  headDim: 128,
  kvHeadsDefault: 8,
  mlpBias: noMlpBias,
  interleavedRope: () => true,
  qkNorm: (config) => (config.bool('use_qk_norm', true) ? 'rotated' : 'none'),
  rotated: rotatedLayers,
  // Up to here chunks are the whole text, and the tuned temperature is 1 (transformers, modeling_llama4).
  longest: (config) => {
    const whole = config.has('attention_chunk_size') && config.value('attention_chunk_size') === undefined;
    const chunk = whole ? Infinity : config.size('attention_chunk_size', 8192);
    const tuned = config.bool('attn_temperature_tuning', true) ? config.size('floor_scale', 8192) - 1 : Infinity;
    const limit = Math.min(chunk, tuned);
    return limit === Infinity ? null : Math.max(1, limit);
  },
  ffn: (config, index) => {
    const step = config.size('interleave_moe_layer_step', 1);
    const sparse = config.integers('moe_layers')?.includes(index) ?? (index + 1) % step === 0;
    const width = config.size('intermediate_size');
    if (!sparse) return { kind: 'dense', width: config.size('intermediate_size_mlp', 16_384) };
    return {
      kind: 'moe',
      experts: expertCount(config, 'num_local_experts', 16),
      topK: config.size('num_experts_per_tok', 1),
      width,
      order: 'softmax-topk',
      normalise: false,
      router: { ...PLAIN_ROUTER, score: 'sigmoid', weighsInput: true },
      shared: { width, gated: false },
    };
  },
};

/** By model_type. */
export const READ_FAMILIES: readonly (readonly [string, FamilyTraits])[] = [
  [
    'deepseek_v2',
    {
      ...DEEPSEEK,
      kvHeadsDefault: 32,
      ffn: deepseekFfn({ experts: 64, topK: undefined, width: 1407, dense: 0, shared: 2 }, (config) => {
        const method = config.text('topk_method', 'greedy');
        if (method !== 'greedy' && method !== 'group_limited_greedy')
          throw config.bad('topk_method', method, 'greedy or group_limited_greedy');
        if (config.bool('norm_topk_prob', false))
          config.note('norm_topk_prob is ignored, as transformers does for deepseek_v2');
        return {
          normalise: false,
          router: {
            ...PLAIN_ROUTER,
            groups: method === 'greedy' ? null : groupsOf(config, 'best'),
            scale: config.number('routed_scaling_factor', 1),
          },
        };
      }),
    },
  ],
  [
    'deepseek_v3',
    {
      ...DEEPSEEK,
      maxPositions: 4096,
      kvHeadsDefault: 128,
      mlpBias: noMlpBias,
      interleavedRope: (config) => config.bool('rope_interleave', true),
      ffn: deepseekFfn({ experts: 256, topK: 8, width: 2048, dense: 3, shared: 1 }, (config) => ({
        normalise: config.bool('norm_topk_prob', true),
        router: {
          ...PLAIN_ROUTER,
          score: 'sigmoid',
          choiceBias: true,
          groups: groupsOf(config, 'two-best'),
          scale: config.number('routed_scaling_factor', 2.5),
        },
      })),
    },
  ],
  [
    'ernie4_5_moe',
    {
      ...LLAMA,
      theta: 500_000,
      eps: 1e-5,
      tied: true,
      maxPositions: 131_072,
      kvHeadsDefault: 4,
      interleavedRope: () => true,
      attentionBias: (config) => {
        const on = config.bool('use_bias', false);
        return { qkv: on, o: on };
      },
      mlpBias: (config) => config.bool('use_bias', false),
      headBias: (config) => config.bool('use_bias', false),
      ffn: ernieFfn,
    },
  ],
  ['llama4_text', LLAMA4],
  [
    'phimoe',
    {
      ...LLAMA,
      theta: 1_000_000,
      eps: 1e-5,
      maxPositions: 131_072,
      kvHeadsDefault: 8,
      normKind: 'layer',
      rope: { mscales: true },
      mlpBias: noMlpBias,
      headBias: (config) => config.bool('lm_head_bias', false),
      windows: windowEverywhere(null),
      ffn: (config) => {
        const topK = config.size('num_experts_per_tok', 2);
        if (topK !== 2) throw config.bad('num_experts_per_tok', topK, '2: SparseMixer chooses two experts');
        return {
          kind: 'moe',
          experts: expertCount(config, 'num_local_experts', 16),
          topK,
          width: config.size('intermediate_size'),
          order: 'softmax-topk',
          normalise: false,
          router: { ...PLAIN_ROUTER, score: 'sparsemixer', jitter: config.number('router_jitter_noise', 0.01) },
          shared: null,
        };
      },
    },
  ],
  [
    'gpt_oss',
    {
      ...LLAMA,
      theta: 150_000,
      eps: 1e-5,
      maxPositions: 131_072,
      headDim: 64,
      kvHeadsDefault: 8,
      sinks: true,
      attentionBias: (config) => {
        const on = config.bool('attention_bias', true);
        return { qkv: on, o: on };
      },
      mlpBias: noMlpBias,
      clampedGlu: (config) => ({
        alpha: config.number('swiglu_alpha', 1.702),
        limit: config.number('swiglu_limit', 7),
      }),
      windows: (config, layers) => {
        const types = layerTypes(config, layers);
        const window = config.has('sliding_window') ? config.optionalNumber('sliding_window') : 128;
        return (index) => ((types === null ? index % 2 === 0 : types[index] === 'sliding_attention') ? window : null);
      },
      ffn: everyLayerMoe(
        { experts: 'num_local_experts', expertsDefault: 128, topKDefault: 4, width: 'intermediate_size' },
        () => ({ order: 'topk-softmax', normalise: true, router: { ...PLAIN_ROUTER, bias: true } }),
      ),
    },
  ],
];
