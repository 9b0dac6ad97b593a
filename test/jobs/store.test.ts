import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { LineReader } from '../../src/jobs/json-lines.ts';
import { JobStore } from '../../src/jobs/store.ts';
import type { JobClaim, StoreOptions } from '../../src/jobs/store.ts';
import { newPath, until } from './bundle.ts';
import { doctorOf, upcycleOf } from './params.ts';

const stores: JobStore[] = [];
afterEach(() => {
  for (const store of stores.splice(0)) store.dispose();
});

async function open(folder = newPath('storage'), options: StoreOptions = {}): Promise<JobStore> {
  const store = await JobStore.open(folder, { pollMs: 30, ...options });
  stores.push(store);
  return store;
}

async function claim(store: JobStore, concurrency = 1): Promise<JobClaim> {
  const claimed = await store.claimNext(concurrency);
  if (claimed === null) throw new Error('nothing to claim');
  return claimed;
}

const statuses = (store: JobStore): string[] => store.list().map(({ status }) => status);

describe('queue', () => {
  it('starts jobs in order, one at a time', async () => {
    const store = await open();
    const first = await store.add(doctorOf('/a'));
    const second = await store.add(doctorOf('/b'));
    const claimed = await claim(store);
    expect(claimed.job).toMatchObject({ id: first.id, status: 'running', title: 'Examine a' });
    expect(await store.claimNext()).toBeNull();
    await store.end(first.id, 'done', { ok: true, summary: 's' }, null);
    claimed.release();
    expect((await claim(store)).job.id).toBe(second.id);
    expect(store.get(first.id)).toMatchObject({ status: 'done', outcome: { ok: true, summary: 's' } });
  });

  it('starts as many at a time as it is told', async () => {
    const store = await open();
    for (const path of ['/a', '/b', '/c']) await store.add(doctorOf(path));
    await claim(store, 2);
    await claim(store, 2);
    expect(await store.claimNext(2)).toBeNull();
  });

  it('is the same in two windows, and each job goes to one of them', async () => {
    const left = await open(undefined, { window: 'left' });
    const right = await open(left.layout.folder, { window: 'right' });
    for (let i = 0; i < 20; i++) await (i % 2 === 0 ? left : right).add(doctorOf(`/m${String(i)}`));
    await Promise.all([left.refresh(), right.refresh()]);
    expect(left.list()).toEqual(right.list());
    const claims = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? left : right).claimNext(100)));
    const ids = claims.flatMap((one) => one?.job.id ?? []);
    expect(ids).toHaveLength(20);
    expect(new Set(ids).size).toBe(20);
  });

  it('tells the other window of changes', async () => {
    const left = await open();
    const right = await open(left.layout.folder);
    let told = 0;
    right.onChange(() => told++);
    const job = await left.add(doctorOf('/a'));
    await until(() => told > 0 && right.get(job.id) !== null, 'the other window to see the job', 5000);
  });

  it('refuses a second job that writes to the same place', async () => {
    const store = await open();
    const job = await store.add(upcycleOf('/dense', '/out/moe'));
    await expect(store.add(upcycleOf('/other', '/out/x/../moe'))).rejects.toMatchObject({
      code: 'job-output-busy',
      place: { details: { job: job.id } },
    });
    await store.cancel(job.id, null);
    await store.add(upcycleOf('/other', '/out/moe'));
  });
});

describe('cancelling', () => {
  it('ends a queued job at once, so that it never starts', async () => {
    const store = await open();
    const job = await store.add(doctorOf('/a'));
    expect(await store.cancel(job.id, null)).toBe(true);
    expect(store.get(job.id)).toMatchObject({ status: 'cancelled', error: { code: 'cancelled' } });
    expect(await store.claimNext()).toBeNull();
    expect(await store.cancel(job.id, null)).toBe(false);
  });

  it('of a running job is a wish that its window sees', async () => {
    const left = await open();
    const right = await open(left.layout.folder);
    const job = await left.add(doctorOf('/a'));
    await claim(left);
    expect(await right.cancel(job.id, false)).toBe(true);
    await left.refresh();
    expect(left.get(job.id)).toMatchObject({ status: 'running', cancel: { keepPartial: false } });
  });

  it('of an unknown job says so', async () => {
    await expect((await open()).cancel('a-1', null)).rejects.toMatchObject({ code: 'job-unknown' });
  });
});

describe('windows that vanish', () => {
  it('leave interrupted jobs, and do not hold the queue up', async () => {
    const left = await open();
    const first = await left.add(doctorOf('/a'));
    await left.add(doctorOf('/b'));
    await claim(left);
    // As after a crash: nothing is written, the lock is free.
    left.dispose();
    const right = await open(left.layout.folder);
    expect(right.get(first.id)?.status).toBe('running');
    expect((await right.reconcile()).map(({ id }) => id)).toEqual([first.id]);
    expect(right.get(first.id)).toMatchObject({ status: 'interrupted', error: { code: 'job-interrupted' } });
    await claim(right);
    expect(statuses(right)).toEqual(['interrupted', 'running']);
  });

  it('are told from windows that live', async () => {
    const left = await open();
    await left.add(doctorOf('/a'));
    await claim(left);
    const right = await open(left.layout.folder);
    expect(await right.reconcile()).toEqual([]);
    expect(await right.claimNext()).toBeNull();
  });

  it('between the claim and the word of it start nothing twice', async () => {
    const store = await open();
    const job = await store.add(doctorOf('/a'));
    writeFileSync(store.layout.claim(job.id), '');
    expect(await store.claimNext()).toBeNull();
    expect(store.get(job.id)?.status).toBe('interrupted');
  });
});

describe('history on disk', () => {
  it('is there after reopening', async () => {
    const store = await open();
    const job = await store.add(upcycleOf('/dense', '/moe'), { title: 'My job' });
    const claimed = await claim(store);
    store.saveResult(job.id, { ok: true, summary: 's', text: 't', report: { a: [1, null] } });
    await store.end(job.id, 'done', { ok: true, summary: 's' }, null);
    claimed.release();
    const again = await open(store.layout.folder);
    expect(again.list()).toEqual(store.list());
    expect(again.get(job.id)).toMatchObject({ title: 'My job', params: upcycleOf('/dense', '/moe') });
    expect(await again.result(job.id)).toEqual({ ok: true, summary: 's', text: 't', report: { a: [1, null] } });
  });

  it('survives cut, foreign and hostile lines, and counts them', async () => {
    const store = await open();
    const first = await store.add(doctorOf('/a'));
    const { history } = store.layout;
    const hostile = [
      'not json',
      '{"type":"created","id":"../../evil","time":"t","title":"x","params":{"kind":"doctor","path":"/x","rebuildIndex":false},"repeats":null}',
      '{"type":"started","id":"a-1","time":"t","owner":{"pid":1,"host":"h","window":"w"},"__proto__":{"polluted":true}}',
      '{"type":"created","id":"z-9","time":"t","title":"from the future","params":{"kind":"telepathy"},"repeats":null}',
      '[]',
      'null',
    ];
    appendFileSync(history, `${hostile.join('\n')}\n{"type":"ended","id":"${first.id}","ti`);
    const second = await store.add(doctorOf('/b'));
    expect(store.list().map(({ id, status }) => [id, status])).toEqual([
      [first.id, 'queued'],
      [second.id, 'queued'],
    ]);
    // The start of an unknown job is well-formed and means nothing; the others and the cut line are counted.
    expect(store.skippedLines).toBe(6);
    const again = await open(store.layout.folder);
    expect(again.list()).toEqual(store.list());
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  });

  it('keeps the newest jobs and forgets the rest with their files', async () => {
    const store = await open(undefined, { keep: 10 });
    const other = await open(store.layout.folder);
    const ids: string[] = [];
    for (let i = 0; i < 25; i++) {
      const { id } = await store.add(doctorOf(`/${String(i)}`));
      ids.push(id);
      writeFileSync(store.layout.log(id), '');
      const claimed = await claim(store);
      await store.end(id, 'done', { ok: true, summary: '' }, null);
      claimed.release();
    }
    expect(store.list().length).toBeLessThanOrEqual(11);
    expect(store.list().at(-1)?.id).toBe(ids.at(-1));
    expect(readdirSync(join(store.layout.folder, 'logs'))).toHaveLength(store.list().length);
    expect(readdirSync(join(store.layout.folder, 'running'))).toEqual([]);
    await other.refresh();
    expect(other.list()).toEqual(store.list());
    const lines = readFileSync(store.layout.history, 'utf8').trim().split('\n');
    expect(lines.length).toBeLessThan(25 * 3);
  });

  it('written anew is seen as another file by whoever has read the old one, longer or not', async () => {
    const path = newPath('lines');
    const reader = new LineReader(path);
    writeFileSync(path, 'aaaa\nbbbb\n');
    expect((await reader.read()).lines).toEqual(['aaaa', 'bbbb']);
    expect(await reader.read()).toMatchObject({ lines: [], restarted: false });
    appendFileSync(path, 'cccc');
    expect((await reader.read()).lines).toEqual([]);
    appendFileSync(path, '\n');
    expect(await reader.read()).toMatchObject({ lines: ['cccc'], restarted: false });
    // In place, so that it keeps its inode, and longer than before.
    writeFileSync(path, 'dddd\neeee\nffff\ngggg\n');
    expect(await reader.read()).toMatchObject({ lines: ['dddd', 'eeee', 'ffff', 'gggg'], restarted: true });
    writeFileSync(path, '');
    expect(await reader.read()).toMatchObject({ lines: [], restarted: true });
    rmSync(path);
    expect((await reader.read()).lines).toEqual([]);
  });

  it('forgets an ended job on request, and no other', async () => {
    const store = await open();
    const job = await store.add(doctorOf('/a'));
    await expect(store.remove(job.id)).rejects.toMatchObject({ code: 'job-running' });
    await store.cancel(job.id, null);
    writeFileSync(store.layout.log(job.id), '');
    await store.remove(job.id);
    expect(store.list()).toEqual([]);
    expect(existsSync(store.layout.log(job.id))).toBe(false);
    expect(await store.clear()).toBe(0);
  });

  it('that is deleted meanwhile is empty, not an error', async () => {
    const store = await open();
    await store.add(doctorOf('/a'));
    rmSync(store.layout.history);
    await store.refresh();
    expect(store.list()).toEqual([]);
  });

  it('in a place that cannot be written to says so', async () => {
    const path = newPath('file');
    writeFileSync(path, '');
    await expect(JobStore.open(path)).rejects.toMatchObject({ name: 'MoeError' });
  });

  it('is not held up by the lock of a dead process', async () => {
    const store = await open();
    writeFileSync(store.layout.lock, 'cut o');
    await store.add(doctorOf('/a'));
    expect(statuses(store)).toEqual(['queued']);
  });
});
