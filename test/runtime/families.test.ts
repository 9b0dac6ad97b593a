/** Logits of every family against transformers' own, float32, one real session each. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { RunnableModel } from '../../src/runtime/model.ts';
import { openFolder, sharedFolder } from './folder.ts';

interface Golden {
  readonly sequences: readonly (readonly number[])[];
  readonly logits: readonly (readonly (readonly number[])[])[];
}

function goldenOf(folder: string): Golden {
  return JSON.parse(fs.readFileSync(path.join(folder, 'expected_logits.json'), 'utf8')) as Golden;
}

/** Largest absolute difference over all sequences, each run alone. */
async function worstDifference(folder: string): Promise<number> {
  const { config, source } = openFolder(folder);
  const model = new RunnableModel(config, source, { weights: 'stored', threads: 1 });
  const golden = goldenOf(folder);
  let worst = 0;
  for (const [i, ids] of golden.sequences.entries()) {
    const logits = await model.logits({ rows: [ids] });
    const expected = golden.logits[i] ?? [];
    expect(logits.rows).toBe(ids.length);
    expected.forEach((row, position) => {
      row.forEach((value, token) => {
        worst = Math.max(worst, Math.abs(value - (logits.data[position * logits.vocabulary + token] ?? Number.NaN)));
      });
    });
  }
  await model.release();
  return worst;
}

const own = ['fixtures', 'fixtures-running'].flatMap((folder) => {
  const all = path.resolve(import.meta.dirname, '../forward', folder);
  return fs.readdirSync(all).map((name) => ({ name: `${folder}/${name}`, folder: path.join(all, name) }));
});
const tiny = sharedFolder('models', 'hf-tiny');

describe('logits of the committed tiny models', () => {
  const seen: string[] = [];
  it.each(own)('$name', async ({ name, folder }) => {
    expect(await worstDifference(folder)).toBeLessThan(1e-4);
    seen.push(name);
  });
  afterAll(() => {
    expect(seen.length).toBeGreaterThan(10);
  });
});

describe('logits of the shared tiny models', () => {
  if (tiny === null) {
    console.warn('SKIPPED: ../shared/models/hf-tiny is absent, its logits are not checked');
    it.skip('shared models absent', () => undefined);
    return;
  }
  it.each(fs.readdirSync(tiny))('%s', async (name) => {
    expect(await worstDifference(path.join(tiny, name))).toBeLessThan(1e-4);
  });
});
