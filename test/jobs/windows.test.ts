/** Windows as real processes: many that race for one queue, and one that is killed while it runs a job. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { JobService, JobStore } from '../../src/jobs/index.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { bundle, bundleJob, newPath, until } from './bundle.ts';
import { doctorOf, upcycleOf } from './params.ts';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function start(
  file: string,
  ...args: string[]
): { readonly child: ChildProcess; readonly exited: Promise<number | null> } {
  const child = fork(file, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  children.push(child);
  return { child, exited: new Promise((done) => child.on('exit', done)) };
}

describe('processes that race for one queue', () => {
  let racer: string;
  beforeAll(async () => {
    racer = await bundle(`
      import { appendFileSync } from 'node:fs';
      import { JobStore } from './src/jobs/index.ts';
      const [folder, journal, name] = process.argv.slice(2);
      void (async () => {
        const store = await JobStore.open(folder, { window: name });
        for (let idle = 0; idle < 3; ) {
          const claim = await store.claimNext();
          if (claim === null) {
            const left = store.list().some(({ status }) => status === 'queued' || status === 'running');
            if (!left) idle++;
            await new Promise((done) => setTimeout(done, 5));
            continue;
          }
          appendFileSync(journal, 'begin ' + claim.job.id + '\\n');
          await new Promise((done) => setTimeout(done, 2));
          appendFileSync(journal, 'end ' + claim.job.id + '\\n');
          await store.end(claim.job.id, 'done', { ok: true, summary: name }, null);
          claim.release();
        }
        store.dispose();
        process.disconnect();
      })();
    `);
  });

  it('start every job exactly once and never two at a time', async () => {
    const folder = newPath('storage');
    const journal = newPath('journal');
    const store = await JobStore.open(folder);
    const ids: string[] = [];
    for (let i = 0; i < 24; i++) ids.push((await store.add(doctorOf(`/m${String(i)}`))).id);
    const racers = ['a', 'b', 'c'].map((name) => start(racer, folder, journal, name));
    expect(await Promise.all(racers.map(({ exited }) => exited))).toEqual([0, 0, 0]);
    const lines = readFileSync(journal, 'utf8').trim().split('\n');
    // Begun in the order of the queue, each ended before the next began.
    expect(lines).toEqual(ids.flatMap((id) => [`begin ${id}`, `end ${id}`]));
    await store.refresh();
    expect(store.list().every(({ status }) => status === 'done')).toBe(true);
    expect(store.skippedLines).toBe(0);
    store.dispose();
  }, 60_000);
});

describe('a window that is killed', () => {
  it('takes its job process with it, and the job can be resumed elsewhere', async () => {
    const entry = await bundleJob();
    const window = await bundle(`
      import { JobService } from './src/jobs/index.ts';
      const [folder, entry] = process.argv.slice(2);
      void JobService.open({ folder, entry, store: { pollMs: 50 } }).then((service) => service.start());
      setInterval(() => undefined, 1000);
    `);
    const folder = newPath('storage');
    const dense = newPath('dense');
    const out = join(newPath('out'), 'moe');
    await writeSampleCheckpoint(dense);
    // This window only looks on.
    const service = await JobService.open({ folder, entry, store: { pollMs: 30 } });
    const text = 'experts: 16\nexpert_init: {method: noise, std: 0.01, ratio: 0.5}\noutput: {shard_size: 500kB}\n';
    const { id } = await service.add(upcycleOf(dense, out, { keepPartial: false }, text));
    const killed = start(window, folder, entry);
    await until(
      () => {
        const job = service.get(id);
        if (job !== null && job.ended !== null) throw new Error(`ended too soon: ${JSON.stringify(job.error)}`);
        const { bytesDone = 0, bytesTotal = 0 } = job?.progress ?? {};
        return job?.usage !== null && bytesDone > 0.4 * bytesTotal && bytesTotal > 0;
      },
      'the other window to be writing',
      60_000,
    );
    const pid = service.get(id)?.usage?.pid ?? 0;
    killed.child.kill('SIGKILL');
    await killed.exited;
    await until(() => service.get(id)?.status === 'interrupted', 'the job to be marked as interrupted');
    expect(service.get(id)).toMatchObject({ resumable: true, error: { code: 'job-interrupted' } });
    await until(() => !alive(pid), 'the orphaned job process to end');
    expect(existsSync(out)).toBe(false);
    service.start();
    const resumed = await service.resume(id);
    const job = await service.ended(resumed.id);
    expect(job.error).toBeNull();
    // Nobody wished it cancelled: what was finished is kept, whatever the job says of cancelling.
    const report = (await service.result(resumed.id))?.report;
    expect(report).toMatchObject({ resumedFiles: expect.toSatisfy((n: number) => n > 0) as number });
    expect(existsSync(join(out, 'moe-manifest.json'))).toBe(true);
    await service.dispose();
  }, 120_000);
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie is dead too; only its parent, which is gone, has not said so yet.
    return !readFileSync(`/proc/${String(pid)}/stat`, 'utf8').includes(') Z');
  } catch {
    return false;
  }
}
