import { hashString } from './digests.ts';
import type { Json } from './python/json.ts';
import { pyBool, pyFloatRepr, pyJsonDumps } from './python/json.ts';
import { finiteOrNull } from './result-values.ts';
import type { EvaluationRun, ScoredDoc, ScoredPage, TaskRun } from './run-types.ts';
import { requestTexts } from './score-task.ts';
import type { ChoiceTask } from './tasks/types.ts';

/** One document in the shape of the harness's `samples_*.jsonl`. */
export type Sample = Record<string, Json>;

function choiceSample(task: ChoiceTask, scored: ScoredDoc): Sample {
  const { source, logprobs, greedy } = scored;
  const { doc, target } = source.parts;
  const requests = requestTexts(task, source);
  const responses = logprobs.map((ll, i): [string, string] => [pyFloatRepr(ll), pyBool(greedy[i] === true)]);
  const values = Object.fromEntries(task.metrics.map((name) => [name, finiteOrNull(scored.values[name] ?? NaN)]));
  return {
    doc_id: source.docId,
    doc,
    target: String(target),
    arguments: Object.fromEntries(
      requests.map(({ context, continuation }, i) => [`gen_args_${i}`, { arg_0: context, arg_1: continuation }]),
    ),
    resps: responses.map((r) => [r]),
    filtered_resps: responses,
    filter: 'none',
    metrics: [...task.metrics],
    ...hashes(doc, requests[0]?.context ?? '', String(target)),
    ...values,
    task: task.name,
  };
}

function pageSample(task: TaskRun['task'], scored: ScoredPage): Sample {
  const { doc, text, words, bytes } = scored.source.parts;
  const response = pyFloatRepr(scored.logprob);
  const logprob = finiteOrNull(scored.logprob);
  return {
    doc_id: scored.source.docId,
    doc,
    target: text,
    arguments: { gen_args_0: { arg_0: text } },
    resps: [[response]],
    filtered_resps: [response],
    filter: 'none',
    metrics: [...task.metrics],
    ...hashes(doc, text, text),
    word_perplexity: [logprob, words],
    byte_perplexity: [logprob, bytes],
    bits_per_byte: [logprob, bytes],
    task: task.name,
  };
}

function hashes(
  doc: Json,
  prompt: string,
  target: string,
): { doc_hash: string; prompt_hash: string; target_hash: string } {
  return { doc_hash: hashString(pyJsonDumps(doc)), prompt_hash: hashString(prompt), target_hash: hashString(target) };
}

/** A task's samples, one at a time: a full few-shot run's prompts do not fit comfortably in memory together. */
export function* samplesOf(run: TaskRun): Generator<Sample> {
  if (run.kind === 'rolling') for (const doc of run.docs) yield pageSample(run.task, doc);
  else for (const doc of run.docs) yield choiceSample(run.task, doc);
}

/** Lines of a samples file: all tasks, each line carrying `task`. */
export function* sampleLines(run: EvaluationRun): Generator<string> {
  for (const task of run.tasks) for (const sample of samplesOf(task)) yield `${JSON.stringify(sample)}\n`;
}

/** The harness's `task_hashes` entry: hash over all documents' hashes. */
export function taskHash(run: TaskRun): string {
  const parts: string[] = [];
  for (const { doc_hash, prompt_hash, target_hash } of samplesOf(run)) {
    parts.push(`${String(doc_hash)}${String(prompt_hash)}${String(target_hash)}`);
  }
  return hashString(parts.join(''));
}
