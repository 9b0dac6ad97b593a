/** How a job process ended, in words: what an exit code, a signal and its last output mean and what to do. */
import { MoeError } from '../common/errors.ts';
import type { JobProgress, JobUsage } from '../protocol/jobs.ts';
import { shortBytes } from '../report/text.ts';

export interface JobExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** Last lines of its standard error. */
  readonly stderr: string;
  readonly progress: JobProgress | null;
  readonly usage: JobUsage | null;
  /** Why we killed it ourselves, if we did. */
  readonly killed: 'silent' | 'cancel' | null;
  /** Seconds without a heartbeat, where `killed` is silent. */
  readonly silentSeconds?: number;
  readonly resumable: boolean;
}

const CRASHES: ReadonlyMap<string, string> = new Map([
  ['SIGSEGV', 'a memory fault in native code'],
  ['SIGBUS', 'a file that shrank while it was mapped, or a memory fault'],
  ['SIGABRT', 'an abort in native code'],
  ['SIGILL', 'an instruction that this processor does not have'],
  ['SIGFPE', 'an arithmetic fault in native code'],
  ['SIGTRAP', 'a trap in native code'],
  ['SIGSYS', 'a system call that is not allowed here'],
]);

/** Exit codes by which Windows reports what are signals elsewhere. */
const WINDOWS_CRASHES: ReadonlyMap<number, string> = new Map([
  [0xc0000005, 'a memory fault in native code'],
  [0xc000001d, 'an instruction that this processor does not have'],
  [0xc00000fd, 'a stack overflow'],
  [0xc0000409, 'an abort in native code'],
]);

/** The error of a job whose process ended before the job did. */
export function exitError(exit: JobExit): MoeError {
  const { code, signal, usage, killed } = exit;
  const again = exit.resumable ? 'Resume it: finished files are kept and not written again.' : 'Run it again.';
  const where = placeText(exit);
  const details = {
    ...(code === null ? {} : { exitCode: code }),
    ...(signal === null ? {} : { signal }),
    ...(usage === null ? {} : { peakRssBytes: usage.peakRssBytes }),
    ...(exit.stderr === '' ? {} : { stderr: exit.stderr }),
  };
  const fail = (kind: 'internal' | 'resources' | 'cancelled', name: string, message: string, hint: string): MoeError =>
    new MoeError(kind, name, message, { hint, details });
  if (killed === 'cancel')
    return fail(
      'cancelled',
      'cancelled',
      `Cancelled; the process did not stop by itself and was killed${where}`,
      again,
    );
  if (killed === 'silent')
    return fail(
      'internal',
      'job-silent',
      `The job process gave no sign of life for ${String(exit.silentSeconds ?? 0)} s and was killed${where}`,
      `Was it stopped, or the machine short of memory? ${again}`,
    );
  if (/heap out of memory|allocation failed|bad_alloc/i.test(exit.stderr))
    return fail(
      'resources',
      'job-out-of-memory',
      `The job process ran out of memory${memoryText(usage)}${where}`,
      `Close other programs or use a machine with more memory. ${again}`,
    );
  if (signal === 'SIGKILL')
    return fail(
      'resources',
      'job-killed',
      `The job process was killed (SIGKILL)${memoryText(usage)}${where}`,
      `The system does that when memory runs out (see dmesg), or somebody ended it. ${again}`,
    );
  const crash = signal === null ? WINDOWS_CRASHES.get((code ?? 0) >>> 0) : CRASHES.get(signal);
  if (crash !== undefined)
    return fail(
      'internal',
      'job-crashed',
      `The job process crashed (${signal ?? `0x${((code ?? 0) >>> 0).toString(16)}`}): ${crash}${where}`,
      `${again} If it happens again at the same place, please report it with the job's log.`,
    );
  if (signal !== null) return fail('internal', 'job-ended', `The job process was ended by ${signal}${where}`, again);
  return fail(
    'internal',
    'job-exited',
    `The job process ended with exit code ${String(code ?? 'unknown')} before the job was done${where}${lastLine(exit.stderr)}`,
    `${again} The job's log has its last output.`,
  );
}

function placeText({ progress }: JobExit): string {
  if (progress === null || progress.bytesTotal <= 0) return '';
  const share = Math.floor((100 * progress.bytesDone) / progress.bytesTotal);
  return ` at ${String(share)} % of phase ${progress.phase}${progress.at === '' ? '' : ` (${progress.at})`}`;
}

function memoryText(usage: JobUsage | null): string {
  return usage === null ? '' : `; it had ${shortBytes(usage.rssBytes)} of memory when last seen`;
}

function lastLine(stderr: string): string {
  const line =
    stderr
      .trim()
      .split('\n')
      .find((text) => /error|fatal|cannot/i.test(text)) ?? '';
  return line === '' ? '' : `: ${line.trim().slice(0, 300)}`;
}
