import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { encodeHeader } from 'safetensors-js';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { JsonObject } from '../../src/common/json.ts';
import { inspectCheckpoint } from '../../src/inspect/index.ts';
import { overview } from '../../src/protocol/checkpoint.ts';
import {
  bytesLong,
  bytesShort,
  countLong,
  countShort,
  secondsText,
  shapeText,
  shareText,
  valueText,
} from '../../src/view/format.ts';
import { kvCacheOf, weightMemory } from '../../src/view/memory.ts';
import { overviewOf } from '../../src/view/overview.ts';
import { pythonText } from '../../src/view/python.ts';

const here = dirname(fileURLToPath(import.meta.url));
const fixtures = join(here, '../forward/fixtures');
const temp = mkdtempSync(join(tmpdir(), 'moe-view-'));
afterAll(() => {
  rmSync(temp, { recursive: true });
});

describe('key-value cache', () => {
  const bytes = (config: JsonObject): number | undefined => kvCacheOf(config)?.bytesPer1kTokens;

  it('follows grouped heads, latent attention and layers without attention', () => {
    // Llama-3.1-8B: 32 layers × 2 × 8 heads × 128 × 2 bytes = 131,072 bytes a token.
    const llama = { num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096 };
    expect(bytes(llama)).toBe(131_072_000);
    expect(bytes({ ...llama, num_key_value_heads: null, head_dim: 64 })).toBe(32 * 2 * 32 * 64 * 2 * 1000);
    // DeepSeek-V3: 61 × (512 + 64) × 2 = 70,272 bytes a token, the figure of its paper.
    const deepseek = {
      num_hidden_layers: 61,
      num_attention_heads: 128,
      hidden_size: 7168,
      kv_lora_rank: 512,
      qk_rope_head_dim: 64,
    };
    expect(bytes(deepseek)).toBe(70_272_000);
    const jamba = { ...llama, attn_layer_period: 8, attn_layer_offset: 4 };
    expect(bytes(jamba)).toBe(131_072_000 / 8);
    const hybrid = {
      ...llama,
      layer_types: Array.from({ length: 32 }, (_, i) => (i % 4 === 3 ? 'full_attention' : 'linear_attention')),
    };
    expect(bytes(hybrid)).toBe(131_072_000 / 4);
    expect(
      kvCacheOf({
        ...llama,
        layer_types: Array.from({ length: 32 }, (_, i) => (i % 2 === 0 ? 'full_attention' : 'sliding_attention')),
        sliding_window: 4096,
      })?.how,
    ).toContain('16 of them stop growing at 4,096 tokens');
    expect(kvCacheOf({ text_config: llama })?.bytesPer1kTokens).toBe(131_072_000);
  });

  it('says nothing where the config does not tell', () => {
    expect(kvCacheOf(null)).toBeNull();
    expect(kvCacheOf({})).toBeNull();
    expect(kvCacheOf({ num_hidden_layers: 4 })).toBeNull();
    expect(kvCacheOf({ num_hidden_layers: 4, num_attention_heads: 3, hidden_size: 10 })).toBeNull();
    expect(kvCacheOf({ model_type: 'mamba', num_hidden_layers: 4, num_attention_heads: 2, hidden_size: 8 })).toBeNull();
    expect(kvCacheOf({ num_hidden_layers: 2 ** 50, num_attention_heads: 2 ** 40, hidden_size: 2 ** 50 })).toBeNull();
  });
});

describe('memory', () => {
  it('counts bits and leaves active out of dense models', () => {
    expect(weightMemory(320, 160, 999).map(({ dtype, bytes, activeBytes }) => [dtype, bytes, activeBytes])).toEqual([
      ['as stored', 999, null],
      ['bf16', 640, 320],
      ['int8', 340, 170],
      ['int4', 180, 90],
    ]);
    expect(weightMemory(320, 320, 1)[1]?.activeBytes).toBeNull();
    expect(weightMemory(null, null, 5)).toHaveLength(1);
  });
});

describe('formatting', () => {
  it('gives numbers their units', () => {
    expect([0, 999, 999_949, 999_950, 94_982_643_712].map((n) => bytesShort(n))).toEqual([
      '0 B',
      '999 B',
      '999.9 kB',
      '1.0 MB',
      '95.0 GB',
    ]);
    expect(bytesShort(94_982_643_712, 1024)).toBe('88.5 GiB');
    expect(bytesLong(1)).toBe('1 byte');
    expect(bytesLong(2048, 1024)).toBe('2.0 KiB (2,048 bytes)');
    expect([7, 1_500, 47_491_321_856].map(countShort)).toEqual(['7', '1.50K', '47.49B']);
    expect(countLong(47_491_321_856)).toBe('47.49B (47,491,321,856)');
    expect(countLong(null)).toBe('unknown');
    expect([0, -0.012345, 1e-9, -Infinity, NaN, 123456, 1e20, 0.5].map((n) => valueText(n))).toEqual([
      '0',
      '−0.01235',
      '1e−9',
      '−∞',
      'NaN',
      '123500',
      '1e20',
      '0.5',
    ]);
    expect([0, 0.0001, 0.5, 1].map(shareText)).toEqual(['0.0 %', '< 0.1 %', '50.0 %', '100.0 %']);
    expect([shapeText([]), shapeText([2, 3])]).toEqual(['scalar', '2 × 3']);
    expect([0.84, 59.7, 125, 12_000].map(secondsText)).toEqual(['0.8 s', '1 min 00 s', '2 min 05 s', '3 h 20 min']);
  });

  it('quotes for Python', () => {
    expect(pythonText('a"b\\\n\u202ex')).toBe('"a\\"b\\\\\\n\\u202ex"');
  });
});

describe('overview', () => {
  it('fills the protocol for every fixture', async () => {
    for (const name of ['mixtral', 'qwen2_moe-mixed', 'granitemoe', 'llama']) {
      const cp = await openCheckpoint(join(fixtures, name));
      const found = await overviewOf(cp, await inspectCheckpoint(cp));
      overview.parse(found);
      expect(found.name).toBe(name);
      expect(found.kind).toBe(name === 'llama' ? 'dense' : 'moe');
      expect(found.kvCache?.how).toContain('layers');
      expect(found.facts.find(({ label }) => label === 'Parameters')?.exact).toBe(String(found.parameters.total));
      expect(found.upcycled).toBe(false);
    }
  });

  it('shows metadata, cut where it is long, wherever the header holds it', async () => {
    const header = encodeHeader([{ name: 'a', dtype: 'F32', shape: [1] }], {
      metadata: { format: 'pt', long: 'x'.repeat(5000), odd: '<b>"\\' },
    });
    const path = join(temp, 'a.safetensors');
    writeFileSync(path, Buffer.concat([Buffer.from(header.bytes), Buffer.alloc(4)]));
    const cp = await openCheckpoint(path);
    const found = await overviewOf(cp, await inspectCheckpoint(cp));
    overview.parse(found);
    expect(found.metadata.map(({ key, value, cut }) => [key, value.length, cut])).toEqual([
      ['format', 2, false],
      ['long', 2000, true],
      ['odd', 5, false],
    ]);
    const late = Buffer.from('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"k":"v"}}   ');
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(late.length));
    writeFileSync(path, Buffer.concat([size, late, Buffer.alloc(4)]));
    const again = await openCheckpoint(path);
    expect((await overviewOf(again, await inspectCheckpoint(again))).metadata).toEqual([
      { key: 'k', value: 'v', cut: false },
    ]);
  });

  it('shows the key-values of a GGUF', async () => {
    const cp = await openCheckpoint(join(here, '../gguf/fixtures/models/mixtral.gguf'));
    const found = await overviewOf(cp, await inspectCheckpoint(cp));
    overview.parse(found);
    expect(found.metadata.find(({ key }) => key === 'general.architecture')?.value).toBe('llama');
    expect(found.kind).toBe('moe');
  });
});
