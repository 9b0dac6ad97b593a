/**
 * Against lm-evaluation-harness: requests, token ids and digests equal, and from its log-likelihoods the same scores. Needs the
 * shared reference material; `oracle.test.ts` covers the same rules with committed fixtures.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataStore } from '../../src/eval/data/store.ts';
import { TaskDigests, documentText, idsLine, requestDigest } from '../../src/eval/digests.ts';
import { DEFAULT_PROFILE, RequestEncoder, cutToLength } from '../../src/eval/encode.ts';
import type { EvaluationOptions } from '../../src/eval/run.ts';
import { runEvaluation } from '../../src/eval/run.ts';
import type { ChoiceTaskRun, EvaluationRun, RollingTaskRun } from '../../src/eval/run-types.ts';
import { requestTexts } from '../../src/eval/score-task.ts';
import type { EvalTokenizer } from '../../src/eval/scorer.ts';
import { buildTask } from '../../src/eval/tasks/build.ts';
import { selectTasks } from '../../src/eval/tasks/registry.ts';
import { TableScorer, wordTokenizer } from './helpers/fake-scorer.ts';
import type { GoldenDoc, GoldenTask } from './helpers/goldens.ts';
import { goldenTasks, storiesFiveShot, storiesTasks } from './helpers/goldens.ts';
import { SHARED, haveShared, tokenizerFrom } from './helpers/shared.ts';

const DATA = { path: join(SHARED, 'data/eval'), hubCache: false };
const RULES = { profile: DEFAULT_PROFILE, addBos: 'auto' } as const;
const STORE = new DataStore(DATA); // each file is read once
const goldens = haveShared('data/goldens', 'evaluation goldens');

function stories(): EvalTokenizer {
  return tokenizerFrom(join(SHARED, 'models/stories260K'), { bos: '<s>', eos: '</s>' });
}

let loaded: EvalTokenizer | undefined;
function smollm(): EvalTokenizer {
  return (loaded ??= tokenizerFrom(join(SHARED, 'models/smollm2-135m'), { bos: '<|im_start|>', eos: '<|im_end|>' }));
}

/** Requests of a task's first documents, as texts. */
async function requestsOf(
  name: string,
  limit?: number,
  numFewshot = 0,
): Promise<{ context: string; continuation: string }[][]> {
  const docs = [];
  for (const task of selectTasks([name]).tasks) {
    const built = await buildTask(task, STORE, { limit, numFewshot });
    if (built?.kind !== 'choice') throw new Error(`${name} has no requests`);
    docs.push(...built.docs.map((doc) => requestTexts(built.task, doc)));
  }
  return docs;
}

function metric(run: EvaluationRun, task: string, name: string): { value: number; stderr: number | null } {
  const found =
    run.tasks.find((t) => t.task.name === task)?.metrics ?? run.groups.find((g) => g.group.name === task)?.metrics;
  const value = [...(found ?? [])].find(([key]) => key === name)?.[1];
  if (value === undefined) throw new Error(`no ${name} of ${task}`);
  return value;
}

/** Checks every "metric,none" of a golden's results against the run. */
function expectResults(run: EvaluationRun, results: GoldenTask['results']): void {
  for (const [task, values] of Object.entries(results)) {
    for (const [key, value] of Object.entries(values)) {
      const [, name, stderr] = /^([a-z_]+?)(_stderr)?,none$/.exec(key) ?? [];
      if (name === undefined) continue;
      const ours = metric(run, task, name);
      if (stderr === undefined) expect(ours.value, `${task} ${key}`).toBeCloseTo(Number(value), 12);
      else if (value === 'N/A') expect(ours.stderr, `${task} ${key}`).toBeNull();
      else expect(ours.stderr, `${task} ${key}`).toBeCloseTo(Number(value), 9);
    }
  }
}

describe.skipIf(!goldens)('reference digests (section 4.1), stories260K', () => {
  const text = async (name: string): Promise<string> => {
    const hash = createHash('sha256');
    for (const requests of await requestsOf(name)) {
      hash.update(
        documentText(
          requests[0]?.context ?? '',
          requests.map((r) => r.continuation),
        ),
      );
    }
    return hash.digest('hex').slice(0, 16);
  };
  const ids = async (name: string): Promise<string> => {
    const encoder = new RequestEncoder(stories(), RULES);
    const hash = createHash('sha256');
    for (const requests of await requestsOf(name)) {
      for (const { context, continuation } of requests)
        hash.update(`${idsLine(encoder.pair(context, continuation))}\n`);
    }
    return hash.digest('hex').slice(0, 16);
  };

  it.each([
    ['hellaswag', '3aaff3e3306c1b03'],
    ['copa', '88490efebd225208'],
  ])('%s: prompt texts', async (name, digest) => {
    expect(await text(name)).toBe(digest);
  });

  it('mmlu: prompt texts of all 14042 questions, subjects in alphabetical order', async () => {
    const hash = createHash('sha256');
    const tasks = [...selectTasks(['mmlu']).tasks].sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const task of tasks) {
      const built = await buildTask(task, STORE, {});
      if (built?.kind !== 'choice') throw new Error(task.name);
      for (const doc of built.docs) {
        const requests = requestTexts(built.task, doc);
        hash.update(
          documentText(
            requests[0]?.context ?? '',
            requests.map((r) => r.continuation),
          ),
        );
      }
    }
    expect(hash.digest('hex').slice(0, 16)).toBe('c18b3704dfa4f551');
  });

  it.each([
    ['copa', '8f70412c14c42a9c'],
    ['hellaswag', '05743b4d000f67ce'],
  ])('%s: token ids with BOS', async (name, digest) => {
    expect(await ids(name)).toBe(digest);
  });
});

describe.skipIf(!goldens)('stories260K: scores from the harness’s log-likelihoods', () => {
  // Scores do not depend on ids, so a toy tokenizer keeps this fast; ids are checked above.
  const run = async (
    names: string[],
    lls: (task: string, doc: number) => readonly number[] | undefined,
    more: Partial<EvaluationOptions> = {},
  ): Promise<EvaluationRun> => {
    const scorer = new TableScorer(wordTokenizer(), 1e6);
    const encoder = new RequestEncoder(scorer.tokenizer, RULES);
    for (const task of selectTasks(names).tasks) {
      const built = await buildTask(task, STORE, { limit: more.limit, numFewshot: more.numFewshot });
      if (built?.kind !== 'choice') continue;
      for (const doc of built.docs) {
        requestTexts(built.task, doc).forEach(({ context, continuation }, i) => {
          const logprob = lls(task.name, doc.docId)?.[i] ?? -1;
          scorer.set(encoder.pair(context, continuation), { logprob, isGreedy: false });
        });
      }
    }
    return runEvaluation({ tasks: names, data: DATA, scorer, model: { name: 'stories260K' }, ...more });
  };

  it.each([
    ['hellaswag', 'hellaswag@max_length=2048'],
    ['copa_as_written', 'copa@max_length=2048'],
  ])('%s', async (name, key) => {
    const golden = storiesTasks()[key];
    const result = await run([name], (_, doc) => golden?.lls?.[doc]);
    const { sample_len, ...values } = golden?.results ?? {};
    expectResults(result, { [name]: values });
    expect(result.tasks[0]?.effective).toBe(sample_len);
  });

  it('every second MMLU subject', async () => {
    const golden = storiesTasks()['mmlu@max_length=512'];
    const subtasks = golden?.subtasks ?? {};
    const names = Object.keys(subtasks);
    const result = await run(names, (task, doc) => subtasks[task]?.lls[doc]);
    expect(names).toHaveLength(29);
    for (const name of names) {
      expect(metric(result, name, 'acc').value, name).toBeCloseTo(subtasks[name]?.acc ?? NaN, 12);
      expect(result.tasks.find((t) => t.task.name === name)?.effective).toBe(subtasks[name]?.n);
    }
  }, 60_000);

  it('MMLU 5-shot builds a request for each stored log-likelihood', async () => {
    const golden = storiesFiveShot();
    const result = await run(['mmlu'], (task, doc) => golden[task]?.[doc], { limit: 2, numFewshot: 5 });
    expect(Object.keys(golden)).toHaveLength(57);
    for (const task of result.tasks) {
      const docs = (task as ChoiceTaskRun).docs;
      expect(docs.map((d) => d.logprobs)).toEqual(golden[task.task.name]);
    }
  });
});

function ctxIds(doc: GoldenDoc, index: number): readonly number[] {
  const requests = doc.requests ?? [];
  return requests.slice(0, index + 1).findLast((r) => r.ctx_ids !== undefined)?.ctx_ids ?? [];
}

/** Fills a table scorer with a golden's ids and log-likelihoods. */
function goldenScorer(golden: GoldenTask): TableScorer {
  const scorer = new TableScorer(smollm(), golden.max_length);
  for (const doc of golden.docs) {
    doc.requests?.forEach((request, i) => {
      const cut = cutToLength({ contextIds: ctxIds(doc, i), continuationIds: request.cont_ids }, golden.max_length);
      if (typeof cut === 'string') throw new Error(cut);
      scorer.set(cut, { logprob: request.ll, isGreedy: request.is_greedy });
    });
    doc.windows?.forEach((w) =>
      scorer.set({ contextIds: w.ctx_ids, continuationIds: w.cont_ids }, { logprob: w.ll, isGreedy: false }),
    );
  }
  return scorer;
}

const tokenizerThere = goldens && haveShared('models/smollm2-135m/tokenizer.json', 'SmolLM2 token ids');
const files = ['smollm2-135m', 'smollm2-135m.gguf'].flatMap((file) =>
  tokenizerThere
    ? Object.keys(goldenTasks(file))
        .filter((task) => !task.startsWith('rolling'))
        .map((task) => [file, task] as const)
    : [],
);

describe.skipIf(!tokenizerThere)('SmolLM2-135M: ids, digests and scores', () => {
  it.each(files)('%s %s', async (file, name) => {
    const golden = goldenTasks(file)[name];
    if (golden === undefined) throw new Error(name);
    const perTask = Math.max(...golden.docs.map((d) => d.doc)) + 1;
    const encoder = new RequestEncoder(smollm(), RULES);
    const digests = new TaskDigests();
    const tasks = golden.subjects ?? [name];
    for (const task of tasks) {
      const texts = await requestsOf(task, perTask);
      const docs = golden.docs.filter((d) => d.task === task);
      expect(docs).toHaveLength(texts.length);
      texts.forEach((requests, d) => {
        requests.forEach(({ context, continuation }, i) => {
          const pair = encoder.pair(context, continuation);
          digests.add(context, continuation, pair);
          const doc = docs[d];
          const request = doc?.requests?.[i];
          if (doc === undefined || request === undefined) throw new Error(`${task} ${d} ${i}`);
          expect(continuation).toBe(request.cont);
          expect(requestDigest(context, continuation), `${task} doc ${d} request ${i}`).toBe(request.digest);
          expect(pair).toEqual({ contextIds: ctxIds(doc, i), continuationIds: request.cont_ids });
        });
      });
    }
    const { text, ids } = digests.result();
    if (golden.text_sha256 !== undefined) expect(text).toBe(golden.text_sha256);
    expect(ids).toBe(golden.ids_sha256);

    const scorer = goldenScorer(golden);
    const run = await runEvaluation({ tasks, data: DATA, limit: perTask, scorer, model: { name: file } });
    expectResults(run, golden.results);
    for (const task of run.tasks) {
      if (task.kind !== 'choice') throw new Error('expected choices');
      if (golden.subjects === undefined)
        expect(task.digests).toMatchObject({ text: golden.text_sha256, ids: golden.ids_sha256 });
      for (const scored of task.docs) {
        const doc = golden.docs.find((d) => d.task === task.task.name && d.doc === scored.source.docId);
        expect(scored.source.parts.target).toBe(doc?.target);
        expect(scored.source.parts.gold).toBe(doc?.gold);
        expect(scored.values.acc).toBe(doc?.acc);
        if (doc?.acc_norm !== undefined) expect(scored.values.acc_norm).toBe(doc.acc_norm);
      }
    }
  });

  const page = (): string =>
    readFileSync(join(SHARED, 'data/text/tinystories.txt')).subarray(0, 20_000).toString('utf8');

  it.each([
    ['rolling_wikitext_tinystories', 'wikitext'],
    ['rolling_raw_tinystories', 'perplexity'],
    ['rolling_raw_tinystories_maxlen1024', 'perplexity'],
  ])('%s', async (key, task) => {
    const golden = goldenTasks('smollm2-135m')[key];
    if (golden === undefined) throw new Error(key);
    const builtin = selectTasks([task]).tasks[0];
    if (builtin?.outputType !== 'loglikelihood_rolling') throw new Error(task);
    const dir = await tempPage(page());
    const run = await runEvaluation({
      tasks: [task],
      data: { path: dir, hubCache: false },
      scorer: goldenScorer(golden),
      model: { name: key },
    });
    const result = run.tasks[0] as RollingTaskRun;
    expect(result.docs[0]?.logprob).toBeCloseTo(golden.docs[0]?.ll ?? NaN, 9);
    expect(result.digests).toMatchObject({ text: golden.text_sha256, ids: golden.ids_sha256 });
    expectResults(run, { [task]: Object.values(golden.results)[0] ?? {} });
    expect(result.corrected).toBeUndefined(); // this tokenizer adds no BOS, so none is doubled
  });
});

async function tempPage(text: string): Promise<string> {
  const { mkdtemp, writeFile } = await import('node:fs/promises');
  const { tmpdir } = await import('node:os');
  const dir = await mkdtemp(join(tmpdir(), 'moe-eval-'));
  const file = join(dir, 'page.txt');
  await writeFile(file, text);
  return file;
}
