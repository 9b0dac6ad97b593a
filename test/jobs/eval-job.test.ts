/** The evaluation and trace jobs of the real job program: results file, journal, cancel, killed model process. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { compareRuns } from '../../src/eval/compare.ts';
import { readDocuments } from '../../src/eval/documents.ts';
import { JobService } from '../../src/jobs/index.ts';
import type { EvalParams, JobView } from '../../src/protocol/jobs.ts';
import { cli } from '../cli/helpers.ts';
import { bundleInto } from '../bundle.ts';
import { bundleInfer } from '../infer/entry.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { keptProof } from '../../src/write/manifest-proof.ts';
import { newPath, until } from './bundle.ts';

let entry: string;
let infer: string;
const dense = newPath('dense');
const moe = newPath('moe');
const data = newPath('data');
const services: JobService[] = [];

const DOCS = 60;
beforeAll(async () => {
  infer = await bundleInfer();
  entry = join(dirname(infer), 'job.js');
  await bundleInto(entry, 'src/job/main.ts');
  await writeSampleCheckpoint(dense);
  const made = await cli(['upcycle', dense, moe, '--set', 'experts=4', '--set', 'top_k=2']);
  expect(made.code).toBe(0);
  mkdirSync(data);
  const rows = Array.from({ length: DOCS }, (_, i) => ({
    query: `The ${String(i)}. cat sat on the mat because`,
    choices: [`it was number ${String(i)}.`, 'it was tired.'],
    gold: i % 2,
  }));
  writeFileSync(join(data, 'copa_validation.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}, 120_000);
afterEach(async () => {
  for (const service of services.splice(0)) await service.dispose();
});
// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

async function open(concurrency = 1): Promise<JobService> {
  const service = await JobService.open({
    folder: newPath('storage'),
    entry,
    tellMs: 5,
    store: { pollMs: 30 },
    concurrency,
  });
  services.push(service);
  service.start();
  return service;
}

function params(path: string, change: Partial<EvalParams> = {}): EvalParams {
  return {
    kind: 'eval',
    path,
    tasks: ['copa'],
    data,
    limit: null,
    numFewshot: null,
    device: 'auto',
    traces: true,
    out: `${newPath('run')}.moe-eval.json`,
    resume: false,
    ...change,
  };
}

interface ResultsFile {
  readonly results: Record<string, Record<string, number>>;
  readonly moe_workbench: {
    readonly documents: unknown;
    readonly resumed_requests: number;
    readonly traces_without?: string | null;
    readonly traces?: { readonly layers: readonly { readonly tokens: number; readonly load: readonly number[] }[] };
  };
}
const fileOf = (path: string): ResultsFile => JSON.parse(readFileSync(path, 'utf8')) as ResultsFile;

/** Waits until some requests are done. */
async function scoring(service: JobService, id: string): Promise<JobView> {
  let job: JobView | null = null;
  await until(
    () => {
      job = service.get(id);
      if (job !== null && job.ended !== null) throw new Error(`ended too soon: ${JSON.stringify(job.error)}`);
      return (job?.progress?.scores?.documents ?? 0) > 0;
    },
    'the first scores',
    60_000,
  );
  if (job === null) throw new Error('no job');
  return job;
}

describe('an evaluation job', () => {
  it('scores as the command line does, tells its running score, and keeps what a comparison needs', async () => {
    const service = await open();
    const [a, b] = [params(dense), params(moe)];
    const first = await service.add(a);
    const second = await service.add(b);
    let seen = '';
    service.onDidChange(() => {
      const scores = service.get(first.id)?.progress?.scores;
      const score = scores?.scores.at(-1);
      if (score !== undefined) seen = `${score.name} ${score.metric} ${String(score.interval !== null)}`;
    });
    expect(await service.ended(first.id)).toMatchObject({ status: 'done', error: null, outcome: { ok: true } });
    expect(await service.ended(second.id)).toMatchObject({ status: 'done', error: null });
    expect(seen).toBe('copa acc true');
    const { json } = await cli(['eval', dense, '--tasks', 'copa', '--data', data, '--json'], { inferEntry: infer });
    const ours = fileOf(a.out);
    expect(ours.results['copa']).toEqual((json() as unknown as ResultsFile).results['copa']);
    expect(existsSync(a.out.replace('.moe-eval.json', '.moe-eval-journal.jsonl'))).toBe(false);
    // A fresh upcycle computes what the dense model computes: every question has the same outcome.
    const paired = compareRuns(
      readDocuments(ours.moe_workbench.documents),
      readDocuments(fileOf(b.out).moe_workbench.documents),
    );
    expect(paired.overall).toMatchObject({ documents: DOCS, gained: 0, lost: 0, p: 1 });
    expect(paired.notes).toEqual([]);
    // Experts were traced where there are some.
    expect(ours.moe_workbench.traces).toBeUndefined();
    const layers = fileOf(b.out).moe_workbench.traces?.layers ?? [];
    expect(layers.length).toBeGreaterThan(0);
    for (const { load, tokens } of layers) {
      expect(tokens).toBeGreaterThan(DOCS);
      expect(load.reduce((sum, one) => sum + one, 0)).toBeCloseTo(1, 9);
    }
  });

  it('cancelled, it can be resumed and comes to the same scores', async () => {
    // Many documents, so that it can be caught in the middle.
    const many = newPath('many');
    mkdirSync(many);
    const row = (i: number): string =>
      JSON.stringify({ query: `Cat ${String(i)} `.repeat(12), choices: [`a${String(i)}`, `b ${String(i)}`], gold: 0 });
    writeFileSync(join(many, 'copa_validation.jsonl'), Array.from({ length: 1200 }, (_, i) => `${row(i)}\n`).join(''));
    const service = await open();
    const asked = params(moe, { data: many });
    const { id } = await service.add(asked);
    await scoring(service, id);
    expect(await service.cancel(id)).toBe(true);
    expect(await service.ended(id)).toMatchObject({ status: 'cancelled', resumable: true });
    const again = await service.resume(id);
    expect(await service.ended(again.id)).toMatchObject({ status: 'done', repeats: id });
    const straight = params(moe, { data: many });
    await service.ended((await service.add(straight)).id);
    expect(fileOf(asked.out).results).toEqual(fileOf(straight.out).results);
    // The experts' statistics too, and nothing stays beside the results.
    expect(fileOf(asked.out).moe_workbench.traces).toEqual(fileOf(straight.out).moe_workbench.traces);
    expect(fileOf(asked.out).moe_workbench.traces_without).toBeNull();
    const name = basename(asked.out).replace('.moe-eval.json', '');
    expect(readdirSync(dirname(asked.out)).filter((one) => one.startsWith(name))).toEqual([basename(asked.out)]);
  });

  it('whose model process is killed fails with words that say so, and can be resumed', async () => {
    const many = newPath('killed');
    mkdirSync(many);
    const row = (i: number): string =>
      JSON.stringify({ query: `Dog ${String(i)} `.repeat(12), choices: [`a${String(i)}`, `b ${String(i)}`], gold: 0 });
    writeFileSync(join(many, 'copa_validation.jsonl'), Array.from({ length: 450 }, (_, i) => `${row(i)}\n`).join(''));
    const service = await open();
    const { id } = await service.add(params(dense, { data: many }));
    const job = await scoring(service, id);
    const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(job.usage?.pid ?? 0)], { encoding: 'utf8' });
    const pids = children.split('\n').flatMap((line) => (line.trim() === '' ? [] : [Number(line)]));
    expect(pids.length).toBeGreaterThan(0);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    const ended = await service.ended(id);
    expect(ended).toMatchObject({ status: 'failed', resumable: true, error: { code: 'job-killed' } });
    expect(ended.error?.message).toContain('The model process was killed (SIGKILL)');
  });
});

describe('field cases', () => {
  const alive = (pid: number): boolean => existsSync(`/proc/${String(pid)}`);

  it.skipIf(process.platform !== 'linux')(
    'G6-06: ten evaluations in a row are ten processes that end; their parent does not grow',
    async () => {
      const service = await open();
      const pids = new Set<number>();
      service.onDidChange(() => {
        for (const { usage } of service.list()) if (usage !== null) pids.add(usage.pid);
      });
      const one = async (): Promise<void> => {
        const { id } = await service.add(params(moe, { limit: 1 }));
        expect(await service.ended(id)).toMatchObject({ status: 'done' });
      };
      await one();
      const before = process.memoryUsage().rss;
      for (let i = 0; i < 10; i++) await one();
      // The fault that was reported grew by 670 MB.
      expect(process.memoryUsage().rss - before).toBeLessThan(80e6);
      expect(pids.size).toBeGreaterThanOrEqual(8);
      expect([...pids].filter(alive)).toEqual([]);
    },
  );

  it('G6-07: two at once; one is cancelled and started again, the other goes on', async () => {
    const service = await open(2);
    const many = newPath('two');
    mkdirSync(many);
    const row = (i: number): string =>
      JSON.stringify({ query: `Cow ${String(i)} `.repeat(12), choices: [`a${String(i)}`, `b ${String(i)}`], gold: 0 });
    writeFileSync(join(many, 'copa_validation.jsonl'), Array.from({ length: 450 }, (_, i) => `${row(i)}\n`).join(''));
    const [a, b] = [await service.add(params(moe, { data: many })), await service.add(params(dense, { data: many }))];
    const [first] = await Promise.all([scoring(service, a.id), scoring(service, b.id)]);
    expect(await service.cancel(a.id)).toBe(true);
    expect(await service.ended(a.id)).toMatchObject({ status: 'cancelled', resumable: true });
    expect(['running', 'done']).toContain(service.get(b.id)?.status);
    if (process.platform === 'linux') expect(alive(first.usage?.pid ?? 0)).toBe(false);
    const again = await service.resume(a.id);
    expect(await service.ended(again.id)).toMatchObject({ status: 'done' });
    expect(await service.ended(b.id)).toMatchObject({ status: 'done' });
  });
});

describe('a verify job that also compares logits', () => {
  it('runs both, keeps the proof and says what it shows', async () => {
    const service = await open();
    const { id } = await service.add({ kind: 'verify', out: moe, sources: [dense], logits: true, device: 'cpu' });
    const job = await service.ended(id);
    expect(job).toMatchObject({ status: 'done', outcome: { ok: true } });
    expect(job.outcome?.summary).toContain('computes what its plan promises');
    const result = await service.result(id);
    expect(result?.text).toMatch(/ok +logits +relative/);
    expect(await keptProof(join(moe, 'moe-manifest.json'))).toMatchObject({ ok: true, limit: 1e-5 });
  });

  it('says where there is no source to run', async () => {
    const service = await open();
    const { id } = await service.add({ kind: 'verify', out: moe, sources: [], logits: true });
    expect(await service.ended(id)).toMatchObject({ status: 'done', outcome: { ok: true } });
    const { lines } = await service.log(id);
    expect(lines.map(({ message }) => message).join('\n')).toContain('What both compute is not compared');
  });
});

describe('a trace job', () => {
  it('sums up each text as a domain; a dense model has nothing to trace', async () => {
    const service = await open();
    const out = `${newPath('trace')}.moe-eval.json`;
    const texts = [
      { name: 'prose', file: null, text: 'A cat sat on the mat. '.repeat(20) },
      { name: 'code', file: null, text: 'for (let i = 0; i < 10; i++) {}\n'.repeat(20) },
    ];
    const trace = { kind: 'trace', texts, limit: null, device: 'cpu' } as const;
    const { id } = await service.add({ ...trace, path: moe, out });
    expect(await service.ended(id)).toMatchObject({ status: 'done', error: null });
    const { traces } = (
      JSON.parse(readFileSync(out, 'utf8')) as {
        moe_workbench: { traces: { layers: { domains: { domain: string; share: number[] }[] }[] } };
      }
    ).moe_workbench;
    for (const { domains } of traces.layers) {
      expect(domains.map(({ domain }) => domain)).toEqual(['prose', 'code']);
      for (const { share } of domains) expect(share.reduce((sum, one) => sum + one, 0)).toBeCloseTo(2, 9);
    }
    // What a limit leaves out is said, in the report and in the file.
    const short = `${newPath('short')}.moe-eval.json`;
    const limited = await service.add({ ...trace, path: moe, out: short, limit: 30 });
    expect(await service.ended(limited.id)).toMatchObject({ status: 'done' });
    const note = /Of prose the first 30 of \d+ tokens are traced\./;
    expect((await service.result(limited.id))?.text).toMatch(note);
    const kept = JSON.parse(readFileSync(short, 'utf8')) as { moe_workbench: { notes: string[] } };
    expect(kept.moe_workbench.notes[0]).toMatch(note);
    expect(kept.moe_workbench.notes).toHaveLength(2);
    const refused = await service.add({ ...trace, path: dense, out: `${newPath('x')}.moe-eval.json` });
    expect(await service.ended(refused.id)).toMatchObject({ status: 'failed', error: { code: 'no-experts' } });
  });
});
