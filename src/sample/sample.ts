/**
 * The built-in sample: a small untrained llama made from a seed, so that the main job can be tried without a download.
 * The same seed gives the same bytes on every platform.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromFloat32, SafetensorsWriter } from 'safetensors-js';
import type { TensorSpec } from 'safetensors-js';
import { MoeError, systemCodeOf } from '../common/errors.ts';
import { fillNormal, randomStream } from '../random/index.ts';
import { byteTokenizer, BYTE_TOKENIZER_SIZE, SPECIAL_TOKENS } from './tokenizer.ts';

/** Shape of the sample. 352 = 11 · 32, so that experts can be cut into 2, 4, 8, 16 or 32 slices. */
export const SAMPLE_SHAPE = {
  layers: 8,
  hidden: 128,
  intermediate: 352,
  heads: 4,
  keyValueHeads: 2,
  headDim: 32,
  vocabulary: BYTE_TOKENIZER_SIZE,
} as const;

const DEFAULT_SEED = 2412;

export interface SampleSummary {
  readonly folder: string;
  readonly tensors: number;
  readonly parameters: number;
  /** Bytes of the tensors. */
  readonly bytes: number;
}

/** Tensors of the sample in file order, with the standard deviation and mean of their entries. */
interface SampleTensor extends TensorSpec {
  readonly std: number;
  readonly mean: number;
}

/**
 * Writes the sample into `folder`, which must be new or empty (MoeError `sample-folder-not-empty` otherwise). Values are
 * normal, element i a function of (seed, tensor name, i) alone, rounded to bfloat16.
 */
export async function writeSampleCheckpoint(folder: string, seed = DEFAULT_SEED): Promise<SampleSummary> {
  await requireEmpty(folder);
  await mkdir(folder, { recursive: true });
  const tensors = sampleTensors();
  const specs = tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  const writer = await SafetensorsWriter.create(join(folder, 'model.safetensors'), specs, {
    metadata: { format: 'pt' },
  });
  let parameters = 0;
  try {
    for (const tensor of tensors) {
      const values = new Float32Array(tensor.shape.reduce((a, b) => a * b, 1));
      fillNormal(values, randomStream(seed, `sample/${tensor.name}`), 0);
      for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * tensor.std + tensor.mean;
      await writer.writeTensor(tensor.name, fromFloat32(tensor.dtype, values));
      parameters += values.length;
    }
    await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
  const bytes = parameters * 2;
  for (const [name, text] of sampleTexts(seed, parameters)) await writeFile(join(folder, name), text);
  return { folder, tensors: tensors.length, parameters, bytes };
}

async function requireEmpty(folder: string): Promise<void> {
  let names: readonly string[] = [];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
  if (names.length > 0)
    throw new MoeError(
      'input',
      'sample-folder-not-empty',
      `${folder} is not empty; the sample is written into a new folder`,
      {
        file: folder,
        hint: 'Name a folder that does not exist yet.',
      },
    );
}

function sampleTensors(): SampleTensor[] {
  const { layers, hidden, intermediate, heads, keyValueHeads, headDim, vocabulary } = SAMPLE_SHAPE;
  const std = 0.02;
  // Projections back into the residual stream start smaller, as GPT-2 does: 2 · layers of them add up.
  const residual = std / Math.sqrt(2 * layers);
  const matrix = (name: string, rows: number, columns: number, spread = std): SampleTensor => ({
    name,
    dtype: 'BF16',
    shape: [rows, columns],
    std: spread,
    mean: 0,
  });
  // Norms differ a little from 1, so that a swapped or lost norm shows.
  const norm = (name: string): SampleTensor => ({ name, dtype: 'BF16', shape: [hidden], std: 0.05, mean: 1 });
  const out: SampleTensor[] = [matrix('model.embed_tokens.weight', vocabulary, hidden)];
  for (let layer = 0; layer < layers; layer++) {
    const p = `model.layers.${layer}`;
    out.push(
      norm(`${p}.input_layernorm.weight`),
      matrix(`${p}.mlp.down_proj.weight`, hidden, intermediate, residual),
      matrix(`${p}.mlp.gate_proj.weight`, intermediate, hidden),
      matrix(`${p}.mlp.up_proj.weight`, intermediate, hidden),
      norm(`${p}.post_attention_layernorm.weight`),
      matrix(`${p}.self_attn.k_proj.weight`, keyValueHeads * headDim, hidden),
      matrix(`${p}.self_attn.o_proj.weight`, hidden, heads * headDim, residual),
      matrix(`${p}.self_attn.q_proj.weight`, heads * headDim, hidden),
      matrix(`${p}.self_attn.v_proj.weight`, keyValueHeads * headDim, hidden),
    );
  }
  out.push(norm('model.norm.weight'));
  return out;
}

/** Everything beside the weights: config, tokenizer, card, licence. */
function sampleTexts(seed: number, parameters: number): [string, string][] {
  const { layers, hidden, intermediate, heads, keyValueHeads, headDim, vocabulary } = SAMPLE_SHAPE;
  const [begin, end] = SPECIAL_TOKENS;
  const config = {
    architectures: ['LlamaForCausalLM'],
    attention_bias: false,
    attention_dropout: 0.0,
    bos_token_id: begin.id,
    eos_token_id: end.id,
    head_dim: headDim,
    hidden_act: 'silu',
    hidden_size: hidden,
    initializer_range: 0.02,
    intermediate_size: intermediate,
    max_position_embeddings: 512,
    mlp_bias: false,
    model_type: 'llama',
    num_attention_heads: heads,
    num_hidden_layers: layers,
    num_key_value_heads: keyValueHeads,
    rms_norm_eps: 1e-5,
    rope_scaling: null,
    rope_theta: 10000.0,
    tie_word_embeddings: true,
    torch_dtype: 'bfloat16',
    use_cache: true,
    vocab_size: vocabulary,
  };
  const generation = { bos_token_id: begin.id, eos_token_id: end.id, do_sample: false };
  const tokenizerConfig = {
    add_bos_token: false,
    bos_token: begin.content,
    clean_up_tokenization_spaces: false,
    eos_token: end.content,
    model_max_length: 512,
    pad_token: end.content,
    tokenizer_class: 'PreTrainedTokenizerFast',
  };
  const card = `---
license: mit
library_name: transformers
tags: [sample, untrained]
---

# Sample llama

An untrained llama of ${layers} layers and ${parameters.toLocaleString('en-US')} parameters (tied embeddings, bfloat16), made by MoE Workbench from
seed ${seed}. It says nothing of use; it is there to be inspected, upcycled, verified and reverted. Tokens are bytes.
`;
  return [
    ['config.json', json(config)],
    ['generation_config.json', json(generation)],
    ['tokenizer.json', json(byteTokenizer())],
    ['tokenizer_config.json', json(tokenizerConfig)],
    ['README.md', card],
    ['LICENSE', LICENCE],
  ];
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

const LICENCE = `MIT License

Copyright (c) MoE Workbench contributors

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`;
