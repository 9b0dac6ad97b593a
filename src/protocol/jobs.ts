/** Jobs as people see them: in the jobs view, the status bar, the plan editor, over the history on disk. */
import * as z from 'zod/mini';
import type { Of } from './define.ts';
import { wireError } from './errors.ts';
import { count, flag, json, list, num, text } from './wire.ts';

/** What a job does. More kinds come with evaluation and training. */
export const jobKind = z.enum(['upcycle', 'verify', 'revert', 'doctor']);
export type JobKind = z.output<typeof jobKind>;

const path = text.check(z.minLength(1));

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
  /** On cancel: keep finished files beside the output for a resume, or remove all. */
  keepPartial: flag,
});

export const verifyParams = z.object({
  kind: z.literal('verify'),
  out: path,
  /** Sources, base first; empty: digests alone. */
  sources: list(path, 1000),
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

export const jobParams = z.discriminatedUnion('kind', [upcycleParams, verifyParams, revertParams, doctorParams]);
export type JobParams = Of<typeof jobParams>;
export type UpcycleParams = Of<typeof upcycleParams>;

/**
 * queued → running → done | failed | cancelled. `interrupted`: its process or window vanished (crash, kill, reload); an
 * upcycle can be resumed from there. `checked-bad`: it ran to its end and what it looked at is damaged.
 */
export const jobStatus = z.enum(['queued', 'running', 'done', 'checked-bad', 'failed', 'cancelled', 'interrupted']);
export type JobStatus = z.output<typeof jobStatus>;

export const jobProgress = z.object({
  phase: z.enum(['start', 'plan', 'check', 'write', 'finish', 'verify', 'revert', 'scan']),
  bytesDone: num,
  bytesTotal: num,
  tensorsDone: count,
  tensorsTotal: count,
  /** File or tensor that was touched last. */
  at: text,
  bytesPerSecond: z.nullable(num),
  etaSeconds: z.nullable(num),
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

/** A finished job's outcome. `report` is the JSON of the core's report (upcycle: with `verification`). */
export const jobResult = z.object({
  ok: flag,
  /** One line: "Mixtral, 1.2B parameters, written to … in 3.1 s, verified". */
  summary: text,
  /** The same as the CLI prints. */
  text: text,
  report: json,
});
export type JobResult = Of<typeof jobResult>;

/** The part of a result that lists show. */
export const jobOutcome = z.object({ ok: flag, summary: text });
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
  /** It can be resumed (an upcycle that did not end well). */
  resumable: flag,
  /** Job that this one repeats or resumes. */
  repeats: z.nullable(text),
  logFile: text,
});
export type JobView = Of<typeof jobView>;
