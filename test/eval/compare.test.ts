import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ComparableDoc } from '../../src/eval/compare.ts';
import { comparableDocs, compareRuns, mcnemarExact } from '../../src/eval/compare.ts';
import { importHarnessResults, importHarnessSamples, parsePythonJson } from '../../src/eval/import-results.ts';
import { harnessResults } from '../../src/eval/results.ts';
import { runEvaluation } from '../../src/eval/run.ts';
import type { EvaluationRun } from '../../src/eval/run-types.ts';
import { sampleLines } from '../../src/eval/samples.ts';
import { HashScorer, toyTokenizer } from './helpers/fake-scorer.ts';
import { FIXTURES, SHARED, haveShared } from './helpers/shared.ts';

const DATA = { path: join(FIXTURES, 'data'), hubCache: false };

function evaluate(tasks: string[], addsBos: boolean, limit?: number): Promise<EvaluationRun> {
  const scorer = new HashScorer(toyTokenizer({ addsBos }), 2048);
  return runEvaluation({
    tasks,
    data: DATA,
    scorer,
    model: { name: `bos-${addsBos}` },
    bootstrapIterations: 0,
    ...(limit === undefined ? {} : { limit }),
  });
}

describe('McNemar’s exact test', () => {
  it.each([
    [0, 0, 1],
    [1, 0, 1],
    [5, 0, 0.0625],
    [1, 8, 0.0390625],
    [10, 25, 0.01667384780012071],
    [300, 380, 0.0024248687076998945],
    [3000, 3200, 0.011488253770871206],
    [7, 7, 1],
    [0, 200, 1.2446030555722283e-60],
  ])('%d against %d', (b, c, p) => {
    // Reference values: exact rational sums of binomial coefficients.
    expect(mcnemarExact(b, c) / p).toBeCloseTo(1, 9);
  });

  it('is symmetric, in [0, 1], and falls as flips become more one-sided', () => {
    fc.assert(
      fc.property(fc.nat(400), fc.nat(400), (b, c) => {
        const p = mcnemarExact(b, c);
        expect(p).toBe(mcnemarExact(c, b));
        expect(p).toBeGreaterThanOrEqual(0);
        expect(p).toBeLessThanOrEqual(1);
        if (b > 0 && b <= c) expect(mcnemarExact(b - 1, c + 1)).toBeLessThanOrEqual(p + 1e-12);
      }),
    );
  });
});

function doc(task: string, docId: number, acc: number, more: Partial<ComparableDoc> = {}): ComparableDoc {
  return { task, docId, docHash: null, promptHash: null, values: new Map([['acc', acc]]), ...more };
}

describe('paired comparison', () => {
  it('counts flips by subject and overall', () => {
    const a = [doc('x', 0, 1), doc('x', 1, 0), doc('x', 2, 0), doc('y', 0, 1), doc('y', 1, 1)];
    const b = [doc('x', 0, 1), doc('x', 1, 1), doc('x', 2, 0), doc('y', 0, 0), doc('y', 1, 1)];
    const result = compareRuns(a, b);
    expect(result.overall).toMatchObject({
      documents: 5,
      bothRight: 2,
      bothWrong: 1,
      gained: 1,
      lost: 1,
      scoreA: 0.6,
      scoreB: 0.6,
      difference: 0,
      p: 1,
    });
    expect(result.overall.differenceStderr).toBeCloseTo(Math.sqrt(2 / 4) / Math.sqrt(5), 12);
    expect(result.byTask.get('x')).toMatchObject({ documents: 3, gained: 1, lost: 0 });
    expect(result.flips).toEqual([
      { task: 'x', docId: 1, direction: 'gained' },
      { task: 'y', docId: 0, direction: 'lost' },
    ]);
    expect(result.notes).toEqual([]);
  });

  it('leaves out what cannot be paired, and says so', () => {
    const a = [
      doc('x', 0, 1),
      doc('x', 1, 1, { docHash: 'p' }),
      doc('x', 2, 0.5),
      doc('x', 3, 1, { promptHash: '1' }),
      doc('z', 0, 1),
    ];
    const b = [doc('x', 0, 0), doc('x', 1, 0, { docHash: 'q' }), doc('x', 2, 1), doc('x', 3, 1, { promptHash: '2' })];
    const { overall, notes } = compareRuns(a, b);
    expect(overall.documents).toBe(2);
    expect(notes.join('\n')).toContain('1 documents are only in A, 0 only in B');
    expect(notes.join('\n')).toContain('1 documents have the same number but other contents');
    expect(notes.join('\n')).toContain('1 documents have no acc of 0 or 1');
    expect(notes.join('\n')).toContain('1 documents were asked with different prompts');
    expect(() => compareRuns([doc('x', 0, 1)], [doc('y', 0, 1)])).toThrow('no document with acc in common');
  });

  it('a run against itself has no flips; samples on disk equal the run', async () => {
    const run = await evaluate(['piqa', 'mmlu_stem', 'wikitext'], true);
    const other = await evaluate(['piqa', 'mmlu_stem'], false);
    const fromDisk = importHarnessSamples([...sampleLines(run)].join(''), 'samples.jsonl').docs.filter(
      (d) => d.task !== 'wikitext',
    );
    const docs = comparableDocs(run);
    expect(docs.map(({ task, docId, docHash, promptHash }) => ({ task, docId, docHash, promptHash }))).toEqual(
      fromDisk.map(({ task, docId, docHash, promptHash }) => ({ task, docId, docHash, promptHash })),
    );
    const same = compareRuns(docs, fromDisk);
    expect(same.overall).toMatchObject({ documents: 12, gained: 0, lost: 0, p: 1 });
    expect(same.notes).toEqual([]);
    const versus = compareRuns(docs, comparableDocs(other));
    expect(versus.overall.gained + versus.overall.lost).toBe(versus.flips.length);
    expect(versus.flips.length).toBeGreaterThan(0);
  });
});

describe('importing results', () => {
  it('reads our own file back', async () => {
    const run = await evaluate(['piqa', 'mmlu_stem'], true, 3);
    const back = importHarnessResults(JSON.stringify(harnessResults(run)), 'r.json');
    expect(back.model).toBe('bos-true');
    expect(back.limit).toBe(3);
    expect(back.tasks.get('piqa')).toMatchObject({ documents: 3, numFewshot: 0, isGroup: false, version: '1' });
    expect(back.tasks.get('mmlu_stem')?.isGroup).toBe(true);
    expect(back.tasks.get('piqa')?.metrics.get('acc')?.value).toBe(run.tasks[0]?.metrics.get('acc')?.value);
    expect(back.notes).toEqual([]);
  });

  it('odd standard errors are unknown, never 0; NaN does not break the file', () => {
    const text =
      '{"results":{"a":{"acc,none":0.7,"samples":2376,"acc_stderr,none":[]},"b":{"acc":0.5,"acc_stderr":"N/A"},"c":{"acc,none":NaN,"acc_stderr,none":-Infinity,"alias":"NaN in \\"text\\""},"d":3,"e":{"exact_match,strict":1}}}';
    const run = importHarnessResults(text, 'odd.json');
    expect(run.tasks.get('a')).toMatchObject({ documents: 2376 });
    expect(run.tasks.get('a')?.metrics.get('acc')).toEqual({ value: 0.7, stderr: null });
    expect(run.tasks.get('b')?.metrics.get('acc')).toEqual({ value: 0.5, stderr: null });
    expect(run.tasks.get('c')?.metrics.get('acc')).toEqual({ value: null, stderr: null });
    expect([...(run.tasks.get('e')?.metrics.keys() ?? [])]).toEqual(['exact_match,strict']);
    expect(run.notes).toEqual([
      'odd.json: 2 values are NaN or infinite; shown as unknown',
      'odd.json: results["d"] is not a record; skipped',
    ]);
  });

  it.skipIf(!haveShared('field/inputs/G4-06', 'field case G4-06'))('field case G4-06', () => {
    const file = join(SHARED, 'field/inputs/G4-06/harness_results.json');
    const run = importHarnessResults(readFileSync(file, 'utf8'), file);
    expect([...run.tasks].map(([name, t]) => [name, t.documents, t.metrics.get('acc')?.stderr])).toEqual([
      ['arc_easy', 2376, null],
      ['grp', null, null],
    ]);
  });

  it('refuses what is no results file', () => {
    for (const text of ['', '[]', '{"results":[]}', 'null'])
      expect(() => importHarnessResults(text, 'x.json')).toThrow(/x\.json (is not JSON|has no "results")/);
    expect(parsePythonJson('["NaN", "a\\"NaN", NaN]')).toEqual({ value: ['NaN', 'a"NaN', null], nonFinite: 1 });
  });

  it('samples: the task from the line or the file name, other filters skipped', () => {
    const line = '{"doc_id":4,"filter":"none","metrics":["acc"],"acc":1.0,"doc_hash":"d","prompt_hash":"p"}';
    const { docs } = importHarnessSamples(`${line}\n`, '/out/samples_arc_easy_2026-01-02T03-04-05.6.jsonl');
    expect(docs).toEqual([
      { task: 'arc_easy', docId: 4, docHash: 'd', promptHash: 'p', values: new Map([['acc', 1]]) },
    ]);
    const { docs: none, notes } = importHarnessSamples(
      line.replace('none', 'strict'),
      'samples_x_2026-01-02T03-04-05.jsonl',
    );
    expect([none.length, notes.length]).toEqual([0, 1]);
    expect(() => importHarnessSamples(line, 'x.jsonl')).toThrow('line 1 names no task');
    expect(() => importHarnessSamples(`{}\n{"task":"a"}`, 'samples_a_2026-01-02T03-04-05.jsonl')).toThrow(
      'line 1 has no "doc_id"',
    );
  });
});
