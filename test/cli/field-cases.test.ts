import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { isJsonObject } from '../../src/common/json.ts';
import type { JsonValue } from '../../src/common/json.ts';
import { cli, errorOf, scratch } from './helpers.ts';

const field = fileURLToPath(new URL('../../../shared/field/inputs/', import.meta.url));
const there = existsSync(field);
if (!there) console.warn('SKIPPED: field cases G1-05, G1-07, G1-08 of the command line (../shared/field is not here)');
const [folder, remove] = scratch();
afterAll(remove);

function items(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : [];
}

describe.skipIf(!there)('field cases', () => {
  it('G1-05: a second parent with fewer tokens: embeddings are the base’s, and the plan says what the other never saw', async () => {
    const ran = await cli(['plan', '--recipe', join(field, 'G1-05/recipe.yaml'), '--json']);
    expect(ran.code).toBe(0);
    const plan = ran.json();
    for (const name of ['model.embed_tokens.weight', 'lm_head.weight']) {
      const tensor = items(plan['tensors']).find((item) => isJsonObject(item) && item['name'] === name);
      if (!isJsonObject(tensor)) throw new Error(`no ${name}`);
      expect(tensor['shape']).toEqual([39, 8]);
      expect(items(tensor['sources']).map((source) => (isJsonObject(source) ? source['from'] : null))).toEqual([0]);
    }
    const words = items(plan['warnings']).map((item) => (isJsonObject(item) ? String(item['message']) : ''));
    expect(words.join('\n')).toMatch(/32\D+38/);
    // The other way round: what the smaller base loses is said too.
    const swapped = await cli([
      ...['plan', join(field, 'G1-05/expert_b'), '--json', '--set', 'experts=2'],
      ...['--set', `parents=[{path: ${join(field, 'G1-05/base')}, experts: 1}]`],
    ]);
    expect(swapped.code).toBe(0);
    expect(
      items(swapped.json()['warnings'])
        .map((item) => (isJsonObject(item) ? item['message'] : ''))
        .join('\n'),
    ).toMatch(/7 tokens|32\D+38/);
  });

  it('G1-07: 3, 5 and 6 experts are planned, with a dated note at most; top-3 of 2 names both numbers', async () => {
    const plan = (experts: number, topK: number): ReturnType<typeof cli> =>
      cli(['plan', join(field, 'G1-05/base'), '--json', '--set', `experts=${experts}`, '--set', `top_k=${topK}`]);
    for (const experts of [3, 5, 6]) {
      const ran = await plan(experts, 2);
      expect(ran.code).toBe(0);
      for (const warning of items(ran.json()['warnings']).map((item) => JSON.stringify(item)))
        if (/power.of.two/i.test(warning)) expect(warning).toContain('2024');
    }
    const refused = await plan(2, 3);
    expect(refused.code).toBe(3);
    expect(errorOf(refused)['message']).toMatch(/3.*2 experts.*top_k must be at most experts/);
  });

  it('G1-08: a merge recipe is named in one line with key and place; nothing is written', async () => {
    const out = join(folder, 'never');
    const ran = await cli(['upcycle', out, '--recipe', join(field, 'G1-08/recipe.yaml'), '--json']);
    expect(ran.code).toBe(3);
    const error = errorOf(ran);
    expect(error).toMatchObject({ code: 'recipe-is-mergekit-merge', line: 1 });
    expect(String(error['message']).split('\n')).toHaveLength(1);
    expect(error['message']).toContain('"experts"');
    expect(existsSync(out)).toBe(false);
  });
});
