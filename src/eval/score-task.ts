import { TaskDigests } from './digests.ts';
import type { EncodedPair, RequestEncoder } from './encode.ts';
import { cutToLength } from './encode.ts';
import {
  bootstrapPerplexityStderr,
  mean,
  meanStderr,
  perplexity,
  pickChoices,
  rollingMetrics,
  topMargin,
} from './metrics.ts';
import type { Picks } from './metrics.ts';
import type { RequestRunner } from './request-runner.ts';
import type { ChoiceTaskRun, LeftOut, MetricValue, RollingTaskRun, ScoredDoc, ScoredPage } from './run-types.ts';
import type { ScoreResult } from './scorer.ts';
import type { Work } from './progress.ts';
import type { BuiltChoiceTask, BuiltRollingTask, BuiltTask, ChoiceDoc } from './tasks/build.ts';
import type { ChoiceTask, MetricName } from './tasks/types.ts';

export interface ScoreContext {
  readonly encoder: RequestEncoder;
  readonly runner: RequestRunner;
  readonly maxLength: number;
  readonly bootstrapIterations: number;
  readonly signal?: AbortSignal | undefined;
  /** A document is scored: for running scores. */
  readonly onDocument: (value: {
    readonly metric: 'acc' | 'bits_per_byte';
    readonly value: number;
    readonly weight: number;
  }) => void;
  /** A document cannot be scored. */
  readonly onLeftOut: (work: Work) => void;
}

/** Texts of a document's requests as the harness passes them: contexts and continuations with delimiters. */
export function requestTexts(
  task: ChoiceTask,
  doc: ChoiceDoc,
): { readonly context: string; readonly continuation: string }[] {
  const { contexts, continuations } = doc.parts;
  const delimiter = task.outputType === 'multiple_choice' ? task.targetDelimiter : '';
  const requests = continuations.map((text, i) => ({
    context: doc.prefix + (contexts[i] ?? contexts[0] ?? ''),
    continuation: delimiter + text,
  }));
  if (!task.metrics.includes('acc_mutual_info')) return requests;
  return [...requests, ...continuations.map((text) => ({ context: '', continuation: delimiter + text }))];
}

/** Work of all documents of a task. */
export function workOf(built: BuiltTask): Work {
  const works: readonly Work[] =
    built.kind === 'rolling'
      ? built.docs.map((d) => pageWork(d.parts.text))
      : built.docs.map((d) => docWork(built.task, d));
  return {
    requests: works.reduce((n, w) => n + w.requests, 0),
    characters: works.reduce((n, w) => n + w.characters, 0),
  };
}

/** A page counts as one request: its windows are known only after tokenising. */
function pageWork(text: string): Work {
  return { requests: 1, characters: text.length };
}

/** Requests and characters of a document, the context counted once since its choices share it. */
function docWork(task: ChoiceTask, doc: ChoiceDoc): Work {
  const { contexts, continuations } = doc.parts;
  const characters = doc.prefix.length + (contexts[0]?.length ?? 0) + continuations.reduce((n, c) => n + c.length, 0);
  return { requests: continuations.length * (task.metrics.includes('acc_mutual_info') ? 2 : 1), characters };
}

/** Scores a task's documents and computes its metrics. */
export async function scoreChoiceTask(built: BuiltChoiceTask, context: ScoreContext): Promise<ChoiceTaskRun> {
  const { task } = built;
  const { encoder, runner, maxLength } = context;
  const digests = new TaskDigests();
  const leftOut: LeftOut[] = [];
  const docs: ScoredDoc[] = [];
  const domain = task.only?.value ?? task.name;
  for (const doc of built.docs) {
    encoder.share(doc.prefix);
    const pairs: EncodedPair[] = [];
    let cut = 0;
    let problem: LeftOut | undefined;
    for (const { context: text, continuation } of requestTexts(task, doc)) {
      const pair = encoder.pair(text, continuation);
      digests.add(text, continuation, pair);
      const fitted = cutToLength(pair, maxLength);
      if (typeof fitted === 'string') {
        problem ??= { docId: doc.docId, reason: fitted, tokens: pair.continuationIds.length };
        continue;
      }
      cut = Math.max(cut, fitted.cut);
      pairs.push(fitted);
    }
    if (problem !== undefined) {
      leftOut.push(problem);
      context.onLeftOut(docWork(task, doc));
      continue;
    }
    const skipTokens = built.numFewshot > 0 ? prefixTokens(encoder, doc.prefix, pairs[0], cut) : 0;
    await runner.add(pairs, { domain, skipTokens }, docWork(task, doc), (results) => {
      const scored = scoreDoc(task, doc, results, cut);
      docs.push(scored);
      context.onDocument({ metric: 'acc', value: scored.values.acc ?? 0, weight: 1 });
    });
  }
  await runner.flush();
  const metrics = new Map<MetricName, MetricValue>();
  for (const name of task.metrics) metrics.set(name, await aggregate(name, docs, context));
  const extra = new Map<MetricName, MetricValue>();
  // Where continuations are equal (partial scoring) a length changes nothing.
  if (task.outputType === 'multiple_choice' && new Set(docs[0]?.source.parts.continuations).size > 1) {
    for (const name of ['acc_norm', 'acc_bytes'] as const) {
      if (!task.metrics.includes(name)) extra.set(name, await aggregate(name, docs, context));
    }
  }
  return {
    kind: 'choice',
    task,
    docs,
    leftOut,
    metrics,
    extra,
    numFewshot: built.numFewshot,
    original: built.total,
    effective: docs.length,
    digests: digests.result(),
    dataFiles: built.dataFiles,
    notes: [...built.notes, ...choiceNotes(task.name, docs, leftOut)],
  };
}

function choiceNotes(name: string, docs: readonly ScoredDoc[], leftOut: readonly LeftOut[]): string[] {
  const notes: string[] = [];
  if (leftOut.length > 0) {
    const ids = leftOut.slice(0, 8).map((d) => `${d.docId} (${d.reason})`);
    notes.push(
      `${name}: ${leftOut.length} documents left out, on which the harness would abort: ${ids.join(', ')}${leftOut.length > 8 ? ', …' : ''}`,
    );
  }
  const odd = docs.filter((d) => d.logprobs.some((ll) => !Number.isFinite(ll))).length;
  if (odd > 0) notes.push(`${name}: ${odd} documents have a log-likelihood that is not a finite number`);
  return notes;
}

/** How many leading tokens of a (cut) context are description and few-shots. */
function prefixTokens(encoder: RequestEncoder, prefix: string, pair: EncodedPair | undefined, cut: number): number {
  const ids = encoder.encode(prefix);
  const context = pair?.contextIds ?? [];
  let n = 0;
  while (n + cut < ids.length && n < context.length && ids[n + cut] === context[n]) n++;
  return n;
}

function scoreDoc(task: ChoiceTask, source: ChoiceDoc, results: readonly ScoreResult[], cut: number): ScoredDoc {
  const all = results.map((r) => r.logprob);
  const greedy = results.map((r) => r.isGreedy);
  const { choices, gold } = source.parts;
  const values: Partial<Record<MetricName, number>> = {};
  if (task.outputType === 'loglikelihood') {
    values.perplexity = all[0] ?? NaN;
    values.acc = greedy[0] === true ? 1 : 0;
    return { source, logprobs: all, greedy, values, margin: Infinity, cut };
  }
  const logprobs = all.slice(0, choices.length);
  const picks: Picks = pickChoices(logprobs, choices);
  for (const name of ['acc', 'acc_norm', 'acc_bytes'] as const) values[name] = picks[name] === gold ? 1 : 0;
  if (all.length === 2 * choices.length) {
    const gains = logprobs.map((ll, i) => ll - (all[choices.length + i] ?? NaN));
    values.acc_mutual_info = pickChoices(gains, choices).acc === gold ? 1 : 0;
  }
  return { source, logprobs: all, greedy, picks, values, margin: topMargin(logprobs), cut };
}

async function aggregate(name: MetricName, docs: readonly ScoredDoc[], context: ScoreContext): Promise<MetricValue> {
  const values = docs.map((d) => d.values[name] ?? NaN);
  if (name !== 'perplexity') return { value: mean(values), stderr: meanStderr(values) };
  const stderr = await bootstrapPerplexityStderr(values, context.bootstrapIterations, context.signal);
  return { value: perplexity(values), stderr };
}

/** Scores pages in rolling windows, by the harness's rule and, where that doubles BOS, also with one BOS. */
export async function scoreRollingTask(built: BuiltRollingTask, context: ScoreContext): Promise<RollingTaskRun> {
  const { task } = built;
  const { encoder, runner, maxLength } = context;
  const digests = new TaskDigests();
  const docs: ScoredPage[] = [];
  let doubled = false;
  const sum = (results: readonly ScoreResult[]): number => results.reduce((n, r) => n + r.logprob, 0);
  for (const doc of built.docs) {
    const { text, bytes } = doc.parts;
    const windows = encoder.rolling(text, maxLength);
    digests.addRolling(text, windows);
    // An empty page has no windows; the harness counts its words and bytes with a log-likelihood of 0.
    const twice = encoder.doublesBos(windows[0]?.continuationIds ?? []);
    doubled ||= twice;
    const single = twice ? encoder.rolling(text, maxLength, true) : [];
    const trace = { domain: task.name, skipTokens: 0 };
    await runner.add([...windows, ...single], trace, pageWork(text), (results) => {
      const logprob = sum(results.slice(0, windows.length));
      const correctedLogprob = twice ? sum(results.slice(windows.length)) : logprob;
      docs.push({ source: doc, logprob, correctedLogprob, windows: windows.length });
      context.onDocument({ metric: 'bits_per_byte', value: -logprob / Math.LN2, weight: bytes });
    });
  }
  await runner.flush();
  const counted = (pick: (d: ScoredPage) => number): ReturnType<typeof rollingMetrics> =>
    rollingMetrics(docs.map((d) => ({ logprob: pick(d), words: d.source.parts.words, bytes: d.source.parts.bytes })));
  const values = counted((d) => d.logprob);
  const notes = [...built.notes];
  if (doubled)
    notes.push(
      `${task.name}: the harness counts BOS twice with this tokenizer; its value is reported, the corrected one beside it`,
    );
  return {
    kind: 'rolling',
    task,
    docs,
    leftOut: [],
    // The harness gives rolling metrics no standard error.
    metrics: new Map(task.metrics.map((name) => [name, { value: rollingValue(values, name), stderr: null }])),
    ...(doubled
      ? {
          corrected: new Map(
            task.metrics.map((n) => [
              n,
              rollingValue(
                counted((d) => d.correctedLogprob),
                n,
              ),
            ]),
          ),
        }
      : {}),
    numFewshot: 0,
    original: built.total,
    effective: docs.length,
    digests: digests.result(),
    dataFiles: built.dataFiles,
    notes,
  };
}

function rollingValue(values: ReturnType<typeof rollingMetrics>, name: MetricName): number {
  return name === 'word_perplexity' || name === 'byte_perplexity' || name === 'bits_per_byte' ? values[name] : NaN;
}
