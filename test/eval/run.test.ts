import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { harnessResults, partialBanner } from '../../src/eval/results.ts';
import type { EvaluationOptions } from '../../src/eval/run.ts';
import { runEvaluation } from '../../src/eval/run.ts';
import type { EvaluationRun, ProgressEvent } from '../../src/eval/run-types.ts';
import { sampleLines } from '../../src/eval/samples.ts';
import type { ScoreOptions, ScoreRequest, ScoreResult } from '../../src/eval/scorer.ts';
import { HashScorer, hashResult, toyTokenizer } from './helpers/fake-scorer.ts';
import { FIXTURES } from './helpers/shared.ts';

const DATA = { path: join(FIXTURES, 'data'), hubCache: false };
let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'moe-run-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

function evaluate(tasks: string[], more: Partial<EvaluationOptions> = {}): Promise<EvaluationRun> {
  const scorer = new HashScorer(toyTokenizer({ addsBos: true }), 2048);
  return runEvaluation({ tasks, data: DATA, scorer, model: { name: 'm' }, bootstrapIterations: 0, ...more });
}

const results = (run: EvaluationRun): Record<string, Record<string, unknown>> =>
  harnessResults(run)['results'] as Record<string, Record<string, unknown>>;

describe('runEvaluation', () => {
  it('limit is per leaf task; one document has an unknown error, in JSON null, and nothing is NaN', async () => {
    const run = await evaluate(['piqa', 'arc_easy', 'lambada_openai', 'wikitext'], { limit: 1 });
    expect(run.tasks.map((t) => t.effective)).toEqual([1, 1, 1, 1]);
    expect(results(run)['piqa']).toMatchObject({ 'acc_stderr,none': null, sample_len: 1 });
    const text = JSON.stringify(harnessResults(run)) + [...sampleLines(run)].join('');
    expect(text).not.toMatch(/NaN|Infinity/);
    expect(partialBanner(run)).toBe('4 of 31 documents, for debugging: not comparable with published scores');
    expect(partialBanner(await evaluate(['piqa'], { limit: 5 }))).toContain('5 of 8 documents, for debugging');
    expect(partialBanner(await evaluate(['piqa'], { limit: 5 }))).toContain('steps of 0.2');
    expect(partialBanner(await evaluate(['piqa'], { limit: 8 }))).toBeNull();
  });

  it('a model that answers with NaN gives null scores, not a crash', async () => {
    const scorer = new HashScorer(toyTokenizer(), 2048);
    scorer.loglikelihoods = (requests) => Promise.resolve(requests.map(() => ({ logprob: NaN, isGreedy: false })));
    const run = await evaluate(['piqa', 'lambada_openai', 'wikitext'], { scorer });
    expect(results(run)['lambada_openai']?.['perplexity,none']).toBeNull();
    expect(results(run)['piqa']?.['acc,none']).toBe(0.5); // NaN: the first choice, as numpy has it
    expect(run.notes.join('\n')).toContain('piqa: 8 documents have a log-likelihood that is not a finite number');
  });

  it('documents on which the harness aborts are left out and listed; cut prompts are counted', async () => {
    const scorer = new HashScorer(toyTokenizer(), 26);
    const run = await evaluate(['piqa'], { scorer });
    const [task] = run.tasks;
    expect(task?.leftOut.length).toBeGreaterThan(0);
    expect(task?.leftOut.every((d) => d.reason === 'continuation-too-long' && d.tokens > 26)).toBe(true);
    expect((task?.leftOut.length ?? 0) + (task?.effective ?? 0)).toBe(8);
    expect(run.notes.join('\n')).toContain('on which the harness would abort');
    expect(run.notes.join('\n')).toContain('cut from the left');
    for (const { contextIds, continuationIds } of scorer.requests) {
      expect(contextIds.length + continuationIds.length).toBeLessThanOrEqual(27);
      expect(contextIds.length).toBeGreaterThan(0);
    }
    const own = (harnessResults(run)['moe_workbench'] as { tasks: { piqa: { left_out: unknown[] } } }).tasks.piqa;
    expect(own.left_out).toHaveLength(task?.leftOut.length ?? -1);
  });

  it('all documents left out: no score, no crash', async () => {
    const run = await evaluate(['piqa'], { scorer: new HashScorer(toyTokenizer(), 2) });
    expect(run.tasks[0]?.effective).toBe(0);
    expect(results(run)['piqa']).toMatchObject({ 'acc,none': null, 'acc_stderr,none': null });
  });

  it('equal requests run once', async () => {
    const scorer = new HashScorer(toyTokenizer(), 2048);
    await evaluate(['arc_easy', 'arc_challenge'], { scorer });
    const keys = scorer.requests.map((r) => JSON.stringify([r.contextIds, r.continuationIds]));
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('calls hold one task, in document order, near the token budget', async () => {
    const domains: string[][] = [];
    const scorer = new HashScorer(toyTokenizer(), 2048, 400);
    const inner = scorer.loglikelihoods.bind(scorer);
    scorer.loglikelihoods = (requests) => {
      domains.push([...new Set(requests.map((r) => r.trace?.domain ?? ''))]);
      return inner(requests);
    };
    await evaluate(['piqa', 'mmlu_anatomy'], { scorer });
    expect(domains.length).toBeGreaterThan(3);
    expect(domains.every((d) => d.length === 1)).toBe(true);
    expect(new Set(domains.flat())).toEqual(new Set(['piqa', 'anatomy']));
  });

  it('tags few-shot prefixes for traces: tokens of description and examples, less what was cut', async () => {
    const run = async (maxLength: number, numFewshot: number): Promise<ScoreRequest[]> => {
      const scorer = new HashScorer(toyTokenizer({ addsBos: true }), maxLength);
      await evaluate(['mmlu_anatomy'], { scorer, limit: 1, numFewshot });
      return scorer.requests;
    };
    expect((await run(2048, 0))[0]?.trace?.skipTokens).toBe(0);
    const [full] = await run(2048, 2);
    const text =
      full?.contextIds
        .slice(1)
        .map((id) => String.fromCharCode(id - 3))
        .join('') ?? '';
    const question = text.lastIndexOf('\n\n') + 2;
    expect(full?.trace).toEqual({ domain: 'anatomy', skipTokens: question + 1 });
    const [cut] = await run((full?.contextIds.length ?? 0) - 20, 2);
    // Input is context plus all but the last continuation token, so one more than 20 must go.
    expect((full?.contextIds.length ?? 0) - (cut?.contextIds.length ?? 0)).toBe(21);
    expect(cut?.trace?.skipTokens).toBe(question + 1 - 21);
  });

  it('a doubled BOS is replicated, and the corrected value given beside it', async () => {
    const twice = await evaluate(['perplexity'], { data: { path: await page('some text'), hubCache: false } });
    const [task] = twice.tasks;
    if (task?.kind !== 'rolling') throw new Error('rolling');
    const ids = Array.from('some text', (c) => c.charCodeAt(0) + 3);
    const asHarness = hashResult({ contextIds: [1], continuationIds: [1, ...ids] }).logprob;
    const single = hashResult({ contextIds: [1], continuationIds: ids }).logprob;
    expect(task.docs[0]).toMatchObject({ logprob: asHarness, correctedLogprob: single });
    expect(task.metrics.get('bits_per_byte')?.value).toBeCloseTo(-asHarness / 9 / Math.LN2, 12);
    expect(task.corrected?.get('bits_per_byte')).toBeCloseTo(-single / 9 / Math.LN2, 12);
    const own = harnessResults(twice)['moe_workbench'] as {
      tasks: { perplexity: { double_bos: boolean; single_bos: Record<string, number> } };
    };
    expect(own.tasks.perplexity.double_bos).toBe(true);
    expect(own.tasks.perplexity.single_bos['bits_per_byte']).toBeCloseTo(-single / 9 / Math.LN2, 12);
  });

  it('a group over data that lack subjects names them', async () => {
    const run = await evaluate(['mmlu_social_sciences']);
    const [group] = run.groups;
    expect(run.tasks.map((t) => t.task.name)).toEqual(['mmlu_sociology', 'mmlu_us_foreign_policy']);
    expect(group?.effective).toBe(8);
    expect(group?.absent).toHaveLength(10);
    expect(run.notes.join('\n')).toContain('no records in the data for 10 tasks, left out: mmlu_econometrics, ');
  });

  it('acc_bytes and acc_norm come along where the task does not list them, except for partial scoring', async () => {
    const run = await evaluate(['mmlu_anatomy_continuation', 'winogrande']);
    const [mmlu, winogrande] = run.tasks;
    if (mmlu?.kind !== 'choice' || winogrande?.kind !== 'choice') throw new Error('choice');
    expect([...mmlu.extra.keys()]).toEqual(['acc_bytes']);
    expect([...winogrande.extra.keys()]).toEqual([]);
  });
});

async function page(text: string): Promise<string> {
  const file = join(dir, 'page.txt');
  await writeFile(file, text);
  return file;
}

describe('journal', () => {
  /** A scorer that gives up after some calls. */
  class Failing extends HashScorer {
    constructor(
      private left: number,
      private readonly abort?: AbortController,
    ) {
      super(toyTokenizer({ addsBos: true }), 2048, 300);
    }
    override loglikelihoods(
      requests: readonly ScoreRequest[],
      options?: ScoreOptions,
    ): Promise<readonly ScoreResult[]> {
      if (this.left-- <= 0) {
        this.abort?.abort();
        options?.signal?.throwIfAborted();
        return Promise.reject(new Error('lost power'));
      }
      return super.loglikelihoods(requests);
    }
  }

  it('an interrupted run resumes with the same result and runs only the rest', async () => {
    const journal = join(dir, 'j.jsonl');
    const whole = new HashScorer(toyTokenizer({ addsBos: true }), 2048, 300);
    const want = await evaluate(['piqa', 'arc_easy'], { scorer: whole });
    const abort = new AbortController();
    const first = new Failing(2, abort);
    const cancelled = evaluate(['piqa', 'arc_easy'], { scorer: first, journal, signal: abort.signal });
    await expect(cancelled).rejects.toMatchObject({
      kind: 'cancelled',
      place: { hint: expect.stringContaining('journal') as string },
    });
    await writeFile(journal, `${await readFile(journal, 'utf8')}{"k":"torn`);
    const second = new HashScorer(toyTokenizer({ addsBos: true }), 2048, 300);
    const got = await evaluate(['piqa', 'arc_easy'], { scorer: second, journal });
    expect(results(got)).toEqual(results(want));
    expect([...sampleLines(got)]).toEqual([...sampleLines(want)]);
    expect(first.requests.length).toBeGreaterThan(0);
    expect(got.resumed).toBe(first.requests.length);
    expect(second.requests.length).toBe(whole.requests.length - first.requests.length);
    expect(got.notes.join('\n')).toContain('1 unreadable lines skipped');
    const third = new HashScorer(toyTokenizer({ addsBos: true }), 2048);
    expect(results(await evaluate(['piqa', 'arc_easy'], { scorer: third, journal }))).toEqual(results(want));
    expect(third.calls).toBe(0);
  });

  it('is one run’s at a time; a second one is refused and changes nothing, a third goes on after the first', async () => {
    const journal = join(dir, 'j.jsonl');
    const want = await evaluate(['piqa']);
    const intruder = new Failing(0);
    let refused: unknown = null;
    class Slow extends HashScorer {
      override async loglikelihoods(requests: readonly ScoreRequest[]): Promise<readonly ScoreResult[]> {
        refused ??= await evaluate(['piqa'], { scorer: intruder, journal }).catch((error: unknown) => error);
        return super.loglikelihoods(requests);
      }
    }
    const first = await evaluate(['piqa'], { scorer: new Slow(toyTokenizer({ addsBos: true }), 2048, 300), journal });
    expect(refused).toMatchObject({ code: 'output-locked', message: expect.stringContaining(journal) as string });
    expect(intruder.requests).toEqual([]);
    expect(results(first)).toEqual(results(want));
    const again = await evaluate(['piqa'], { journal });
    expect(again.resumed).toBe(first.tasks.reduce((sum, { docs }) => sum + docs.length * 2, 0));
    expect(existsSync(`${journal}.lock`)).toBe(false);
  });

  it('keeps finished requests when the scorer fails', async () => {
    const journal = join(dir, 'j.jsonl');
    await expect(evaluate(['piqa'], { scorer: new Failing(1), journal })).rejects.toThrow('lost power');
    const again = new HashScorer(toyTokenizer({ addsBos: true }), 2048);
    expect((await evaluate(['piqa'], { scorer: again, journal })).resumed).toBeGreaterThan(0);
  });

  it('refuses the journal of another model or length limit, and a file that is none', async () => {
    const journal = join(dir, 'j.jsonl');
    await evaluate(['piqa'], { journal, model: { name: 'a', fingerprint: 'f1' } });
    await expect(evaluate(['piqa'], { journal, model: { name: 'a', fingerprint: 'f2' } })).rejects.toMatchObject({
      code: 'journal-of-other-run',
    });
    const other = join(dir, 'notes.jsonl');
    await writeFile(other, '{"my":"notes"}\n');
    await expect(evaluate(['piqa'], { journal: other })).rejects.toMatchObject({ code: 'not-a-journal' });
    expect(await readFile(other, 'utf8')).toBe('{"my":"notes"}\n');
  });

  it('takes what no log-likelihood can be for unreadable', async () => {
    const journal = join(dir, 'j.jsonl');
    const want = await evaluate(['piqa'], { journal });
    await writeFile(journal, (await readFile(journal, 'utf8')).replace(/"ll":-[\d.]+/, '"ll":999'));
    const again = await evaluate(['piqa'], { journal });
    expect(results(again)).toEqual(results(want));
    expect(again.notes.join()).toContain('1 unreadable lines skipped');
  });

  it('keeps values that are not finite', async () => {
    const journal = join(dir, 'j.jsonl');
    const scorer = new HashScorer(toyTokenizer({ addsBos: true }), 2048);
    scorer.loglikelihoods = (requests) =>
      Promise.resolve(requests.map((_, i) => ({ logprob: i % 2 ? -Infinity : NaN, isGreedy: true })));
    const a = await evaluate(['piqa'], { scorer, journal });
    const b = await evaluate(['piqa'], { journal });
    expect([...sampleLines(b)]).toEqual([...sampleLines(a)]);
    expect([...sampleLines(b)][0]).toContain('["nan","True"]');
  });
});

describe('progress', () => {
  it('counts requests and documents, estimates the rest, and shows running scores', async () => {
    const events: ProgressEvent[] = [];
    let clock = 0;
    const scorer = new HashScorer(toyTokenizer(), 2048, 200);
    const inner = scorer.loglikelihoods.bind(scorer);
    scorer.loglikelihoods = (requests) => {
      clock += 1000; // each call takes a second
      return inner(requests);
    };
    const run = await evaluate(['mmlu_stem'], { scorer, onProgress: (e) => events.push(e), now: () => clock });
    const last = events.at(-1);
    expect(last).toMatchObject({ requests: 16, totalRequests: 16, documents: 4, totalDocuments: 4, etaSeconds: 0 });
    expect(events.slice(1).every((e, i) => e.requests >= (events[i]?.requests ?? 0))).toBe(true);
    const [first] = events;
    expect(first?.etaSeconds).toBeGreaterThan(0);
    expect(last?.running.map((r) => r.name)).toEqual(['mmlu_anatomy', 'mmlu_stem']);
    expect(last?.running[0]?.value).toBeCloseTo(run.tasks[0]?.metrics.get('acc')?.value ?? NaN, 12);
    const [low, high] = last?.running[1]?.interval ?? [NaN, NaN];
    expect(low).toBeLessThan(high);
    expect(last?.requestsPerSecond).toBeCloseTo(16 / events.length, 6);
  });

  it('left-out documents count as done', async () => {
    const events: ProgressEvent[] = [];
    await evaluate(['piqa'], { scorer: new HashScorer(toyTokenizer(), 26), onProgress: (e) => events.push(e) });
    expect(events.at(-1)).toMatchObject({ documents: 8, requests: 16, etaSeconds: 0 });
  });

  it('a run cancelled before it starts says so', async () => {
    await expect(evaluate(['piqa'], { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(MoeError);
  });
});
