/** The real job program on a small checkpoint: every kind, cancelled, killed, resumed, over two windows. */
import { createHash } from 'node:crypto';
import { existsSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync, closeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { buildPlan } from '../../src/plan/build.ts';
import { planToText } from '../../src/plan/json.ts';
import { loadRecipe } from '../../src/recipe/load.ts';
import { JobService } from '../../src/jobs/index.ts';
import type { JobServiceOptions } from '../../src/jobs/index.ts';
import type { JobView, UpcycleParams } from '../../src/protocol/jobs.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { readManifest } from '../../src/write/index.ts';
import { bundleJob, newPath, until } from './bundle.ts';
import { doctorOf, upcycleOf } from './params.ts';

let entry: string;
let dense: string;
/** Slow enough to be interrupted: noise is computed value by value. Many files, so that some are finished then. */
const recipe = (experts: number): string =>
  `experts: ${String(experts)}\ntop_k: 2\nexpert_init: {method: noise, std: 0.01, ratio: 0.5}\noutput: {shard_size: 500kB}\n`;
/** Long enough to be met midway by somebody who looks ever so often, on a machine that does other things. */
const RESUMED = recipe(12);
/** Never runs to its end. */
const CANCELLED = recipe(48);
const services: JobService[] = [];

beforeAll(async () => {
  entry = await bundleJob();
  dense = newPath('dense');
  await writeSampleCheckpoint(dense);
});
afterEach(async () => {
  for (const service of services.splice(0)) await service.dispose();
});

async function open(options: Partial<JobServiceOptions> = {}): Promise<JobService> {
  const service = await JobService.open({
    folder: newPath('storage'),
    entry,
    tellMs: 5,
    store: { pollMs: 30 },
    ...options,
  });
  services.push(service);
  service.start();
  return service;
}

const slow = (out: string, change: Partial<UpcycleParams> = {}, text = RESUMED): UpcycleParams =>
  upcycleOf(dense, out, change, text);

/** Waits until some of the output is written, and not all. */
async function midway(service: JobService, id: string, share: number): Promise<JobView> {
  let job: JobView | null = null;
  await until(
    () => {
      job = service.get(id);
      if (job !== null && job.ended !== null) throw new Error(`ended too soon: ${JSON.stringify(job.error)}`);
      const progress = job?.progress;
      return progress?.phase === 'write' && progress.bytesDone > share * progress.bytesTotal;
    },
    'the job to be midway',
    60_000,
  );
  if (job === null) throw new Error('no job');
  return job;
}

/** Digests of all weight files, and of all tensors by the manifest. */
function digestsOf(out: string): unknown {
  const manifest = readManifest(join(out, 'moe-manifest.json'));
  const weights = readdirSync(out)
    .filter((name) => name.endsWith('.safetensors'))
    .sort()
    .map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(out, name)))
        .digest('hex'),
    ]);
  return { weights, tensors: manifest.tensors, planHash: manifest.planHash };
}

/** What lies beside `out`: nothing of ours, or the partial run. */
const beside = (out: string): string[] => readdirSync(dirname(out)).filter((name) => name.includes('moe-partial'));

/** Waits until a file of the output is finished for good: bytes written say nothing of that on a slow disk. */
async function finishedFile(out: string): Promise<void> {
  await until(
    () =>
      beside(out).some((name) => {
        const journal = join(dirname(out), name, 'journal.jsonl');
        // A header line, and one for each file.
        return existsSync(journal) && readFileSync(journal, 'utf8').split('\n').length > 2;
      }),
    'a finished file',
    60_000,
  );
}

let straight: unknown;
async function straightRun(): Promise<unknown> {
  if (straight !== undefined) return straight;
  const service = await open();
  const out = join(newPath('out'), 'moe');
  const { id } = await service.add(slow(out));
  expect(await service.ended(id)).toMatchObject({ status: 'done' });
  return (straight = digestsOf(out));
}

describe('an upcycle job', () => {
  it('writes, tells of its progress, verifies, and leaves history, log and result', async () => {
    const service = await open();
    const out = join(newPath('out'), 'moe');
    const phases = new Set<string>();
    service.onDidChange(() => {
      const phase = service.list()[0]?.progress?.phase;
      if (phase !== undefined) phases.add(phase);
    });
    const { id } = await service.add(slow(out, { verify: true }, recipe(4)));
    await until(() => service.get(id)?.usage !== null, 'a first heartbeat');
    const job = await service.ended(id);
    expect(job).toMatchObject({ status: 'done', outcome: { ok: true }, error: null, resumable: false });
    expect(job.outcome?.summary).toMatch(
      /^mixtral, 4\.76M parameters \(2\.60M active\), 9\.5 MB written to .* in .* s; verified against the source$/,
    );
    expect(phases).toContain('write');
    expect(phases).toContain('verify');
    const result = await service.result(id);
    expect(result?.report).toMatchObject({ out, verification: { ok: true, againstSource: true } });
    expect(result?.text).toContain('Verified in');
    const { lines } = await service.log(id);
    expect(lines.map(({ message }) => message).join('\n')).toMatch(
      /started[^]*Opening[^]*Plan [0-9a-f]{64}: 154 tensors/,
    );
    expect(existsSync(join(out, 'config.json'))).toBe(true);
    expect(beside(out)).toEqual([]);
  });

  it('cancelled midway leaves nothing, where that is wished', async () => {
    const service = await open();
    const out = join(newPath('out'), 'moe');
    const { id } = await service.add(slow(out, {}, CANCELLED));
    await midway(service, id, 0.02);
    expect(await service.cancel(id, false)).toBe(true);
    expect(service.get(id)).toMatchObject({ cancelling: true });
    const job = await service.ended(id);
    expect(job).toMatchObject({ status: 'cancelled', error: { kind: 'cancelled' }, cancelling: false });
    expect(job.error?.message).toContain('nothing is left');
    expect(readdirSync(dirname(out))).toEqual([]);
  });

  it('cancelled midway keeps what is finished, and resumes to the same bytes', async () => {
    const service = await open();
    const out = join(newPath('out'), 'moe');
    const { id } = await service.add(slow(out));
    await midway(service, id, 0.4);
    await finishedFile(out);
    await service.cancel(id, true);
    const job = await service.ended(id);
    expect(job).toMatchObject({ status: 'cancelled', resumable: true });
    // Words for somebody who has buttons.
    expect(job.error?.place.hint).toContain('Resume the job');
    expect(existsSync(out)).toBe(false);
    expect(beside(out)).toHaveLength(1);
    const resumed = await service.resume(id);
    expect(resumed).toMatchObject({ repeats: id, title: job.title });
    expect(await service.ended(resumed.id)).toMatchObject({ status: 'done' });
    expect((await service.result(resumed.id))?.report).toMatchObject({
      resumedFiles: expect.toSatisfy((n: number) => n > 0) as number,
    });
    expect(digestsOf(out)).toEqual(await straightRun());
    expect(beside(out)).toEqual([]);
  });

  it('killed with SIGKILL midway becomes a clear error, and resumes to the same bytes', async () => {
    const service = await open();
    const out = join(newPath('out'), 'moe');
    const { id } = await service.add(slow(out));
    await midway(service, id, 0.4);
    await finishedFile(out);
    await until(() => service.get(id)?.usage !== null, 'the process id');
    process.kill(service.get(id)?.usage?.pid ?? 0, 'SIGKILL');
    const job = await service.ended(id);
    expect(job).toMatchObject({ status: 'failed', resumable: true, error: { code: 'job-killed', kind: 'resources' } });
    expect(job.error?.message).toMatch(/killed \(SIGKILL\); it had .* at \d+ % of phase write/);
    expect(existsSync(out)).toBe(false);
    const resumed = await service.resume(id);
    expect(await service.ended(resumed.id)).toMatchObject({ status: 'done' });
    expect((await service.result(resumed.id))?.report).toMatchObject({
      resumedFiles: expect.toSatisfy((n: number) => n > 0) as number,
    });
    expect(digestsOf(out)).toEqual(await straightRun());
  });

  it('interrupted by its window closing can be resumed from another', async () => {
    const first = await open();
    const out = join(newPath('out'), 'moe');
    const { id } = await first.add(slow(out));
    await midway(first, id, 0.2);
    await first.dispose();
    const second = await open({ folder: first.store.layout.folder });
    expect(second.get(id)).toMatchObject({
      status: 'interrupted',
      resumable: true,
      error: { code: 'job-interrupted' },
    });
    const resumed = await second.resume(id);
    expect(await second.ended(resumed.id)).toMatchObject({ status: 'done' });
    expect(digestsOf(out)).toEqual(await straightRun());
  });

  it('does not run another plan than the one that was reviewed', async () => {
    const service = await open();
    const out = join(newPath('out'), 'moe');
    const { id } = await service.add(upcycleOf(dense, out, { planHash: 'f'.repeat(64) }));
    expect(await service.ended(id)).toMatchObject({ status: 'failed', error: { code: 'plan-changed' } });
    expect(existsSync(out)).toBe(false);
  });

  it('runs a saved plan, but not on a source that was changed since', async () => {
    const service = await open();
    const source = newPath('source');
    await writeSampleCheckpoint(source);
    const checkpoint = await openCheckpoint(source);
    const { recipe } = loadRecipe({ text: 'experts: 2\ntop_k: 1\n', sets: [], src: source, cwd: dirname(source) });
    const file = `${newPath('saved')}.json`;
    writeFileSync(file, planToText(buildPlan(recipe, [checkpoint])));
    const run = (out: string): Promise<JobView> =>
      service.add(upcycleOf(source, out, { from: { type: 'plan', file } }));
    const good = await run(newPath('moe'));
    expect(await service.ended(good.id)).toMatchObject({ status: 'done' });
    const config = join(source, 'config.json');
    const text = readFileSync(config, 'utf8');
    const changed = text.replace(/("rms_norm_eps": )[^,\n]+/, '$10.01');
    expect(changed).not.toBe(text);
    writeFileSync(config, changed);
    const bad = await run(newPath('moe'));
    expect(await service.ended(bad.id)).toMatchObject({ status: 'failed', error: { code: 'plan-outdated' } });
  });

  it('fails with the core’s own error, place and all', async () => {
    const service = await open();
    const { id } = await service.add(upcycleOf(newPath('nothing-there'), join(newPath('out'), 'moe')));
    const job = await service.ended(id);
    expect(job).toMatchObject({ status: 'failed', error: { kind: 'input' } });
    expect(job.error?.message).toContain('nothing-there');
    const bad = await service.add(upcycleOf(dense, join(newPath('out'), 'moe'), {}, 'experts: 2\ntop_k: 3\n'));
    expect(await service.ended(bad.id)).toMatchObject({
      status: 'failed',
      error: { kind: 'input', place: { field: 'top_k' } },
    });
  });
});

describe('the other kinds', () => {
  it('verify, find damage, revert, examine', async () => {
    const service = await open();
    const out = join(newPath('out'), 'moe');
    const dest = join(newPath('back'), 'dense');
    const run = async (params: Parameters<JobService['add']>[0]): Promise<JobView> =>
      service.ended((await service.add(params)).id);

    expect(await run(upcycleOf(dense, out))).toMatchObject({ status: 'done' });
    expect(await run({ kind: 'verify', out, sources: [dense] })).toMatchObject({
      status: 'done',
      outcome: { ok: true },
    });
    expect(await run({ kind: 'revert', out, dest, parent: 0, overwrite: false })).toMatchObject({ status: 'done' });
    const name = 'model.safetensors';
    expect(readFileSync(join(dest, name)).equals(readFileSync(join(dense, name)))).toBe(true);
    const healthy = await run(doctorOf(dest));
    expect(healthy).toMatchObject({ status: 'done', outcome: { ok: true } });
    expect((await service.result(healthy.id))?.report).toMatchObject({ healthy: true });

    // One bit of the output's data flips.
    const victim = join(out, readdirSync(out).find((file) => file.endsWith('.safetensors')) ?? '');
    const bytes = readFileSync(victim);
    const file = openSync(victim, 'r+');
    writeSync(file, Buffer.from([(bytes.at(-1) ?? 0) ^ 1]), 0, 1, bytes.length - 1);
    closeSync(file);
    const damaged = await run({ kind: 'verify', out, sources: [] });
    expect(damaged).toMatchObject({ status: 'checked-bad', outcome: { ok: false }, error: null });
    expect(damaged.outcome?.summary).toContain('not what was written');
  });
});

describe('two windows over one storage folder', () => {
  it('start each job once, one after the other, and both see all of it', async () => {
    const left = await open();
    const right = await open({ folder: left.store.layout.folder });
    const jobs: string[] = [];
    for (let i = 0; i < 4; i++) jobs.push((await (i % 2 === 0 ? left : right).add(doctorOf(dense))).id);
    const ended = await Promise.all(jobs.map((id) => left.ended(id)));
    expect(ended.map(({ status }) => status)).toEqual(['done', 'done', 'done', 'done']);
    for (const id of jobs) {
      const { lines } = await left.log(id);
      expect(lines.filter(({ message }) => message.endsWith(': started'))).toHaveLength(1);
    }
    for (let i = 1; i < ended.length; i++) expect((ended[i]?.started ?? '') >= (ended[i - 1]?.ended ?? 'z')).toBe(true);
    await right.store.refresh();
    expect(right.list().map(({ id, status }) => [id, status])).toEqual(
      left.list().map(({ id, status }) => [id, status]),
    );
  });

  it('cancel each other’s jobs and see each other’s progress', async () => {
    const left = await open();
    const right = await open({ folder: left.store.layout.folder });
    right.pause();
    const out = join(newPath('out'), 'moe');
    const { id } = await left.add(slow(out, {}, CANCELLED));
    await midway(right, id, 0);
    expect(right.get(id)).toMatchObject({ mine: false, status: 'running' });
    expect(left.get(id)).toMatchObject({ mine: true });
    await right.cancel(id, false);
    expect(await right.ended(id)).toMatchObject({ status: 'cancelled' });
    expect(existsSync(out)).toBe(false);
  });
});
