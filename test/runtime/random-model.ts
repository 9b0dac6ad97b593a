/** Tiny random models in memory, for properties that need no reference: seeded, any family, any expert layout. */
import type { JsonObject } from '../../src/common/json.ts';
import type { WeightEntry, WeightSource } from '../../src/model/weights.ts';
import { sourceOf } from './folder.ts';

/** mulberry32: a small seeded generator, uniform in [0, 1). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface MixtralShape {
  readonly experts: number;
  readonly topK: number;
  readonly layers?: number;
  readonly window?: number;
}

export const HIDDEN_SIZE = 8;
export const WIDTH = 6;
const VOCABULARY = 17;

export function mixtralConfig(shape: MixtralShape): JsonObject {
  return {
    model_type: 'mixtral',
    hidden_size: HIDDEN_SIZE,
    intermediate_size: WIDTH,
    num_hidden_layers: shape.layers ?? 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 4,
    vocab_size: VOCABULARY,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
    num_local_experts: shape.experts,
    num_experts_per_tok: shape.topK,
    sliding_window: shape.window ?? null,
  };
}

/** Weights of a mixtral, float32 or rounded to bf16 or f16 bits, by name. */
export function mixtralWeights(
  shape: MixtralShape,
  seed: number,
  dtype: 'F32' | 'BF16' | 'F16' = 'F32',
): Map<string, WeightEntry> {
  const random = uniform(seed);
  const entries = new Map<string, WeightEntry>();
  const add = (name: string, dims: readonly number[], around = 0): void => {
    const values = Float32Array.from(
      { length: dims.reduce((a, b) => a * b, 1) },
      () => around + (random() - 0.5) * 0.8,
    );
    entries.set(name, { dtype, shape: dims, data: { kind: 'memory', bytes: encode(values, dtype) } });
  };
  add('model.embed_tokens.weight', [VOCABULARY, HIDDEN_SIZE]);
  add('model.norm.weight', [HIDDEN_SIZE], 1);
  add('lm_head.weight', [VOCABULARY, HIDDEN_SIZE]);
  for (let layer = 0; layer < (shape.layers ?? 2); layer++) {
    const at = `model.layers.${layer}.`;
    add(`${at}input_layernorm.weight`, [HIDDEN_SIZE], 1);
    add(`${at}post_attention_layernorm.weight`, [HIDDEN_SIZE], 1);
    add(`${at}self_attn.q_proj.weight`, [16, HIDDEN_SIZE]);
    add(`${at}self_attn.k_proj.weight`, [8, HIDDEN_SIZE]);
    add(`${at}self_attn.v_proj.weight`, [8, HIDDEN_SIZE]);
    add(`${at}self_attn.o_proj.weight`, [HIDDEN_SIZE, 16]);
    add(`${at}block_sparse_moe.gate.weight`, [shape.experts, HIDDEN_SIZE]);
    for (let expert = 0; expert < shape.experts; expert++) {
      const here = `${at}block_sparse_moe.experts.${expert}.`;
      add(`${here}w1.weight`, [WIDTH, HIDDEN_SIZE]);
      add(`${here}w3.weight`, [WIDTH, HIDDEN_SIZE]);
      add(`${here}w2.weight`, [HIDDEN_SIZE, WIDTH]);
    }
  }
  return entries;
}

export function mixtralSource(shape: MixtralShape, seed: number, dtype: 'F32' | 'BF16' | 'F16' = 'F32'): WeightSource {
  return sourceOf(mixtralWeights(shape, seed, dtype));
}

function encode(values: Float32Array, dtype: 'F32' | 'BF16' | 'F16'): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer);
  const bits = new Uint32Array(values.buffer);
  return new Uint8Array(Uint16Array.from(bits, (b) => (dtype === 'BF16' ? b >>> 16 : half(b))).buffer);
}

/** float32 bits to float16 bits, cut off, for values of moderate size. */
function half(bits: number): number {
  const exponent = ((bits >>> 23) & 255) - 112;
  return exponent <= 0 ? 0 : ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

export function sequence(length: number, seed: number): number[] {
  const random = uniform(seed);
  return Array.from({ length }, () => Math.floor(random() * VOCABULARY));
}

/** Largest absolute difference; throws when lengths differ. */
export function worst(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? Number.NaN))), 0);
}
