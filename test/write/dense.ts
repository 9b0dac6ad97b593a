/** Tiny dense checkpoints as real files, with random weights, for writer, verifier and reverter tests. */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildIndex, encodeHeader } from 'safetensors-js';
import { afterAll } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import type { JsonObject } from '../../src/common/json.ts';
import { readDense } from '../../src/families/index.ts';
import { buildPlan } from '../../src/plan/build.ts';
import type { Plan } from '../../src/plan/types.ts';
import { fillNormal, randomStream } from '../../src/random/index.ts';
import type { Recipe } from '../../src/recipe/types.ts';
import { denseConfig, recipe } from '../plan/fakes.ts';

export interface DenseOptions {
  readonly modelType?: string;
  readonly config?: JsonObject;
  readonly dtype?: 'F32' | 'BF16' | 'F16';
  readonly shards?: number;
  readonly seed?: number;
  /** Further tensors, by name: raw bytes as U8. */
  readonly extra?: Readonly<Record<string, Buffer>>;
  readonly files?: Readonly<Record<string, string>>;
  /** Stores lm_head.weight beside a tied embedding: equal to it, or not. */
  readonly tiedHead?: 'equal' | 'different';
}

const ROOT = mkdtempSync(join(tmpdir(), 'moe-write-test-'));
afterAll(() => {
  rmSync(ROOT, { recursive: true, force: true });
});
let counter = 0;

/** A new empty folder, gone when the tests end. */
export function newFolder(): string {
  const path = join(ROOT, String(counter++));
  mkdirSync(path);
  return path;
}

function values(count: number, dtype: 'F32' | 'BF16' | 'F16', seed: number, name: string): Buffer {
  const floats = new Float32Array(count);
  fillNormal(floats, randomStream(seed, name), 0);
  const bits = new Uint32Array(floats.buffer);
  if (dtype === 'F32') return Buffer.from(floats.buffer);
  const words = new Uint16Array(count);
  // Truncated bf16; for f16 small positive halves: any bits do.
  for (let i = 0; i < count; i++)
    words[i] = dtype === 'BF16' ? (bits[i] ?? 0) >>> 16 : 0x2c00 | ((bits[i] ?? 0) & 0x83ff);
  return Buffer.from(words.buffer);
}

/** Writes a dense model into `folder` (default: a new one) and returns its path. */
export function writeDense(options: DenseOptions = {}, folder = join(newFolder(), 'dense')): string {
  const { modelType = 'llama', dtype = 'BF16', shards = 1, seed = 1 } = options;
  const config = denseConfig(modelType, options.config ?? {});
  const { family, spec } = readDense(config);
  mkdirSync(folder, { recursive: true });
  const all: { name: string; dtype: 'F32' | 'BF16' | 'F16' | 'U8'; shape: number[]; bytes: Buffer }[] = family
    .tensors(spec)
    .map(({ name, shape }) => ({
      name,
      dtype,
      shape: [...shape],
      bytes: values(
        shape.reduce((a, b) => a * b, 1),
        dtype,
        seed,
        name,
      ),
    }));
  const embed = all.find(({ name }) => name === 'model.embed_tokens.weight');
  if (options.tiedHead !== undefined && embed !== undefined) {
    const bytes = Buffer.from(embed.bytes);
    if (options.tiedHead === 'different') bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    all.push({ ...embed, name: 'lm_head.weight', bytes });
  }
  for (const [name, bytes] of Object.entries(options.extra ?? {})) {
    all.push({ name, dtype: 'U8', shape: [bytes.length], bytes });
  }
  const entries: { name: string; file: string; bytes: number }[] = [];
  for (let shard = 0; shard < shards; shard++) {
    const mine = all.filter((_, i) => Math.floor((i * shards) / all.length) === shard);
    const file =
      shards === 1
        ? 'model.safetensors'
        : `model-${String(shard + 1).padStart(5, '0')}-of-${String(shards).padStart(5, '0')}.safetensors`;
    const header = encodeHeader(mine, { metadata: { format: 'pt' } });
    writeFileSync(join(folder, file), Buffer.concat([header.bytes, ...mine.map(({ bytes }) => bytes)]));
    entries.push(...mine.map(({ name, bytes }) => ({ name, file, bytes: bytes.length })));
  }
  if (shards > 1) writeFileSync(join(folder, 'model.safetensors.index.json'), buildIndex(entries));
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 3)}\n`);
  const files = {
    'README.md': '---\nlicense: apache-2.0\nlanguage:\n- en\ntags:\n- tiny\n---\n# Tiny dense\n',
    'generation_config.json': '{"do_sample": true}\n',
    'tokenizer.json': '{"model": {}}\n',
    LICENSE: 'Apache License 2.0\n',
    ...options.files,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

/** Opens a dense folder and plans it. */
export async function planOf(
  folders: readonly string[],
  changes: Partial<Recipe> = {},
): Promise<{ plan: Plan; sources: Checkpoint[] }> {
  const sources = await Promise.all(folders.map((folder) => openCheckpoint(folder)));
  return { plan: buildPlan(recipe(changes), sources), sources };
}

/** sha256 of every file of a folder, by name; the manifest (it holds a time) left out. */
export function hashes(folder: string): Record<string, string> {
  const names = readdirSync(folder).filter((name) => name !== 'moe-manifest.json');
  return Object.fromEntries(
    names.sort().map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  );
}
