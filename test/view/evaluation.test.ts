/** Results files as the results editor shows them: the harness's own, ours, and both against each other. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { documentsJson, readDocuments } from '../../src/eval/documents.ts';
import { comparableDocs, compareRuns } from '../../src/eval/compare.ts';
import { importHarnessSamples } from '../../src/eval/import-results.ts';
import { shortHashes } from '../../src/eval/documents.ts';
import { offeredTasks } from '../../src/eval/offers.ts';
import { harnessResults } from '../../src/eval/results.ts';
import { runEvaluation } from '../../src/eval/run.ts';
import type { EvaluationRun } from '../../src/eval/run-types.ts';
import { sampleLines } from '../../src/eval/samples.ts';
import { ExpertTrace, COUNTED } from '../../src/eval/trace.ts';
import { traceReport } from '../../src/eval/trace-report.ts';
import { evaluation } from '../../src/protocol/results.ts';
import { compareEvaluations, evaluationMarkdown, parseEvaluation } from '../../src/view/evaluation.ts';
import { traceLayerOf, traceSummaryOf, tracesIn } from '../../src/view/traces.ts';
import { HashScorer, toyTokenizer } from '../eval/helpers/fake-scorer.ts';
import { FIXTURES } from '../eval/helpers/shared.ts';

const DATA = { path: join(FIXTURES, 'data'), hubCache: false };

function run(tasks: string[], addsBos: boolean): Promise<EvaluationRun> {
  const scorer = new HashScorer(toyTokenizer({ addsBos }), 2048);
  return runEvaluation({ tasks, data: DATA, scorer, model: { name: 'toy' }, bootstrapIterations: 0 });
}

/** As the evaluation job writes it. */
function fileOf(done: EvaluationRun): string {
  const results = harnessResults(done, { tool: 'moe-workbench 0.1.0' });
  const own = results['moe_workbench'] as object;
  return JSON.stringify({ ...results, moe_workbench: { ...own, documents: documentsJson(done) } });
}

describe('results of the harness', () => {
  const text = readFileSync(join(FIXTURES, 'oracle-mmlu-groups.json'), 'utf8');
  const golden = JSON.parse(text) as { results: Record<string, Record<string, number>> };
  const parsed = parseEvaluation(text, 'results.json');

  it('show every task with its value and error, and all 57 subjects', () => {
    const { rows, subjects, documents, traces, path } = parsed.evaluation;
    expect(rows.map(({ task }) => task).sort()).toEqual(Object.keys(golden.results).sort());
    for (const { task, metrics } of rows) {
      const acc = metrics.find(({ name }) => name === 'acc');
      expect(acc, task).toMatchObject({
        value: golden.results[task]?.['acc,none'],
        stderr: golden.results[task]?.['acc_stderr,none'],
        higherIsBetter: true,
      });
    }
    expect(subjects.filter(({ label }) => !label.includes('continuation'))).toHaveLength(57);
    expect(new Set(subjects.map(({ area }) => area))).toEqual(
      new Set(['STEM', 'Humanities', 'Social sciences', 'Other']),
    );
    expect({ documents, traces, path }).toEqual({ documents: 0, traces: null, path: null });
    expect(evaluation.safeParse(parsed.evaluation).success).toBe(true);
  });

  it('are compared by their metrics, and the page is told why questions are not', () => {
    const compared = compareEvaluations(parsed, parsed, { name: 'a', file: 'a.json' });
    expect(compared.rows.every(({ difference }) => difference === 0 || difference === null)).toBe(true);
    expect(compared.paired).toBeNull();
    expect(compared.notes.join(' ')).toMatch(/does not name its documents.*--log_samples/);
  });

  it('another file is refused with its name', () => {
    expect(() => parseEvaluation('{"a":1}', 'x.json')).toThrow(/x\.json has no "results"/);
    expect(() => parseEvaluation('nonsense', 'x.json')).toThrow(/x\.json is not JSON/);
  });
});

describe('results of our own', () => {
  it('name their documents: a pair of runs has the same outcome as from the runs themselves', async () => {
    const [a, b] = [await run(['copa', 'piqa'], false), await run(['copa', 'piqa'], true)];
    const straight = compareRuns(comparableDocs(a), comparableDocs(b));
    const left = parseEvaluation(fileOf(a), 'a.json');
    const right = parseEvaluation(fileOf(b), 'b.json');
    const compared = compareEvaluations(left, right, { name: 'a', file: 'a.json' });
    const { differenceStderr, ...counts } = straight.overall;
    expect(compared.paired?.overall).toEqual({ ...counts, stderr: differenceStderr });
    expect(compared.paired?.tasks.map(({ task }) => task)).toEqual(['copa', 'piqa']);
    expect((compared.paired?.flips.length ?? 0) + (compared.paired?.moreFlips ?? 0)).toBe(counts.gained + counts.lost);
    expect(counts.gained + counts.lost).toBeGreaterThan(0);
    // Samples files carry whole hashes, results files their beginnings: both can be held against each other.
    const samples = shortHashes(importHarnessSamples([...sampleLines(b)].join(''), 'samples.jsonl').docs);
    const mixed = compareRuns(readDocuments(documentsJson(a)), samples);
    expect(mixed.overall).toEqual(straight.overall);
    expect(mixed.notes).toEqual(straight.notes);
  });

  it('as Markdown: one row per metric, names that cannot break the table', async () => {
    const { evaluation: shown } = parseEvaluation(fileOf(await run(['piqa'], false)), 'a.json');
    const lines = evaluationMarkdown({ ...shown, model: 'a|b' }).split('\n');
    expect(lines[0]).toContain('a\\|b');
    expect(lines.filter((line) => line.startsWith('| piqa'))).toHaveLength(2);
    expect(lines.find((line) => line.includes('acc_norm'))).toMatch(
      /^\| piqa \| 0 \| \d+ \| acc_norm ↑ \| 0\.\d{4} \| 0\.\d{4} \|$/,
    );
  });
});

describe('expert statistics in a file', () => {
  it('keep loads, pairs and domains as they were counted', () => {
    const trace = new ExpertTrace({ layers: [4], experts: 3, topK: 2, normTopK: true });
    trace.observe({
      layer: 4,
      tokens: 2,
      logits: Float32Array.from([3, 2, 0, 3, 0, 2]),
      selected: Int32Array.from([0, 1, 0, 2]),
      state: [COUNTED, COUNTED],
      tokenIds: [7, 8],
      domain: 'prose',
    });
    const report = traceReport(trace);
    const read = tracesIn(JSON.parse(JSON.stringify(report)));
    if (read === null) throw new Error('not read');
    const summary = traceSummaryOf(read, null);
    expect([...summary.load]).toEqual([0.5, 0.25, 0.25]);
    expect(summary.domains).toEqual([{ name: 'prose', tokens: 2 }]);
    const layer = traceLayerOf(read, 4);
    // Expert 0 was always chosen, with 1 and with 2 half of the time each; 1 and 2 never together.
    expect([...(layer?.coactivation ?? [])]).toEqual([1, 0.5, 0.5, 1, 1, 0, 1, 0, 1]);
    expect([...(layer?.domains ?? [])]).toEqual([1, 0.5, 0.5]);
    expect(traceLayerOf(read, 0)).toBeNull();
  });

  it('of another shape are none', () => {
    for (const value of [null, 1, {}, { layers: [] }, { layers: [{}], definitions: {}, experts: 2, topK: 1 }])
      expect(tracesIn(value)).toBeNull();
  });
});

describe('tasks with data', () => {
  it('are told from those without, each with its file or what it needs', async () => {
    const offers = new Map((await offeredTasks(DATA)).map((offer) => [offer.name, offer]));
    expect(offers.get('copa')).toMatchObject({ found: true, fewshot: true });
    expect(offers.get('copa')?.about).toMatch(/copa_validation\.jsonl$/);
    expect(offers.get('mmlu')).toMatchObject({ found: true, group: true, help: '57 subjects' });
    const none = await offeredTasks({ path: join(FIXTURES, 'parquet'), hubCache: false });
    expect(none.find(({ name }) => name === 'hellaswag')).toMatchObject({
      found: false,
      about: 'needs hellaswag_validation.jsonl',
    });
  });

  it('a folder that is not there is an error', async () => {
    await expect(offeredTasks({ path: '/nowhere', hubCache: false })).rejects.toMatchObject({ code: 'no-such-data' });
  });
});
