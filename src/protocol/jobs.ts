/** Jobs as people see them: in the jobs view, the status bar, the plan editor, over the history on disk. */
import { DEVICE_CHOICES, PROVES } from './choices.ts';

export type { DeviceChoice, ProveChoice } from './choices.ts';
import * as z from 'zod/mini';
import type { Of } from './define.ts';
import { wireError } from './errors.ts';
import { count, flag, json, list, measured, num, text } from './wire.ts';

/** What a job does. More kinds come with training. */
export const jobKind = z.enum(['upcycle', 'verify', 'revert', 'doctor', 'eval', 'trace']);
export type JobKind = z.output<typeof jobKind>;

const path = text.check(z.minLength(1));

/** Where models run; `auto` takes the fastest that works here. */
export const deviceChoice = z.enum(DEVICE_CHOICES);

/**
 * Whether both models are run on the same tokens and their logits compared. `auto`: where the source is small enough for
 * that to take seconds; what is left out is said.
 */
export const proveChoice = z.enum(PROVES);

/** Writes an MoE. All paths are absolute. */
export const upcycleParams = z.object({
  kind: z.literal('upcycle'),
  /**
   * What to do: a recipe (its text, or the file as it is when the job runs; paths in it are relative to the file's folder,
   * without a file to that of `out`), or a saved plan.
   */
  from: z.discriminatedUnion('type', [
    z.object({
      type: z.literal('recipe'),
      file: z.nullable(path),
      /** The recipe as it was when the job was asked for: later edits of the file do not change the job. */
      text: z.nullable(text),
      preset: z.nullable(text),
      /** `key=value` settings. */
      sets: list(text, 1000),
      /** Base, where the recipe names none or another is wanted. */
      src: z.nullable(path),
    }),
    z.object({ type: z.literal('plan'), file: path }),
  ]),
  out: path,
  /** Refuse to run unless the plan has this hash: what was reviewed is what is written. */
  planHash: z.nullable(text),
  overwrite: flag,
  resume: flag,
  clone: flag,
  /** Verify against the sources afterwards; the report is part of the result. */
  verify: flag,
  /** With `verify`: run both models too. Absent: never. */
  logits: z.exactOptional(proveChoice),
  device: z.exactOptional(deviceChoice),
  /** On cancel: keep finished files beside the output for a resume, or remove all. */
  keepPartial: flag,
});

export const verifyParams = z.object({
  kind: z.literal('verify'),
  out: path,
  /** Sources, base first; empty: digests alone. */
  sources: list(path, 1000),
  /** Also run both models on the same tokens and compare their logits; needs a source. */
  logits: z.exactOptional(flag),
  device: z.exactOptional(deviceChoice),
});

export const revertParams = z.object({
  kind: z.literal('revert'),
  out: path,
  dest: path,
  parent: count,
  overwrite: flag,
});

export const doctorParams = z.object({
  kind: z.literal('doctor'),
  path,
  /** First write the index anew from the headers of the files that are there. */
  rebuildIndex: flag,
});

/** Scores a checkpoint as lm-evaluation-harness does. */
export const evalParams = z.object({
  kind: z.literal('eval'),
  path,
  /** Names of tasks and groups. */
  tasks: list(text, 1000),
  /** File or folder of the data; null: the Hub's cache alone. */
  data: z.nullable(path),
  /** Documents per leaf task; below 1 a share; null: all. */
  limit: z.nullable(num),
  /** Examples before each question; null: the task's own number. */
  numFewshot: z.nullable(count),
  device: deviceChoice,
  /** Gather which experts answered what (an MoE only). */
  traces: flag,
  /** The results file, `*.moe-eval.json`. Finished requests are kept beside it until the end. */
  out: path,
  /** Go on from the finished requests of an earlier run. */
  resume: flag,
});

/** Sums up which experts get which tokens of some texts. */
export const traceParams = z.object({
  kind: z.literal('trace'),
  path,
  /** Each a domain of its own: a file, or the text itself. */
  texts: list(z.object({ name: text, file: z.nullable(path), text: z.nullable(text) }), 1000),
  /** The first tokens of each text alone; null: all. */
  limit: z.nullable(count),
  device: deviceChoice,
  /** The results file, `*.moe-eval.json`. */
  out: path,
});

export const jobParams = z.discriminatedUnion('kind', [
  upcycleParams,
  verifyParams,
  revertParams,
  doctorParams,
  evalParams,
  traceParams,
]);
export type JobParams = Of<typeof jobParams>;
export type UpcycleParams = Of<typeof upcycleParams>;
export type EvalParams = Of<typeof evalParams>;
export type TraceParams = Of<typeof traceParams>;

/**
 * queued → running → done | failed | cancelled. `interrupted`: its process or window vanished (crash, kill, reload); an
 * upcycle can be resumed from there. `checked-bad`: it ran to its end and what it looked at is damaged.
 */
export const jobStatus = z.enum(['queued', 'running', 'done', 'checked-bad', 'failed', 'cancelled', 'interrupted']);
export type JobStatus = z.output<typeof jobStatus>;

/** How far an evaluation is, and its scores so far with a 95 % interval. */
export const runningScores = z.object({
  task: text,
  requests: count,
  totalRequests: count,
  documents: count,
  totalDocuments: count,
  /** Of the task that runs and of every group above it. */
  scores: list(
    z.object({
      name: text,
      metric: text,
      value: num,
      documents: count,
      interval: z.nullable(z.object({ low: num, high: num })),
    }),
    100,
  ),
});
export type RunningScores = Of<typeof runningScores>;

export const jobProgress = z.object({
  phase: z.enum([
    'start',
    'plan',
    'check',
    'write',
    'finish',
    'verify',
    'revert',
    'scan',
    // Models that run: weights made ready, texts scored, routers looked at, logits compared.
    'prepare',
    'score',
    'trace',
    'logits',
  ]),
  /** Bytes; for models that run, requests (score) or tokens (trace, logits). */
  bytesDone: num,
  bytesTotal: num,
  tensorsDone: count,
  tensorsTotal: count,
  /** File or tensor that was touched last. */
  at: text,
  bytesPerSecond: z.nullable(num),
  etaSeconds: z.nullable(num),
  scores: z.exactOptional(runningScores),
});
export type JobProgress = Of<typeof jobProgress>;

/** What the job process uses. */
export const jobUsage = z.object({
  pid: count,
  /** Resident memory, now and at most. */
  rssBytes: num,
  peakRssBytes: num,
  /** CPU seconds so far, and the share of one core since the last report (1 = one core busy). */
  cpuSeconds: num,
  cpuLoad: num,
  /** Since the process began. */
  seconds: num,
  /** How long its main thread has been busy without a pause: a long computation, or a hang. */
  busySeconds: num,
});
export type JobUsage = Of<typeof jobUsage>;

export const jobLogLine = z.object({
  /** ISO 8601. */
  time: text,
  level: z.enum(['debug', 'info', 'warning', 'error']),
  message: text,
});
export type JobLogLine = Of<typeof jobLogLine>;

/** What running both models has shown. */
export const logitCheck = z.object({
  /** `reported`: the plan promises nothing to hold it to. `skipped`: they were not run, `why` says so. */
  state: z.enum(['passed', 'failed', 'reported', 'skipped']),
  why: text,
  /** What the plan promises: bit-exact, exact, approximate … */
  class: text,
  /** Relative norm that is still a pass. */
  limit: z.nullable(num),
  relativeNorm: measured,
  maxAbs: measured,
  /** Nats, mean over positions. */
  meanKl: measured,
  positions: count,
  argmaxEqual: count,
  nonFinite: count,
  bitEqual: flag,
  /** The tokens that were run, in words. */
  input: text,
  device: text,
});
export type LogitCheck = Of<typeof logitCheck>;

/** A finished job's outcome. `report` is the JSON of the core's report (upcycle: with `verification`). */
export const jobResult = z.object({
  ok: flag,
  /** One line: "Mixtral, 1.2B parameters, written to … in 3.1 s, verified". */
  summary: text,
  /** The same as the CLI prints. */
  text: text,
  report: json,
  logits: z.exactOptional(logitCheck),
});
export type JobResult = Of<typeof jobResult>;

/** The part of a result that lists show. */
export const jobOutcome = z.object({ ok: flag, summary: text, logits: z.exactOptional(logitCheck) });
export type JobOutcome = Of<typeof jobOutcome>;

/** A job as it is shown. */
export const jobView = z.object({
  id: text,
  kind: jobKind,
  /** "Upcycle SmolLM2-135M → smol-moe". */
  title: text,
  status: jobStatus,
  params: jobParams,
  /** ISO 8601. */
  created: text,
  started: z.nullable(text),
  ended: z.nullable(text),
  progress: z.nullable(jobProgress),
  usage: z.nullable(jobUsage),
  /** Of a job that came to its end; the whole `JobResult` is in `resultFile`. */
  outcome: z.nullable(jobOutcome),
  resultFile: z.nullable(text),
  error: z.nullable(wireError),
  /** Cancelling was asked for and is under way. */
  cancelling: flag,
  /** This window's process runs it. */
  mine: flag,
  /** Place in the queue, 1-based, while queued. */
  place: z.nullable(count),
  /** It can be resumed (an upcycle or an evaluation that did not end well). */
  resumable: flag,
  /** Job that this one repeats or resumes. */
  repeats: z.nullable(text),
  logFile: text,
});
export type JobView = Of<typeof jobView>;
