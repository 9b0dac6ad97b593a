/**
 * Rotary embedding settings from metadata and factor tensors. Linear and YaRN scaling are metadata; Llama 3's scaling and
 * Phi-3's LongRoPE are stored as factors per frequency, from which the settings are found again or the file is refused.
 */
import { MoeError, grouped } from '../common/errors.ts';
import type { Metadata } from './metadata.ts';
import { shortestFloat32 } from './metadata.ts';
import { readStoredTensor } from './tensor-data.ts';
import type { GgufHeader, GgufNote, GgufTensor } from './types.ts';
import { largest } from '../common/lists.ts';

/** Plain JSON, as it goes into config.json. */
export type RopeSettings = Readonly<Record<string, number | string | readonly number[]>>;

export interface Rope {
  readonly theta: number;
  /** transformers' `rope_scaling` (without theta), or undefined for the plain kind. */
  readonly scaling?: RopeSettings;
}

export interface RopeContext {
  readonly header: GgufHeader;
  readonly metadata: Metadata;
  readonly headDim: number;
  readonly contextLength: number;
  readonly notes: GgufNote[];
}

/** What llama.cpp and transformers take when no base is stored. */
const DEFAULT_THETA = 10_000;

/**
 * Rotary settings of the model.
 * @throws MoeError `gguf-rope` where they cannot be expressed exactly in a config.json
 */
export function ropeOf(context: RopeContext): Rope {
  const { header, metadata, notes } = context;
  const stored = metadata.number('{arch}.rope.freq_base');
  if (stored === undefined) {
    notes.push({
      severity: 'info',
      code: 'gguf-default',
      field: 'rope_theta',
      message: `no rotary base is stored; ${DEFAULT_THETA} is what its readers take`,
    });
  }
  const theta = stored === undefined ? DEFAULT_THETA : shortestFloat32(stored);
  if (metadata.flag('{arch}.rope.scaling.finetuned') === false && metadata.arch.startsWith('granite')) {
    throw refuse(
      header,
      '{arch}.rope.scaling.finetuned',
      metadata,
      'this model uses no rotary embedding at all (the hybrid Granite kind)',
    );
  }
  const scaling = scalingOf(context, theta);
  return scaling === undefined ? { theta } : { theta, scaling };
}

function refuse(header: GgufHeader, key: string, metadata: Metadata, why: string): MoeError {
  const field = key.replace('{arch}', metadata.arch);
  return new MoeError('input', 'gguf-rope', `${header.path}: "${field}": ${why}`, {
    file: header.path,
    field,
    hint: 'Use the Hugging Face folder of the model, whose config.json says it directly.',
  });
}

/** Factors per frequency: half a head's width, so a few dozen. */
const MAX_FACTORS = 4096;

function factorsOf(context: RopeContext, tensor: GgufTensor): Float32Array {
  if (tensor.elements <= MAX_FACTORS) return readStoredTensor(tensor);
  throw refuse(
    context.header,
    tensor.name,
    context.metadata,
    `${grouped(tensor.elements)} rotary factors, where a head has a few dozen`,
  );
}

function scalingOf(context: RopeContext, theta: number): RopeSettings | undefined {
  const { header, metadata } = context;
  const factors = header.tensors.get('rope_freqs.weight');
  const long = header.tensors.get('rope_factors_long.weight');
  const short = header.tensors.get('rope_factors_short.weight');
  const type = metadata.text('{arch}.rope.scaling.type');
  const original = metadata.integer('{arch}.rope.scaling.original_context_length');
  const factor = metadata.number('{arch}.rope.scaling.factor');
  const attention = metadata.number('{arch}.rope.scaling.attn_factor');
  if (long !== undefined || short !== undefined) {
    if (long === undefined || short === undefined) {
      throw refuse(header, '{arch}.rope.scaling.type', metadata, 'only one of the LongRoPE factor tensors is there');
    }
    return longRope(
      context,
      decimals(factorsOf(context, short)),
      decimals(factorsOf(context, long)),
      original,
      attention,
    );
  }
  if (factors !== undefined) {
    if (type === 'yarn' || type === 'longrope')
      throw refuse(header, '{arch}.rope.scaling.type', metadata, `${type} scaling together with frequency factors`);
    return fromFactors(context, factorsOf(context, factors), theta);
  }
  switch (type) {
    case undefined: {
      // An old key of 2023, before rope.scaling.*.
      const old = metadata.number('{arch}.rope.scale_linear');
      return old === undefined || old === 1 ? undefined : { rope_type: 'linear', factor: shortestFloat32(old) };
    }
    case 'none':
      return undefined;
    case 'linear':
      if (factor === undefined)
        throw refuse(header, '{arch}.rope.scaling.factor', metadata, 'linear scaling without a factor');
      return factor === 1 ? undefined : { rope_type: 'linear', factor: shortestFloat32(factor) };
    case 'yarn':
      return yarn(context, factor, original);
    default:
      throw refuse(
        header,
        '{arch}.rope.scaling.type',
        metadata,
        `rotary scaling "${type}" cannot be rebuilt from a GGUF`,
      );
  }
}

function yarn(context: RopeContext, factor: number | undefined, original: number | undefined): RopeSettings {
  const { header, metadata, notes } = context;
  if (factor === undefined || original === undefined) {
    throw refuse(
      header,
      '{arch}.rope.scaling.factor',
      metadata,
      'YaRN scaling needs a factor and an original context length',
    );
  }
  const settings: Record<string, number | string> = {
    rope_type: 'yarn',
    factor: shortestFloat32(factor),
    original_max_position_embeddings: original,
  };
  for (const [key, name] of [
    ['{arch}.rope.scaling.yarn_attn_factor', 'attention_factor'],
    ['{arch}.rope.scaling.yarn_beta_fast', 'beta_fast'],
    ['{arch}.rope.scaling.yarn_beta_slow', 'beta_slow'],
  ] as const) {
    const value = metadata.number(key);
    if (value !== undefined) settings[name] = shortestFloat32(value);
  }
  const logMultiplier = metadata.number('{arch}.rope.scaling.yarn_log_multiplier') ?? 0;
  const extrapolation = metadata.number('{arch}.rope.scaling.yarn_ext_factor') ?? 1;
  if (logMultiplier !== 0 || (extrapolation !== 1 && extrapolation !== -1)) {
    notes.push({
      severity: 'warning',
      code: 'gguf-rope-yarn',
      field: 'rope_scaling',
      message:
        'YaRN is stored with a log multiplier or extrapolation factor that transformers has no field for; they are left out',
    });
  }
  return settings;
}

function longRope(
  context: RopeContext,
  short: readonly number[],
  long: readonly number[],
  original: number | undefined,
  attention: number | undefined,
): RopeSettings {
  const { header, metadata, contextLength } = context;
  if (original === undefined) {
    throw refuse(
      header,
      '{arch}.rope.scaling.original_context_length',
      metadata,
      'LongRoPE without an original context length',
    );
  }
  // The attention factor that transformers computes when the config gives none.
  const ratio = contextLength / original;
  const usual = ratio > 1 ? Math.sqrt(1 + Math.log(ratio) / Math.log(original)) : 1;
  if (attention !== undefined && Math.fround(usual) !== Math.fround(attention)) {
    const why = `attention factor ${shortestFloat32(attention)}, where ${usual.toPrecision(6)} follows from the context lengths: Phi-3's config has no field for it`;
    throw refuse(header, '{arch}.rope.scaling.attn_factor', metadata, why);
  }
  return { rope_type: 'longrope', short_factor: short, long_factor: long };
}

function decimals(values: Float32Array): number[] {
  return Array.from(values, shortestFloat32);
}

interface Llama3 {
  readonly factor: number;
  readonly low: number;
  readonly high: number;
  readonly original: number;
}

/** The factors that the converter computes for Llama 3 scaling, in its own precision. */
function llama3Factors(
  theta: number,
  headDim: number,
  count: number,
  { factor, low, high, original }: Llama3,
): Float32Array {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const exponent = Math.fround((2 * i) / headDim);
    const frequency = Math.fround(1 / Math.fround(theta ** exponent));
    const wavelength = Math.fround((2 * Math.PI) / frequency);
    if (wavelength < original / high) out[i] = 1;
    else if (wavelength > original / low) out[i] = factor;
    else {
      const smooth = (original / wavelength - low) / (high - low);
      out[i] = 1 / ((1 - smooth) / factor + smooth);
    }
  }
  return out;
}

/** Relative difference allowed: the converter's float32 powers differ from ours in the last places. */
const FACTOR_TOLERANCE = 1e-5;

function close(a: Float32Array, b: Float32Array): boolean {
  return a.every((value, i) => Math.abs(value - (b[i] ?? Number.NaN)) <= FACTOR_TOLERANCE * Math.abs(value));
}

/** Settings from factors per frequency: none, linear (all equal) or Llama 3's. */
function fromFactors(context: RopeContext, stored: Float32Array, theta: number): RopeSettings | undefined {
  const { header, metadata, headDim, notes } = context;
  const first = stored[0] ?? 1;
  const factor = shortestFloat32(largest(stored));
  if (stored.length !== headDim / 2) {
    throw refuse(
      header,
      'rope_freqs.weight',
      metadata,
      `${stored.length} factors for a head of ${headDim}, which needs ${headDim / 2}`,
    );
  }
  if (stored.every((value) => value === first))
    return first === 1 ? undefined : { rope_type: 'linear', factor: shortestFloat32(first) };
  // Every published Llama 3.1, 3.2 and 3.3 has low 1, high 4, original 8192; other settings are tried after it.
  for (const original of [8192, 4096, 2048, 16_384, 32_768, 65_536, 131_072]) {
    for (const [low, high] of [
      [1, 4],
      [1, 2],
      [1, 8],
      [2, 4],
      [1, 16],
      [2, 8],
    ] as const) {
      const guess: Llama3 = { factor, low, high, original };
      if (!close(llama3Factors(theta, headDim, stored.length, guess), stored)) continue;
      notes.push({
        severity: original === 8192 && low === 1 && high === 4 ? 'info' : 'warning',
        code: 'gguf-rope-llama3',
        field: 'rope_scaling',
        message: `Llama 3 scaling (factor ${factor}, low ${low}, high ${high}, original context ${original}) was found from the stored factors`,
      });
      return {
        rope_type: 'llama3',
        factor,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position_embeddings: original,
      };
    }
  }
  throw refuse(
    header,
    'rope_freqs.weight',
    metadata,
    'the frequency factors follow no formula that a config.json can express',
  );
}
