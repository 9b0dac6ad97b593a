/**
 * bf16 weights stay two bytes per parameter, in the file's pages: casts run just before their use. The order that makes this so
 * is undocumented behaviour of ONNX Runtime, hence this test.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WeightEntry } from '../../src/model/weights.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { sourceOf } from './folder.ts';

const [D, F, LAYERS, EXPERTS, VOCABULARY] = [512, 1024, 4, 8, 512];
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'moe-memory-'));
const file = path.join(folder, 'weights.bin');
const entries = new Map<string, WeightEntry>();
let parameters = 0;

/** Anonymous resident memory in MiB. */
function anonymous(): number {
  const match = /^RssAnon:\s+(\d+) kB/m.exec(fs.readFileSync('/proc/self/status', 'utf8'));
  if (match?.[1] === undefined) throw new Error('no RssAnon');
  return Number(match[1]) / 1024;
}

beforeAll(() => {
  const fd = fs.openSync(file, 'w');
  let state = 1;
  const put = (name: string, ...shape: number[]): void => {
    const count = shape.reduce((a, b) => a * b, 1);
    // Distinct small numbers: equal matrices would be merged and hide the cost.
    const bits = new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      bits[i] = (state & 0x8000) | 0x3c00 | ((state >>> 16) & 0x7f);
    }
    fs.writeSync(fd, bits);
    entries.set(name, { dtype: 'BF16', shape, data: { kind: 'file', file, offset: 2 * parameters, bytes: 2 * count } });
    parameters += count;
  };
  put('model.embed_tokens.weight', VOCABULARY, D);
  put('lm_head.weight', VOCABULARY, D);
  put('model.norm.weight', D);
  for (let layer = 0; layer < LAYERS; layer++) {
    const at = `model.layers.${layer}.`;
    for (const name of ['input_layernorm', 'post_attention_layernorm']) put(`${at}${name}.weight`, D);
    for (const name of ['q', 'k', 'v', 'o']) put(`${at}self_attn.${name}_proj.weight`, D, D);
    put(`${at}block_sparse_moe.gate.weight`, EXPERTS, D);
    for (let e = 0; e < EXPERTS; e++) {
      const here = `${at}block_sparse_moe.experts.${e}.`;
      put(`${here}w1.weight`, F, D);
      put(`${here}w3.weight`, F, D);
      put(`${here}w2.weight`, D, F);
    }
  }
  fs.closeSync(fd);
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

describe.skipIf(process.platform !== 'linux')('memory of a bf16 model', () => {
  it.each(['branch', 'flat'] as const)('%s: running it holds no float32 copy of the weights', async (experts) => {
    const config = {
      model_type: 'mixtral',
      hidden_size: D,
      intermediate_size: F,
      num_hidden_layers: LAYERS,
      num_attention_heads: 8,
      num_key_value_heads: 8,
      vocab_size: VOCABULARY,
      max_position_embeddings: 64,
      num_local_experts: EXPERTS,
      num_experts_per_tok: 2,
    };
    const before = anonymous();
    const model = new RunnableModel(config, sourceOf(entries), { weights: 'stored', threads: 1 });
    const session = await model.session({ experts });
    const ids = Array.from({ length: 32 }, (_, i) => (i * 37) % VOCABULARY);
    for (let run = 0; run < 2; run++) await session.run(model.feeds({ rows: [ids] }), ['logits']);
    const grown = anonymous() - before;
    await model.release();
    // 54 million parameters: 206 MiB as float32, 103 MiB in the file. Two matrices of 2 MiB are widened at a time.
    expect(parameters).toBeGreaterThan(50e6);
    expect(grown).toBeLessThan(40);
  });
});
