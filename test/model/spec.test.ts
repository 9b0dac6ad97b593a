import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import type { JsonObject } from '../../src/common/json.ts';
import { FAMILIES } from '../../src/model/families.ts';
import { PLAIN_ROUTER } from '../../src/model/router-spec.ts';
import { moeLayers, slidingWindows, specFromConfig } from '../../src/model/spec.ts';

const BASE = {
  hidden_size: 16,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 12,
  num_hidden_layers: 4,
  vocab_size: 32,
  max_position_embeddings: 64,
};
const of = (model_type: string, extra: JsonObject = {}): ReturnType<typeof specFromConfig> =>
  specFromConfig({ ...BASE, model_type, ...extra });

function failure(config: JsonObject): MoeError {
  try {
    specFromConfig(config);
  } catch (error) {
    if (error instanceof MoeError) return error;
    throw error;
  }
  throw new Error('no error');
}

describe('families', () => {
  it('reads every family with its class defaults, and says what it assumed', () => {
    for (const model_type of FAMILIES.keys()) {
      // Its class has no default of that.
      const spec = of(model_type, model_type === 'deepseek_v2' ? { num_experts_per_tok: 2 } : {});
      expect(spec.layers).toHaveLength(4);
      expect(spec.notes.some((note) => note.startsWith('rms_norm_eps is absent'))).toBe(true);
    }
    expect(of('mixtral').rope.theta).toBe(1e6);
    expect(of('flex_olmo').rope.theta).toBe(5e5);
    expect(of('gemma')).toMatchObject({
      headDim: 256,
      tied: true,
      embeddingScale: 4,
      activation: 'gelu_tanh',
      norm: { unitOffset: true },
    });
    expect(of('gemma2')).toMatchObject({
      placement: 'both',
      finalSoftcap: 30,
      attention: { softcap: 50, scale: 1 / 16 },
    });
    expect(of('qwen3').headDim).toBe(128);
    expect(of('qwen3_moe').headDim).toBe(4);
  });

  it('a missing number of key heads is the class default, else the number of heads', () => {
    const { num_key_value_heads: _, ...rest } = BASE;
    expect(specFromConfig({ ...rest, model_type: 'llama' }).kvHeads).toBe(4);
    expect(failure({ ...rest, model_type: 'qwen2' })).toMatchObject({
      code: 'bad-config-field',
      place: { field: 'num_key_value_heads' },
    });
  });

  it('biases', () => {
    expect(of('qwen2').attention.bias).toEqual({ qkv: true, o: false });
    expect(of('llama', { attention_bias: true, mlp_bias: true })).toMatchObject({
      attention: { bias: { qkv: true, o: true } },
      mlp: { bias: true },
    });
    expect(of('mistral', { attention_bias: true }).attention.bias).toEqual({ qkv: false, o: false });
    expect(of('qwen2_moe', { qkv_bias: false }).attention.bias).toEqual({ qkv: false, o: false });
  });

  it('granite multipliers', () => {
    const spec = of('granite', {
      attention_multiplier: 0.25,
      embedding_multiplier: 12,
      residual_multiplier: 0.22,
      logits_scaling: 8,
    });
    expect(spec).toMatchObject({
      attention: { scale: 0.25 },
      embeddingScale: 12,
      residualScale: 0.22,
      logitsDivisor: 8,
    });
    expect(of('granitemoe').attention.scale).toBe(1);
  });

  it('both spellings of the activation in gemma', () => {
    expect(of('gemma', { hidden_act: 'gelu' }).activation).toBe('gelu_tanh');
    expect(of('gemma', { hidden_act: 'gelu', hidden_activation: null }).activation).toBe('gelu_tanh');
    expect(failure({ ...BASE, model_type: 'llama', hidden_act: 'xielu' })).toMatchObject({
      code: 'unknown-activation',
    });
  });

  it('a language model inside a multimodal config', () => {
    const spec = specFromConfig({
      model_type: 'wrapper',
      tie_word_embeddings: true,
      eos_token_id: [1, 2],
      text_config: { ...BASE, model_type: 'llama' },
    });
    expect(spec).toMatchObject({ modelType: 'llama', tied: true, tokens: { eos: [1, 2], bos: null, pad: null } });
  });
});

describe('sliding windows', () => {
  it('mistral: everywhere, the class default when absent, none for null', () => {
    expect(slidingWindows(of('mistral', { sliding_window: 4 }))).toEqual([4]);
    expect(slidingWindows(of('mistral'))).toEqual([4096]);
    expect(slidingWindows(of('mistral', { sliding_window: null }))).toEqual([]);
    expect(slidingWindows(of('mixtral'))).toEqual([]);
    expect(failure({ ...BASE, model_type: 'mistral', sliding_window: 0 })).toMatchObject({ code: 'bad-config-field' });
  });

  it('qwen2: only with use_sliding_window, from max_window_layers on, or by layer_types', () => {
    const windows = (extra: JsonObject, type = 'qwen2'): (number | null)[] =>
      of(type, extra).layers.map((layer) => layer.window);
    expect(windows({ sliding_window: 4, max_window_layers: 2 })).toEqual([null, null, null, null]);
    expect(windows({ use_sliding_window: true, sliding_window: 4, max_window_layers: 2 })).toEqual([null, null, 4, 4]);
    const layer_types = ['sliding_attention', 'full_attention', 'full_attention', 'sliding_attention'];
    expect(windows({ use_sliding_window: true, sliding_window: 4, layer_types })).toEqual([4, null, null, 4]);
    expect(windows({ use_sliding_window: true, sliding_window: 4, max_window_layers: 2 }, 'qwen2_moe')).toEqual([
      4,
      null,
      null,
      null,
    ]);
    expect(windows({ use_sliding_window: true, sliding_window: 4 }, 'qwen3_moe')).toEqual([4, 4, 4, 4]);
    expect(windows({ sliding_window: 8 }, 'gemma2')).toEqual([8, null, 8, null]);
    expect(failure({ ...BASE, model_type: 'qwen2', layer_types })).toMatchObject({ code: 'window-without-size' });
    expect(
      failure({ ...BASE, model_type: 'qwen2', use_sliding_window: true, layer_types: ['full_attention'] }),
    ).toMatchObject({ code: 'bad-config-field' });
  });
});

describe('experts', () => {
  it('counts, widths, routing and shared expert', () => {
    expect(of('mixtral', { num_local_experts: 6, num_experts_per_tok: 3 }).layers[0]?.ffn).toEqual({
      kind: 'moe',
      experts: 6,
      topK: 3,
      width: 12,
      order: 'softmax-topk',
      normalise: true,
      router: PLAIN_ROUTER,
      shared: null,
    });
    expect(of('granitemoe', { num_local_experts: 6 }).layers[0]?.ffn).toMatchObject({
      order: 'topk-softmax',
      normalise: true,
    });
    expect(of('olmoe', { num_experts: 16 }).layers[0]?.ffn).toMatchObject({ experts: 16, topK: 8, normalise: false });
    expect(
      of('qwen2_moe', { num_experts: 8, moe_intermediate_size: 5, shared_expert_intermediate_size: 7 }).layers[0]?.ffn,
    ).toMatchObject({ width: 5, shared: { width: 7, gated: true }, normalise: false });
    expect(
      of('qwen3_moe', { num_experts: 8, num_experts_per_tok: 2, norm_topk_prob: true }).layers[0]?.ffn,
    ).toMatchObject({ normalise: true, shared: null });
  });

  it('DeepSeek: dense layers first, groups only where not all may be chosen from, latent attention has keys for every head', () => {
    const spec = of('deepseek_v3', {
      first_k_dense_replace: 2,
      qk_nope_head_dim: 6,
      qk_rope_head_dim: 4,
      v_head_dim: 5,
    });
    expect(spec.layers.map(({ ffn }) => ffn.kind)).toEqual(['dense', 'dense', 'moe', 'moe']);
    expect(spec).toMatchObject({ heads: 4, kvHeads: 4, headDim: 10, valueDim: 5, rope: { dim: 4 } });
    expect(spec.layers[3]?.ffn).toMatchObject({
      experts: 256,
      normalise: true,
      shared: { width: 2048, gated: false },
      router: { score: 'sigmoid', choiceBias: true, scale: 2.5, groups: { count: 8, kept: 4, by: 'two-best' } },
    });
    expect(of('deepseek_v3', { n_group: 1, topk_group: 1 }).layers[3]?.ffn).toMatchObject({ router: { groups: null } });
    expect(of('deepseek_v3', { q_lora_rank: null }).attention.latent?.queryRank).toBeNull();
    expect(of('deepseek_v3', {}).attention.latent?.queryRank).toBe(1536);
    expect(failure({ ...BASE, model_type: 'deepseek_v3', n_group: 7 })).toMatchObject({ place: { field: 'n_group' } });
    expect(failure({ ...BASE, model_type: 'deepseek_v2', num_experts_per_tok: 2, topk_method: 'magic' })).toMatchObject(
      {
        place: { field: 'topk_method' },
      },
    );
  });

  it('ERNIE: mixtures from one layer to another; phimoe: two experts; gpt-oss: windows in turns, sinks, biased router', () => {
    const kinds = (more: JsonObject): string[] => of('ernie4_5_moe', more).layers.map(({ ffn }) => ffn.kind);
    expect(kinds({})).toEqual(['dense', 'moe', 'moe', 'moe']);
    expect(kinds({ moe_layer_end_index: 2, moe_layer_interval: 2 })).toEqual(['dense', 'moe', 'dense', 'dense']);
    expect(failure({ ...BASE, model_type: 'phimoe', num_experts_per_tok: 3 })).toMatchObject({
      place: { field: 'num_experts_per_tok' },
    });
    const four = of('llama4_text', { max_position_embeddings: 100_000, attention_chunk_size: 4096 });
    expect(four).toMatchObject({ maxPositions: 4096, attention: { longest: 4096, qkNorm: 'rotated' } });
    expect(four.notes.join()).toContain('texts are cut at 4096 tokens');
    expect(four.layers.map(({ rotated }) => rotated)).toEqual([true, true, true, false]);
    expect(of('smollm3', { no_rope_layers: [0, 1, 1, 0] }).layers.map(({ rotated }) => rotated)).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(failure({ ...BASE, model_type: 'smollm3', no_rope_layers: [1] })).toMatchObject({
      place: { field: 'no_rope_layers' },
    });
    const oss = of('gpt_oss');
    expect(oss.layers.map(({ window }) => window)).toEqual([128, null, 128, null]);
    expect(oss).toMatchObject({
      clampedGlu: { alpha: 1.702, limit: 7 },
      attention: { sinks: true, bias: { o: true } },
    });
    expect(oss.layers[0]?.ffn).toMatchObject({ topK: 4, normalise: true, router: { bias: true } });
  });

  it('either spelling of the number of experts, not two different ones', () => {
    expect(of('qwen3_moe', { num_local_experts: 16 }).layers[0]?.ffn).toMatchObject({ experts: 16 });
    expect(failure({ ...BASE, model_type: 'qwen3_moe', num_local_experts: 16, num_experts: 8 })).toMatchObject({
      code: 'bad-config-field',
    });
  });

  it('which layers: mlp_only_layers and decoder_sparse_step', () => {
    const layers = (extra: JsonObject): number[] =>
      moeLayers(of('qwen3_moe', { num_experts: 8, ...extra })).map((layer) => layer.index);
    expect(layers({})).toEqual([0, 1, 2, 3]);
    expect(layers({ mlp_only_layers: [1, 9] })).toEqual([0, 2, 3]);
    expect(layers({ decoder_sparse_step: 2 })).toEqual([1, 3]);
    expect(layers({ num_experts: 0 })).toEqual([]);
  });

  it('top-k above the number of experts is refused', () => {
    expect(failure({ ...BASE, model_type: 'mixtral', num_local_experts: 2, num_experts_per_tok: 3 })).toMatchObject({
      code: 'top-k-exceeds-experts',
    });
  });
});

describe('configs that cannot be', () => {
  it('name the field', () => {
    expect(failure({ ...BASE, model_type: 'gpt2' })).toMatchObject({
      code: 'unknown-model-type',
      message: expect.stringContaining('"gpt2"') as unknown,
    });
    expect(failure({ ...BASE })).toMatchObject({ code: 'missing-model-type' });
    expect(failure({ ...BASE, model_type: '__proto__' })).toMatchObject({ code: 'unknown-model-type' });
    expect(failure({ ...BASE, model_type: 'llama', num_hidden_layers: 1e9 })).toMatchObject({
      place: { field: 'num_hidden_layers' },
    });
    expect(failure({ ...BASE, model_type: 'mixtral', num_local_experts: 1e6 })).toMatchObject({
      code: 'bad-config-field',
    });
    expect(failure({ model_type: 'wrapper', text_config: { model_type: 'llama' } })).toMatchObject({
      place: { field: 'text_config.hidden_size' },
    });
  });

  it('any JSON gives a spec or a MoeError', () => {
    const json = fc.jsonValue() as fc.Arbitrary<JsonObject[string]>;
    const keys = [
      'hidden_size',
      'num_attention_heads',
      'head_dim',
      'num_hidden_layers',
      'rope_scaling',
      'rope_parameters',
      'rope_theta',
      'sliding_window',
      'layer_types',
      'num_experts',
      'num_local_experts',
      'mlp_only_layers',
      'eos_token_id',
      'text_config',
      'hidden_act',
      'max_position_embeddings',
      'decoder_sparse_step',
      'use_sliding_window',
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...FAMILIES.keys()),
        fc.dictionary(fc.constantFrom(...keys), fc.oneof(json, fc.nat(8)), { maxKeys: 4 }),
        (model_type, extra) => {
          try {
            specFromConfig({ ...BASE, model_type, ...extra });
          } catch (error) {
            expect(error).toBeInstanceOf(MoeError);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
