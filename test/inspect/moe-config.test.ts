import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/common/json.ts';
import {
  expertParallelSizes,
  moeLayerIndices,
  normTopkProb,
  readMoeConfig,
  textSection,
} from '../../src/inspect/index.ts';
import { readJson, shared } from '../checkpoint/files.ts';

const FIELD = shared('field/inputs/G2-06');

function four(config: JsonObject): (number | null)[] | null {
  const moe = readMoeConfig(config);
  return moe === null ? null : [moe.experts, moe.topK, moe.width, moe.shared];
}

describe('expert fields of configs', () => {
  it.skipIf(FIELD === null)('G2-06: seven families, one answer each', () => {
    const expected = readJson(join(FIELD ?? '', 'expected.json')) as { right: { value: Record<string, unknown> }[] };
    const cases = Object.entries(expected.right[0]?.value ?? {});
    expect(cases).toHaveLength(7);
    for (const [file, value] of cases) {
      const config = JSON.parse(readFileSync(join(FIELD ?? '', file), 'utf8')) as JsonObject;
      expect([file, four(config)]).toEqual([file, value]);
    }
    const qwen = readJson(join(FIELD ?? '', 'qwen2_moe.json')) as JsonObject;
    expect(readMoeConfig(qwen)?.sharedWidth).toBe(88);
  });

  it('finds nested sections, and prefers them to what lies beside', () => {
    const inner = {
      model_type: 'qwen3_moe',
      hidden_size: 8,
      num_experts: 8,
      num_experts_per_tok: 2,
      moe_intermediate_size: 4,
    };
    expect(four({ model_type: 'x', text_config: inner })).toEqual([8, 2, 4, 0]);
    expect(four({ thinker_config: { text_config: inner } })).toEqual([8, 2, 4, 0]);
    expect(four({ num_experts: 3, text_config: inner })).toEqual([8, 2, 4, 0]);
    expect(textSection({ thinker_config: { text_config: inner } }).path).toBe('thinker_config.text_config.');
    expect(readMoeConfig({ text_config: inner })?.fields.experts).toBe('text_config.num_experts');
  });

  it('says nothing where there are no experts', () => {
    for (const config of [
      {},
      { num_experts: 0 },
      { num_experts: null },
      { num_local_experts: '8' },
      { num_experts: -1 },
    ]) {
      expect(readMoeConfig(config)).toBeNull();
    }
  });

  it('knows families whose shared expert is not in the config, and lists', () => {
    const llama4 = {
      model_type: 'llama4_text',
      hidden_size: 8,
      num_local_experts: 4,
      num_experts_per_tok: 1,
      intermediate_size: 6,
    };
    expect(readMoeConfig(llama4)).toMatchObject({ shared: 1, sharedWidth: 6 });
    expect(four({ moe_num_experts: [64, 64], moe_k: 6, moe_intermediate_size: [1536, 512] })).toEqual([64, 6, 1536, 0]);
    expect(four({ num_experts: 16, moe_topk: [1, 2], intermediate_size: 5 })).toEqual([16, 1, 5, 0]);
  });

  it('does not find fields in prototypes', () => {
    expect(readMoeConfig({ ffn_config: 'x', moe: [] })).toBeNull();
    expect(readMoeConfig(JSON.parse('{"__proto__": {"num_experts": 8}}') as JsonObject)).toBeNull();
  });

  it('knows what an absent norm_topk_prob means', () => {
    expect(normTopkProb({ model_type: 'qwen2_moe' })).toEqual({ value: false, absent: true });
    expect(normTopkProb({ model_type: 'flex_olmo', norm_topk_prob: true })).toEqual({ value: true, absent: false });
    expect(normTopkProb({ model_type: 'mixtral' })).toBeNull();
    expect(normTopkProb({ text_config: { model_type: 'qwen3_moe', hidden_size: 1 } })?.absent).toBe(true);
  });

  it.each([
    [{ num_hidden_layers: 3 }, [0, 1, 2]],
    [{ num_hidden_layers: 5, decoder_sparse_step: 2 }, [1, 3]],
    [{ num_hidden_layers: 4, decoder_sparse_step: 1, mlp_only_layers: [0, 2] }, [1, 3]],
    [{ num_hidden_layers: 4, first_k_dense_replace: 1 }, [1, 2, 3]],
    [{ num_hidden_layers: 6, first_k_dense_replace: 1, moe_layer_freq: 2 }, [2, 4]],
    [{ num_hidden_layers: 4, moe_layer_start_index: 1, moe_layer_end_index: 2, moe_layer_interval: 1 }, [1, 2]],
    [{ num_hidden_layers: 4, moe_layer_start_index: 1, moe_layer_end_index: -1, moe_layer_interval: 2 }, [1, 3]],
    [{ num_hidden_layers: 4, moe_layers: [1] }, [1]],
    [{ num_hidden_layers: 4, interleave_moe_layer_step: 2 }, [1, 3]],
    [{ num_hidden_layers: 5, expert_layer_period: 2, expert_layer_offset: 1 }, [1, 3]],
    [{ num_hidden_layers: 1e12 }, []],
    [{}, []],
  ])('%j has MoE layers %j', (config, layers) => {
    expect(moeLayerIndices(config as JsonObject)).toEqual(layers);
  });
});

describe('expert-parallel sizes', () => {
  it('are the divisors, ascending', () => {
    expect(expertParallelSizes(8)).toEqual([1, 2, 4, 8]);
    expect(expertParallelSizes(60)).toEqual([1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60]);
    expect(expertParallelSizes(1)).toEqual([1]);
    for (const bad of [0, -4, 1.5, NaN, Infinity, 2 ** 40]) expect(expertParallelSizes(bad)).toEqual([]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), (n) => {
        expect(expertParallelSizes(n)).toEqual(Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0));
      }),
    );
  });
});
