/** What a job's work gets: cancellation, progress and a log. */
import type { JobLogLine, JobProgress } from '../protocol/jobs.ts';
import type { ProgressEvent } from '../write/index.ts';

export interface JobContext {
  readonly signal: AbortSignal;
  readonly progress: (progress: JobProgress) => void;
  readonly log: (level: JobLogLine['level'], message: string) => void;
  /** Whether a cancelled upcycle keeps what it has finished; read when it has stopped. */
  readonly keepPartial: () => boolean;
}

/** Progress without numbers: what is being prepared. */
export function stage(context: JobContext, phase: 'start' | 'plan' | 'prepare', at: string): void {
  context.progress({
    phase,
    bytesDone: 0,
    bytesTotal: 0,
    tensorsDone: 0,
    tensorsTotal: 0,
    at,
    bytesPerSecond: null,
    etaSeconds: null,
  });
}

/** Passes the core's progress on. */
export function forward(context: JobContext): (event: ProgressEvent) => void {
  return ({ file, ...event }) => {
    context.progress({ ...event, at: file });
  };
}
