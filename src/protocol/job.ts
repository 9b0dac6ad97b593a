/** Host ↔ job process. The process does one job at a time and ends when its parent is gone. */
import * as z from 'zod/mini';
import { defineNotification, defineRequest } from './define.ts';
import { jobLogLine, jobParams, jobProgress, jobResult, jobUsage } from './jobs.ts';
import { count, flag, nothing, num, text } from './wire.ts';

/** The process is up. Sent once, before anything else. */
export const jobHello = defineNotification('job/hello', z.object({ pid: count, version: text, node: text }));

/** Runs a job to its end. Fails with the job's MoeError. No limit: the heartbeat tells whether it lives. */
export const jobStart = defineRequest('job/start', z.object({ id: text, params: jobParams }), jobResult, {
  progress: jobProgress,
  timeoutMs: null,
});

/** Stops the running job in an orderly way; `job/start` then fails with `cancelled`. */
export const jobCancel = defineRequest(
  'job/cancel',
  z.object({
    id: text,
    /** Overrides the job's `keepPartial`; null: as the job says. */
    keepPartial: z.nullable(flag),
  }),
  z.object({ was: z.enum(['running', 'unknown']) }),
);

/**
 * Once a second, from a thread of its own over a pipe of its own (fd 4, one JSON-RPC message a line), so that it beats while
 * the main thread computes: silence means that the process is stopped or gone.
 */
export const jobHeartbeat = defineNotification('job/heartbeat', z.object({ id: z.nullable(text), usage: jobUsage }));

export const jobLog = defineNotification('job/log', z.object({ id: text, line: jobLogLine }));

/** Ends the process in an orderly way (an idle one at once). */
export const jobQuit = defineRequest('job/quit', nothing, nothing, { timeoutMs: 5_000 });

/** Round trip, to measure. */
export const jobPing = defineRequest('job/ping', z.object({ sent: num }), z.object({ sent: num, usage: jobUsage }));
