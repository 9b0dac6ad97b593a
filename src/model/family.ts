/** What distinguishes families that we can run, the common traits and rules. Defaults are those of transformers 5.24's config classes. */
import { MoeError } from '../common/errors.ts';
import type { ConfigReader } from './config-reader.ts';
import type { RopeDefaults } from './rope.ts';
import { PLAIN_ROUTER } from './router-spec.ts';
import type { DenseFfn, LatentAttention, MoeFfn, TransformerSpec } from './spec.ts';

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
  readonly qkNorm: (config: ConfigReader) => TransformerSpec['attention']['qkNorm'];
  /** q, k, v in one matrix and gate, up in another (phi3). */
  readonly fusedProjections: boolean;
  readonly partialRotary: boolean;
  readonly normKind: TransformerSpec['norm']['kind'];
  readonly latent: (config: ConfigReader) => LatentAttention | null;
  readonly sinks: boolean;
  readonly interleavedRope: (config: ConfigReader) => boolean;
  readonly headBias: (config: ConfigReader) => boolean;
  readonly clampedGlu: (config: ConfigReader) => TransformerSpec['clampedGlu'];
  readonly rope: Pick<RopeDefaults, 'originalMax' | 'kindAliases' | 'mscales'>;
  readonly attentionBias: (config: ConfigReader) => { readonly qkv: boolean; readonly o: boolean };
  readonly mlpBias: (config: ConfigReader) => boolean;
  readonly activation: (config: ConfigReader) => string;
  readonly longest: (config: ConfigReader) => number | null;
  readonly rotated: (config: ConfigReader, layers: number) => (index: number) => boolean;
  readonly windows: (config: ConfigReader, layers: number) => (index: number) => number | null;
  readonly ffn: (config: ConfigReader, index: number) => DenseFfn | MoeFfn;
  readonly multipliers: (
    config: ConfigReader,
    sizes: { readonly hiddenSize: number; readonly headDim: number },
  ) => Multipliers;
}

export const noWindow = (): (() => null) => () => null;

/** A window on every layer; `fallback` is the class default for an absent field (null is an explicit "none"). */
export function windowEverywhere(fallback: number | null): FamilyTraits['windows'] {
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
export function windowByLayer(rule: (index: number, maxWindowLayers: number) => boolean): FamilyTraits['windows'] {
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

export function layerTypes(config: ConfigReader, layers: number): readonly string[] | null {
  const types = config.texts('layer_types');
  if (types === null) return null;
  if (types.length !== layers) throw config.bad('layer_types', types, `${layers} entries, one per layer`);
  const odd = types.find((type) => type !== 'full_attention' && type !== 'sliding_attention');
  if (odd !== undefined) throw config.bad('layer_types', odd, 'full_attention or sliding_attention');
  return types;
}

export const plainMultipliers: FamilyTraits['multipliers'] = (_config, { headDim }) => ({
  attentionScale: headDim ** -0.5,
  embeddingScale: 1,
  residualScale: 1,
  logitsDivisor: 1,
  attentionSoftcap: null,
  finalSoftcap: null,
  clip: null,
});

/** granite's four multipliers; attention_multiplier replaces 1/sqrt(head_dim) and is 1 when absent. */
export const graniteMultipliers: FamilyTraits['multipliers'] = (config, sizes) => ({
  ...plainMultipliers(config, sizes),
  attentionScale: config.number('attention_multiplier', 1),
  embeddingScale: config.number('embedding_multiplier', 1),
  residualScale: config.number('residual_multiplier', 1),
  logitsDivisor: config.number('logits_scaling', 1),
});

export const denseFfn: FamilyTraits['ffn'] = (config) => ({ kind: 'dense', width: config.size('intermediate_size') });

export const attentionBiasField: FamilyTraits['attentionBias'] = (config) => {
  const on = config.bool('attention_bias', false);
  return { qkv: on, o: on };
};

export const LLAMA: FamilyTraits = {
  theta: 10_000,
  eps: 1e-6,
  tied: false,
  maxPositions: 2048,
  headDim: null,
  kvHeadsDefault: null,
  placement: 'pre',
  unitOffsetNorm: false,
  qkNorm: () => 'none',
  fusedProjections: false,
  partialRotary: false,
  normKind: 'rms',
  latent: () => null,
  sinks: false,
  interleavedRope: () => false,
  headBias: () => false,
  clampedGlu: () => null,
  rope: {},
  attentionBias: attentionBiasField,
  mlpBias: (config) => config.bool('mlp_bias', false),
  activation: (config) => config.text('hidden_act', 'silu'),
  longest: () => null,
  rotated: () => () => true,
  windows: noWindow,
  ffn: denseFfn,
  multipliers: plainMultipliers,
};

/** Which layers rotate queries and keys: `no_rope_layers` (1: they do), else all but every `no_rope_layer_interval`-th. */
export const rotatedLayers: FamilyTraits['rotated'] = (config, layers) => {
  const given = config.integers('no_rope_layers');
  const interval = config.size('no_rope_layer_interval', 4);
  if (given === null || given.length === 0) return (index) => (index + 1) % interval !== 0;
  if (given.length !== layers) throw config.bad('no_rope_layers', [...given], `${layers} entries, one per layer`);
  return (index) => given[index] !== 0;
};

export const noBias = (): { readonly qkv: boolean; readonly o: boolean } => ({ qkv: false, o: false });
export const noMlpBias = (): boolean => false;

/** The number of experts; transformers reads and writes it as num_experts or num_local_experts, whichever a class maps to. */
export function expertCount(config: ConfigReader, field: string, fallback: number): number {
  const other = field === 'num_experts' ? 'num_local_experts' : 'num_experts';
  const [own, alias] = [config.value(field), config.value(other)];
  if (own !== undefined && alias !== undefined && own !== alias)
    throw config.bad(other, alias, `the same as ${field} (${JSON.stringify(own)})`);
  return own === undefined && alias !== undefined ? config.size(other) : config.size(field, fallback);
}

/** Every layer a mixture of `experts` experts, width from `widthField`. */
export function everyLayerMoe(
  fields: {
    readonly experts: string;
    readonly expertsDefault: number;
    readonly topKDefault: number;
    readonly width: string;
  },
  weights: (config: ConfigReader) => Pick<MoeFfn, 'order' | 'normalise'> & Partial<Pick<MoeFfn, 'router'>>,
): FamilyTraits['ffn'] {
  return (config) => ({
    kind: 'moe',
    experts: expertCount(config, fields.experts, fields.expertsDefault),
    topK: config.size('num_experts_per_tok', fields.topKDefault),
    width: config.size(fields.width),
    router: PLAIN_ROUTER,
    ...weights(config),
    shared: null,
  });
}

/** softmax over all, top-k, divided by their sum only if norm_topk_prob says so (default: not). */
export const byNormTopK = (config: ConfigReader): Pick<MoeFfn, 'order' | 'normalise'> => ({
  order: 'softmax-topk',
  normalise: config.bool('norm_topk_prob', false),
});
