/** Weights read from where they lie: hub-cache links, shards in several folders, errors that name the tensor. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { WeightEntry } from '../../src/model/weights.ts';
import { commonFolder, placeFiles } from '../../src/runtime/files.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { openFolder, sourceOf } from './folder.ts';
import { mixtralConfig, mixtralWeights, sequence } from './random-model.ts';

const fixtures = path.resolve(import.meta.dirname, '../forward/fixtures');
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'moe-files-'));
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

const SETTINGS = { weights: 'stored', threads: 1 } as const;

async function logits(folder: string): Promise<Float32Array> {
  const { config, source } = openFolder(folder);
  const model = new RunnableModel(config, source, SETTINGS);
  const { data } = await model.logits({ rows: [[1, 2, 3]] });
  await model.release();
  return data;
}

describe('external files', () => {
  it('a hub cache, where the snapshot is links into blobs, runs like the folder itself', async () => {
    const blobs = path.join(scratch, 'models--a--b', 'blobs');
    const snapshot = path.join(scratch, 'models--a--b', 'snapshots', 'abc');
    fs.mkdirSync(blobs, { recursive: true });
    fs.mkdirSync(snapshot, { recursive: true });
    for (const name of ['config.json', 'model.safetensors']) {
      fs.copyFileSync(path.join(fixtures, 'mixtral', name), path.join(blobs, `${name}-digest`));
      fs.symlinkSync(path.join('..', '..', 'blobs', `${name}-digest`), path.join(snapshot, name));
    }
    expect(await logits(snapshot)).toEqual(await logits(path.join(fixtures, 'mixtral')));
  });

  it('tensors in several folders, odd offsets and names with spaces', async () => {
    const weights = mixtralWeights({ experts: 3, topK: 2 }, 6);
    const entries = new Map<string, WeightEntry>();
    [...weights].forEach(([name, entry], i) => {
      if (entry.data.kind !== 'memory') throw new Error('in memory');
      const folder = path.join(scratch, `part ${i % 3}`, 'ü');
      fs.mkdirSync(folder, { recursive: true });
      const file = path.join(folder, `${i}.bin`);
      const offset = i % 5;
      fs.writeFileSync(file, Buffer.concat([Buffer.alloc(offset), entry.data.bytes]));
      entries.set(name, { ...entry, data: { kind: 'file', file, offset, bytes: entry.data.bytes.length } });
    });
    const config = mixtralConfig({ experts: 3, topK: 2 });
    const ids = sequence(6, 1);
    const inFiles = new RunnableModel(config, sourceOf(entries), SETTINGS);
    const inMemory = new RunnableModel(config, sourceOf(weights), SETTINGS);
    expect((await inFiles.logits({ rows: [ids] })).data).toEqual((await inMemory.logits({ rows: [ids] })).data);
    await inFiles.release();
    await inMemory.release();
  });

  it('a file that is gone, and one that shrank', async () => {
    const folder = path.join(scratch, 'gone');
    fs.cpSync(path.join(fixtures, 'llama'), folder, { recursive: true });
    const { config, source } = openFolder(folder);
    const file = path.join(folder, 'model.safetensors');
    fs.truncateSync(file, fs.statSync(file).size - 100);
    await expect(new RunnableModel(config, source, SETTINGS).logits({ rows: [[1]] })).rejects.toMatchObject({
      code: 'session-failed',
    });
    fs.rmSync(file);
    expect(() => placeFiles(source)).toThrow(
      expect.objectContaining({ code: 'weight-file-unreadable', place: { file } }) as Error,
    );
  });

  it('finds the folder that holds all', () => {
    expect(commonFolder(['/a/b/c/x', '/a/b/d/y'])).toBe('/a/b');
    expect(commonFolder(['/a/b/x', '/a/b/y'])).toBe('/a/b');
    expect(commonFolder(['/a/bc/x', '/a/b/y'])).toBe('/a');
    expect(commonFolder(['/a/x', '/b/y'])).toBe('/');
  });
});

describe('weights that do not fit', () => {
  const shape = { experts: 2, topK: 1, layers: 1 };
  const failing = async (change: (weights: Map<string, WeightEntry>) => void): Promise<unknown> => {
    const weights = mixtralWeights(shape, 1);
    change(weights);
    const model = new RunnableModel(mixtralConfig(shape), sourceOf(weights), SETTINGS);
    return model.logits({ rows: [[1]] }).then(
      () => undefined,
      (error: unknown) => error,
    );
  };
  const name = 'model.layers.0.self_attn.q_proj.weight';

  it('are refused by name', async () => {
    expect(await failing((w) => w.delete(name))).toMatchObject({ code: 'missing-tensor', place: { tensor: name } });
    expect(await failing((w) => w.delete('lm_head.weight'))).toMatchObject({
      code: 'missing-tensor',
      place: { tensor: 'lm_head.weight' },
    });
    expect(
      await failing((w) => [...w.keys()].filter((key) => key.includes('experts')).forEach((key) => w.delete(key))),
    ).toMatchObject({ code: 'experts-not-found' });
    const change = (extra: Partial<WeightEntry>) => (w: Map<string, WeightEntry>) => {
      const entry = w.get(name);
      if (entry !== undefined) w.set(name, { ...entry, ...extra });
    };
    expect(await failing(change({ shape: [8, 16] }))).toMatchObject({
      code: 'tensor-shape-mismatch',
      place: { tensor: name },
    });
    expect(await failing(change({ dtype: 'F8_E4M3' }))).toMatchObject({
      code: 'dtype-not-runnable',
      place: { tensor: name },
    });
    expect(await failing(change({ dtype: 'BF16' }))).toMatchObject({
      code: 'tensor-bytes-mismatch',
      place: { tensor: name },
    });
    expect(await failing(() => undefined)).toBeUndefined();
  });
});
