/** The families that we can run, one entry each. */
import type { ConfigReader } from './config-reader.ts';
import {
  LLAMA,
  byNormTopK,
  everyLayerMoe,
  expertCount,
  graniteMultipliers,
  layerTypes,
  noBias,
  noMlpBias,
  plainMultipliers,
  rotatedLayers,
  windowByLayer,
  windowEverywhere,
} from './family.ts';
import type { FamilyTraits } from './family.ts';
import { READ_FAMILIES } from './families-read.ts';
import { PLAIN_ROUTER } from './router-spec.ts';
import type { MoeFfn } from './spec.ts';

/** The qwen rule for which layers hold experts: not in mlp_only_layers, and every decoder_sparse_step-th. */
function qwenFfn(
  defaults: { readonly experts: number; readonly topK: number; readonly width: number },
  shared: (config: ConfigReader) => MoeFfn['shared'],
): FamilyTraits['ffn'] {
  return (config, index) => {
    const step = config.size('decoder_sparse_step', 1);
    const dense = config.integers('mlp_only_layers') ?? [];
    const none = config.value('num_experts') === 0;
    if (none || dense.includes(index) || (index + 1) % step !== 0)
      return { kind: 'dense', width: config.size('intermediate_size') };
    return {
      kind: 'moe',
      experts: expertCount(config, 'num_experts', defaults.experts),
      topK: config.size('num_experts_per_tok', defaults.topK),
      width: config.size('moe_intermediate_size', defaults.width),
      ...byNormTopK(config),
      router: PLAIN_ROUTER,
      shared: shared(config),
    };
  };
}

const GEMMA: FamilyTraits = {
  ...LLAMA,
  tied: true,
  maxPositions: 8192,
  headDim: 256,
  unitOffsetNorm: true,
  mlpBias: noMlpBias,
  // Early gemma configs say "gelu" and mean the tanh form; hidden_activation, where set, wins in those.
  activation: (config) => {
    const name = config.text('hidden_activation', config.text('hidden_act', 'gelu_pytorch_tanh'));
    if (name !== 'gelu') return name;
    config.note('hidden_act "gelu" is read as gelu_pytorch_tanh, as transformers does for gemma');
    return 'gelu_pytorch_tanh';
  },
  multipliers: (config, sizes) => ({ ...plainMultipliers(config, sizes), embeddingScale: sizes.hiddenSize ** 0.5 }),
};

/** The families by model_type. */
export const FAMILIES: ReadonlyMap<string, FamilyTraits> = new Map<string, FamilyTraits>([
  ['llama', LLAMA],
  [
    'mistral',
    {
      ...LLAMA,
      maxPositions: 131_072,
      kvHeadsDefault: 8,
      attentionBias: noBias,
      mlpBias: noMlpBias,
      windows: windowEverywhere(4096),
    },
  ],
  [
    'qwen2',
    {
      ...LLAMA,
      maxPositions: 32_768,
      kvHeadsDefault: 32,
      attentionBias: () => ({ qkv: true, o: false }),
      mlpBias: noMlpBias,
      windows: windowByLayer((index, reach) => index >= reach),
    },
  ],
  [
    'qwen3',
    {
      ...LLAMA,
      maxPositions: 32_768,
      kvHeadsDefault: 32,
      headDim: 128,
      qkNorm: () => 'head',
      mlpBias: noMlpBias,
      windows: windowByLayer((index, reach) => index >= reach),
    },
  ],
  [
    'phi3',
    {
      ...LLAMA,
      eps: 1e-5,
      maxPositions: 4096,
      fusedProjections: true,
      partialRotary: true,
      rope: {
        originalMax: 4096,
        kindAliases: new Map([
          ['su', 'longrope'],
          ['yarn', 'longrope'],
        ]),
      },
      attentionBias: noBias,
      mlpBias: noMlpBias,
      windows: windowEverywhere(null),
    },
  ],
  ['olmo2', { ...LLAMA, eps: 1e-5, placement: 'post', qkNorm: () => 'full', mlpBias: noMlpBias }],
  [
    'smollm3',
    {
      ...LLAMA,
      theta: 2_000_000,
      tied: true,
      maxPositions: 32_768,
      kvHeadsDefault: 4,
      rotated: rotatedLayers,
      windows: (config, layers) => {
        const types = layerTypes(config, layers);
        const rotated = rotatedLayers(config, layers);
        const window = config.bool('use_sliding_window', false) ? config.optionalNumber('sliding_window') : null;
        return (index) => ((types === null ? !rotated(index) : types[index] === 'sliding_attention') ? window : null);
      },
    },
  ],
  ['granite', { ...LLAMA, multipliers: graniteMultipliers }],
  ['gemma', GEMMA],
  [
    'gemma2',
    {
      ...GEMMA,
      kvHeadsDefault: 4,
      placement: 'both',
      windows: (config, layers) => {
        const types = layerTypes(config, layers);
        const window = config.has('sliding_window') ? config.optionalNumber('sliding_window') : 4096;
        return (index) => ((types === null ? index % 2 === 0 : types[index] === 'sliding_attention') ? window : null);
      },
      multipliers: (config, { hiddenSize }) => ({
        attentionScale: config.number('query_pre_attn_scalar', 256) ** -0.5,
        embeddingScale: hiddenSize ** 0.5,
        residualScale: 1,
        logitsDivisor: 1,
        attentionSoftcap: config.has('attn_logit_softcapping') ? config.optionalNumber('attn_logit_softcapping') : 50,
        finalSoftcap: config.has('final_logit_softcapping') ? config.optionalNumber('final_logit_softcapping') : 30,
        clip: null,
      }),
    },
  ],
  [
    'mixtral',
    {
      ...LLAMA,
      theta: 1_000_000,
      eps: 1e-5,
      maxPositions: 131_072,
      kvHeadsDefault: 8,
      attentionBias: noBias,
      mlpBias: noMlpBias,
      windows: windowEverywhere(null),
      ffn: everyLayerMoe(
        { experts: 'num_local_experts', expertsDefault: 8, topKDefault: 2, width: 'intermediate_size' },
        () => ({ order: 'softmax-topk', normalise: true }),
      ),
    },
  ],
  [
    'qwen2_moe',
    {
      ...LLAMA,
      maxPositions: 32_768,
      kvHeadsDefault: 16,
      attentionBias: (config) => ({ qkv: config.bool('qkv_bias', true), o: false }),
      mlpBias: noMlpBias,
      windows: windowByLayer((index, reach) => (index + 1) % 2 === 1 && index < reach),
      ffn: qwenFfn({ experts: 60, topK: 4, width: 1408 }, (config) => ({
        width: config.size('shared_expert_intermediate_size', 5632),
        gated: true,
      })),
    },
  ],
  [
    'qwen3_moe',
    {
      ...LLAMA,
      maxPositions: 32_768,
      kvHeadsDefault: 4,
      qkNorm: () => 'head',
      mlpBias: noMlpBias,
      windows: (config, layers) =>
        config.bool('use_sliding_window', false) ? windowEverywhere(4096)(config, layers) : () => null,
      ffn: qwenFfn({ experts: 128, topK: 8, width: 768 }, () => null),
    },
  ],
  [
    'olmoe',
    {
      ...LLAMA,
      eps: 1e-5,
      maxPositions: 4096,
      qkNorm: () => 'full',
      mlpBias: noMlpBias,
      ffn: everyLayerMoe(
        { experts: 'num_experts', expertsDefault: 64, topKDefault: 8, width: 'intermediate_size' },
        byNormTopK,
      ),
      multipliers: (config, sizes) => ({ ...plainMultipliers(config, sizes), clip: config.optionalNumber('clip_qkv') }),
    },
  ],
  [
    'flex_olmo',
    {
      ...LLAMA,
      theta: 500_000,
      maxPositions: 4096,
      placement: 'post',
      qkNorm: () => 'full',
      mlpBias: noMlpBias,
      ffn: everyLayerMoe(
        { experts: 'num_experts', expertsDefault: 7, topKDefault: 5, width: 'intermediate_size' },
        byNormTopK,
      ),
    },
  ],
  [
    'granitemoe',
    {
      ...LLAMA,
      mlpBias: noMlpBias,
      multipliers: graniteMultipliers,
      ffn: everyLayerMoe(
        { experts: 'num_local_experts', expertsDefault: 8, topKDefault: 2, width: 'intermediate_size' },
        () => ({ order: 'topk-softmax', normalise: true }),
      ),
    },
  ],
  ...READ_FAMILIES,
]);
