/** A checkpoint folder as a WeightSource, for tests: reads safetensors headers itself and trusts them. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { isJsonObject } from '../../src/common/json.ts';
import type { JsonObject } from '../../src/common/json.ts';
import type { WeightEntry, WeightSource } from '../../src/model/weights.ts';

export interface Folder {
  readonly config: JsonObject;
  readonly source: WeightSource;
}

export function openFolder(folder: string): Folder {
  const config: unknown = JSON.parse(fs.readFileSync(path.join(folder, 'config.json'), 'utf8'));
  if (!isJsonObject(config)) throw new Error(`${folder}: config.json is no object`);
  const entries = new Map<string, WeightEntry>();
  for (const name of fs.readdirSync(folder).filter((file) => file.endsWith('.safetensors'))) {
    for (const [tensor, entry] of headerOf(path.join(folder, name))) entries.set(tensor, entry);
  }
  return { config, source: sourceOf(entries) };
}

export function sourceOf(entries: ReadonlyMap<string, WeightEntry>): WeightSource {
  return { get: (name) => entries.get(name), names: () => entries.keys() };
}

function headerOf(file: string): [string, WeightEntry][] {
  const fd = fs.openSync(file, 'r');
  try {
    const prefix = Buffer.alloc(8);
    fs.readSync(fd, prefix, 0, 8, 0);
    const size = Number(prefix.readBigUInt64LE());
    const text = Buffer.alloc(size);
    fs.readSync(fd, text, 0, size, 8);
    const header = JSON.parse(text.toString('utf8')) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    return Object.entries(header).flatMap(([name, { dtype, shape, data_offsets }]): [string, WeightEntry][] => {
      if (name === '__metadata__') return [];
      const [begin, end] = data_offsets;
      return [[name, { dtype, shape, data: { kind: 'file', file, offset: 8 + size + begin, bytes: end - begin } }]];
    });
  } finally {
    fs.closeSync(fd);
  }
}

/** The shared folder beside the repository; null where it is absent. */
export function sharedFolder(...parts: string[]): string | null {
  const folder = path.resolve(import.meta.dirname, '../../../shared', ...parts);
  return fs.existsSync(folder) ? folder : null;
}
