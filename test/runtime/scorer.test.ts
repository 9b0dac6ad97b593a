/** Scores against one plain run per request, and against the real harness on stories260K. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import type { ScoreRequest, ScoreResult } from '../../src/eval/scorer.ts';
import { argMax } from '../../src/model/sampling.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { ModelScorer } from '../../src/runtime/scorer.ts';
import { loadTokenizerFolder } from '../../src/tokens/folder.ts';
import { openFolder, sharedFolder } from './folder.ts';
import { mixtralConfig, mixtralSource, sequence } from './random-model.ts';

const SETTINGS = { weights: 'stored', threads: 1 } as const;

/** The definition: one run per request. */
async function oneByOne(model: RunnableModel, requests: readonly ScoreRequest[]): Promise<ScoreResult[]> {
  const results: ScoreResult[] = [];
  for (const { contextIds, continuationIds } of requests) {
    const logits = await model.logits({ rows: [[...contextIds, ...continuationIds].slice(0, -1)] });
    let logprob = 0;
    let isGreedy = true;
    continuationIds.forEach((id, i) => {
      const at = contextIds.length - 1 + i;
      const row = logits.data.subarray(at * logits.vocabulary, (at + 1) * logits.vocabulary);
      logprob += (row[id] ?? Number.NaN) - Math.log(row.reduce((sum, v) => sum + Math.exp(v), 0));
      isGreedy &&= argMax(row) === id;
    });
    results.push({ logprob, isGreedy });
  }
  return results;
}

function agree(actual: readonly ScoreResult[], expected: readonly ScoreResult[]): void {
  expect(actual).toHaveLength(expected.length);
  expected.forEach((result, i) => {
    expect(actual[i]?.logprob).toBeCloseTo(result.logprob, 4);
    expect(actual[i]?.isGreedy).toBe(result.isGreedy);
  });
}

describe('scoring', () => {
  const shape = { experts: 4, topK: 2, window: 40 };
  const long = { ...mixtralConfig(shape), max_position_embeddings: 512 };

  it('mixed requests, cut into small rows', async () => {
    const model = new RunnableModel(long, mixtralSource(shape, 2), SETTINGS);
    const requests: ScoreRequest[] = Array.from({ length: 20 }, (_, i) => ({
      contextIds: sequence(3 + (i % 5), i % 4),
      continuationIds: sequence(1 + (i % 3), 50 + i),
    }));
    const expected = await oneByOne(model, requests);
    for (const tokensPerRow of [1, 30, 1000]) {
      const progress: number[] = [];
      const scorer = new ModelScorer(model, { tokensPerRow });
      agree(await scorer.loglikelihoods(requests, { onProgress: (done) => progress.push(done) }), expected);
      expect(progress.at(-1)).toBe(20);
    }
    await model.release();
  });

  it('a long common beginning is run once, and windows reach into it', async () => {
    const model = new RunnableModel(long, mixtralSource(shape, 3), SETTINGS);
    const common = sequence(100, 1);
    const requests: ScoreRequest[] = Array.from({ length: 6 }, (_, i) => ({
      contextIds: [...common, ...sequence(i, 7)],
      continuationIds: sequence(1 + (i % 3), 50 + i),
    }));
    const scorer = new ModelScorer(model);
    agree(await scorer.loglikelihoods(requests, {}), await oneByOne(model, requests));
    agree(await scorer.loglikelihoods(requests.slice(0, 3), {}), await oneByOne(model, requests.slice(0, 3)));
    await model.release();
  });

  it.each(['deepseek_v3', 'gpt_oss'])('%s: a common beginning that is kept as keys and values', async (name) => {
    const folder = path.resolve(import.meta.dirname, '../forward/fixtures-running', name);
    const { config, source } = openFolder(folder);
    const model = new RunnableModel({ ...config, max_position_embeddings: 512 }, source, SETTINGS);
    const ids = (count: number, seed: number): number[] => Array.from({ length: count }, (_, i) => (i * i + seed) % 12);
    const requests: ScoreRequest[] = Array.from({ length: 6 }, (_, i) => ({
      contextIds: [...ids(100, 1), ...ids(i, 7)],
      continuationIds: ids(1 + (i % 3), 5 + i),
    }));
    const scorer = new ModelScorer(model);
    agree(await scorer.loglikelihoods(requests, {}), await oneByOne(model, requests));
    agree(await scorer.loglikelihoods(requests.slice(0, 3), {}), await oneByOne(model, requests.slice(0, 3)));
    await model.release();
  });

  it('long texts go through in pieces, beside short ones, with their routers', async () => {
    const model = new RunnableModel({ ...long, max_position_embeddings: 4096 }, mixtralSource(shape, 5), SETTINGS);
    const requests: ScoreRequest[] = [
      { contextIds: sequence(3, 1), continuationIds: sequence(2300, 2) },
      { contextIds: sequence(4, 3), continuationIds: sequence(2, 4) },
      { contextIds: sequence(2200, 6), continuationIds: sequence(3, 7), trace: { domain: 'd', skipTokens: 2190 } },
    ];
    let [seen, counted] = [0, 0];
    const traces = {
      observe: (_: unknown, tokens: { readonly counted: readonly boolean[] }) => {
        seen += tokens.counted.length;
        counted += tokens.counted.filter(Boolean).length;
      },
    };
    const results = await new ModelScorer(model).loglikelihoods(requests, { traces });
    const expected = await oneByOne(model, requests);
    expected.forEach(({ logprob, isGreedy }, i) => {
      expect(Math.abs((results[i]?.logprob ?? Number.NaN) - logprob)).toBeLessThan(1e-3 * Math.abs(logprob) ** 0.5);
      expect(results[i]?.isGreedy).toBe(isGreedy);
    });
    expect([seen, counted]).toEqual([2302 + 5 + 2202, 2302 + 5 + 12]);
    await model.release();
  });

  it('each document counts its own tokens once, however texts are packed', async () => {
    const model = new RunnableModel(long, mixtralSource(shape, 2), SETTINGS);
    // Two documents with a common beginning, two choices each; the second one's first 4 tokens are few-shot prefix.
    const [a, b] = [
      [...sequence(60, 1), 5],
      [...sequence(60, 1), 6, 7],
    ];
    const requests: ScoreRequest[] = [
      { contextIds: a, continuationIds: [1, 2], trace: { domain: 'x', skipTokens: 0 } },
      { contextIds: a, continuationIds: [3, 4, 5], trace: { domain: 'x', skipTokens: 0 } },
      { contextIds: b, continuationIds: [1, 2], trace: { domain: 'y', skipTokens: 4 } },
    ];
    for (const tokensPerRow of [1, 100, 1000]) {
      const counts = new Map<string | undefined, number[]>();
      const traces = {
        observe: (
          routers: readonly { readonly chosen: readonly number[] }[],
          tokens: {
            readonly places: readonly number[];
            readonly ids: readonly number[];
            readonly counted: readonly boolean[];
          },
          domain: string | undefined,
        ) => {
          expect(tokens.places.every((place) => (routers[0]?.chosen.length ?? 0) > place)).toBe(true);
          const sums = counts.get(domain) ?? [0, 0, 0];
          counts.set(domain, [
            (sums[0] ?? 0) + tokens.places.length,
            (sums[1] ?? 0) + tokens.counted.filter(Boolean).length,
            (sums[2] ?? 0) + tokens.ids.reduce((x, y) => x + y, 0),
          ]);
        },
      };
      await new ModelScorer(model, { tokensPerRow }).loglikelihoods(requests, { traces });
      const sum = (ids: readonly number[]): number => ids.reduce((x, y) => x + y, 0);
      expect(counts.get('x')).toEqual([64, 64, sum([...a, 1, 3, 4])]);
      expect(counts.get('y')).toEqual([63, 59, sum([...b, 1])]);
    }
    await model.release();
  });

  it('texts beyond the trained length of dynamic rope keep frequencies of their own', async () => {
    const config = {
      ...mixtralConfig(shape),
      sliding_window: null,
      max_position_embeddings: 16,
      rope_scaling: { rope_type: 'dynamic', factor: 2 },
    };
    const model = new RunnableModel(config, mixtralSource({ experts: 4, topK: 2 }, 4), SETTINGS);
    const requests: ScoreRequest[] = [10, 30, 22, 12, 60].map((length, i) => ({
      contextIds: sequence(length, 5),
      continuationIds: sequence(2, i),
    }));
    agree(
      await new ModelScorer(model, { maxLength: 100 }).loglikelihoods(requests, {}),
      await oneByOne(model, requests),
    );
    await model.release();
  });

  it('can be cancelled between rows, and refuses empty requests', async () => {
    const model = new RunnableModel(long, mixtralSource(shape, 2), SETTINGS);
    const scorer = new ModelScorer(model);
    const request = { contextIds: [1], continuationIds: [2] };
    await expect(scorer.loglikelihoods([request], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      kind: 'cancelled',
    });
    await expect(scorer.loglikelihoods([{ ...request, contextIds: [] }], {})).rejects.toMatchObject({
      code: 'empty-request',
    });
    await model.release();
  });
});

describe('stories260K against the harness', () => {
  const folder = sharedFolder('models', 'stories260K');
  const golden = sharedFolder('data', 'goldens', 'stories260K.harness.json.gz');
  const data = sharedFolder('data', 'eval');
  if (folder === null || golden === null || data === null) {
    console.warn('SKIPPED: ../shared is absent, stories260K is not scored');
    it.skip('shared files absent', () => undefined);
    return;
  }
  const { tasks } = JSON.parse(gunzipSync(fs.readFileSync(golden)).toString('utf8')) as {
    tasks: Record<string, { lls: number[][] } & Record<string, number[][]>>;
  };
  const { config, source } = openFolder(folder);
  const model = new RunnableModel(config, source, SETTINGS);
  const { tokenizer } = loadTokenizerFolder(folder);
  const lines = (name: string): Record<string, unknown>[] =>
    fs
      .readFileSync(path.join(data, name), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const request = (context: string, continuation: string, maxLength: number): ScoreRequest => {
    const contextIds = tokenizer.encode(context);
    const all = tokenizer.encode(context + continuation).slice(-(maxLength + 1));
    const count = tokenizer.encode(context + continuation).length - contextIds.length;
    return { contextIds: all.slice(0, -count), continuationIds: all.slice(-count) };
  };
  afterAll(() => model.release());

  it('copa: all log-likelihoods within 1e-3', async () => {
    const docs = lines('copa_query_choices_gold.jsonl');
    const requests = docs.flatMap((doc) =>
      (doc['choices'] as string[]).map((choice) => request(String(doc['query']), ` ${choice}`, 2048)),
    );
    const results = await new ModelScorer(model, { maxLength: 2048 }).loglikelihoods(requests, {});
    const expected = (tasks['copa@max_length=2048']?.lls ?? []).flat();
    expect(results).toHaveLength(expected.length);
    expected.forEach((value, i) => expect(Math.abs((results[i]?.logprob ?? Number.NaN) - value)).toBeLessThan(1e-3));
  });

  it('5-shot MMLU, cut to 512 tokens: within 1e-3', async () => {
    const [dev, test] = [lines('mmlu/dev.jsonl'), lines('mmlu/test.jsonl')];
    const body = (doc: Record<string, unknown>): string =>
      `${String(doc['question']).trim()}\n${(doc['choices'] as string[]).map((choice, i) => `${'ABCD'[i] ?? ''}. ${choice}`).join('\n')}\nAnswer:`;
    for (const subject of ['abstract_algebra', 'anatomy', 'astronomy']) {
      const of = (docs: Record<string, unknown>[]): Record<string, unknown>[] =>
        docs.filter((doc) => doc['subject'] === subject);
      const shots = of(dev)
        .slice(0, 5)
        .map((doc) => `${body(doc)} ${'ABCD'[Number(doc['answer'])] ?? ''}\n\n`)
        .join('');
      const head = `The following are multiple choice questions (with answers) about ${subject.replaceAll('_', ' ')}.\n\n${shots}`;
      const requests = of(test)
        .slice(0, 2)
        .flatMap((doc) => ['A', 'B', 'C', 'D'].map((letter) => request(head + body(doc), ` ${letter}`, 512)));
      const results = await new ModelScorer(model, { maxLength: 512 }).loglikelihoods(requests, {});
      const expected = (tasks['mmlu_5shot@max_length=512,limit=2']?.[`mmlu_${subject}`] ?? []).flat();
      expect(expected).toHaveLength(8);
      expected.forEach((value, i) => expect(Math.abs((results[i]?.logprob ?? Number.NaN) - value)).toBeLessThan(1e-3));
    }
  });
});
