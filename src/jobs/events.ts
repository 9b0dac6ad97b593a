/** The job history as events, one JSON line each, and what they add up to. */
import * as z from 'zod/mini';
import { jobOutcome, jobParams } from '../protocol/jobs.ts';
import type { JobOutcome, JobParams, JobStatus } from '../protocol/jobs.ts';
import type { Of } from '../protocol/define.ts';
import { wireError } from '../protocol/errors.ts';
import type { WireError } from '../protocol/errors.ts';

/** Ids are file names: nothing else passes. */
export const jobId = z.string().check(z.regex(/^[a-z0-9]{1,20}-[a-z0-9]{1,20}$/));
const time = z.string().check(z.maxLength(40));

const owner = z.object({ pid: z.int(), host: z.string(), window: z.string() });
export type JobOwner = Of<typeof owner>;

export const endStatus = z.enum(['done', 'checked-bad', 'failed', 'cancelled', 'interrupted']);
export type EndStatus = z.output<typeof endStatus>;

export const jobEvent = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('created'),
    id: jobId,
    time,
    title: z.string(),
    params: jobParams,
    repeats: z.nullable(jobId),
  }),
  z.object({ type: z.literal('started'), id: jobId, time, owner }),
  z.object({ type: z.literal('cancel'), id: jobId, time, keepPartial: z.nullable(z.boolean()) }),
  z.object({
    type: z.literal('ended'),
    id: jobId,
    time,
    status: endStatus,
    outcome: z.nullable(jobOutcome),
    error: z.nullable(wireError),
  }),
  z.object({ type: z.literal('removed'), id: jobId, time }),
  /** First line of a history that was written anew: no two begin alike, so that readers see it. */
  z.object({ type: z.literal('rewritten'), id: jobId, time }),
]);
export type JobEvent = Of<typeof jobEvent>;

/** A job as its events tell. Times are ISO 8601. */
export interface JobRecord {
  readonly id: string;
  readonly title: string;
  readonly params: JobParams;
  readonly repeats: string | null;
  readonly status: JobStatus;
  readonly created: string;
  readonly started: string | null;
  readonly owner: JobOwner | null;
  readonly ended: string | null;
  readonly cancel: { readonly keepPartial: boolean | null } | null;
  readonly outcome: JobOutcome | null;
  readonly error: WireError | null;
}

/**
 * Takes an event in. Events that make no sense where they stand (of an unknown job, a second start or end) change nothing:
 * a job is started once and ended once, whatever the file says.
 */
export function applyEvent(jobs: Map<string, JobRecord>, event: JobEvent): void {
  if (event.type === 'rewritten') return;
  const job = jobs.get(event.id);
  if (event.type === 'created') {
    if (job !== undefined) return;
    const { id, title, params, repeats, time: created } = event;
    jobs.set(id, {
      id,
      title,
      params,
      repeats,
      created,
      status: 'queued',
      started: null,
      owner: null,
      ended: null,
      cancel: null,
      outcome: null,
      error: null,
    });
    return;
  }
  if (job === undefined) return;
  const open = job.status === 'queued' || job.status === 'running';
  switch (event.type) {
    case 'started':
      if (job.status === 'queued')
        jobs.set(job.id, { ...job, status: 'running', started: event.time, owner: event.owner });
      return;
    case 'cancel':
      if (open) jobs.set(job.id, { ...job, cancel: { keepPartial: event.keepPartial } });
      return;
    case 'ended':
      if (open)
        jobs.set(job.id, {
          ...job,
          status: event.status,
          ended: event.time,
          outcome: event.outcome,
          error: event.error,
        });
      return;
    case 'removed':
      if (!open) jobs.delete(job.id);
  }
}

/** The fewest events that give the same jobs: what a compacted history holds. */
export function eventsOf(jobs: Iterable<JobRecord>): JobEvent[] {
  const events: JobEvent[] = [];
  for (const job of jobs) {
    const { id, title, params, repeats } = job;
    events.push({ type: 'created', id, time: job.created, title, params, repeats });
    if (job.started !== null && job.owner !== null)
      events.push({ type: 'started', id, time: job.started, owner: job.owner });
    if (job.cancel !== null) events.push({ type: 'cancel', id, time: job.created, ...job.cancel });
    const { status } = job;
    if (job.ended !== null && status !== 'queued' && status !== 'running')
      events.push({ type: 'ended', id, time: job.ended, status, outcome: job.outcome, error: job.error });
  }
  return events;
}
