/** Source tensors for evaluator tests: a real safetensors file of random values, and the same values as arrays. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { Checkpoint, SourceTensor, StorageDtype } from '../../src/checkpoint/types.ts';
import { fillNormal, randomStream } from '../../src/random/index.ts';
import type { Tensor } from './naive.ts';
import { roundTo, toBytes } from './naive.ts';

const ROOT = mkdtempSync(join(tmpdir(), 'moe-evaluate-'));
afterAll(() => {
  rmSync(ROOT, { recursive: true, force: true });
});
let counter = 0;

/** Normal values times `spread`, rounded to the dtype. */
export function randomTensor(dtype: string, shape: readonly number[], seed: number, spread = 1): Tensor {
  const values = new Float64Array(shape.reduce((a, b) => a * b, 1));
  fillNormal(values, randomStream(seed, `source ${dtype} ${shape.join()}`), 0);
  return { dtype, shape, data: [...values].map((x) => roundTo(dtype, x * spread)) };
}

/** A checkpoint of raw bytes in one file; tensors start at odd places, as nothing may depend on alignment. */
export function rawCheckpoint(
  tensors: readonly { name: string; dtype: StorageDtype; shape: readonly number[]; bytes: Buffer }[],
): Checkpoint {
  const path = join(ROOT, `${String(counter++)}.bin`);
  const found = new Map<string, SourceTensor>();
  const chunks: Buffer[] = [Buffer.alloc(13, 0xaa)];
  let begin = 13;
  for (const { name, dtype, shape, bytes } of tensors) {
    found.set(name, { name, dtype, shape, file: 'data', begin, bytes: bytes.length });
    chunks.push(bytes);
    begin += bytes.length;
  }
  writeFileSync(path, Buffer.concat(chunks));
  return {
    path: ROOT,
    root: ROOT,
    format: 'hf',
    config: null,
    tensors: found,
    aliases: new Map(),
    gguf: null,
    files: [{ name: 'data', path, bytes: begin, state: 'ok' }],
    index: null,
    sidecars: [],
    problems: [],
    planOnly: false,
  };
}

export function checkpointOf(tensors: ReadonlyMap<string, Tensor>): Checkpoint {
  return rawCheckpoint(
    [...tensors].map(([name, tensor]) => ({
      name,
      dtype: tensor.dtype as StorageDtype,
      shape: tensor.shape,
      bytes: toBytes(tensor),
    })),
  );
}
