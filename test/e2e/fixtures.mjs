// Checkpoints for the workspaces, made once per run: the built-in sample, a bigger one whose jobs last long enough to be stopped,
// a hostile one, damaged ones. Nothing here is product code save the CLI that writes the sample.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  openSync,
  writeSync,
  closeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** Shared example data, beside the repository where there is any. */
export const shared = join(root, '../shared');

/** Text of a hostile author: markup in every place where a checkpoint has text. */
export const HOSTILE =
  '<img src=x onerror="document.body.dataset.broken=1"><script>document.body.dataset.broken=1</script>';

export function makeFixtures(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const sample = join(folder, 'sample');
  cli('sample', sample);
  return {
    folder,
    sample,
    cli,
    /** Copies the sample into a workspace as `name`. */
    addSample(ws, name = 'sample') {
      cpSync(sample, join(ws, name), { recursive: true });
    },
  };
}

/** The command line of the product, as built. */
export function cli(...args) {
  return execFileSync(process.execPath, [join(root, 'dist/cli.js'), ...args], { encoding: 'utf8', maxBuffer: 1 << 26 });
}

/** A safetensors file from tensors { name, dtype, shape, bytes? } (zeros where no bytes are given) and metadata. */
export function writeSafetensors(path, tensors, metadata = {}) {
  const sizes = { F32: 4, BF16: 2, F16: 2 };
  // Without a prototype, so that a tensor may be called __proto__.
  const header = Object.assign(Object.create(null), { __metadata__: metadata });
  let at = 0;
  for (const { name, dtype, shape } of tensors) {
    const size = shape.reduce((a, b) => a * b, 1) * sizes[dtype];
    header[name] = { dtype, shape, data_offsets: [at, at + size] };
    at += size;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8);
  const head = Buffer.from(text);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, 'w');
  for (const part of [length, head]) writeSync(file, part);
  for (const { name, bytes } of tensors) {
    const [from, to] = header[name].data_offsets;
    const data = bytes ?? Buffer.alloc(to - from);
    if (data.length !== to - from) throw new Error(`${name}: ${data.length} bytes for ${to - from}`);
    writeSync(file, data);
  }
  closeSync(file);
}

/**
 * A dense llama in one folder, big enough that upcycling it takes seconds: about 56 MB, 8 experts of it about 270 MB. Its values
 * are a pattern, small and finite.
 */
export function writeLasting(folder, { layers = 4, hidden = 512, intermediate = 2752, vocabulary = 4096 } = {}) {
  mkdirSync(folder, { recursive: true });
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: 8,
    num_key_value_heads: 8,
    head_dim: hidden / 8,
    vocab_size: vocabulary,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: 'silu',
    tie_word_embeddings: true,
    torch_dtype: 'bfloat16',
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config, null, 2));
  const tensors = [{ name: 'model.embed_tokens.weight', shape: [vocabulary, hidden] }];
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'o_proj'])
      tensors.push({ name: `${at}.self_attn.${name}.weight`, shape: [hidden, hidden] });
    for (const name of ['gate_proj', 'up_proj'])
      tensors.push({ name: `${at}.mlp.${name}.weight`, shape: [intermediate, hidden] });
    tensors.push({ name: `${at}.mlp.down_proj.weight`, shape: [hidden, intermediate] });
    for (const name of ['input_layernorm', 'post_attention_layernorm'])
      tensors.push({ name: `${at}.${name}.weight`, shape: [hidden] });
  }
  tensors.push({ name: 'model.norm.weight', shape: [hidden] });
  writeSafetensors(
    join(folder, 'model.safetensors'),
    tensors.map((tensor) => ({ ...tensor, dtype: 'BF16', bytes: pattern(tensor.shape.reduce((a, b) => a * b, 1)) })),
    { format: 'pt' },
  );
}

/** bfloat16 values of about ±0.01 to ±0.03, from a small generator. */
function pattern(count) {
  const values = new Uint16Array(count);
  let state = count | 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = 0x3c23 + ((state >>> 16) & 0xff) + (state < 0 ? 0x8000 : 0);
  }
  return Buffer.from(values.buffer);
}

/** A checkpoint whose tensor names and metadata are markup. */
export function writeHostile(folder) {
  mkdirSync(folder, { recursive: true });
  writeSafetensors(
    join(folder, 'hostile.safetensors'),
    [
      { name: `model.${HOSTILE}.weight`, dtype: 'F32', shape: [2, 2] },
      { name: '__proto__', dtype: 'F32', shape: [1] },
      { name: 'constructor', dtype: 'F32', shape: [1] },
      { name: 'line\nbreak\u202eright-to-left', dtype: 'F32', shape: [1] },
    ],
    { [`key ${HOSTILE}`]: HOSTILE, toString: 'a plain word', format: 'pt' },
  );
}

/** Files that must open as a page that says what is wrong: ours, and the shared ones where they are. */
export function damagedFiles() {
  const found = [];
  const malformed = join(shared, 'data/safetensors/malformed');
  if (existsSync(malformed))
    for (const name of readdirSync(malformed).sort()) found.push({ name, from: join(malformed, name) });
  return found;
}

/** Field inputs that are checkpoints a viewer opens: every .safetensors or .gguf file of the folder, by `id-name`. */
export function fieldFiles() {
  const folder = join(shared, 'field/inputs');
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(safetensors|gguf)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((from) => ({ id: from.slice(folder.length + 1).split('/')[0], name: basename(from), from }));
}

export function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}
