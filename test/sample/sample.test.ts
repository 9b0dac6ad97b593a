import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { openSafetensors, toFloat32 } from 'safetensors-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { MoeError } from '../../src/common/errors.ts';
import { inspectCheckpoint } from '../../src/inspect/index.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import type { SampleSummary } from '../../src/sample/sample.ts';

const root = mkdtempSync(join(tmpdir(), 'sample-'));
const folder = join(root, 'a');
let summary: SampleSummary;
beforeAll(async () => {
  summary = await writeSampleCheckpoint(folder);
});
afterAll(() => {
  rmSync(root, { recursive: true });
});

const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

describe('the built-in sample', () => {
  it('is a healthy tied llama of the announced size', async () => {
    const report = await inspectCheckpoint(await openCheckpoint(folder));
    expect(report.problems).toEqual([]);
    expect(report).toMatchObject({
      format: 'hf',
      modelType: 'llama',
      kind: 'dense',
      tensorCount: 74,
      tied: true,
      shards: 1,
      dtypes: { BF16: 74 },
    });
    // Counted by hand: embeddings, 8 layers of (q, k, v, o, three FFN matrices, two norms), final norm.
    const layer = 128 * 128 + 2 * 64 * 128 + 128 * 128 + 3 * 352 * 128 + 2 * 128;
    expect(report.parameters).toEqual({ total: 258 * 128 + 8 * layer + 128, active: 258 * 128 + 8 * layer + 128 });
    expect(summary.parameters).toBe(report.parameters.total);
    expect(report.bytes).toBe(summary.bytes);
    expect(statSync(join(folder, 'model.safetensors')).size).toBeGreaterThan(summary.bytes);
  });

  it('has the same bytes for the same seed and others for another', async () => {
    const again = join(root, 'again');
    const other = join(root, 'other');
    await writeSampleCheckpoint(again);
    await writeSampleCheckpoint(other, 1);
    for (const name of readdirSync(folder)) expect(hash(join(again, name))).toBe(hash(join(folder, name)));
    expect(hash(join(other, 'model.safetensors'))).not.toBe(hash(join(folder, 'model.safetensors')));
  });

  it('has values as announced: mean and spread of a matrix and of the norms', async () => {
    const file = await openSafetensors(join(folder, 'model.safetensors'));
    const stats = async (name: string): Promise<[number, number]> => {
      const values = toFloat32('BF16', await file.readTensor(name));
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
      return [mean, Math.sqrt(variance)];
    };
    const [mean, std] = await stats('model.layers.3.mlp.up_proj.weight');
    // 45,056 values: four standard errors are 4e-4 for the mean, 2.7e-4 for the spread.
    expect(Math.abs(mean)).toBeLessThan(4e-4);
    expect(Math.abs(std - 0.02)).toBeLessThan(2.7e-4);
    expect((await stats('model.norm.weight'))[0]).toBeCloseTo(1, 1);
    await file.close();
  });

  it('has a tokenizer that gives every byte its own id and decodes back', () => {
    const read = (name: string): object => JSON.parse(readFileSync(join(folder, name), 'utf8')) as object;
    const tokenizer = new Tokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
    const text = 'Hé 你 🙂\n\ttwo  spaces';
    const ids = tokenizer.encode(text).ids;
    expect([...ids]).toEqual([...Buffer.from(text)]);
    expect(tokenizer.decode(ids, { skip_special_tokens: false, clean_up_tokenization_spaces: false })).toBe(text);
    expect([...tokenizer.encode('a<|end|>').ids]).toEqual([97, 257]);
  });

  it('is never written over anything', async () => {
    await expect(writeSampleCheckpoint(folder)).rejects.toThrow(MoeError);
  });
});
