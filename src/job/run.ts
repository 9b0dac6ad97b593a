/** One job, by its kind. */
import type { JobParams, JobResult } from '../protocol/jobs.ts';
import { doctorJob, revertJob, verifyJob } from './checks.ts';
import type { JobContext } from './context.ts';
import { upcycleJob } from './upcycle.ts';

/** Runs a job to its end. Throws the core's MoeErrors. */
export async function runJob(params: JobParams, context: JobContext): Promise<JobResult> {
  switch (params.kind) {
    case 'upcycle':
      return upcycleJob(params, context);
    case 'verify':
      return verifyJob(params, context);
    case 'revert':
      return revertJob(params, context);
    case 'doctor':
      return doctorJob(params, context);
    // Loaded when asked for: they bring tasks and tokenizers.
    case 'eval':
      return (await import('./evaluate.ts')).evalJob(params, context);
    case 'trace':
      return (await import('./trace.ts')).traceJob(params, context);
  }
}
