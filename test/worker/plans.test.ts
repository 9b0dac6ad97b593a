/** Recipes and plans as the worker serves them. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePlan } from '../../src/plan/json.ts';
import { portEndpoint } from '../../src/protocol/host.ts';
import type { Endpoint } from '../../src/protocol/host.ts';
import { workerPlan, workerPlanRow, workerPlanText, workerRecipe, workerSavePlan } from '../../src/protocol/worker.ts';
import { SAMPLE_SHAPE, writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { Checkpoints } from '../../src/worker/checkpoints.ts';
import { servePlans } from '../../src/worker/serve-plans.ts';

let root = '';
let host: Endpoint;
let channel: MessageChannel;
const faults: string[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'moe-plans-'));
  await writeSampleCheckpoint(join(root, 'tiny'));
  channel = new MessageChannel();
  servePlans(portEndpoint(channel.port2, { onFault: ({ message }) => faults.push(message) }), new Checkpoints());
  host = portEndpoint(channel.port1);
});

afterAll(async () => {
  host.close();
  channel.port1.close();
  await rm(root, { recursive: true, force: true });
  expect(faults).toEqual([]);
});

const request = (text: string) => ({
  file: join(root, 'a.moe.yaml'),
  text,
  preset: null,
  sets: [],
  src: null,
  cwd: root,
  out: null,
});

describe('recipes', () => {
  it('are judged with the place of each problem', async () => {
    const { recipe, problems, fields } = await host.request(workerRecipe, request('base: tiny\nexprts: 4\n'));
    expect(recipe).toBeNull();
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ severity: 'error', at: { line: 2, column: 1 } });
    expect(fields.length).toBeGreaterThan(15);
  });

  it('that are valid come back with what holds', async () => {
    const { recipe, fields } = await host.request(workerRecipe, request('base: tiny\nexperts: 4\n'));
    expect(recipe).toMatchObject({ basePath: join(root, 'tiny'), values: { experts: 4, top_k: 2 } });
    expect(fields.find(({ field }) => field === 'experts')?.value).toBe(4);
  });
});

describe('plans', () => {
  it('count what the result will have, by arithmetic', async () => {
    const { plan } = await host.request(workerPlan, request('base: tiny\nexperts: 4\n'));
    const { layers, hidden, intermediate } = SAMPLE_SHAPE;
    const expert = 3 * hidden * intermediate;
    expect(plan?.total).toBe((plan?.dense ?? 0) + layers * (3 * expert + 4 * hidden));
    expect(plan).toMatchObject({ targetType: 'mixtral', physicalKnown: false, freeBytes: null, planOnly: null });
    const row = plan?.rows.find(({ experts }) => experts !== '');
    const page = await host.request(workerPlanRow, { hash: plan?.hash ?? '', row: row?.id ?? '', start: 0, count: 5 });
    expect(page.total).toBe(row?.tensors);
    expect(page.tensors[0]?.sources.length).toBeGreaterThan(0);
    const { text } = await host.request(workerPlanText, { hash: plan?.hash ?? '' });
    expect(text).toContain('llama → mixtral');
    const to = join(root, 'a.plan.json');
    const { bytes } = await host.request(workerSavePlan, { hash: plan?.hash ?? '', to });
    const saved = await readFile(to, 'utf8');
    expect(Buffer.byteLength(saved)).toBe(bytes);
    expect(parsePlan(saved, to).hash).toBe(plan?.hash);
  });

  it('know the disk where an output is named', async () => {
    const asked = { ...request('base: tiny\nexperts: 4\n'), out: join(root, 'not', 'there') };
    const { plan } = await host.request(workerPlan, asked);
    expect(plan?.physicalKnown).toBe(true);
    expect(plan?.freeBytes).toBeGreaterThan(0);
  });

  it('of a source that is not there fail; of none there is none; old ones are forgotten', async () => {
    await expect(host.request(workerPlan, request('base: nowhere\n'))).rejects.toMatchObject({ code: 'not-found' });
    expect((await host.request(workerPlan, request('experts: 4\n'))).plan).toBeNull();
    await expect(host.request(workerPlanText, { hash: 'x' })).rejects.toMatchObject({ code: 'plan-outdated' });
  });
});
