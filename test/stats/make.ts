/** Checkpoints with data, written to a folder of their own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { encodeHeader } from 'safetensors-js';
import type { Dtype } from 'safetensors-js';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import type { JsonObject } from '../../src/common/json.ts';

export interface DataSpec {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

let made = 0;
const root = mkdtempSync(join(tmpdir(), 'moe-stats-'));
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

export function tempPath(name: string): string {
  return join(root, name);
}

export async function checkpointWith(
  specs: readonly DataSpec[],
  config: JsonObject | null = null,
): Promise<Checkpoint> {
  const folder = join(root, `cp${String(made++)}`);
  mkdirSync(folder);
  const header = encodeHeader(
    specs.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    {},
  );
  writeFileSync(join(folder, 'model.safetensors'), Buffer.concat([header.bytes, ...specs.map(({ data }) => data)]));
  if (config !== null) writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return openCheckpoint(folder, { lenient: true });
}

export function f32(name: string, shape: readonly number[], values: readonly number[] | Float32Array): DataSpec {
  return { name, dtype: 'F32', shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

/** Numbers of a small generator: the same in every run. */
export function numbers(count: number, seed: number): number[] {
  let state = seed * 2654435761 + 1;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
}
