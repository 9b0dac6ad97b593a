/**
 * One description of a decoder-only transformer, normalised from a Hugging Face config. Graphs, names and samplers read
 * this and nothing else of a config. Semantics follow transformers 5.24's modeling files.
 */
import { MoeError } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import type { JsonObject } from '../common/json.ts';
import { ConfigReader } from './config-reader.ts';
import { FAMILIES } from './families.ts';
import type { FamilyTraits } from './family.ts';
import { ropeFromConfig } from './rope.ts';
import type { RouterSpec } from './router-spec.ts';
import type { RopeSpec } from './rope.ts';

export type Activation = 'silu' | 'gelu' | 'gelu_tanh' | 'relu' | 'relu2' | 'sigmoid' | 'tanh';

export interface DenseFfn {
  readonly kind: 'dense';
  readonly width: number;
}

export interface MoeFfn {
  readonly kind: 'moe';
  readonly experts: number;
  readonly topK: number;
  /** Width of one expert. */
  readonly width: number;
  /**
   * How the family is described: softmax over all experts and then top-k, or top-k of the logits and then softmax. With
   * `normalise` both give the same weights.
   */
  readonly order: 'softmax-topk' | 'topk-softmax';
  /** True when the weights of the chosen experts sum to 1 (before `router.scale`). */
  readonly normalise: boolean;
  readonly router: RouterSpec;
  /** An expert that sees every token, behind a sigmoid gate when `gated`. */
  readonly shared: { readonly width: number; readonly gated: boolean } | null;
}

/** Multi-head latent attention (DeepSeek): keys and values come from a narrow vector per token. */
export interface LatentAttention {
  /** Width of the queries' own narrow vector; null: queries come from the input itself. */
  readonly queryRank: number | null;
  readonly keyValueRank: number;
  /** Of each head of queries and keys: the part without positions; `rope.dim` more are rotated, shared by all heads of keys. */
  readonly plainDim: number;
}

export interface LayerSpec {
  readonly index: number;
  /** Sliding attention window (a token sees itself and window-1 before it), or null for full attention. */
  readonly window: number | null;
  /** Queries and keys are rotated by position; Llama 4 has layers without. */
  readonly rotated: boolean;
  readonly ffn: DenseFfn | MoeFfn;
}

export interface TransformerSpec {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Width of a head of queries and keys. */
  readonly headDim: number;
  /** Width of a head of values. */
  readonly valueDim: number;
  readonly maxPositions: number;
  /** `layer`: LayerNorm, with mean and bias (phimoe). */
  readonly norm: { readonly kind: 'rms' | 'layer'; readonly eps: number; readonly unitOffset: boolean };
  /** Norms before each block (llama), after it (olmo2), or both (gemma2). */
  readonly placement: 'pre' | 'post' | 'both';
  readonly attention: {
    readonly scale: number;
    readonly bias: { readonly qkv: boolean; readonly o: boolean };
    /** RMS norm on q and k: over each head, over the whole projection, none, or (rotated layers) without weight after rotation. */
    readonly qkNorm: 'none' | 'head' | 'full' | 'rotated';
    readonly fusedQkv: boolean;
    readonly softcap: number | null;
    /** Clamp of q, k and v to ±clip (olmoe). */
    readonly clip: number | null;
    readonly latent: LatentAttention | null;
    /** A learnt score per head that takes a share of the attention and gives nothing (gpt-oss). */
    readonly sinks: boolean;
    /** Rotary pairs are neighbours, not halves. */
    readonly interleavedRope: boolean;
    /** Longest text that this description is right for; null: any. Llama 4 beyond: attention in chunks, queries scaled by position. */
    readonly longest: number | null;
  };
  readonly mlp: { readonly bias: boolean; readonly fusedGateUp: boolean };
  readonly activation: Activation;
  /** gpt-oss: gate and up are clamped to `limit`, and the product is gate · sigmoid(alpha · gate) · (up + 1). */
  readonly clampedGlu: { readonly alpha: number; readonly limit: number } | null;
  readonly embeddingScale: number;
  readonly residualScale: number;
  /** Logits are divided by this. */
  readonly logitsDivisor: number;
  readonly finalSoftcap: number | null;
  readonly tied: boolean;
  /** The output matrix has a bias. */
  readonly headBias: boolean;
  readonly rope: RopeSpec;
  readonly layers: readonly LayerSpec[];
  readonly tokens: { readonly bos: number | null; readonly eos: readonly number[]; readonly pad: number | null };
  /** What was assumed, ignored or defaulted while reading the config. */
  readonly notes: readonly string[];
}

const ACTIVATIONS: ReadonlyMap<string, Activation> = new Map([
  ['silu', 'silu'],
  ['swish', 'silu'],
  ['gelu', 'gelu'],
  ['gelu_python', 'gelu'],
  ['gelu_pytorch_tanh', 'gelu_tanh'],
  ['gelu_python_tanh', 'gelu_tanh'],
  ['gelu_new', 'gelu_tanh'],
  ['gelu_fast', 'gelu_tanh'],
  ['relu', 'relu'],
  ['relu2', 'relu2'],
  ['sigmoid', 'sigmoid'],
  ['tanh', 'tanh'],
]);

/** More layers or experts than any model has; bounds what a hostile config can make us build. */
const MAX_LAYERS = 2048;
const MAX_EXPERTS = 8192;

/**
 * Reads a config.json. Throws a MoeError `unknown-model-type` for a family that cannot be run, and errors that name the
 * field for values that make no sense.
 */
export function specFromConfig(config: JsonObject): TransformerSpec {
  const nested = config['text_config'];
  const outerType = config['model_type'];
  // Multimodal wrappers keep the language model in text_config; the flag for tied embeddings may stand outside.
  const useNested = isJsonObject(nested) && !(typeof outerType === 'string' && FAMILIES.has(outerType));
  const body: JsonObject = useNested
    ? { ...pick(config, ['tie_word_embeddings', 'bos_token_id', 'eos_token_id', 'pad_token_id']), ...nested }
    : config;
  const reader = new ConfigReader(body, useNested ? 'text_config.' : '');
  const modelType = body['model_type'];
  if (typeof modelType !== 'string') {
    throw new MoeError('input', 'missing-model-type', 'config.json has no model_type, so the model cannot be built.', {
      file: 'config.json',
      field: reader.field('model_type'),
    });
  }
  const family = FAMILIES.get(modelType);
  if (family === undefined) {
    throw new MoeError('input', 'unknown-model-type', `Models of type "${modelType}" cannot be run yet.`, {
      file: 'config.json',
      field: reader.field('model_type'),
      hint: `Runnable are ${[...FAMILIES.keys()].join(', ')}.`,
      details: { modelType },
    });
  }
  return build(modelType, family, reader);
}

function pick(from: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(
    keys.flatMap((key) => (Object.hasOwn(from, key) && from[key] !== undefined ? [[key, from[key]]] : [])),
  );
}

function build(modelType: string, family: FamilyTraits, config: ConfigReader): TransformerSpec {
  const hiddenSize = config.size('hidden_size');
  const heads = config.size('num_attention_heads');
  const latent = family.latent(config);
  // Latent attention has keys for every head, whatever the config says.
  const kvHeads =
    latent !== null
      ? heads
      : config.value('num_key_value_heads') === undefined
        ? (family.kvHeadsDefault ?? heads)
        : config.size('num_key_value_heads');
  if (heads % kvHeads !== 0)
    throw config.bad('num_key_value_heads', kvHeads, `a divisor of num_attention_heads (${heads})`);
  const turned = latent === null ? null : config.size('qk_rope_head_dim', 64);
  const headDim =
    latent !== null && turned !== null
      ? latent.plainDim + turned
      : config.value('head_dim') === undefined
        ? impliedHeadDim(config, family, hiddenSize, heads)
        : config.size('head_dim');
  const maxPositions = config.size('max_position_embeddings', family.maxPositions);
  const count = config.size('num_hidden_layers', undefined, MAX_LAYERS);
  const windows = family.windows(config, count);
  const rotated = family.rotated(config, count);
  const layers = Array.from({ length: count }, (_, index): LayerSpec => {
    return { index, window: windows(index), rotated: rotated(index), ffn: family.ffn(config, index) };
  });
  for (const { ffn } of layers) checkFfn(config, ffn);
  const activationName = family.activation(config);
  const activation = ACTIVATIONS.get(activationName);
  if (activation === undefined) {
    throw new MoeError('input', 'unknown-activation', `config.json: the activation "${activationName}" is not known.`, {
      file: 'config.json',
      field: config.field('hidden_act'),
      hint: `Known are ${[...ACTIVATIONS.keys()].join(', ')}.`,
    });
  }
  const rope = ropeFromConfig(config, {
    theta: family.theta,
    headDim: turned ?? headDim,
    maxPositions,
    partial: family.partialRotary,
    ...family.rope,
  });
  const longest = family.longest(config);
  if (longest !== null && longest < maxPositions)
    config.note(
      `texts are cut at ${longest} tokens, not ${maxPositions}: beyond, the attention of this family works in chunks`,
    );
  const scaled = family.multipliers(config, { hiddenSize, headDim });
  return {
    modelType,
    vocabSize: config.size('vocab_size'),
    hiddenSize,
    heads,
    kvHeads,
    headDim,
    valueDim: latent === null ? headDim : config.size('v_head_dim', 128),
    maxPositions: Math.min(maxPositions, longest ?? maxPositions),
    norm: {
      kind: family.normKind,
      eps: config.number('rms_norm_eps', family.eps),
      unitOffset: family.unitOffsetNorm,
    },
    placement: family.placement,
    attention: {
      scale: scaled.attentionScale,
      bias: family.attentionBias(config),
      qkNorm: family.qkNorm(config),
      fusedQkv: family.fusedProjections,
      softcap: scaled.attentionSoftcap,
      clip: scaled.clip,
      latent,
      sinks: family.sinks,
      interleavedRope: family.interleavedRope(config),
      longest,
    },
    mlp: { bias: family.mlpBias(config), fusedGateUp: family.fusedProjections },
    activation,
    clampedGlu: family.clampedGlu(config),
    embeddingScale: scaled.embeddingScale,
    residualScale: scaled.residualScale,
    logitsDivisor: scaled.logitsDivisor,
    finalSoftcap: scaled.finalSoftcap,
    tied: config.bool('tie_word_embeddings', family.tied),
    headBias: family.headBias(config),
    rope,
    layers,
    tokens: specialTokens(config),
    notes: [...new Set(config.notes)],
  };
}

function impliedHeadDim(config: ConfigReader, family: FamilyTraits, hiddenSize: number, heads: number): number {
  if (family.headDim !== null) {
    config.note(`head_dim is absent: ${family.headDim} assumed (transformers' default)`);
    return family.headDim;
  }
  return Math.floor(hiddenSize / heads);
}

function checkFfn(config: ConfigReader, ffn: DenseFfn | MoeFfn): void {
  if (ffn.kind === 'dense') return;
  const { groups } = ffn.router;
  if (groups !== null && (ffn.experts % groups.count !== 0 || groups.kept > groups.count))
    throw config.bad('n_group', groups.count, `a divisor of the ${ffn.experts} experts, and at least topk_group`);
  if (ffn.experts > MAX_EXPERTS) throw config.bad('num_experts', ffn.experts, `at most ${MAX_EXPERTS} experts`);
  if (ffn.topK > ffn.experts) {
    throw new MoeError(
      'input',
      'top-k-exceeds-experts',
      `config.json: num_experts_per_tok is ${ffn.topK}, but there are only ${ffn.experts} experts.`,
      {
        file: 'config.json',
        field: config.field('num_experts_per_tok'),
      },
    );
  }
}

function specialTokens(config: ConfigReader): TransformerSpec['tokens'] {
  const id = (key: string): number | null => {
    const value = config.value(key);
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
  };
  const eos = config.value('eos_token_id');
  const list = Array.isArray(eos) ? eos : [eos];
  return {
    bos: id('bos_token_id'),
    pad: id('pad_token_id'),
    eos: list.filter((item): item is number => typeof item === 'number' && Number.isSafeInteger(item)),
  };
}

/** Layers that hold experts. */
export function moeLayers(spec: TransformerSpec): readonly (LayerSpec & { readonly ffn: MoeFfn })[] {
  return spec.layers.filter((layer): layer is LayerSpec & { readonly ffn: MoeFfn } => layer.ffn.kind === 'moe');
}

/** The distinct sliding windows of a model, ascending. */
export function slidingWindows(spec: TransformerSpec): readonly number[] {
  return [...new Set(spec.layers.flatMap((layer) => (layer.window === null ? [] : [layer.window])))].sort(
    (a, b) => a - b,
  );
}
