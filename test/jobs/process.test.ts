/** The parent's view of job processes that go wrong in every way. */
import { beforeAll, describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { JobProcess } from '../../src/jobs/process.ts';
import type { JobHooks, JobProcessOptions } from '../../src/jobs/process.ts';
import type { JobUsage } from '../../src/protocol/jobs.ts';
import { bundle, newPath, program, until } from './bundle.ts';
import { doctorOf } from './params.ts';

/** Runs `text` as the job program and returns the error that comes of it. */
async function failure(
  text: string,
  options: Partial<JobProcessOptions> = {},
  hooks: JobHooks = {},
): Promise<MoeError> {
  return failed(new JobProcess({ entry: program(text), ...options }, hooks));
}

async function failed(job: JobProcess): Promise<MoeError> {
  const outcome = await job.run('a-1', doctorOf('/x')).catch((error: unknown) => error);
  if (!(outcome instanceof MoeError)) throw new Error(`not a MoeError: ${String(outcome)}`);
  expect(alive(job.pid)).toBe(false);
  return outcome;
}

function alive(pid: number | null): boolean {
  if (pid === null) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const posix = process.platform !== 'win32';

describe('a job process that dies', () => {
  it('with an exit code', async () => {
    const error = await failure('console.error("Error: nothing works"); process.exit(3)');
    expect(error).toMatchObject({ code: 'job-exited', place: { details: { exitCode: 3 } } });
    expect(error.message).toContain('Error: nothing works');
  });

  it('before it could answer, although it ended well', async () => {
    expect(await failure('')).toMatchObject({ code: 'job-exited', place: { details: { exitCode: 0 } } });
  });

  it.runIf(posix).each([
    ['SIGSEGV', 'job-crashed'],
    ['SIGABRT', 'job-crashed'],
    ['SIGKILL', 'job-killed'],
    ['SIGTERM', 'job-ended'],
  ])('by %s', async (signal, code) => {
    const error = await failure(
      `setTimeout(() => process.kill(process.pid, '${signal}'), 50); setInterval(() => 0, 1000)`,
    );
    expect(error).toMatchObject({ code, place: { details: { signal } } });
    expect(error.message).toContain(signal);
  });

  it('out of heap', async () => {
    const error = await failure('const a = []; for (;;) a.push(new Array(1e4).fill({}))', {
      env: { NODE_OPTIONS: '--max-old-space-size=24' },
    });
    expect(error).toMatchObject({ kind: 'resources', code: 'job-out-of-memory' });
  });

  it('by a fault in its own code', async () => {
    const error = await failure('setTimeout(() => { null.x }, 10); setInterval(() => 0, 1000)');
    expect(error.code).toBe('job-exited');
    expect(error.message).toContain('Cannot read properties of null');
  });

  it('or never starts', async () => {
    expect(() => new JobProcess({ entry: newPath('missing.js') })).toThrow(/is missing/);
    const error = await failed(new JobProcess({ entry: program(''), execPath: newPath('no-node') }));
    expect(error).toMatchObject({ code: 'job-not-started' });
  });
});

describe('a job process that hangs', () => {
  it('without a heartbeat is killed, in words', async () => {
    const error = await failure('setInterval(() => 0, 1000)', { silentSeconds: 1 });
    expect(error).toMatchObject({ code: 'job-silent' });
  });

  it('when cancelled is killed after its time', async () => {
    const job = new JobProcess({ entry: program('process.on("message", () => 0)'), cancelSeconds: 0.2 });
    const done = failed(job);
    job.cancel('a-1', null);
    expect(await done).toMatchObject({ kind: 'cancelled', code: 'cancelled' });
  });
});

describe('the heartbeat', () => {
  let busy: string;
  beforeAll(async () => {
    busy = await bundle(`
      import { startHeartbeat } from './src/job/heartbeat.ts';
      process.on('message', () => undefined);
      startHeartbeat().job('a-1');
      setTimeout(() => { const end = Date.now() + 600_000; while (Date.now() < end); }, 300);
    `);
  });

  it('beats while the main thread is busy, and says so', async () => {
    const usages: JobUsage[] = [];
    const job = new JobProcess({ entry: busy, silentSeconds: 30 }, { onUsage: (usage) => usages.push(usage) });
    const done = failed(job);
    await until(() => (usages.at(-1)?.busySeconds ?? 0) > 1, 'a beat that tells of a busy thread');
    const last = usages.at(-1);
    expect(last?.pid).toBe(job.pid);
    expect(last?.rssBytes).toBeGreaterThan(1e7);
    expect(last?.peakRssBytes).toBeGreaterThanOrEqual(last?.rssBytes ?? Infinity);
    expect(last?.cpuSeconds).toBeGreaterThan(0);
    expect(last?.cpuLoad).toBeGreaterThan(0);
    expect(last?.cpuLoad).toBeLessThan(3);
    job.kill();
    const error = await done;
    expect(error.code).toBe('job-killed');
    expect(error.message).toMatch(/it had \d+\.\d MB of memory when last seen/);
  });

  it.runIf(posix)('stops when the process is stopped, which then counts as dead', async () => {
    const usages: JobUsage[] = [];
    const job = new JobProcess({ entry: busy, silentSeconds: 2 }, { onUsage: (usage) => usages.push(usage) });
    const done = failed(job);
    await until(() => usages.length > 0, 'a first beat');
    process.kill(job.pid ?? 0, 'SIGSTOP');
    expect(await done).toMatchObject({ code: 'job-silent' });
  });
});
