/** A dense Llama of SmolLM2-135M's shape with random bits as bf16 weights: big enough for the disk to decide. */
import { randomFillSync } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { encodeHeader } from 'safetensors-js';
import { readDense } from '../../src/families/index.ts';

export const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
};

/** Writes the model; `layers` and `width` scale it. Returns its bytes. */
export function writeDense(folder: string, layers = CONFIG.num_hidden_layers, width = 1): number {
  const config = {
    ...CONFIG,
    num_hidden_layers: layers,
    hidden_size: CONFIG.hidden_size * width,
    intermediate_size: CONFIG.intermediate_size * width,
  };
  const { family, spec } = readDense(config);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const specs = family.tensors(spec).map(({ name, shape }) => ({ name, dtype: 'BF16' as const, shape: [...shape] }));
  const header = encodeHeader(specs, { metadata: { format: 'pt' } });
  const fd = openSync(join(folder, 'model.safetensors'), 'w');
  writeSync(fd, header.bytes);
  const noise = randomFillSync(Buffer.alloc(8 << 20));
  for (let left = header.dataBytes; left > 0;) {
    const n = writeSync(fd, noise, 0, Math.min(noise.length, left));
    left -= n;
    // Differs from block to block, so that no file system can share them.
    noise.writeUInt32LE(left >>> 0, 0);
    noise.writeUInt32LE(left >>> 0, 4096);
  }
  fsyncSync(fd);
  closeSync(fd);
  return header.dataBytes;
}
