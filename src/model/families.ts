/** What distinguishes the families that we can run, one entry each. Defaults are those of transformers 5.24's config classes. */
import { MoeError } from '../common/errors.ts';
import type { ConfigReader } from './config-reader.ts';
import type { RopeDefaults } from './rope.ts';
import type { DenseFfn, MoeFfn, TransformerSpec } from './spec.ts';

export interface Multipliers {
  readonly attentionScale: number;
  readonly embeddingScale: number;
  readonly residualScale: number;
  readonly logitsDivisor: number;
  readonly attentionSoftcap: number | null;
  readonly finalSoftcap: number | null;
  readonly clip: number | null;
}

export interface FamilyTraits {
  readonly theta: number;
  readonly eps: number;
  readonly tied: boolean;
  readonly maxPositions: number;
  /** Class default of head_dim; null = hidden size / heads. */
  readonly headDim: number | null;
  /** Class default of num_key_value_heads; null = number of heads. */
  readonly kvHeadsDefault: number | null;
  readonly placement: TransformerSpec['placement'];
  /** Norm weights are stored as w and applied as 1 + w (gemma). */
  readonly unitOffsetNorm: boolean;
  readonly qkNorm: 'none' | 'head' | 'full';
  /** q, k, v in one matrix and gate, up in another (phi3). */
  readonly fusedProjections: boolean;
  readonly partialRotary: boolean;
  readonly rope: Pick<RopeDefaults, 'originalMax' | 'kindAliases'>;
  readonly attentionBias: (config: ConfigReader) => { readonly qkv: boolean; readonly o: boolean };
  readonly mlpBias: (config: ConfigReader) => boolean;
  readonly activation: (config: ConfigReader) => string;
  readonly windows: (config: ConfigReader, layers: number) => (index: number) => number | null;
  readonly ffn: (config: ConfigReader, index: number) => DenseFfn | MoeFfn;
  readonly multipliers: (
    config: ConfigReader,
    sizes: { readonly hiddenSize: number; readonly headDim: number },
  ) => Multipliers;
}

const noWindow = (): (() => null) => () => null;

/** A window on every layer; `fallback` is the class default for an absent field (null is an explicit "none"). */
function windowEverywhere(fallback: number | null): FamilyTraits['windows'] {
  return (config) => {
    const window = config.has('sliding_window') ? config.optionalNumber('sliding_window') : fallback;
    if (window !== null && !config.has('sliding_window'))
      config.note(`sliding_window is absent: ${window} assumed (transformers' default)`);
    if (config.value('layer_types') !== undefined)
      config.note('layer_types is ignored, as transformers does for this family');
    const checked = window === null ? null : config.size('sliding_window', window);
    return () => checked;
  };
}

/** The qwen rule: off unless use_sliding_window; then by layer_types, or by the family's own rule where that is absent. */
function windowByLayer(rule: (index: number, maxWindowLayers: number) => boolean): FamilyTraits['windows'] {
  return (config, layers) => {
    const on = config.bool('use_sliding_window', false);
    const types = layerTypes(config, layers);
    if (!on) {
      if (types?.includes('sliding_attention') === true) {
        throw new MoeError(
          'input',
          'window-without-size',
          'config.json: layer_types has sliding_attention layers, but use_sliding_window is false.',
          {
            file: 'config.json',
            field: config.field('layer_types'),
            hint: 'Set use_sliding_window to true, or make every layer full_attention.',
          },
        );
      }
      return () => null;
    }
    const window = config.size('sliding_window', 4096);
    const reach = config.number('max_window_layers', 28);
    return (index) => ((types === null ? rule(index, reach) : types[index] === 'sliding_attention') ? window : null);
  };
}

function layerTypes(config: ConfigReader, layers: number): readonly string[] | null {
  const types = config.texts('layer_types');
  if (types === null) return null;
  if (types.length !== layers) throw config.bad('layer_types', types, `${layers} entries, one per layer`);
  const odd = types.find((type) => type !== 'full_attention' && type !== 'sliding_attention');
  if (odd !== undefined) throw config.bad('layer_types', odd, 'full_attention or sliding_attention');
  return types;
}

const plainMultipliers: FamilyTraits['multipliers'] = (_config, { headDim }) => ({
  attentionScale: headDim ** -0.5,
  embeddingScale: 1,
  residualScale: 1,
  logitsDivisor: 1,
  attentionSoftcap: null,
  finalSoftcap: null,
  clip: null,
});

/** granite's four multipliers; attention_multiplier replaces 1/sqrt(head_dim) and is 1 when absent. */
const graniteMultipliers: FamilyTraits['multipliers'] = (config, sizes) => ({
  ...plainMultipliers(config, sizes),
  attentionScale: config.number('attention_multiplier', 1),
  embeddingScale: config.number('embedding_multiplier', 1),
  residualScale: config.number('residual_multiplier', 1),
  logitsDivisor: config.number('logits_scaling', 1),
});

const denseFfn: FamilyTraits['ffn'] = (config) => ({ kind: 'dense', width: config.size('intermediate_size') });

const attentionBiasField: FamilyTraits['attentionBias'] = (config) => {
  const on = config.bool('attention_bias', false);
  return { qkv: on, o: on };
};

const LLAMA: FamilyTraits = {
  theta: 10_000,
  eps: 1e-6,
  tied: false,
  maxPositions: 2048,
  headDim: null,
  kvHeadsDefault: null,
  placement: 'pre',
  unitOffsetNorm: false,
  qkNorm: 'none',
  fusedProjections: false,
  partialRotary: false,
  rope: {},
  attentionBias: attentionBiasField,
  mlpBias: (config) => config.bool('mlp_bias', false),
  activation: (config) => config.text('hidden_act', 'silu'),
  windows: noWindow,
  ffn: denseFfn,
  multipliers: plainMultipliers,
};

const noBias = (): { readonly qkv: boolean; readonly o: boolean } => ({ qkv: false, o: false });
const noMlpBias = (): boolean => false;

/** The number of experts; transformers reads and writes it as num_experts or num_local_experts, whichever a class maps to. */
function expertCount(config: ConfigReader, field: string, fallback: number): number {
  const other = field === 'num_experts' ? 'num_local_experts' : 'num_experts';
  const [own, alias] = [config.value(field), config.value(other)];
  if (own !== undefined && alias !== undefined && own !== alias)
    throw config.bad(other, alias, `the same as ${field} (${JSON.stringify(own)})`);
  return own === undefined && alias !== undefined ? config.size(other) : config.size(field, fallback);
}

/** Every layer a mixture of `experts` experts, width from `widthField`. */
function everyLayerMoe(
  fields: {
    readonly experts: string;
    readonly expertsDefault: number;
    readonly topKDefault: number;
    readonly width: string;
  },
  weights: (config: ConfigReader) => Pick<MoeFfn, 'order' | 'normalise'>,
): FamilyTraits['ffn'] {
  return (config) => ({
    kind: 'moe',
    experts: expertCount(config, fields.experts, fields.expertsDefault),
    topK: config.size('num_experts_per_tok', fields.topKDefault),
    width: config.size(fields.width),
    ...weights(config),
    shared: null,
  });
}

/** softmax over all, top-k, divided by their sum only if norm_topk_prob says so (default: not). */
const byNormTopK = (config: ConfigReader): Pick<MoeFfn, 'order' | 'normalise'> => ({
  order: 'softmax-topk',
  normalise: config.bool('norm_topk_prob', false),
});

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
      qkNorm: 'head',
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
  ['olmo2', { ...LLAMA, eps: 1e-5, placement: 'post', qkNorm: 'full', mlpBias: noMlpBias }],
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
      qkNorm: 'head',
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
      qkNorm: 'full',
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
      qkNorm: 'full',
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
]);
