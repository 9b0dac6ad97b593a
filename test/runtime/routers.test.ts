/** Routers beyond softmax and top-k: what a trace tells of them, and where a family's description ends. */
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/common/json.ts';
import type { WeightEntry } from '../../src/model/weights.ts';
import type { RouterTrace } from '../../src/runtime/model.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { readTensors } from '../forward/reader.ts';
import { openFolder, sourceOf } from './folder.ts';

const SETTINGS = { weights: 'stored', threads: 1 } as const;
const IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];

function fixture(name: string, extra: JsonObject = {}): RunnableModel {
  const { config, source } = openFolder(folderOf(name));
  return new RunnableModel({ ...config, ...extra }, source, SETTINGS);
}

function folderOf(name: string): string {
  return path.resolve(import.meta.dirname, '../forward/fixtures-running', name);
}

async function tracesOf(name: string): Promise<readonly RouterTrace[]> {
  const model = fixture(name);
  const traces = await model.traces({ rows: [IDS] });
  await model.release();
  return traces;
}

/** Indices of the largest, best first. */
const best = (scores: readonly number[], count: number): number[] =>
  scores
    .map((score, i) => [score, i] as const)
    .sort(([a, i], [b, j]) => b - a || i - j)
    .slice(0, count)
    .map(([, i]) => i);

describe('routers', () => {
  it.each([
    ['deepseek_v3-halves', 'mlp.gate.e_score_correction_bias', (x: number) => 1 / (1 + Math.exp(-x)), 2.5, false],
    ['ernie4_5_moe', 'mlp.moe_statics.e_score_correction_bias', Math.exp, 1, true],
  ] as const)('%s: a bias moves the choice and not the weights', async (name, bias, score, scale, normalise) => {
    const stored = readTensors(folderOf(name));
    const traces = await tracesOf(name);
    expect(traces.length).toBeGreaterThan(0);
    let moved = 0;
    for (const { layer, experts, topK, logits, chosen, weights, choiceBias } of traces) {
      expect(Array.from(choiceBias ?? [])).toEqual(Array.from(stored.get(`model.layers.${layer}.${bias}`)?.data ?? []));
      IDS.forEach((_, t) => {
        const raw = Array.from(logits.subarray(t * experts, (t + 1) * experts), score);
        const sum = raw.reduce((a, b) => a + b, 0);
        const scores = normalise ? raw.map((value) => value / sum) : raw;
        const expected = best(
          scores.map((value, e) => value + (choiceBias?.[e] ?? Number.NaN)),
          topK,
        );
        expect(chosen.slice(t * topK, (t + 1) * topK)).toEqual(expected);
        if (best(scores, topK).join() !== expected.join()) moved++;
        const picked = expected.map((e) => scores[e] ?? Number.NaN);
        const whole = normalise ? picked.reduce((a, b) => a + b, 0) : 1;
        picked.forEach((value, k) => {
          expect(weights[t * topK + k]).toBeCloseTo((scale * value) / whole, 5);
        });
      });
    }
    expect(moved).toBeGreaterThan(0);
  });

  it('deepseek_v3: experts of two groups of three only', async () => {
    for (const { experts, topK, chosen } of await tracesOf('deepseek_v3'))
      IDS.forEach((_, t) => {
        const groups = chosen.slice(t * topK, (t + 1) * topK).map((e) => Math.floor(e / (experts / 3)));
        expect(new Set(groups).size).toBeLessThanOrEqual(2);
      });
  });
});

describe('where a description ends', () => {
  it('Llama 4 beyond one chunk is refused, not computed otherwise', async () => {
    const model = fixture('llama4_text', { attention_chunk_size: 8 });
    await expect(model.logits({ rows: [IDS] })).rejects.toMatchObject({
      code: 'text-too-long-for-model',
      message: expect.stringContaining('up to 8 tokens') as string,
    });
    expect((await model.logits({ rows: [IDS.slice(0, 8)] })).rows).toBe(8);
    await model.release();
  });

  it('gpt-oss as published, in MXFP4: says what to do', async () => {
    const { config, source } = openFolder(folderOf('gpt_oss'));
    const entries = new Map<string, WeightEntry>();
    for (const name of source.names()) {
      const entry = source.get(name);
      if (entry !== undefined) entries.set(name.replace(/(experts\.(?:gate_up|down)_proj)$/, '$1_blocks'), entry);
    }
    const model = new RunnableModel(config, sourceOf(entries), SETTINGS);
    await expect(model.logits({ rows: [[1]] })).rejects.toMatchObject({
      code: 'dtype-not-runnable',
      message: expect.stringContaining('MXFP4') as string,
    });
  });
});
