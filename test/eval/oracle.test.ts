/**
 * The same runs by lm-evaluation-harness 0.4.13 and by us: results and samples must be equal, field by field. Log-likelihoods are
 * a hash of the token ids on both sides (`oracle.py` made the fixtures), so equal samples also mean equal ids.
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { harnessResults } from '../../src/eval/results.ts';
import type { EvaluationOptions } from '../../src/eval/run.ts';
import { groupRun, runEvaluation } from '../../src/eval/run.ts';
import type { TaskRun } from '../../src/eval/run-types.ts';
import { sampleLines } from '../../src/eval/samples.ts';
import { MMLU_GROUP_LIST } from '../../src/eval/tasks/mmlu.ts';
import { HashScorer, toyTokenizer } from './helpers/fake-scorer.ts';
import { FIXTURES, readJson } from './helpers/shared.ts';

interface Oracle {
  readonly results: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>;
  readonly samples: readonly Readonly<Record<string, unknown>>[];
}

// Made by oracle.py and committed, so its shape is known.
const oracle = (name: string): Oracle => readJson(join(FIXTURES, name)) as Oracle;
const DATA = { path: join(FIXTURES, 'data'), hubCache: false };

const CASES: readonly [string, { bos: boolean; maxLength: number } & Partial<EvaluationOptions>][] = [
  ['oracle-bos-0shot.json.gz', { bos: true, maxLength: 2048 }],
  ['oracle-nobos-3shot.json.gz', { bos: false, maxLength: 300, limit: 6, numFewshot: 3, bootstrapIterations: 2000 }],
  ['oracle-mmlu-2shot.json.gz', { bos: true, maxLength: 600, limit: 3, numFewshot: 2 }],
  ['oracle-rolling-short.json.gz', { bos: true, maxLength: 50 }],
];

describe('equal to lm-evaluation-harness 0.4.13', () => {
  it.each(CASES)('%s', async (file, { bos, maxLength, ...options }) => {
    const want = oracle(file);
    const names = Object.keys(want.results['results'] ?? {});
    expect(names.length).toBeGreaterThan(0);
    const scorer = new HashScorer(toyTokenizer({ addsBos: bos }), maxLength);
    const run = await runEvaluation({ tasks: names, data: DATA, scorer, model: { name: 'hash' }, ...options });

    const results = harnessResults(run, { unknownStderr: 'N/A' });
    for (const key of ['versions', 'n-shot', 'higher_is_better', 'n-samples'])
      expect(results[key], key).toEqual(want.results[key]);
    for (const name of names) {
      const ours = (results['results'] as Record<string, Record<string, unknown>>)[name] ?? {};
      const theirs = want.results['results']?.[name] ?? {};
      expect(Object.keys(ours).sort(), name).toEqual(Object.keys(theirs).sort());
      for (const [key, value] of Object.entries(theirs)) {
        if (typeof value !== 'number') expect(ours[key], `${name} ${key}`).toEqual(value);
        else
          expect(Math.abs(Number(ours[key]) - value), `${name} ${key}`).toBeLessThanOrEqual(
            1e-9 * Math.max(1, Math.abs(value)),
          );
      }
    }

    const samples = [...sampleLines(run)].map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(samples).toHaveLength(want.samples.length);
    const byKey = new Map(want.samples.map((s) => [`${String(s['task'])} ${String(s['doc_id'])}`, s]));
    for (const sample of samples) {
      expect(sample).toEqual(byKey.get(`${String(sample['task'])} ${String(sample['doc_id'])}`));
    }
  });

  it('group scores and pooled errors of all 57 subjects', () => {
    const { results } = readJson(join(FIXTURES, 'oracle-mmlu-groups.json')) as {
      results: Record<string, Record<string, number>>;
    };
    const leaves = Object.entries(results).filter(([name]) => !MMLU_GROUP_LIST.some((g) => g.name === name));
    expect(leaves).toHaveLength(57);
    const runs = leaves.map(([name, r]) => ({
      task: { name },
      effective: r['sample_len'],
      metrics: new Map([['acc', { value: r['acc,none'], stderr: r['acc_stderr,none'] }]]),
    })) as unknown as TaskRun[];
    for (const group of MMLU_GROUP_LIST.filter((g) => !g.name.includes('continuation'))) {
      const { metrics, effective, absent } = groupRun(group, MMLU_GROUP_LIST, runs);
      expect(absent).toEqual([]);
      expect(effective).toBe(results[group.name]?.['sample_len']);
      expect(metrics.get('acc')?.value).toBeCloseTo(results[group.name]?.['acc,none'] ?? NaN, 12);
      expect(metrics.get('acc')?.stderr).toBeCloseTo(results[group.name]?.['acc_stderr,none'] ?? NaN, 12);
    }
  });
});
