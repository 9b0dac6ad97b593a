/**
 * The real SmolLM2-135M-Instruct (bf16 weights, float32 arithmetic) against transformers and a true float64 forward.
 * The model is made by ../shared/models/smollm2-135m/make.py; the test looks in $MOE_SMOLLM2 and .cache/smollm2-135m.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { generate } from '../../src/runtime/generate.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { openFolder, sharedFolder } from './folder.ts';

interface Position {
  readonly ids: readonly number[];
  readonly values: readonly number[];
}
interface Variant {
  readonly argmax: readonly number[];
  readonly top20: readonly Position[];
  readonly logsumexp: readonly number[];
  readonly greedy: readonly number[];
}
interface Goldens {
  readonly prompts: Readonly<
    Record<
      string,
      { readonly text: string; readonly ids: readonly number[]; readonly f32: Variant; readonly f64_exact: Variant }
    >
  >;
}

const folder = [process.env['MOE_SMOLLM2'], path.resolve(import.meta.dirname, '../../.cache/smollm2-135m')].find(
  (candidate) => candidate !== undefined && fs.existsSync(path.join(candidate, 'model.safetensors')),
);
const goldens = sharedFolder('data', 'goldens', 'smollm2-135m.logits.json.gz');

describe('SmolLM2-135M', () => {
  if (folder === undefined || goldens === null) {
    console.warn('SKIPPED: SmolLM2-135M or its goldens are absent (set MOE_SMOLLM2 to a folder made by make.py)');
    it.skip('model absent', () => undefined);
    return;
  }
  const { prompts } = JSON.parse(gunzipSync(fs.readFileSync(goldens)).toString('utf8')) as Goldens;
  const { config, source } = openFolder(folder);
  const model = new RunnableModel(config, source, { weights: 'stored' });
  afterAll(() => model.release());

  it.each(Object.keys(prompts))('logits of "%s" are within 1e-3 of both references', async (name) => {
    const prompt = prompts[name];
    if (prompt === undefined) throw new Error('no such prompt');
    const logits = await model.logits({ rows: [prompt.ids] });
    for (const variant of [prompt.f32, prompt.f64_exact]) {
      let worst = 0;
      variant.top20.forEach(({ ids, values }, position) => {
        const row = logits.data.subarray(position * logits.vocabulary, (position + 1) * logits.vocabulary);
        ids.forEach((id, i) => {
          worst = Math.max(worst, Math.abs((row[id] ?? Number.NaN) - (values[i] ?? 0)));
        });
        expect(row.indexOf(row.reduce((a, b) => Math.max(a, b)))).toBe(variant.argmax[position]);
      });
      expect(worst).toBeLessThan(1e-3);
    }
  });

  it.each(Object.keys(prompts))('continues "%s" greedily as transformers does', async (name) => {
    const prompt = prompts[name];
    if (prompt === undefined) throw new Error('no such prompt');
    const ids: number[] = [];
    for await (const token of generate(model, prompt.ids, { maxTokens: prompt.f32.greedy.length, stop: [] }))
      ids.push(token.id);
    expect(ids).toEqual(prompt.f32.greedy);
  });
});
