import { describe, expect, it } from 'vitest';
import { exitError } from '../../src/jobs/exit.ts';
import type { JobExit } from '../../src/jobs/exit.ts';

const exit: JobExit = {
  code: null,
  signal: null,
  stderr: '',
  progress: null,
  usage: null,
  killed: null,
  resumable: true,
};
const usage = {
  pid: 1,
  rssBytes: 3_100_000_000,
  peakRssBytes: 4_000_000_000,
  cpuSeconds: 1,
  cpuLoad: 1,
  seconds: 1,
  busySeconds: 0,
};
const progress = {
  phase: 'write' as const,
  bytesDone: 58,
  bytesTotal: 100,
  tensorsDone: 1,
  tensorsTotal: 2,
  at: 'model-00002.safetensors',
  bytesPerSecond: null,
  etaSeconds: null,
};

describe('the end of a job process in words', () => {
  it('SIGKILL: memory, most often; where it was; that it can be resumed', () => {
    const error = exitError({ ...exit, signal: 'SIGKILL', usage, progress });
    expect(error).toMatchObject({ kind: 'resources', code: 'job-killed' });
    expect(error.message).toBe(
      'The job process was killed (SIGKILL); it had 3.1 GB of memory when last seen at 58 % of phase write (model-00002.safetensors)',
    );
    expect(error.place.hint).toContain('memory');
    expect(error.place.hint).toContain('Resume it');
  });

  it.each([
    [{ signal: 'SIGSEGV' }, 'job-crashed', 'SIGSEGV'],
    [{ signal: 'SIGABRT' }, 'job-crashed', 'abort'],
    [{ code: 0xc0000005 }, 'job-crashed', '0xc0000005'],
    [{ code: -1073741819 }, 'job-crashed', '0xc0000005'],
    [{ signal: 'SIGABRT', stderr: 'FATAL ERROR: … JavaScript heap out of memory' }, 'job-out-of-memory', 'memory'],
    [
      { code: 134, stderr: "terminate called after throwing an instance of 'std::bad_alloc'" },
      'job-out-of-memory',
      'memory',
    ],
    [{ signal: 'SIGTERM' }, 'job-ended', 'SIGTERM'],
    [
      { code: 3, stderr: 'at x\nError: no such thing\nat y' },
      'job-exited',
      'exit code 3 before the job was done: Error: no such thing',
    ],
    [{ code: 0 }, 'job-exited', 'exit code 0 before'],
    [{ signal: 'SIGKILL', killed: 'silent' as const, silentSeconds: 60 }, 'job-silent', 'no sign of life for 60 s'],
    [{ signal: 'SIGKILL', killed: 'cancel' as const }, 'cancelled', 'was killed'],
  ])('%o', (change, code, words) => {
    const error = exitError({ ...exit, ...change });
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
  });

  it('does not promise to resume what cannot be', () => {
    expect(exitError({ ...exit, signal: 'SIGSEGV', resumable: false }).place.hint).not.toContain('Resume');
  });
});
