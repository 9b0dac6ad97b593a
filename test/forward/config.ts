/**
 * What the model classes of transformers 5.24 take from config.json, class defaults included, written down anew for tests. A field
 * that a writer forgot must hurt here as it would there, so a missing field gets the class's default, not a friendly guess.
 */
import type { JsonObject } from './reader.ts';
import { asObject } from './reader.ts';

/** Everything that tells one family's computation from another's, apart from sizes. */
interface FamilyTraits {
  readonly moe: boolean;
  /** `post`: norms after attention and FFN, none before (olmo2, flex_olmo). */
  readonly norms: 'pre' | 'post';
  readonly qkNorm: 'none' | 'head' | 'whole';
  readonly eps: number;
  readonly theta: number;
  readonly fusedProjections?: true;
}

const FAMILIES: Readonly<Record<string, FamilyTraits>> = {
  llama: { moe: false, norms: 'pre', qkNorm: 'none', eps: 1e-6, theta: 1e4 },
  mistral: { moe: false, norms: 'pre', qkNorm: 'none', eps: 1e-6, theta: 1e4 },
  qwen2: { moe: false, norms: 'pre', qkNorm: 'none', eps: 1e-6, theta: 1e4 },
  qwen3: { moe: false, norms: 'pre', qkNorm: 'head', eps: 1e-6, theta: 1e4 },
  phi3: { moe: false, norms: 'pre', qkNorm: 'none', eps: 1e-5, theta: 1e4, fusedProjections: true },
  olmo2: { moe: false, norms: 'post', qkNorm: 'whole', eps: 1e-5, theta: 1e4 },
  granite: { moe: false, norms: 'pre', qkNorm: 'none', eps: 1e-6, theta: 1e4 },
  gemma: { moe: false, norms: 'pre', qkNorm: 'none', eps: 1e-6, theta: 1e4 },
  mixtral: { moe: true, norms: 'pre', qkNorm: 'none', eps: 1e-5, theta: 1e6 },
  qwen2_moe: { moe: true, norms: 'pre', qkNorm: 'none', eps: 1e-6, theta: 1e4 },
  qwen3_moe: { moe: true, norms: 'pre', qkNorm: 'head', eps: 1e-6, theta: 1e4 },
  olmoe: { moe: true, norms: 'pre', qkNorm: 'whole', eps: 1e-5, theta: 1e4 },
  flex_olmo: { moe: true, norms: 'post', qkNorm: 'whole', eps: 1e-6, theta: 5e5 },
  granitemoe: { moe: true, norms: 'pre', qkNorm: 'none', eps: 1e-6, theta: 1e4 },
};

export interface RopeConfig {
  readonly kind: string;
  readonly theta: number;
  /** Elements of each head that rotate. */
  readonly rotaryDim: number;
  readonly maxPositions: number;
  /** The remaining parameters, as the config spells them. */
  readonly parameters: JsonObject;
}

export interface MoeConfig {
  readonly experts: number;
  readonly topK: number;
  readonly width: number;
  /** Whether the weights of the chosen experts are divided by their sum. */
  readonly normalise: boolean;
  /** Width of qwen2_moe's gated shared expert, else null. */
  readonly sharedWidth: number | null;
}

export interface TestConfig {
  readonly modelType: string;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly layers: number;
  readonly vocab: number;
  /** Width of a dense FFN. */
  readonly denseWidth: number;
  readonly eps: number;
  readonly activation: string;
  readonly tied: boolean;
  readonly rope: RopeConfig;
  readonly norms: 'pre' | 'post';
  readonly qkNorm: 'none' | 'head' | 'whole';
  /** Added to every norm weight: 1 for gemma. */
  readonly normOffset: number;
  readonly fusedProjections: boolean;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  readonly clipQkv: number | null;
  readonly embeddingScale: number;
  readonly attentionScale: number;
  readonly residualScale: number;
  readonly logitsDivisor: number;
  /** Sliding window of each layer, null for full attention. */
  readonly windows: readonly (number | null)[];
  readonly moe: MoeConfig | null;
  /** Whether each layer's FFN is an MoE block. */
  readonly moeLayers: readonly boolean[];
}

class Fields {
  constructor(private readonly raw: JsonObject) {}

  /** A field that may be absent or null. */
  maybeNumber(name: string): number | null {
    const value = this.raw[name];
    if (value === undefined || value === null) return null;
    if (typeof value !== 'number') throw new Error(`config.json: ${name} is not a number`);
    return value;
  }

  number(name: string, fallback?: number): number {
    const value = this.maybeNumber(name) ?? fallback;
    if (value === undefined) throw new Error(`config.json: ${name} is missing`);
    return value;
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.raw[name];
    if (value === undefined || value === null) return fallback;
    if (typeof value !== 'boolean') throw new Error(`config.json: ${name} is not true or false`);
    return value;
  }

  string(name: string, fallback: string): string {
    const value = this.raw[name];
    return typeof value === 'string' ? value : fallback;
  }

  list(name: string): readonly unknown[] | null {
    const value = this.raw[name];
    return Array.isArray(value) ? value : null;
  }

  object(name: string): JsonObject | null {
    const value = this.raw[name];
    return value === undefined || value === null ? null : asObject(value, `config.json: ${name}`);
  }

  has(name: string): boolean {
    return this.raw[name] !== undefined;
  }
}

function resolveRope(fields: Fields, modelType: string, theta: number, headDim: number): RopeConfig {
  // transformers 5: a non-empty rope_scaling wins over rope_parameters.
  const scaling = fields.object('rope_scaling');
  const given =
    scaling !== null && Object.keys(scaling).length > 0 ? scaling : (fields.object('rope_parameters') ?? {});
  const inside = new Fields(given);
  const maxPositions = fields.number('max_position_embeddings', 2048);
  let kind = inside.string('rope_type', inside.string('type', 'default'));
  if (modelType === 'phi3' && (kind === 'su' || kind === 'yarn')) kind = 'longrope';
  const parameters: Record<string, unknown> = { ...given };
  // A top-level original length overrides the one inside; phi3's class always has one.
  const original = fields.maybeNumber('original_max_position_embeddings') ?? (modelType === 'phi3' ? 4096 : null);
  if (original !== null) parameters['original_max_position_embeddings'] = original;
  else parameters['original_max_position_embeddings'] ??= maxPositions;
  const partial = inside.maybeNumber('partial_rotary_factor') ?? fields.maybeNumber('partial_rotary_factor') ?? 1;
  const rotaryDim = Math.trunc(headDim * partial);
  if (rotaryDim !== headDim && modelType !== 'phi3')
    throw new Error(`${modelType} has no partial rotary in this test forward`);
  return {
    kind,
    theta: inside.maybeNumber('rope_theta') ?? fields.maybeNumber('rope_theta') ?? theta,
    rotaryDim,
    maxPositions,
    parameters,
  };
}

function resolveWindows(fields: Fields, modelType: string, layers: number): (number | null)[] {
  const all = (window: number | null): (number | null)[] => Array.from({ length: layers }, () => window);
  const window = fields.maybeNumber('sliding_window');
  switch (modelType) {
    case 'mistral':
      return all(fields.has('sliding_window') ? window : 4096);
    case 'mixtral':
    case 'phi3':
      return all(window);
    case 'qwen3_moe':
      return all(fields.flag('use_sliding_window', false) ? (window ?? 4096) : null);
    case 'qwen2':
    case 'qwen3':
    case 'qwen2_moe': {
      const used = fields.flag('use_sliding_window', false);
      const types = fields.list('layer_types');
      const maxWindowLayers = fields.number('max_window_layers', 28);
      return all(null).map((_, i) => {
        // The two classes read max_window_layers differently: qwen2 windows the layers from it on, qwen2_moe every other one below it.
        const byRule =
          used && (modelType === 'qwen2_moe' ? (i + 1) % 2 === 1 && i < maxWindowLayers : i >= maxWindowLayers);
        const sliding = types === null ? byRule : types[i] === 'sliding_attention';
        if (sliding && !used)
          throw new Error('layer_types slides while use_sliding_window is false: the window would be undefined');
        return sliding ? (window ?? 4096) : null;
      });
    }
    default:
      return all(null);
  }
}

function resolveMoe(fields: Fields, modelType: string): MoeConfig {
  const qwen = modelType === 'qwen2_moe' || modelType === 'qwen3_moe';
  const named = fields.maybeNumber('num_local_experts');
  // qwen3_moe saved by transformers 5.24 says num_local_experts, everything else keeps its family's name.
  const experts =
    modelType === 'mixtral' || modelType === 'granitemoe'
      ? fields.number('num_local_experts')
      : (fields.maybeNumber('num_experts') ?? named);
  if (experts === null) throw new Error('config.json: the number of experts is missing');
  return {
    experts,
    topK: fields.number('num_experts_per_tok'),
    width: fields.number(qwen ? 'moe_intermediate_size' : 'intermediate_size'),
    normalise: modelType === 'mixtral' || modelType === 'granitemoe' || fields.flag('norm_topk_prob', false),
    sharedWidth: modelType === 'qwen2_moe' ? fields.number('shared_expert_intermediate_size') : null,
  };
}

function resolveMoeLayers(fields: Fields, modelType: string, layers: number, experts: number): boolean[] {
  const dense = fields.list('mlp_only_layers') ?? [];
  const step = fields.number('decoder_sparse_step', 1);
  const mixed = modelType === 'qwen2_moe' || modelType === 'qwen3_moe';
  return Array.from(
    { length: layers },
    (_, i) => !mixed || (!dense.includes(i) && experts > 0 && (i + 1) % step === 0),
  );
}

/** Reads a config.json object as transformers 5.24 would; throws on a family that the test forward does not know. */
export function resolveConfig(raw: JsonObject): TestConfig {
  const fields = new Fields(raw);
  const modelType = fields.string('model_type', '');
  const traits = Object.hasOwn(FAMILIES, modelType) ? FAMILIES[modelType] : undefined;
  if (traits === undefined) throw new Error(`the test forward does not know model_type ${JSON.stringify(modelType)}`);
  const hidden = fields.number('hidden_size');
  const heads = fields.number('num_attention_heads');
  const layers = fields.number('num_hidden_layers');
  const classHeadDim: Readonly<Record<string, number>> = { qwen3: 128, gemma: 256 };
  // phi3's class has no head_dim of its own, but takes one that is written.
  const headDim =
    fields.maybeNumber('head_dim') ?? (fields.has('head_dim') ? undefined : classHeadDim[modelType]) ?? hidden / heads;
  const granite = modelType === 'granite' || modelType === 'granitemoe';
  const withoutBias = ['mistral', 'mixtral', 'phi3', 'qwen2', 'qwen2_moe'].includes(modelType);
  const attentionBias = !withoutBias && fields.flag('attention_bias', false);
  const moe = traits.moe ? resolveMoe(fields, modelType) : null;
  return {
    modelType,
    hidden,
    heads,
    kvHeads: fields.number('num_key_value_heads'),
    headDim,
    layers,
    vocab: fields.number('vocab_size'),
    denseWidth: fields.number('intermediate_size'),
    eps: fields.number('rms_norm_eps', traits.eps),
    activation: fields.string('hidden_act', modelType === 'gemma' ? 'gelu_pytorch_tanh' : 'silu'),
    tied: fields.flag('tie_word_embeddings', modelType === 'gemma'),
    rope: resolveRope(fields, modelType, traits.theta, headDim),
    norms: traits.norms,
    qkNorm: traits.qkNorm,
    normOffset: modelType === 'gemma' ? 1 : 0,
    fusedProjections: traits.fusedProjections === true,
    qkvBias: attentionBias || modelType === 'qwen2' || (modelType === 'qwen2_moe' && fields.flag('qkv_bias', true)),
    outputBias: attentionBias,
    mlpBias: (modelType === 'llama' || modelType === 'granite') && fields.flag('mlp_bias', false),
    clipQkv: modelType === 'olmoe' ? fields.maybeNumber('clip_qkv') : null,
    embeddingScale: modelType === 'gemma' ? Math.sqrt(hidden) : granite ? fields.number('embedding_multiplier', 1) : 1,
    attentionScale: granite ? fields.number('attention_multiplier', 1) : 1 / Math.sqrt(headDim),
    residualScale: granite ? fields.number('residual_multiplier', 1) : 1,
    logitsDivisor: granite ? fields.number('logits_scaling', 1) : 1,
    windows: resolveWindows(fields, modelType, layers),
    moe,
    moeLayers:
      moe === null
        ? Array.from({ length: layers }, () => false)
        : resolveMoeLayers(fields, modelType, layers, moe.experts),
  };
}
