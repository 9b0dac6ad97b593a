/** A checkpoint session over a real worker thread: built as it ships, opened, changed on disk, its worker killed. */
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workerRows } from '../../src/protocol/worker.ts';
import { CheckpointSessions } from '../../src/extension/sessions.ts';
import { WorkerClient } from '../../src/extension/worker-client.ts';
import { bundleInto } from '../bundle.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';

let folder = '';
let client: WorkerClient;
let sessions: CheckpointSessions;
const logged: string[] = [];
const VIEW = { filter: '', order: 'name', descending: false, shape: 'flat', toggled: [], open: 'default' } as const;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'moe-session-'));
  await writeSampleCheckpoint(join(folder, 'tiny'));
  const entry = join(folder, 'worker.cjs');
  await bundleInto(entry, 'src/worker/main.ts');
  client = new WorkerClient({ entry, log: (level, message) => logged.push(`${level}: ${message}`) });
  sessions = new CheckpointSessions({ worker: client, log: (message) => logged.push(message), graceMs: 20 });
});

afterAll(async () => {
  sessions.dispose();
  await client.dispose();
  await rm(folder, { recursive: true, force: true });
});

async function until(what: string, test: () => boolean): Promise<void> {
  const end = Date.now() + 15_000;
  while (!test()) {
    if (Date.now() > end) throw new Error(`${what} did not come; log:\n${logged.join('\n')}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('a session', () => {
  it('is shared by path, opens, and closes after a grace', async () => {
    const one = sessions.acquire(join(folder, 'tiny'));
    const two = sessions.acquire(join(folder, 'tiny', '.'));
    expect(two.session).toBe(one.session);
    await one.session.settled();
    expect(one.session).toMatchObject({ status: 'ready', error: null, generation: 1, name: 'tiny' });
    expect(one.session.overview?.kind).toBe('dense');
    one.dispose();
    one.dispose();
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(sessions.get(join(folder, 'tiny'))).toBe(two.session);
    two.dispose();
    await until('closing', () => sessions.get(join(folder, 'tiny')) === null);
  });

  it('follows the files on disk', async () => {
    const { session, dispose } = sessions.acquire(join(folder, 'tiny'));
    await session.settled();
    const before = session.generation;
    await utimes(join(folder, 'tiny', 'model.safetensors'), new Date(), new Date(Date.now() + 9000));
    await until('the reload', () => session.generation > before && session.loading === null);
    const quiet = session.generation;
    // Something beside it that is no part of it.
    await writeFile(join(folder, 'tiny', 'notes.md'), 'x');
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(session.status).toBe('ready');
    expect(session.generation - quiet).toBeLessThanOrEqual(1);
    dispose();
  });

  it('outlives its worker', async () => {
    const { session, dispose } = sessions.acquire(join(folder, 'tiny'));
    await session.settled();
    const ask = () => session.ask(workerRows, { view: VIEW, start: 0, count: 2 });
    expect((await ask()).rows).toHaveLength(2);
    const generation = client.generation;
    const lost = new Promise<string>((resolve) => client.onLost(resolve));
    await client.kill();
    expect(await lost).toMatch(/ended|code/);
    expect((await ask()).rows).toHaveLength(2);
    expect(client.generation).toBe(generation + 1);
    dispose();
  });

  it('shows a damaged file as an error page and comes back when it is mended', async () => {
    const path = join(folder, 'broken.safetensors');
    await writeFile(path, Buffer.alloc(5));
    const { session, dispose } = sessions.acquire(path);
    await session.settled();
    expect(session).toMatchObject({ status: 'failed', overview: null });
    expect(session.error).toMatchObject({ kind: 'input', title: 'broken.safetensors cannot be opened' });
    expect(session.error?.actions.map(({ id }) => id)).toContain('reload');
    await expect(session.ask(workerRows, { view: VIEW, start: 0, count: 2 })).rejects.toMatchObject({
      code: 'not-open',
    });
    const header = Buffer.from('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  ');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(path, Buffer.concat([length, header, Buffer.alloc(4)]));
    await until('mending', () => session.status === 'ready');
    expect(session.overview?.tensorCount).toBe(1);
    dispose();
  });
});
