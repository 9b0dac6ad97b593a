/** The worker's answers over a real message channel, on the built-in sample. */
import { mkdtemp, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { portEndpoint } from '../../src/protocol/host.ts';
import type { Endpoint } from '../../src/protocol/host.ts';
import {
  workerClose,
  workerCompare,
  workerCompareExperts,
  workerCompareRows,
  workerCompareValues,
  workerFacts,
  workerOpen,
  workerProblems,
  workerRows,
  workerTensor,
} from '../../src/protocol/worker.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { Checkpoints } from '../../src/worker/checkpoints.ts';
import { serveCheckpoints } from '../../src/worker/serve-checkpoints.ts';

let folder = '';
let other = '';
let host: Endpoint;
let channel: MessageChannel;
const faults: string[] = [];

beforeAll(async () => {
  const root = await mkdtemp(join(tmpdir(), 'moe-worker-'));
  folder = join(root, 'one');
  other = join(root, 'two');
  await writeSampleCheckpoint(folder, 1);
  await writeSampleCheckpoint(other, 2);
  channel = new MessageChannel();
  const worker = portEndpoint(channel.port2, { onFault: ({ message }) => faults.push(message) });
  serveCheckpoints(worker, new Checkpoints());
  host = portEndpoint(channel.port1);
});

afterAll(async () => {
  host.close();
  channel.port1.close();
  await rm(join(folder, '..'), { recursive: true, force: true });
  expect(faults).toEqual([]);
});

const VIEW = { filter: '', order: 'name', descending: false, shape: 'flat', toggled: [], open: 'default' } as const;

describe('opening', () => {
  it('tells what the checkpoint is, and once read comes from the cache', async () => {
    const first = await host.request(workerOpen, { path: folder, lenient: false, fresh: false });
    const second = await host.request(workerOpen, { path: folder, lenient: false, fresh: false });
    expect(first.overview).toMatchObject({ kind: 'dense', modelType: 'llama', layers: 8, planOnly: false });
    expect(first.overview.parameters.total).toBeGreaterThan(1_000_000);
    expect([first.cached, second.cached]).toEqual([false, true]);
    expect(second.handle).not.toBe(first.handle);
    expect(first.watch).toContain(folder);
    for (const { handle } of [first, second]) await host.request(workerClose, { handle });
    const facts = await host.request(workerFacts, {});
    expect(facts.open.map(({ path, uses }) => [path, uses])).toContainEqual([folder, 0]);
  });

  it('reads anew after a change on disk, while old handles show what they were opened on', async () => {
    const before = await host.request(workerOpen, { path: folder, lenient: false, fresh: false });
    await utimes(join(folder, 'model.safetensors'), new Date(), new Date(Date.now() + 5000));
    const after = await host.request(workerOpen, { path: folder, lenient: false, fresh: false });
    expect(after.cached).toBe(false);
    expect(after.stamps).not.toEqual(before.stamps);
    const rows = await host.request(workerRows, { handle: before.handle, view: VIEW, start: 0, count: 3 });
    expect(rows.rows).toHaveLength(3);
    for (const { handle } of [before, after]) await host.request(workerClose, { handle });
    await expect(host.request(workerRows, { handle: before.handle, view: VIEW, start: 0, count: 1 })).rejects.toThrow(
      /not open/,
    );
  });

  it('fails with the place of the damage', async () => {
    const damaged = join(folder, '..', 'damaged.safetensors');
    await writeFile(damaged, Buffer.alloc(64));
    await truncate(damaged, 5);
    await expect(host.request(workerOpen, { path: damaged, lenient: false, fresh: false })).rejects.toMatchObject({
      name: 'MoeError',
      kind: 'input',
    });
    const { problems, error } = await host.request(workerProblems, { path: damaged });
    expect(problems).toEqual([]);
    expect(error).toMatchObject({ kind: 'input' });
  });
});

describe('tensors', () => {
  it('come by page and by name', async () => {
    const { handle } = await host.request(workerOpen, { path: folder, lenient: false, fresh: false });
    const page = await host.request(workerRows, { handle, view: { ...VIEW, filter: 'layer:3' }, start: 0, count: 50 });
    expect(page.matched).toBe(9);
    expect(page.tensors).toBeGreaterThan(70);
    const name = 'model.layers.3.mlp.up_proj.weight';
    const facts = await host.request(workerTensor, { handle, tensor: name });
    expect(facts).toMatchObject({ name, dtype: 'BF16', shape: [352, 128], layer: 3 });
    await expect(host.request(workerTensor, { handle, tensor: '__proto__' })).rejects.toMatchObject({
      code: 'tensor-not-found',
    });
    await host.request(workerClose, { handle });
  });
});

describe('comparing', () => {
  it('is structure first, then values', async () => {
    const { handle, summary } = await host.request(workerCompare, { a: folder, b: other });
    expect(summary).toMatchObject({ identical: null, added: 0, removed: 0, valuesCompared: false, mode: null });
    const done = await host.request(workerCompareValues, { handle });
    // Norms are all ones in both samples; what is drawn from the seed differs.
    expect(done).toMatchObject({ identical: false, valuesCompared: true });
    expect(done.changed).toBeGreaterThan(50);
    expect(done.changed + done.equal).toBe(summary.a.tensors);
    const page = await host.request(workerCompareRows, {
      handle,
      filter: 'layers.3 up_proj',
      states: ['changed'],
      order: 'distance',
      start: 0,
      count: 10,
    });
    expect(page.total).toBe(1);
    // Two independent samples of one distribution: ‖b − a‖ / ‖a‖ is near √2.
    expect(page.rows[0]?.relativeL2).toBeCloseTo(Math.SQRT2, 1);
    expect(await host.request(workerCompareExperts, { handle })).toEqual({ experts: [], notes: [] });
  });

  it('of a checkpoint with itself is identical', async () => {
    const { handle } = await host.request(workerCompare, { a: folder, b: folder });
    expect(await host.request(workerCompareValues, { handle })).toMatchObject({ identical: true, changed: 0 });
  });
});
