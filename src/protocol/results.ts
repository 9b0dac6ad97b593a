/** Results editor: webview ↔ host. Scores, their comparison with another run, and what experts did. */
import * as z from 'zod/mini';
import { defineNotification, defineRequest } from './define.ts';
import type { Of } from './define.ts';
import { jobProgress } from './jobs.ts';
import { count, errorPage, fact, flag, floats, list, nothing, num, text } from './wire.ts';

export const evalMetric = z.object({
  name: text,
  /** Null: unknown, or not finite. */
  value: z.nullable(num),
  stderr: z.nullable(num),
  /** Null: not known for a metric of this name. */
  higherIsBetter: z.nullable(flag),
});

export const evalRow = z.object({
  task: text,
  /** Groups average their tasks. */
  group: flag,
  /** How deep below the widest group. */
  level: count,
  documents: z.nullable(num),
  fewshot: z.nullable(num),
  metrics: list(evalMetric, 100),
});
export type EvalRow = Of<typeof evalRow>;

/** One MMLU subject. */
export const evalSubject = z.object({
  task: text,
  label: text,
  /** Humanities, social sciences, STEM, other. */
  area: text,
  value: num,
  stderr: z.nullable(num),
  documents: z.nullable(num),
});
export type EvalSubject = Of<typeof evalSubject>;

export const traceLayer = z.object({
  layer: count,
  tokens: count,
  routerEntropy: z.nullable(num),
  loadEntropy: z.nullable(num),
  maxVio: z.nullable(num),
  dead: list(count, 100_000),
  cold: list(count, 100_000),
  specialisation: z.nullable(num),
  bf16TieRate: z.nullable(num),
  marginMean: z.nullable(num),
  drops: list(z.object({ factor: num, convention: text, base: text, share: num }), 100),
});
export type TraceLayer = Of<typeof traceLayer>;

/** What the routers did, layer by layer: never loads averaged over layers. */
export const traceSummary = z.object({
  experts: count,
  topK: count,
  layers: list(traceLayer, 10_000),
  /** Mean over layers of each layer's own. */
  maxVio: z.nullable(num),
  /** Layers × experts. */
  load: floats,
  importance: floats,
  meanGate: floats,
  domains: list(z.object({ name: text, tokens: num }), 1000),
  definitions: list(z.object({ name: text, text }), 100),
  /** What the statistics do not cover; null: nothing is missing. */
  without: z.nullable(text),
});
export type TraceSummary = Of<typeof traceSummary>;

export const evaluation = z.object({
  model: text,
  /** The checkpoint, where the file names a path. */
  path: z.nullable(text),
  /** ISO 8601. */
  date: z.nullable(text),
  tool: text,
  /** A limit made this a partial run: says so. */
  partial: z.nullable(text),
  facts: list(fact, 50),
  notes: list(text, 1000),
  rows: list(evalRow, 5000),
  subjects: list(evalSubject, 1000),
  /** Documents whose outcome is known one by one: for paired comparison. */
  documents: count,
  traces: z.nullable(traceSummary),
});
export type Evaluation = Of<typeof evaluation>;

/** Outcomes of the documents that both runs scored. A is the other run, B this one. */
export const paired = z.object({
  documents: count,
  scoreA: num,
  scoreB: num,
  difference: num,
  stderr: z.nullable(num),
  bothRight: count,
  bothWrong: count,
  gained: count,
  lost: count,
  /** McNemar's exact test, two-sided. */
  p: num,
});
export type Paired = Of<typeof paired>;

export const resultsComparison = z.object({
  other: z.object({ name: text, file: text }),
  /** Metrics side by side. */
  rows: list(
    z.object({
      task: text,
      metric: text,
      a: z.nullable(num),
      b: z.nullable(num),
      difference: z.nullable(num),
    }),
    20_000,
  ),
  /** Question by question; null where one of the runs does not name its documents. */
  paired: z.nullable(
    z.object({
      metric: text,
      overall: paired,
      tasks: list(z.object({ task: text, ...paired.shape }), 5000),
      flips: list(z.object({ task: text, document: count, gained: flag }), 2000),
      moreFlips: count,
    }),
  ),
  notes: list(text, 1000),
});
export type ResultsComparison = Of<typeof resultsComparison>;

export const resultsJob = z.object({
  title: text,
  status: z.enum(['queued', 'running', 'done', 'failed', 'cancelled', 'interrupted']),
  /** "scoring 42 %, 3 s left". */
  words: text,
  progress: z.nullable(jobProgress),
  cancelling: flag,
  resumable: flag,
  error: z.nullable(errorPage),
});
export type ResultsJob = Of<typeof resultsJob>;

export const resultsState = z.object({
  name: text,
  file: text,
  /** Null: no results (yet). */
  evaluation: z.nullable(evaluation),
  /** The newest job that writes this file; null: none is known. */
  job: z.nullable(resultsJob),
  /** Why the file cannot be shown. */
  error: z.nullable(errorPage),
  /** Other runs to compare with, best first. */
  others: list(z.object({ file: text, label: text, about: text }), 1000),
  comparison: z.nullable(resultsComparison),
});
export type ResultsState = Of<typeof resultsState>;

export const resultsReady = defineRequest('results/ready', nothing, resultsState);
export const resultsChanged = defineNotification('results/changed', resultsState);
/** Compares with the run in another results file; null: no more. */
export const resultsCompare = defineRequest('results/compare', z.object({ file: z.nullable(text) }), nothing);
/** One layer's pairs of experts, its share by domain, and its most specialised tokens. */
export const layerTraces = z.object({
  layer: count,
  /** Experts × experts: P(column | row); NaN where the row's expert was never chosen. */
  coactivation: floats,
  /** Domains × experts. */
  domains: floats,
  /** Tokens that one expert almost always takes first. */
  vocabulary: list(z.object({ token: text, occurrences: count, expert: count, share: num }), 1000),
});
export type LayerTraces = Of<typeof layerTraces>;
export const resultsLayer = defineRequest('results/layer', z.object({ layer: count }), layerTraces);
export const resultsCopy = defineRequest('results/copy', z.object({ text, what: text }), nothing);
export const resultsCommand = defineRequest(
  'results/command',
  z.object({
    command: z.enum([
      'copyMarkdown',
      'copyJson',
      'saveAs',
      'import',
      'cancel',
      'resume',
      'again',
      'showLog',
      'openCheckpoint',
      'exportTraces',
      'reload',
      'errorAction',
    ]),
    argument: z.nullable(text),
  }),
  z.object({ done: flag }),
  { timeoutMs: null },
);
export const resultsFault = defineNotification('results/fault', z.object({ message: text, stack: z.nullable(text) }));
