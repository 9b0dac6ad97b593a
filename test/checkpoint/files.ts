/** Small checkpoints for tests, written by hand: nothing here uses the code under test but safetensors-js's header encoder. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { encodeHeader, tensorBytes } from 'safetensors-js';
import type { Dtype } from 'safetensors-js';
import { afterAll } from 'vitest';
import type { Problem } from '../../src/checkpoint/types.ts';

export interface TestTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype?: Dtype;
  /** float32 values, or raw bytes; counting numbers by default. */
  readonly values?: readonly number[] | Uint8Array;
}

const folders: string[] = [];

/** A temporary folder that is removed after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'moe-test-'));
  folders.push(folder);
  return folder;
}

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** The bytes of a safetensors file. */
export function safetensors(tensors: readonly TestTensor[], metadata?: Readonly<Record<string, string>>): Buffer {
  const specs = tensors.map(({ name, shape, dtype }) => ({ name, shape, dtype: dtype ?? ('F32' as const) }));
  const header = encodeHeader(specs, metadata === undefined ? {} : { metadata });
  const data = tensors.map(({ name, shape, dtype, values }) => {
    const bytes = tensorBytes(dtype ?? 'F32', shape);
    if (values instanceof Uint8Array) return Buffer.from(values);
    if (dtype !== undefined && dtype !== 'F32') return Buffer.alloc(bytes, 1);
    const numbers = values ?? Array.from({ length: bytes / 4 }, (_, i) => i + name.length);
    return Buffer.from(Float32Array.from(numbers).buffer);
  });
  return Buffer.concat([header.bytes, ...data]);
}

export function writeModel(
  path: string,
  tensors: readonly TestTensor[],
  metadata?: Readonly<Record<string, string>>,
): void {
  writeFileSync(path, safetensors(tensors, metadata));
}

export function writeJson(path: string, value: unknown): void {
  writeFileSync(path, JSON.stringify(value));
}

export function writeIndex(folder: string, weightMap: Readonly<Record<string, string>>, totalSize?: number): void {
  writeJson(join(folder, 'model.safetensors.index.json'), {
    metadata: totalSize === undefined ? {} : { total_size: totalSize },
    weight_map: weightMap,
  });
}

export function codes(problems: readonly Problem[], severity?: Problem['severity']): string[] {
  return problems.filter((p) => severity === undefined || p.severity === severity).map((p) => p.code);
}

export function problem(problems: readonly Problem[], code: string): Problem {
  const found = problems.find((p) => p.code === code);
  if (found === undefined) throw new Error(`no problem ${code} among ${codes(problems).join(', ')}`);
  return found;
}

/** What was thrown, as a plain object. */
export async function failure(action: () => Promise<unknown>): Promise<{
  readonly kind: unknown;
  readonly code: unknown;
  readonly message: string;
  readonly place: { readonly [key: string]: unknown };
}> {
  try {
    await action();
  } catch (error) {
    if (error instanceof Error && 'kind' in error && 'code' in error && 'place' in error) {
      const place = typeof error.place === 'object' && error.place !== null ? { ...error.place } : {};
      return { kind: error.kind, code: error.code, message: error.message, place };
    }
    throw error;
  }
  throw new Error('nothing was thrown');
}

const SHARED = resolve(import.meta.dirname, '../../../shared');

/** A path of the shared material, or null (said aloud) where it is not at hand. */
export function shared(path: string): string | null {
  const full = join(SHARED, path);
  if (existsSync(full)) return full;
  process.emitWarning(`SKIPPED: ${path} of the shared material is not here`);
  return null;
}

export function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** Tensors of a tiny Llama-type model: 2 layers, hidden 8, width 12, vocabulary 16, tied unless `head`. */
export function tinyDense(
  options: { readonly head?: boolean; readonly layers?: number; readonly prefix?: string } = {},
): TestTensor[] {
  const prefix = options.prefix ?? 'model.';
  const list: TestTensor[] = [{ name: `${prefix}embed_tokens.weight`, shape: [16, 8] }];
  for (let layer = 0; layer < (options.layers ?? 2); layer++) {
    const at = `${prefix}layers.${String(layer)}.`;
    list.push(
      { name: `${at}input_layernorm.weight`, shape: [8] },
      { name: `${at}self_attn.q_proj.weight`, shape: [8, 8] },
      { name: `${at}self_attn.k_proj.weight`, shape: [4, 8] },
      { name: `${at}self_attn.v_proj.weight`, shape: [4, 8] },
      { name: `${at}self_attn.o_proj.weight`, shape: [8, 8] },
      { name: `${at}post_attention_layernorm.weight`, shape: [8] },
      { name: `${at}mlp.gate_proj.weight`, shape: [12, 8] },
      { name: `${at}mlp.up_proj.weight`, shape: [12, 8] },
      { name: `${at}mlp.down_proj.weight`, shape: [8, 12] },
    );
  }
  list.push({ name: `${prefix}norm.weight`, shape: [8] });
  if (options.head === true) list.push({ name: 'lm_head.weight', shape: [16, 8] });
  return list;
}

export const TINY_CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 16,
  tie_word_embeddings: true,
  rms_norm_eps: 1e-6,
} as const;
