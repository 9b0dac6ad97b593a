/** The router lab and the devices as the worker serves them: models really run. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { portEndpoint } from '../../src/protocol/host.ts';
import type { Endpoint } from '../../src/protocol/host.ts';
import { workerLab } from '../../src/protocol/lab.ts';
import { workerDevices } from '../../src/protocol/worker-eval.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { Checkpoints } from '../../src/worker/checkpoints.ts';
import { serveDevices } from '../../src/worker/serve-devices.ts';
import { serveLab } from '../../src/worker/serve-lab.ts';
import { bundleInfer } from '../infer/entry.ts';

let root = '';
let host: Endpoint;
let channel: MessageChannel;
const entry = vi.hoisted(() => ({ path: '' }));
vi.mock('../../src/infer/entry.ts', () => ({ inferEntry: () => entry.path }));

beforeAll(async () => {
  entry.path = await bundleInfer();
  root = await mkdtemp(join(tmpdir(), 'moe-lab-'));
  await writeSampleCheckpoint(join(root, 'tiny'));
  channel = new MessageChannel();
  const served = portEndpoint(channel.port2);
  serveLab(served, new Checkpoints());
  serveDevices(served);
  host = portEndpoint(channel.port1);
}, 60_000);

afterAll(async () => {
  host.close();
  channel.port1.close();
  await rm(root, { recursive: true, force: true });
});

const ask = (recipe: string, text: { file?: string; text?: string } = {}, limit = 4096) => ({
  plan: { file: join(root, 'a.moe.yaml'), text: recipe, preset: null, sets: [], src: null, cwd: root, out: null },
  texts: [{ name: 'words', file: text.file ?? null, text: text.text ?? null }],
  limit,
  device: 'cpu' as const,
});

describe('the router lab', () => {
  it('compares the recipe’s start with the others, layer by layer', async () => {
    const seen: string[] = [];
    const report = await host.request(workerLab, ask('base: tiny\nexperts: 4\nrouter: {init: orthogonal}\n'), {
      onProgress: ({ what }) => seen.push(what),
    });
    expect(report).toMatchObject({ experts: 4, topK: 2, device: 'cpu' });
    expect(report.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(report.results.map(({ init }) => init)).toEqual(['orthogonal', 'normal', 'uniform', 'zero']);
    expect(report.texts).toEqual([{ name: 'words', tokens: report.tokens, whole: true }]);
    expect(report.tokens).toBeGreaterThan(200);
    for (const { load, layers, init } of report.results) {
      expect(load).toHaveLength(4 * layers.length);
      for (const [i, layer] of layers.entries()) {
        expect(load.slice(4 * i, 4 * i + 4).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
        // Zero: every token goes to the first two experts.
        expect(layer.dead).toEqual(init === 'zero' ? [2, 3] : layer.dead);
        expect(layer.condition === null).toBe(init === 'zero');
      }
    }
    expect(seen).toContain('Running the text');
  });

  it('runs as much of a text as it is told, with prompts where the recipe has some', async () => {
    const file = join(root, 'text.txt');
    await writeFile(file, 'The quick brown fox. '.repeat(200));
    const prompts = ['a story', 'a sum'].map((one) => `    - positive_prompts: [${one}]\n`).join('');
    const recipe = `base: tiny\nexperts: 2\ntop_k: 1\nrouter:\n  init: hidden\n  prompts:\n${prompts}`;
    const report = await host.request(workerLab, ask(recipe, { file }, 100));
    expect(report.texts).toEqual([{ name: 'words', tokens: 100, whole: false }]);
    expect(report.results.map(({ init }) => init)).toContain('cheap_embed');
    // As many as the text has: nothing was left out.
    const exact = await host.request(workerLab, ask('base: tiny\nexperts: 2\n', { text: 'word' }, 4096));
    const all = await host.request(workerLab, ask('base: tiny\nexperts: 2\n', { text: 'word' }, exact.tokens));
    expect(all.texts).toEqual([{ name: 'words', tokens: exact.tokens, whole: true }]);
    // Prompts for some experts only are no prompt gate, and no fault of the other starts.
    const some = recipe.replace('experts: 2', 'experts: 4').replace('init: hidden', 'init: normal');
    const without = await host.request(workerLab, ask(some, { file }, 50));
    expect(without.results.map(({ init }) => init)).toEqual(['normal', 'uniform', 'orthogonal', 'zero']);
  });

  it('says what is wrong, and can be cancelled', async () => {
    await expect(host.request(workerLab, ask('base: tiny\nexperts: none\n'))).rejects.toMatchObject({
      code: 'recipe-not-ready',
    });
    await expect(
      host.request(workerLab, ask('base: tiny\n', { file: join(root, 'absent.txt') })),
    ).rejects.toMatchObject({
      code: 'text-unreadable',
      place: { file: join(root, 'absent.txt') },
    });
    await expect(host.request(workerLab, ask('base: tiny\n', { text: '' }))).rejects.toMatchObject({
      code: 'no-tokens',
    });
    const aborter = new AbortController();
    const running = host.request(workerLab, ask('base: tiny\n', { text: 'word '.repeat(4000) }), {
      signal: aborter.signal,
      onProgress: () => {
        aborter.abort();
      },
    });
    await expect(running).rejects.toMatchObject({ kind: 'cancelled' });
  });
});

describe('devices', () => {
  it('are tried one after another; the CPU always works', async () => {
    const seen: string[] = [];
    const { devices, text, steps } = await host.request(
      workerDevices,
      {},
      { onProgress: ({ what }) => seen.push(what) },
    );
    expect(devices[0]).toEqual({ device: 'cpu', available: true, why: null, said: null });
    expect(devices.map(({ device }) => device)).toEqual(seen);
    expect(devices.filter(({ available }) => !available).every(({ why }) => why !== null)).toBe(true);
    expect(text).toMatch(/cpu +CPU +works/);
    for (const { what } of steps) expect(text).toContain(what);
  });
});
