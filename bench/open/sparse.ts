/** A sparse checkpoint of very many tensors: real headers, index and config, holes where the data would be. */
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface SparseOptions {
  readonly layers: number;
  /** 0: a dense llama. */
  readonly experts: number;
  readonly shards: number;
}

const HIDDEN = 64;
const WIDTH = 128;

/** Names and shapes in the order in which transformers saves them. */
function* tensorsOf({ layers, experts }: SparseOptions): Generator<readonly [name: string, shape: readonly number[]]> {
  const moe = experts > 0;
  yield ['model.embed_tokens.weight', [256, HIDDEN]];
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${String(layer)}`;
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'o_proj'])
      yield [`${at}.self_attn.${name}.weight`, [HIDDEN, HIDDEN]];
    if (moe) yield [`${at}.block_sparse_moe.gate.weight`, [experts, HIDDEN]];
    for (let expert = 0; expert < Math.max(1, experts); expert++) {
      const ffn = moe ? `${at}.block_sparse_moe.experts.${String(expert)}` : `${at}.mlp`;
      const [gate, up, down] = moe ? ['w1', 'w3', 'w2'] : ['gate_proj', 'up_proj', 'down_proj'];
      yield [`${ffn}.${gate}.weight`, [WIDTH, HIDDEN]];
      yield [`${ffn}.${down}.weight`, [HIDDEN, WIDTH]];
      yield [`${ffn}.${up}.weight`, [WIDTH, HIDDEN]];
    }
    for (const name of ['input_layernorm', 'post_attention_layernorm']) yield [`${at}.${name}.weight`, [HIDDEN]];
  }
  yield ['model.norm.weight', [HIDDEN]];
}

/** Writes it into `folder`, unless it is there; the number of tensors. */
export function writeSparse(folder: string, options: SparseOptions): number {
  const all = [...tensorsOf(options)];
  if (existsSync(join(folder, 'model.safetensors.index.json'))) return all.length;
  mkdirSync(folder, { recursive: true });
  const { layers, experts, shards } = options;
  const moe = experts > 0;
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({
      architectures: [moe ? 'MixtralForCausalLM' : 'LlamaForCausalLM'],
      model_type: moe ? 'mixtral' : 'llama',
      hidden_size: HIDDEN,
      intermediate_size: WIDTH,
      num_hidden_layers: layers,
      num_attention_heads: 4,
      num_key_value_heads: 4,
      vocab_size: 256,
      max_position_embeddings: 2048,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      hidden_act: 'silu',
      tie_word_embeddings: true,
      torch_dtype: 'bfloat16',
      ...(moe ? { num_local_experts: experts, num_experts_per_tok: 2 } : {}),
    }),
  );
  const weightMap: Record<string, string> = {};
  const each = Math.ceil(all.length / shards);
  let total = 0;
  for (let shard = 0; shard < shards; shard++) {
    const name = `model-${String(shard + 1).padStart(5, '0')}-of-${String(shards).padStart(5, '0')}.safetensors`;
    const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
    let at = 0;
    for (const [tensor, shape] of all.slice(shard * each, (shard + 1) * each)) {
      const bytes = 2 * shape.reduce((a, b) => a * b, 1);
      header[tensor] = { dtype: 'BF16', shape, data_offsets: [at, at + bytes] };
      weightMap[tensor] = name;
      at += bytes;
    }
    total += at;
    let text = JSON.stringify(header);
    text += ' '.repeat((8 - (text.length % 8)) % 8);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const file = openSync(join(folder, name), 'w');
    writeSync(file, length);
    writeSync(file, text);
    ftruncateSync(file, 8 + text.length + at);
    closeSync(file);
  }
  writeFileSync(
    join(folder, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }),
  );
  return all.length;
}
