/**
 * The job process: forked by src/jobs/process.ts, does one job, ends with its parent. The native runtime lives here, so that
 * its crashes do.
 */
import { MoeError } from '../common/errors.ts';
import { processEndpoint } from '../protocol/host.ts';
import { jobCancel, jobHello, jobLog, jobPing, jobQuit, jobStart } from '../protocol/job.ts';
import type { JobLogLine, JobProgress } from '../protocol/jobs.ts';
import { TOOL_VERSION } from '../write/version.ts';
import { startHeartbeat } from './heartbeat.ts';
import { runJob } from './run.ts';
import { usageNow } from './usage.ts';

interface Current {
  readonly id: string;
  readonly aborter: AbortController;
  keepPartial: boolean;
}

/** Progress is sent at most this often; a change of phase always. */
const PROGRESS_MS = 100;

function main(): void {
  if (process.send === undefined) {
    process.stderr.write(
      'This is the job process of MoE Workbench; it is started by the extension. For a terminal there is: moe\n',
    );
    process.exitCode = 2;
    return;
  }
  const heartbeat = startHeartbeat();
  const endpoint = processEndpoint(process, {
    peer: 'the extension',
    onFault: ({ method, message, error }) => {
      process.stderr.write(`${method}: ${error instanceof Error ? (error.stack ?? message) : message}\n`);
    },
  });
  let current: Current | null = null;
  let ending = false;

  const end = async (): Promise<void> => {
    if (ending) return;
    ending = true;
    await heartbeat.stop();
    // The answer that is under way is sent before the channel closes.
    setImmediate(() => process.exit(0));
  };
  /** No parent, or a signal: stop in an orderly way, keeping what can be resumed. */
  const stop = (): void => {
    if (current === null) {
      void end();
      return;
    }
    current.keepPartial = true;
    current.aborter.abort();
  };

  endpoint.handle(jobStart, async ({ id, params }, { signal, progress }) => {
    if (current !== null) throw new MoeError('internal', 'job-running', `This process runs ${current.id} already`);
    const job: Current = {
      id,
      aborter: new AbortController(),
      keepPartial: params.kind !== 'upcycle' || params.keepPartial,
    };
    current = job;
    heartbeat.job(id);
    const log = (level: JobLogLine['level'], message: string): void => {
      endpoint.notify(jobLog, { id, line: { time: new Date().toISOString(), level, message } });
    };
    try {
      return await runJob(params, {
        signal: AbortSignal.any([job.aborter.signal, signal]),
        progress: throttled(progress),
        log,
        keepPartial: () => job.keepPartial,
      });
    } finally {
      current = null;
      heartbeat.job(null);
      if (endpoint.closed) void end();
    }
  });
  endpoint.handle(jobCancel, ({ id, keepPartial }) => {
    if (current?.id !== id) return { was: 'unknown' as const };
    if (keepPartial !== null) current.keepPartial = keepPartial;
    current.aborter.abort();
    return { was: 'running' as const };
  });
  endpoint.handle(jobPing, ({ sent }) => ({ sent, usage: usageNow() }));
  endpoint.handle(jobQuit, () => {
    setTimeout(() => void end(), 20);
    return {};
  });
  endpoint.onClose(stop);
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  endpoint.notify(jobHello, { pid: process.pid, version: TOOL_VERSION, node: process.version });
}

function throttled(send: (progress: JobProgress) => void): (progress: JobProgress) => void {
  let last = -Infinity;
  let phase = '';
  return (progress) => {
    const now = performance.now();
    const complete = progress.bytesTotal > 0 && progress.bytesDone >= progress.bytesTotal;
    if (progress.phase === phase && now - last < PROGRESS_MS && !complete) return;
    last = now;
    phase = progress.phase;
    send(progress);
  };
}

main();
