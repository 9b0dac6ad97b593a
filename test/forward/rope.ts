/** Rotary position embeddings: default, linear, dynamic, llama3, yarn and longrope, from their definitions. */
import type { RopeConfig } from './config.ts';

export interface RopeTables {
  /** Rotated pairs per head: element i turns with element i + half. */
  readonly half: number;
  /** [length, half], already multiplied by the attention factor. */
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

function required(rope: RopeConfig, name: string): number {
  const value = rope.parameters[name];
  if (typeof value !== 'number') throw new Error(`rope ${rope.kind}: ${name} is missing`);
  return value;
}

function optional(rope: RopeConfig, name: string): number | undefined {
  const value = rope.parameters[name];
  return typeof value === 'number' ? value : undefined;
}

function llama3Frequency(rope: RopeConfig, frequency: number): number {
  const factor = required(rope, 'factor');
  const low = required(rope, 'low_freq_factor');
  const high = required(rope, 'high_freq_factor');
  const original = required(rope, 'original_max_position_embeddings');
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return frequency / factor;
  const smooth = (original / wavelength - low) / (high - low);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

/** Ramp bounds of YaRN: the dimensions at which `rotations` full turns fit into the original length. */
function yarnBounds(rope: RopeConfig): readonly [number, number] {
  const original = required(rope, 'original_max_position_embeddings');
  const dim = rope.rotaryDim;
  const at = (rotations: number): number =>
    (dim * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.theta));
  let low = at(optional(rope, 'beta_fast') ?? 32);
  let high = at(optional(rope, 'beta_slow') ?? 1);
  if (rope.parameters['truncate'] !== false) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, dim - 1);
  return [low, low === high ? high + 0.001 : high];
}

function yarnAttentionFactor(rope: RopeConfig, factor: number): number {
  const given = optional(rope, 'attention_factor');
  if (given !== undefined) return given;
  const scale = (m: number): number => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  const mscale = optional(rope, 'mscale');
  const allDim = optional(rope, 'mscale_all_dim');
  return mscale && allDim ? scale(mscale) / scale(allDim) : scale(1);
}

/** Angular frequency of each pair and the factor on cos and sin, for a sequence of `length` tokens. */
function frequencies(rope: RopeConfig, length: number): { readonly values: Float64Array; readonly attention: number } {
  const dim = rope.rotaryDim;
  const plain = (theta: number): Float64Array =>
    Float64Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
  switch (rope.kind) {
    case 'default':
      return { values: plain(rope.theta), attention: 1 };
    case 'linear':
      return { values: plain(rope.theta).map((f) => f / required(rope, 'factor')), attention: 1 };
    case 'dynamic': {
      const factor = required(rope, 'factor');
      const seen = Math.max(length, rope.maxPositions);
      const stretch = (factor * seen) / rope.maxPositions - (factor - 1);
      return { values: plain(rope.theta * stretch ** (dim / (dim - 2))), attention: 1 };
    }
    case 'llama3':
      return { values: plain(rope.theta).map((f) => llama3Frequency(rope, f)), attention: 1 };
    case 'yarn': {
      const original = required(rope, 'original_max_position_embeddings');
      const factor = optional(rope, 'factor') ?? rope.maxPositions / original;
      const [low, high] = yarnBounds(rope);
      const values = plain(rope.theta).map((f, i) => {
        const interpolated = Math.min(1, Math.max(0, (i - low) / (high - low)));
        return (f / factor) * interpolated + f * (1 - interpolated);
      });
      return { values, attention: yarnAttentionFactor(rope, factor) };
    }
    case 'longrope': {
      const original = required(rope, 'original_max_position_embeddings');
      const factors = rope.parameters[length > original ? 'long_factor' : 'short_factor'];
      if (!Array.isArray(factors) || factors.length !== dim / 2)
        throw new Error(`rope longrope: factors must have length ${dim / 2}`);
      const factor = optional(rope, 'factor') ?? rope.maxPositions / original;
      const attention = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
      return {
        values: plain(rope.theta).map((f, i) => f / Number(factors[i])),
        attention: optional(rope, 'attention_factor') ?? attention,
      };
    }
    default:
      throw new Error(`the test forward does not know rope type ${rope.kind}`);
  }
}

export function ropeTables(rope: RopeConfig, length: number): RopeTables {
  const { values, attention } = frequencies(rope, length);
  const half = values.length;
  const cos = new Float64Array(length * half);
  const sin = new Float64Array(length * half);
  for (let position = 0; position < length; position++) {
    values.forEach((frequency, i) => {
      cos[position * half + i] = attention * Math.cos(position * frequency);
      sin[position * half + i] = attention * Math.sin(position * frequency);
    });
  }
  return { half, cos, sin };
}

/** Rotates one head in place: `vector[offset + i]` with `vector[offset + i + half]`. */
export function rotate(tables: RopeTables, vector: Float64Array, offset: number, position: number): void {
  const { half } = tables;
  for (let i = 0; i < half; i++) {
    const cos = tables.cos[position * half + i] ?? NaN;
    const sin = tables.sin[position * half + i] ?? NaN;
    const a = vector[offset + i] ?? NaN;
    const b = vector[offset + half + i] ?? NaN;
    vector[offset + i] = a * cos - b * sin;
    vector[offset + half + i] = b * cos + a * sin;
  }
}
