/**
 * Rotary position embedding: from a config to inverse frequencies and cos/sin tables, in float64. The formulas are those of
 * transformers' modeling_rope_utils (5.x); both spellings are read, `rope_theta` + `rope_scaling` (v4) and `rope_parameters`
 * (v5).
 */
import { MoeError } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import { ConfigReader } from './config-reader.ts';
import { append } from '../common/lists.ts';

export type RopeScaling =
  | { readonly kind: 'default' }
  | { readonly kind: 'linear'; readonly factor: number }
  | { readonly kind: 'dynamic'; readonly factor: number }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMax: number;
    }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly originalMax: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly truncate: boolean;
      readonly attentionFactor: number;
    }
  | {
      readonly kind: 'longrope';
      readonly originalMax: number;
      readonly shortFactor: readonly number[];
      readonly longFactor: readonly number[];
      readonly attentionFactor: number;
      /** Up to the original maximum and beyond it, where the family has two (phimoe). */
      readonly mscale: { readonly short: number; readonly long: number } | null;
    };

export interface RopeSpec {
  readonly theta: number;
  /** Rotated dimensions of each head (even, ≤ head dimension). */
  readonly dim: number;
  /** `max_position_embeddings`: where dynamic scaling starts. */
  readonly maxPositions: number;
  readonly scaling: RopeScaling;
}

export interface RopeDefaults {
  readonly theta: number;
  readonly headDim: number;
  readonly maxPositions: number;
  /** True where the family rotates only `partial_rotary_factor` of each head (phi3). */
  readonly partial: boolean;
  /** `original_max_position_embeddings` of the class when the config has none (phi3: 4096). */
  readonly originalMax?: number;
  /** longrope has `short_mscale` and `long_mscale` in place of an attention factor (phimoe). */
  readonly mscales?: boolean;
  /** Family spellings of scaling kinds, such as phi3's `su` for longrope. */
  readonly kindAliases?: ReadonlyMap<string, string>;
}

const KINDS = ['default', 'linear', 'dynamic', 'llama3', 'yarn', 'longrope'] as const;

/** The rope settings as the config has them: transformers lets a non-empty rope_scaling win over rope_parameters. */
export function ropeReader(top: ConfigReader): ConfigReader {
  const scaling = top.object('rope_scaling');
  const key = scaling !== undefined && Object.keys(scaling).length > 0 ? 'rope_scaling' : 'rope_parameters';
  const given = top.object(key) ?? {};
  if (Object.values(given).some(isJsonObject)) {
    throw new MoeError(
      'input',
      'rope-per-layer-type',
      `config.json: ${key} holds one set of parameters per layer type, which this family does not have.`,
      {
        file: 'config.json',
        field: top.field(key),
        hint: 'Write one flat set of rope parameters.',
      },
    );
  }
  return new ConfigReader(given, `${top.field(key)}.`);
}

/** The kind of rope that settings name. */
export function ropeKind(rope: ConfigReader): string {
  return rope.text('rope_type', rope.text('type', 'default'));
}

/** yarn's growth of attention with the factor by which texts become longer. */
export function yarnMagnitude(factor: number, scale: number): number {
  return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
}

/** Reads the rope settings of a config; throws a MoeError for a kind that we cannot compute. */
export function ropeFromConfig(top: ConfigReader, defaults: RopeDefaults): RopeSpec {
  const rope = ropeReader(top);
  const theta =
    rope.value('rope_theta') !== undefined ? rope.number('rope_theta') : top.number('rope_theta', defaults.theta);
  if (theta <= 0) throw top.bad('rope_theta', theta, 'a positive number');
  const named = ropeKind(rope);
  const kind = defaults.kindAliases?.get(named) ?? named;
  if (!isKind(kind)) {
    throw new MoeError('input', 'unknown-rope-type', `config.json: rope type "${named}" is not known.`, {
      file: 'config.json',
      field: rope.field('rope_type'),
      hint: `Known are ${KINDS.join(', ')}.`,
    });
  }
  const dim = rotatedDim(top, rope, defaults, kind);
  const common = { theta, dim, maxPositions: defaults.maxPositions };
  const originalMax = (): number =>
    top.value('original_max_position_embeddings') !== undefined
      ? top.size('original_max_position_embeddings')
      : (defaults.originalMax ??
        (rope.value('original_max_position_embeddings') !== undefined
          ? rope.size('original_max_position_embeddings')
          : defaults.maxPositions));
  const result: RopeSpec = { ...common, scaling: scalingOf(kind, rope, defaults, dim, originalMax) };
  append(top.notes, rope.notes);
  return result;
}

function isKind(kind: string): kind is (typeof KINDS)[number] {
  return (KINDS as readonly string[]).includes(kind);
}

function rotatedDim(top: ConfigReader, rope: ConfigReader, defaults: RopeDefaults, kind: string): number {
  const partial = rope.optionalNumber('partial_rotary_factor') ?? top.optionalNumber('partial_rotary_factor') ?? 1;
  let dim = defaults.headDim;
  if (defaults.partial) {
    if (!(partial > 0 && partial <= 1)) throw top.bad('partial_rotary_factor', partial, 'a number above 0 and up to 1');
    dim = Math.trunc(defaults.headDim * partial);
  } else if (partial !== 1) {
    if (kind !== 'default') {
      throw new MoeError(
        'input',
        'partial-rotary-unsupported',
        `config.json: partial_rotary_factor ${partial} with rope type ${kind} is not something this family can compute.`,
        { file: 'config.json', field: 'partial_rotary_factor' },
      );
    }
    top.note(`partial_rotary_factor ${partial} is ignored, as transformers does for this family`);
  }
  if (dim < 2 || dim % 2 !== 0) throw top.bad('head_dim', defaults.headDim, 'a head whose rotated part is even');
  return dim;
}

function scalingOf(
  kind: (typeof KINDS)[number],
  rope: ConfigReader,
  defaults: RopeDefaults,
  dim: number,
  originalMax: () => number,
): RopeScaling {
  switch (kind) {
    case 'default':
      return { kind };
    case 'linear':
    case 'dynamic':
      return { kind, factor: positive(rope, 'factor') };
    case 'llama3':
      return {
        kind,
        factor: positive(rope, 'factor'),
        lowFreqFactor: positive(rope, 'low_freq_factor'),
        highFreqFactor: positive(rope, 'high_freq_factor'),
        originalMax: originalMax(),
      };
    case 'yarn': {
      const original = originalMax();
      const factor = rope.value('factor') === undefined ? defaults.maxPositions / original : positive(rope, 'factor');
      const mscale = rope.optionalNumber('mscale');
      const mscaleAll = rope.optionalNumber('mscale_all_dim');
      const magnitude = (scale: number): number => yarnMagnitude(factor, scale);
      const implied =
        mscale !== null && mscaleAll !== null && mscale !== 0 && mscaleAll !== 0
          ? magnitude(mscale) / magnitude(mscaleAll)
          : magnitude(1);
      return {
        kind,
        factor,
        originalMax: original,
        // transformers reads these with `or`: 0 means the default.
        betaFast: orDefault(rope.optionalNumber('beta_fast'), 32),
        betaSlow: orDefault(rope.optionalNumber('beta_slow'), 1),
        truncate: rope.bool('truncate', true),
        attentionFactor: rope.optionalNumber('attention_factor') ?? implied,
      };
    }
    case 'longrope': {
      const original = originalMax();
      const factor = rope.value('factor') === undefined ? defaults.maxPositions / original : rope.number('factor');
      const implied = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
      const factors = (key: string): readonly number[] => {
        const list = rope.numbers(key);
        if (list.length !== dim / 2) throw rope.bad(key, list, `${dim / 2} numbers, one per rotated pair`);
        return list;
      };
      return {
        kind,
        originalMax: original,
        shortFactor: factors('short_factor'),
        longFactor: factors('long_factor'),
        attentionFactor: rope.optionalNumber('attention_factor') ?? implied,
        mscale:
          defaults.mscales === true ? { short: rope.number('short_mscale'), long: rope.number('long_mscale') } : null,
      };
    }
  }
}

function orDefault(value: number | null, fallback: number): number {
  return value === null || value === 0 ? fallback : value;
}

function positive(reader: ConfigReader, key: string): number {
  const value = reader.number(key);
  if (value <= 0) throw reader.bad(key, value, 'a positive number');
  return value;
}

export interface RopeFrequencies {
  /** `dim / 2` radians per position. */
  readonly inverse: Float64Array;
  /** Factor on cos and sin (yarn, longrope). */
  readonly attentionFactor: number;
}

/**
 * Inverse frequencies for a sequence whose last position is `length - 1`. Only dynamic and longrope depend on the length,
 * and only above `max_position_embeddings` or the original maximum.
 */
export function ropeFrequencies(rope: RopeSpec, length: number): RopeFrequencies {
  const { theta, dim, scaling } = rope;
  const plain = (base: number): Float64Array =>
    Float64Array.from({ length: dim / 2 }, (_, i) => 1 / base ** ((2 * i) / dim));
  switch (scaling.kind) {
    case 'default':
      return { inverse: plain(theta), attentionFactor: 1 };
    case 'linear':
      return { inverse: plain(theta).map((f) => f / scaling.factor), attentionFactor: 1 };
    case 'dynamic': {
      const reach = Math.max(length, rope.maxPositions);
      const base = theta * ((scaling.factor * reach) / rope.maxPositions - (scaling.factor - 1)) ** (dim / (dim - 2));
      return { inverse: plain(base), attentionFactor: 1 };
    }
    case 'llama3': {
      const { factor, lowFreqFactor, highFreqFactor, originalMax } = scaling;
      const inverse = plain(theta).map((f) => {
        const wavelength = (2 * Math.PI) / f;
        if (wavelength < originalMax / highFreqFactor) return f;
        if (wavelength > originalMax / lowFreqFactor) return f / factor;
        const smooth = (originalMax / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
        return ((1 - smooth) * f) / factor + smooth * f;
      });
      return { inverse, attentionFactor: 1 };
    }
    case 'yarn': {
      const correction = (rotations: number): number =>
        (dim * Math.log(scaling.originalMax / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
      const [first, last] = [correction(scaling.betaFast), correction(scaling.betaSlow)];
      const low = Math.max(scaling.truncate ? Math.floor(first) : first, 0);
      const end = Math.min(scaling.truncate ? Math.ceil(last) : last, dim - 1);
      const high = low === end ? end + 0.001 : end;
      const inverse = plain(theta).map((f, i) => {
        const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
        return (f / scaling.factor) * ramp + f * (1 - ramp);
      });
      return { inverse, attentionFactor: scaling.attentionFactor };
    }
    case 'longrope': {
      // transformers 5.24 keeps phimoe's short factors beyond the original maximum too; the model's own code does not.
      const long = length > scaling.originalMax;
      const factors = long ? scaling.longFactor : scaling.shortFactor;
      const { mscale } = scaling;
      return {
        inverse: plain(theta).map((f, i) => f / (factors[i] ?? 1)),
        attentionFactor: mscale === null ? scaling.attentionFactor : long ? mscale.long : mscale.short,
      };
    }
  }
}

export interface RopeTables {
  /** Row-major [positions, dim / 2]. */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly positions: number;
}

/** cos and sin of positions 0 … positions-1 for a sequence of `length` positions. */
export function ropeTables(rope: RopeSpec, positions: number, length: number = positions): RopeTables {
  const { inverse, attentionFactor } = ropeFrequencies(rope, length);
  const half = inverse.length;
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    inverse.forEach((frequency, i) => {
      cos[position * half + i] = Math.cos(position * frequency) * attentionFactor;
      sin[position * half + i] = Math.sin(position * frequency) * attentionFactor;
    });
  }
  return { cos, sin, positions };
}

/** True when the frequencies change with the length of the sequence. */
export function ropeDependsOnLength(rope: RopeSpec): boolean {
  return rope.scaling.kind === 'dynamic' || rope.scaling.kind === 'longrope';
}
