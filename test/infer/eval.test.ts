/** moe eval and moe trace: the harness's own numbers on stories260K, resume, cancel, and which experts answered. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import type { JsonObject } from '../../src/common/json.ts';
import { cli, errorOf, scratch } from '../cli/helpers.ts';
import { sharedFolder, smollm2Gguf } from '../score/models.ts';
import { bundleInfer, root } from './entry.ts';

let inferEntry = '';
const [folder, remove] = scratch();
const sample = path.join(folder, 'sample');
const data = path.join(folder, 'data');
const env = { MOE_CACHE: path.join(root, '.cache', 'gguf') };

beforeAll(async () => {
  inferEntry = await bundleInfer();
  await writeSampleCheckpoint(sample);
  fs.mkdirSync(data);
  const rows = Array.from({ length: 40 }, (_, i) => ({
    query: `The ${i}. cat sat on the mat because`,
    choices: [`it was number ${i}.`, 'it was tired.'],
    gold: i % 2,
  }));
  fs.writeFileSync(path.join(data, 'copa_validation.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}, 60_000);
afterAll(remove);

interface Results {
  readonly results: Record<string, Record<string, number | string>>;
  readonly moe_workbench: JsonObject;
}
/** A task of a goldens file; the 5-shot one holds likelihoods by subject instead. */
interface GoldenTask {
  readonly lls: number[][];
  readonly subtasks: Record<string, { readonly lls: number[][] }>;
}
interface SampleLine {
  readonly task: string;
  readonly doc_id: number;
  readonly resps: [[string, string]][];
}

async function evaluate(
  model: string,
  ...argv: string[]
): Promise<{ json: Results; samples: SampleLine[]; err: string }> {
  const file = path.join(folder, 'samples.jsonl');
  const ran = await cli(['eval', model, ...argv, '--samples', file, '--json'], { inferEntry, env });
  expect({ code: ran.code, err: ran.code === 0 ? '' : ran.err }).toEqual({ code: 0, err: '' });
  const lines = fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  return {
    json: ran.json() as unknown as Results,
    samples: lines.map((line) => JSON.parse(line) as SampleLine),
    err: ran.err,
  };
}

const likelihoods = (samples: readonly SampleLine[]): number[][] =>
  samples.map(({ resps }) => resps.map(([[value]]) => Number(value)));

function near(actual: readonly (readonly number[])[], expected: readonly (readonly number[])[]): void {
  expect(actual.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
  expected.forEach((row, i) => {
    row.forEach((value, j) => {
      expect(Math.abs((actual[i]?.[j] ?? Number.NaN) - value)).toBeLessThan(1e-3);
    });
  });
}

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

describe('moe eval', () => {
  it('scores, writes samples, and goes on from a journal with the same outcome', async () => {
    const argv = ['--tasks', 'copa', '--data', data];
    const first = await evaluate(sample, ...argv);
    expect(first.json.results['copa']).toMatchObject({ sample_len: 40 });
    expect(first.samples.map(({ task, doc_id }) => [task, doc_id])).toEqual(
      Array.from({ length: 40 }, (_, i) => ['copa', i]),
    );
    const journal = path.join(folder, 'journal.jsonl');
    await evaluate(sample, ...argv, '--limit', '15', '--journal', journal);
    const resumed = await evaluate(sample, ...argv, '--journal', journal);
    expect(resumed.json.moe_workbench['resumed_requests']).toBe(30);
    near(likelihoods(resumed.samples), likelihoods(first.samples));
    expect(resumed.json.results['copa']).toEqual(first.json.results['copa']);
  });

  it('a journal of other weights is refused; a dense model has no experts to trace', async () => {
    const other = path.join(folder, 'other');
    fs.cpSync(sample, other, { recursive: true });
    const journal = path.join(folder, 'journal.jsonl');
    const ran = await cli(['eval', other, '--tasks', 'copa', '--data', data, '--journal', journal, '--json'], {
      inferEntry,
    });
    expect(errorOf(ran)).toMatchObject({ code: 'journal-of-other-run' });
    const trace = await cli(['eval', sample, '--tasks', 'copa', '--data', data, '--trace', 'x.json', '--json'], {
      inferEntry,
    });
    expect(errorOf(trace)).toMatchObject({ code: 'no-experts' });
  });

  it('cancelled: exit 130, at once', async () => {
    const abort = new AbortController();
    const running = cli(['eval', sample, '--tasks', 'copa', '--data', data, '--json'], {
      inferEntry,
      signal: abort.signal,
    });
    setTimeout(() => {
      abort.abort();
    }, 150);
    const ran = await running;
    expect(ran.code).toBe(130);
    expect(errorOf(ran)['code']).toMatch(/cancelled/);
  });

  it('asks for sense', async () => {
    const code = async (...argv: string[]): Promise<unknown> =>
      errorOf(await cli(['eval', sample, ...argv, '--json'], { inferEntry }))['code'];
    expect(await code()).toBe('tasks-missing');
    expect(await code('--tasks', 'copa', '--limit', '0')).toBe('bad-number');
    expect(await code('--tasks', 'copa', '--add-bos', 'maybe')).toBe('bad-add-bos');
    expect(await code('--tasks', 'copa', '--profile', 'x')).toBe('bad-profile');
    expect(await code('--tasks', 'copa', '--weights', 'x')).toBe('bad-weights');
  });

  const stories = sharedFolder('models', 'stories260K');
  const golden = sharedFolder('data', 'goldens', 'stories260K.harness.json.gz');
  const evalData = sharedFolder('data', 'eval');
  const absent = stories === null || golden === null || evalData === null;
  const tasks = absent
    ? {}
    : (
        JSON.parse(gunzipSync(fs.readFileSync(golden)).toString('utf8')) as {
          tasks: Record<string, GoldenTask>;
        }
      ).tasks;

  it.skipIf(absent)(
    'stories260K, copa: the harness’s wording and the file’s own, with accuracy and standard error',
    async () => {
      const argv = ['--tasks', 'copa,copa_as_written', '--data', evalData ?? '', '--max-length', '2048'];
      const { json, samples } = await evaluate(stories ?? '', ...argv);
      const golden100 = tasks['copa@max_length=2048'];
      near(likelihoods(samples.filter(({ task }) => task === 'copa_as_written')), golden100?.lls ?? []);
      expect(json.results['copa_as_written']).toMatchObject({ sample_len: 100, 'acc,none': 0.64 });
      expect(json.results['copa_as_written']?.['acc_stderr,none']).toBeCloseTo(0.0482418151324, 12);
      // ../shared/reference/eval-and-finetune.md, section 4.1: two spaces before each choice.
      expect(json.results['copa']).toMatchObject({ 'acc,none': 0.65 });
      expect(json.results['copa']?.['acc_stderr,none']).toBeCloseTo(0.0479372485441, 12);
    },
  );

  it.skipIf(absent)(
    'stories260K, 0-shot MMLU cut to 512 tokens: two subjects whole',
    async () => {
      const expected = tasks['mmlu@max_length=512']?.subtasks ?? {};
      expect(Object.keys(expected)).toHaveLength(29);
      const subjects = Object.keys(expected).filter((_, i) => i % 15 === 0);
      const { samples } = await evaluate(stories ?? '', ...['--tasks', subjects.join(), '--data', evalData ?? '']);
      for (const task of subjects)
        near(likelihoods(samples.filter((line) => line.task === task)), expected[task]?.lls ?? []);
    },
    120_000,
  );

  it.skipIf(absent)('stories260K, hellaswag: first 40 documents of the harness’s run', async () => {
    const { samples } = await evaluate(
      stories ?? '',
      ...['--tasks', 'hellaswag', '--data', evalData ?? '', '--limit', '40', '--max-length', '2048'],
    );
    near(likelihoods(samples), tasks['hellaswag@max_length=2048']?.lls.slice(0, 40) ?? []);
  });

  it.skipIf(absent)(
    'stories260K, 5-shot MMLU cut to 512 tokens: six subjects',
    async () => {
      const expected = (tasks['mmlu_5shot@max_length=512,limit=2'] ?? {}) as Record<string, number[][]>;
      expect(Object.keys(expected)).toHaveLength(57);
      const subjects = Object.keys(expected).filter((_, i) => i % 10 === 0);
      const { samples } = await evaluate(
        stories ?? '',
        ...['--tasks', subjects.join(), '--data', evalData ?? '', '--limit', '2', '--num-fewshot', '5'],
      );
      for (const task of subjects)
        near(likelihoods(samples.filter((line) => line.task === task)), expected[task] ?? []);
    },
    120_000,
  );

  const ggufGolden = sharedFolder('data', 'goldens', 'smollm2-135m.gguf.harness.json.gz');
  it.skipIf(smollm2Gguf === null || ggufGolden === null || evalData === null)(
    'SmolLM2 as GGUF: arc_challenge',
    async () => {
      const { tasks: all } = JSON.parse(gunzipSync(fs.readFileSync(ggufGolden ?? '')).toString('utf8')) as {
        tasks: Record<string, { docs: { requests: { ll: number }[] }[] }>;
      };
      const { samples } = await evaluate(
        smollm2Gguf ?? '',
        ...['--tasks', 'arc_challenge', '--data', evalData ?? '', '--limit', '4'],
      );
      const docs = all['arc_challenge']?.docs.slice(0, 4) ?? [];
      near(
        likelihoods(samples),
        docs.map(({ requests }) => requests.map(({ ll }) => ll)),
      );
    },
    120_000,
  );
});

describe('expert traces', () => {
  it('of texts and of an evaluation: every token counted, by domain', async () => {
    const moe = path.join(folder, 'moe');
    expect((await cli(['upcycle', sample, moe, '--set', 'experts=4', '--set', 'top_k=2', '--json'])).code).toBe(0);
    const [one, two] = [path.join(folder, 'one.txt'), path.join(folder, 'two.txt')];
    fs.writeFileSync(one, 'The cat sat on the mat. '.repeat(60));
    fs.writeFileSync(two, 'Numbers: 1 2 3 4 5.');
    const csv = path.join(folder, 'csv');
    const ran = await cli(['trace', moe, '--text', one, two, '--csv', csv, '--json'], { inferEntry });
    expect(ran.code).toBe(0);
    const report = ran.json() as unknown as {
      texts: { domain: string; tokens: number }[];
      layers: { tokens: number; counts: number[]; load: number[]; domains: { domain: string; tokens: number }[] }[];
    };
    const total = report.texts.reduce((sum, { tokens }) => sum + tokens, 0);
    for (const { tokens, counts, load, domains } of report.layers) {
      expect(tokens).toBe(total);
      expect(counts.reduce((a, b) => a + b, 0)).toBe(2 * total);
      expect(load.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
      expect(domains.map(({ domain, tokens: n }) => ({ domain, tokens: n }))).toEqual(
        report.texts.map(({ domain, tokens: n }) => ({ domain, tokens: n })),
      );
    }
    const experts = fs.readFileSync(path.join(csv, 'experts.csv'), 'utf8').trim().split('\n');
    expect(experts).toHaveLength(1 + 4 * report.layers.length);
    expect(fs.readdirSync(csv).sort()).toEqual(['coactivation.csv', 'domains.csv', 'experts.csv', 'layers.csv']);

    const file = path.join(folder, 'trace.json');
    const dense = await evaluate(sample, '--tasks', 'copa', '--data', data, '--limit', '5');
    const traced = await evaluate(moe, '--tasks', 'copa', '--data', data, '--limit', '5', '--trace', file);
    // An exact upcycle scores as its parent does.
    near(likelihoods(traced.samples), likelihoods(dense.samples));
    const written = JSON.parse(fs.readFileSync(file, 'utf8')) as typeof report;
    expect(written.layers[0]?.domains.map(({ domain }) => domain)).toEqual(['copa']);
    expect(written.layers[0]?.tokens).toBeGreaterThan(50);

    const refused = await cli(['trace', sample, '--text', one, '--json'], { inferEntry });
    expect(errorOf(refused)).toMatchObject({ code: 'no-experts' });
    expect(errorOf(await cli(['trace', moe, '--json'], { inferEntry }))).toMatchObject({ code: 'text-missing' });
  });
});
