/** Router rows from prompts: equal to mergekit's own, written, proven, kept by resume, undone. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readHeaderSync } from 'safetensors-js';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { JsonObject } from '../../src/common/json.ts';
import { decodeRows } from '../../src/evaluate/index.ts';
import { promptGates, promptIds } from '../../src/gates/prompts.ts';
import type { PromptTokenizer } from '../../src/gates/prompts.ts';
import type { GateRunner, PromptModel } from '../../src/gates/types.ts';
import { gateRunner } from '../../src/infer/gates.ts';
import type { ExpertPrompts, PromptInit } from '../../src/recipe/types.ts';
import { tokenizerOf } from '../../src/score/tokenizer.ts';
import { cli, errorOf, scratch } from '../cli/helpers.ts';
import { bundleInfer } from '../infer/entry.ts';
import { buildPlan } from '../../src/plan/build.ts';
import { verifyOutput } from '../../src/verify/index.ts';
import { executePlan } from '../../src/write/index.ts';
import { failure, load } from '../recipe/helpers.ts';
import { sharedFolder } from '../score/models.ts';

interface Golden {
  readonly prompts: readonly ExpertPrompts[];
  readonly ids: readonly { readonly positive_prompts: number[][]; readonly negative_prompts?: number[][] }[];
  /** Base64 of little-endian float32, [experts, hidden] per layer. */
  readonly float32: readonly string[];
  readonly bfloat16: readonly string[];
}

const golden = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, 'fixtures', 'mergekit-gates.json'), 'utf8'),
) as { readonly modes: Readonly<Record<PromptInit, Golden>> };
const MODES: readonly PromptInit[] = ['hidden', 'hidden_avg', 'cheap_embed'];

let inferEntry = '';
const [folder, remove] = scratch();
beforeAll(async () => {
  inferEntry = await bundleInfer();
}, 60_000);
afterAll(remove);
// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

/** Largest difference; NaN counts as infinite. */
function distance(found: Float32Array, wanted: Float32Array): number {
  if (found.length !== wanted.length) return Infinity;
  return found.reduce((worst, value, i) => {
    const off = Math.abs(value - (wanted[i] ?? Number.NaN));
    return Number.isNaN(off) ? Infinity : Math.max(worst, off);
  }, 0);
}

const stories = sharedFolder('models', 'stories260K');

describe.skipIf(stories === null)('on stories260K', () => {
  const source = stories ?? '';

  it.each(MODES)('%s: token ids and rows are mergekit’s', async (mode) => {
    const { prompts, ids, float32, bfloat16 } = golden.modes[mode];
    const checkpoint = await openCheckpoint(source);
    const { tokenizer } = tokenizerOf(checkpoint);
    prompts.forEach((expert, e) => {
      const wanted = ids[e];
      expect(expert.positive_prompts.map((prompt) => promptIds(tokenizer, prompt))).toEqual(wanted?.positive_prompts);
      expect(expert.negative_prompts.map((prompt) => promptIds(tokenizer, prompt))).toEqual(
        wanted?.negative_prompts ?? [],
      );
    });
    const run = gateRunner({ entry: inferEntry, cacheFolder: folder });
    const layers = float32.map((_, layer) => layer);
    const rows = await run(checkpoint, (model) => promptGates(model, tokenizer, mode, prompts, layers), undefined);
    expect(rows).toHaveLength(5);
    rows.forEach((found, layer) => {
      expect(distance(found, decodeRows(float32[layer] ?? ''))).toBeLessThan(2e-6);
      // mergekit itself loads models in bfloat16.
      expect(distance(found, decodeRows(bfloat16[layer] ?? ''))).toBeLessThan(0.02);
    });
    // The rows of layers differ, except for embeddings.
    const [first, second] = rows;
    if (first === undefined || second === undefined) throw new Error('no rows');
    if (mode === 'cheap_embed') expect(distance(first, second)).toBe(0);
    else expect(distance(first, second)).toBeGreaterThan(0.01);
  });

  const mergekit = (name: string, mode: PromptInit): string => {
    const file = path.join(folder, `${name}.yml`);
    const experts = golden.modes[mode].prompts.map((prompts) => ({ source_model: source, ...prompts }));
    fs.writeFileSync(file, JSON.stringify({ base_model: source, gate_mode: mode, dtype: 'float32', experts }));
    return file;
  };
  const router = (out: string, layer: number): Float32Array => {
    const name = `model.layers.${layer}.block_sparse_moe.gate.weight`;
    for (const file of fs.readdirSync(out).filter((entry) => entry.endsWith('.safetensors'))) {
      const header = readHeaderSync(path.join(out, file));
      const tensor = header.tensors.get(name);
      if (tensor === undefined) continue;
      const bytes = fs.readFileSync(path.join(out, file)).subarray(header.dataStart + tensor.begin);
      return Float32Array.from({ length: (tensor.end - tensor.begin) / 4 }, (_, i) => bytes.readFloatLE(i * 4));
    }
    throw new Error(`no ${name}`);
  };

  it('a mergekit recipe becomes a MoE with mergekit’s routers, which verify proves and revert undoes', async () => {
    const out = path.join(folder, 'moe');
    const ran = await cli(['upcycle', source, out, '--recipe', mergekit('moe', 'hidden'), '--json'], { inferEntry });
    expect({ code: ran.code, err: ran.err }).toMatchObject({ code: 0 });
    golden.modes.hidden.float32.forEach((rows, layer) => {
      expect(distance(router(out, layer), decodeRows(rows))).toBeLessThan(2e-6);
    });
    const verified = await cli(['verify', out, '--source', source, '--json'], { inferEntry });
    expect(verified.json()).toMatchObject({ ok: true });
    expect(verified.json()['checks']).toContainEqual(expect.objectContaining({ name: 'gates', ok: true }));
    const proven = JSON.stringify(verified.json()['proven']);
    expect(proven).toContain('5 pieces are the recorded router rows');
    expect(proven).not.toContain('from the seed alone');
    const back = path.join(folder, 'back');
    expect((await cli(['revert', out, back, '--json'])).code).toBe(0);
    const original = fs.readFileSync(path.join(source, 'model.safetensors'));
    expect(fs.readFileSync(path.join(back, 'model.safetensors')).equals(original)).toBe(true);
  });

  it('the manifest’s own record is what is compared; another record is found out by running the model', async () => {
    const out = path.join(folder, 'record');
    const recipe = path.join(folder, 'record.moe.yaml');
    const prompts = [{ positive_prompts: ['Once upon a time'] }, { positive_prompts: ['The end'] }];
    fs.writeFileSync(
      recipe,
      JSON.stringify({ base: source, experts: 4, granularity: 2, router: { init: 'hidden_avg', prompts } }),
    );
    const ran = await cli(['upcycle', out, '--recipe', recipe, '--json'], { inferEntry });
    expect({ code: ran.code, err: ran.err }).toMatchObject({ code: 0 });
    // Granularity: each row twice.
    const rows = router(out, 2);
    expect(distance(rows.subarray(0, 64), rows.subarray(64, 128))).toBe(0);
    expect(distance(rows.subarray(64, 128), rows.subarray(128, 192))).toBeGreaterThan(0.01);
    const { checkGates } = await import('../../src/verify/gates.ts');
    const { Findings } = await import('../../src/verify/problems.ts');
    const { readManifest } = await import('../../src/write/manifest.ts');
    const manifest = readManifest(path.join(out, 'moe-manifest.json'));
    const [digest] = Object.keys(manifest.resolved.gates);
    expect(Object.keys(manifest.resolved.gates)).toHaveLength(5);
    const zeros = { rows: Buffer.alloc(2 * 64 * 4).toString('base64') };
    const other = {
      ...manifest,
      resolved: { ...manifest.resolved, gates: { ...manifest.resolved.gates, [digest ?? '']: zeros } },
    };
    const sources = [await openCheckpoint(source)];
    const run = gateRunner({ entry: inferEntry, cacheFolder: folder });
    const findings = new Findings(20);
    await checkGates(other, sources, run, findings, undefined);
    expect(findings.problems.map(({ code }) => code)).toEqual(['gates-differ']);
    const honest = new Findings(20);
    await checkGates(manifest, sources, run, honest, undefined);
    expect(honest.problems).toEqual([]);
    // Nobody to run the model: not a failure, but not proven either.
    const silent = new Findings(20);
    await checkGates(manifest, sources, undefined, silent, undefined);
    expect([silent.problems, silent.notProven]).toEqual([[], [expect.stringContaining('the model was not run')]]);
  });

  it('a plan is made from headers alone; writing without a runtime is refused', async () => {
    const recipe = mergekit('plan', 'cheap_embed');
    const planned = await cli(['plan', source, '--recipe', recipe, '--json']);
    expect(planned.code).toBe(0);
    const tensors = planned.json()['tensors'] as readonly JsonObject[];
    expect(tensors.find(({ name }) => String(name).endsWith('layers.1.block_sparse_moe.gate.weight'))).toMatchObject({
      sources: [],
      expr: { op: 'prompt-gate', mode: 'cheap_embed', layer: 1, shape: [3, 64] },
    });
    // One line for all layers.
    const shown = await cli(['plan', source, '--recipe', recipe]);
    expect(shown.out).toMatch(/^0–4 .*block_sparse_moe\.gate +rows from prompts \(cheap_embed\) +5 /m);
    const ran = await cli(['upcycle', source, path.join(folder, 'none'), '--recipe', recipe, '--json']);
    expect(errorOf(ran)).toMatchObject({ code: 'infer-entry-missing' });
    expect(fs.existsSync(path.join(folder, 'none'))).toBe(false);
  });

  it('resume takes the rows of the broken-off run, and does not run the model again', async () => {
    const recipe = load(
      JSON.stringify({
        base: source,
        experts: 2,
        router: { init: 'hidden', prompts: [{ positive_prompts: ['a'] }, { positive_prompts: ['b'] }] },
        output: { shard_size: 100_000 },
      }),
    ).recipe;
    const checkpoints = [await openCheckpoint(source)];
    const plan = buildPlan(recipe, checkpoints);
    expect(plan.files.length).toBeGreaterThan(3);
    // A model that says something else at every run.
    let runs = 0;
    const gates: GateRunner = (_base, use) => {
      runs++;
      return use({
        maxPositions: 512,
        hidden: (rows, layers) =>
          Promise.resolve(
            rows.map(() => layers.map(() => Float32Array.from({ length: 64 }, (_, i) => Math.sin(i + runs)))),
          ),
      });
    };
    const out = path.join(folder, 'resumed');
    let files = 0;
    const broken = executePlan(plan, checkpoints, out, {
      gates,
      onStep: (step) => {
        if (step.startsWith('file ') && ++files === 2) throw new Error('pulled the plug');
      },
    });
    await expect(broken).rejects.toThrow('pulled the plug');
    expect(runs).toBe(1);
    const report = await executePlan(plan, checkpoints, out, { gates, resume: true });
    expect(report.resumedFiles).toBeGreaterThan(0);
    expect(runs).toBe(1);
    const wanted = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i + 1));
    const length = Math.hypot(...wanted);
    for (const layer of [0, 4]) {
      const rows = router(out, layer);
      expect(
        distance(
          rows.subarray(0, 64),
          wanted.map((value) => value / length),
        ),
      ).toBeLessThan(1e-6);
    }
    const verified = await verifyOutput(out, { sources: checkpoints });
    expect(verified.ok).toBe(true);
    expect(verified.notProven.join()).toContain('the model was not run');
  });

  it('another prompt is another plan', async () => {
    const hash = async (prompt: string): Promise<unknown> => {
      const recipe = path.join(folder, 'hash.moe.yaml');
      const router = { init: 'hidden', prompts: [{ positive_prompts: [prompt] }, { positive_prompts: ['b'] }] };
      fs.writeFileSync(recipe, JSON.stringify({ base: source, experts: 2, router }));
      return (await cli(['plan', '--recipe', recipe, '--json'])).json()['hash'];
    };
    expect(await hash('a')).toBe(await hash('a'));
    expect(await hash('a')).not.toBe(await hash('c'));
  });
});

describe('formulas', () => {
  // One token per letter; the vector of a token is (id, 1), whatever the layer.
  const tokenizer: PromptTokenizer = {
    bosId: undefined,
    encode: (text) => Array.from(text, (letter) => letter.charCodeAt(0) - 96),
    tokens: () => [],
  };
  const model: PromptModel = {
    maxPositions: 4,
    hidden: (rows, layers, take) =>
      Promise.resolve(
        rows.map((ids) =>
          layers.map(() => {
            const sum = ids.reduce((total, id) => total + id, 0);
            if (take === 'last') return Float32Array.of(ids.at(-1) ?? 0, 1);
            return take === 'sum' ? Float32Array.of(sum, ids.length) : Float32Array.of(sum / ids.length, 1);
          }),
        ),
      ),
  };
  const gates = async (mode: PromptInit, positive: string[], negative: string[] = []): Promise<Float32Array> => {
    const prompts = [{ positive_prompts: positive, negative_prompts: negative }];
    return (await promptGates(model, tokenizer, mode, prompts, [3]))[0] ?? new Float32Array();
  };

  it('hidden: last tokens, averaged over prompts, negatives taken off', async () => {
    expect(
      distance(await gates('hidden', ['ab', 'd']), Float32Array.of(3 / Math.sqrt(10), 1 / Math.sqrt(10))),
    ).toBeLessThan(1e-7);
    expect(distance(await gates('hidden', ['ab', 'd'], ['a']), Float32Array.of(1, 0))).toBeLessThan(1e-7);
  });

  it('hidden_avg: mean of each prompt’s tokens; cheap_embed: sums of unit length, then subtracted', async () => {
    expect(
      distance(await gates('hidden_avg', ['ac', 'd']), Float32Array.of(3 / Math.sqrt(10), 1 / Math.sqrt(10))),
    ).toBeLessThan(1e-7);
    // (4, 3) / 5 − (1, 1) / √2
    const [x, y] = [4 / 5 - Math.SQRT1_2, 3 / 5 - Math.SQRT1_2];
    const found = await gates('cheap_embed', ['aba'], ['a']);
    expect(distance(found, Float32Array.of(x / Math.hypot(x, y), y / Math.hypot(x, y)))).toBeLessThan(1e-6);
  });

  it('prompts that are too long, without tokens, or that cancel out are errors with their place', async () => {
    await expect(gates('hidden', ['a', 'abcde'])).rejects.toMatchObject({
      code: 'prompt-too-long',
      place: { field: 'router.prompts[0]' },
    });
    await expect(gates('hidden', [''])).rejects.toMatchObject({ code: 'prompt-empty' });
    await expect(gates('hidden', ['a'], ['a'])).rejects.toMatchObject({ code: 'gate-zero' });
  });
});

describe('in recipes', () => {
  const entry = { positive_prompts: ['a'] };

  it('need one entry per expert of full width', () => {
    const text = (experts: number, granularity: number): string =>
      JSON.stringify({
        experts,
        granularity,
        top_k: granularity,
        router: { init: 'hidden', prompts: [entry, { positive_prompts: ['b'] }] },
      });
    expect(load(text(4, 2)).recipe.router.prompts).toHaveLength(2);
    expect(failure(() => load(text(4, 1))).message).toContain(
      'router.prompts: router.init hidden needs prompts for each of the 4 experts, got 2',
    );
    expect(failure(() => load('router: {init: cheap_embed}')).message).toContain(
      'needs prompts for each of the 8 experts, got 0',
    );
  });

  it('warn of equal prompts, of prompts that are not used and of a deviation without effect', () => {
    const codes = (router: object): string[] =>
      load(JSON.stringify({ experts: 2, router })).warnings.map(({ code }) => code);
    expect(codes({ init: 'hidden', prompts: [entry, entry], std: 1 })).toEqual(['router-std-unused', 'prompts-equal']);
    expect(codes({ init: 'normal', prompts: [entry] })).toEqual(['prompts-unused']);
  });

  it('name the place of what is wrong in them', () => {
    const error = failure(() =>
      load('experts: 1\ntop_k: 1\nrouter: {init: hidden, prompts: [{positive_prompts: []}, {negative_promts: [x]}]}'),
    );
    expect(error.message).toContain('router.prompts[0].positive_prompts: expected a list of one or more texts');
    expect(error.message).toContain(
      'router.prompts[1]: unknown key "negative_promts"; did you mean "negative_prompts"?',
    );
  });
});
