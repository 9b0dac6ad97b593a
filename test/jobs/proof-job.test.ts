/** Logits in verify and upcycle jobs of the real job program: proven, different, approximate, left out and told. */
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readHeaderSync } from 'safetensors-js';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { JobService } from '../../src/jobs/index.ts';
import type { JobParams, JobView } from '../../src/protocol/jobs.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { withProof } from '../../src/job/logits.ts';
import { keptProof } from '../../src/write/manifest-proof.ts';
import { bundleInto } from '../bundle.ts';
import { bundleInfer } from '../infer/entry.ts';
import { newPath, until } from './bundle.ts';
import { upcycleOf } from './params.ts';

let entry: string;
const dense = newPath('dense');
const services: JobService[] = [];

beforeAll(async () => {
  entry = join(dirname(await bundleInfer()), 'proof-job.js');
  await bundleInto(entry, 'src/job/main.ts');
  await writeSampleCheckpoint(dense);
}, 120_000);
afterEach(async () => {
  for (const service of services.splice(0)) await service.dispose();
});
vi.setConfig({ testTimeout: 120_000 });

async function run(params: JobParams): Promise<JobView> {
  const service = await JobService.open({ folder: newPath('storage'), entry, tellMs: 5, store: { pollMs: 30 } });
  services.push(service);
  service.start();
  const { id } = await service.add(params);
  await until(() => service.get(id)?.ended !== null, 'the job to end', 100_000);
  const job = service.get(id);
  if (job === null) throw new Error('no job');
  expect(job.error).toBeNull();
  return job;
}

const reportOf = (job: JobView): string =>
  (JSON.parse(readFileSync(job.resultFile ?? '', 'utf8')) as { text: string }).text;
const four = 'experts: 4\ntop_k: 2\n';

describe('logits in jobs', () => {
  it('an exact upcycle proves itself', async () => {
    const out = newPath('moe');
    const params = upcycleOf(dense, out, { verify: true, logits: 'auto', device: 'cpu' }, four);
    const job = await run(params);
    expect(job.status).toBe('done');
    expect(job.outcome).toMatchObject({
      ok: true,
      logits: { state: 'passed', class: 'exact', limit: 1e-5, nonFinite: 0, device: 'cpu' },
    });
    const { logits } = job.outcome ?? {};
    expect(logits?.relativeNorm).toBeLessThan(1e-5);
    expect(logits?.positions).toBeGreaterThan(200);
    expect(logits?.argmaxEqual).toBe(logits?.positions);
    expect(job.outcome?.summary).toMatch(/verified against the source, (logits agree|all logits equal)$/);
    expect(reportOf(job)).toMatch(/Both models compute the same on \d+ tokens of the built-in text/);
    expect(await keptProof(join(out, 'moe-manifest.json'))).toMatchObject({ ok: true, class: 'exact' });
  });

  it('what the plan does not promise is reported, not judged', async () => {
    const recipe = `${four}expert_init: {method: noise, std: 0.05, ratio: 0.5}\n`;
    const params = upcycleOf(dense, newPath('noisy'), { verify: true, logits: 'always', device: 'cpu' }, recipe);
    const job = await run(params);
    expect(job.outcome).toMatchObject({ ok: true, logits: { state: 'reported', limit: null } });
    expect(job.outcome?.logits?.relativeNorm).toBeGreaterThan(1e-4);
  });

  it('a damaged output is red in bytes and logits', async () => {
    const out = newPath('damaged');
    await run(upcycleOf(dense, out, {}, four));
    for (const name of readdirSync(out).filter((one) => one.endsWith('.safetensors'))) {
      const file = join(out, name);
      const header = readHeaderSync(file);
      const norm = [...header.tensors.values()].find((one) => one.name.endsWith('input_layernorm.weight'));
      if (norm === undefined) continue;
      const handle = openSync(file, 'r+');
      // 3.0 and more in bfloat16 and float32.
      writeSync(handle, Buffer.from([0x40, 0x40, 0x40, 0x40]), 0, 4, header.dataStart + norm.begin);
      closeSync(handle);
    }
    const job = await run({ kind: 'verify', out, sources: [dense], logits: true, device: 'cpu' });
    expect(job.status).toBe('checked-bad');
    expect(job.outcome).toMatchObject({ ok: false, logits: { state: 'failed', limit: 1e-5 } });
    expect(job.outcome?.logits?.relativeNorm).toBeGreaterThan(1e-4);
  });

  it('nobody is asked, nothing is run', async () => {
    const out = newPath('moe');
    const plain = await run(upcycleOf(dense, out, { verify: true }, four));
    expect(plain.outcome).not.toHaveProperty('logits');
    expect(await keptProof(join(out, 'moe-manifest.json'))).toBeNull();
  });

  it('a large source is left out unless it must be run; what cannot be run is told, and fails only what asked for it', async () => {
    const checkpoint = await openCheckpoint(dense);
    const lines: string[] = [];
    const context = {
      signal: new AbortController().signal,
      progress: () => undefined,
      log: (_: string, message: string) => lines.push(message),
      keepPartial: () => false,
    };
    const report = { ok: true, planHash: 'x', proven: [], notProven: [], checks: [], problems: [] };
    const bytes = report as unknown as Parameters<typeof withProof>[0];
    const [file] = checkpoint.files;
    if (file === undefined) throw new Error('no file');
    const large = { ...checkpoint, files: [{ ...file, bytes: 2_000_000_001 }] };
    const wish = { out: newPath('none'), source: large, choice: 'auto', device: 'cpu' } as const;
    const left = await withProof(bytes, wish, context);
    expect(left.check).toMatchObject({
      state: 'skipped',
      why: expect.stringMatching(/2\.0\d? GB.*proveLogits/) as string,
    });
    expect(left.report.notProven).toHaveLength(1);
    expect(lines.join()).toContain('What both compute is not compared');
    // Beside this test there is no model process to start.
    const broken = await withProof(bytes, { ...wish, choice: 'always' }, context);
    expect(broken.check).toMatchObject({ state: 'skipped', why: expect.stringContaining('infer.js') as string });
    expect(broken.report.ok).toBe(true);
    await expect(withProof(bytes, { ...wish, choice: 'always', must: true }, context)).rejects.toMatchObject({
      code: 'infer-entry-missing',
    });
  });
});
