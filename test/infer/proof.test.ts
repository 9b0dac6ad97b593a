/** moe verify --logits: every exact pair of families proves itself by running; a wrong output does not. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readHeaderSync } from 'safetensors-js';
import type { JsonObject } from '../../src/common/json.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { inspectCheckpoint } from '../../src/inspect/index.ts';
import { overviewOf } from '../../src/view/overview.ts';
import { keptProof } from '../../src/write/manifest-proof.ts';
import { cli, errorOf, scratch } from '../cli/helpers.ts';
import { sharedFolder, smollm2Folder } from '../score/models.ts';
import { bundleInfer, root } from './entry.ts';

let inferEntry = '';
const [folder, remove] = scratch();
beforeAll(async () => {
  inferEntry = await bundleInfer();
}, 60_000);
afterAll(remove);

async function upcycle(source: string, name: string, ...sets: string[]): Promise<string> {
  const out = path.join(folder, name);
  const ran = await cli(['upcycle', source, out, ...sets.flatMap((set) => ['--set', set]), '--json']);
  expect({ name, code: ran.code }).toEqual({ name, code: 0 });
  return out;
}

async function proof(out: string, source: string, ...more: string[]): Promise<{ code: number; json: JsonObject }> {
  const ran = await cli(['verify', out, '--source', source, '--logits', '--json', ...more], { inferEntry });
  return { code: ran.code, json: ran.json() };
}

const fixtures = path.join(root, 'test/forward/fixtures');

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

describe('verify --logits', () => {
  // One of each target family and of each thing that a graph must do alike on both sides.
  it.each(['llama-tied-llama3rope', 'mistral-window', 'qwen2', 'qwen3', 'olmo2', 'granite', 'gemma', 'phi3-longrope'])(
    '%s',
    async (name) => {
      const source = path.join(fixtures, name);
      const { code, json } = await proof(await upcycle(source, name), source);
      expect(json).toMatchObject({
        ok: true,
        logits: { class: 'exact', ok: true, limit: 1e-5, nonFinite: 0, positions: 256 },
      });
      expect(code).toBe(0);
      const { relativeNorm, argmaxEqual } = json['logits'] as JsonObject;
      expect(relativeNorm).toBeLessThan(1e-6);
      expect(argmaxEqual).toBe(256);
    },
  );

  it('what is approximate is reported, not judged', async () => {
    const source = path.join(fixtures, 'qwen3');
    const out = await upcycle(source, 'noisy', 'expert_init={method: noise, std: 0.05}');
    const { code, json } = await proof(out, source);
    expect(json).toMatchObject({ ok: true, logits: { class: 'approximate', ok: true, limit: null } });
    expect((json['logits'] as JsonObject)['relativeNorm']).toBeGreaterThan(1e-4);
    expect(code).toBe(0);
  });

  it('a damaged expert fails the bytes and the logits', async () => {
    const source = path.join(fixtures, 'qwen3');
    const out = await upcycle(source, 'damaged');
    const file = fs.readdirSync(out).find((name) => name.endsWith('.safetensors')) ?? '';
    const header = readHeaderSync(path.join(out, file));
    const norm = [...header.tensors.values()].find(({ name }) => name.endsWith('input_layernorm.weight'));
    if (norm === undefined) throw new Error('no norm in the first file');
    const fd = fs.openSync(path.join(out, file), 'r+');
    fs.writeSync(fd, new Float32Array([3]), 0, 4, header.dataStart + norm.begin);
    fs.closeSync(fd);
    const { code, json } = await proof(out, source);
    expect(code).toBe(1);
    expect(json).toMatchObject({ ok: false, logits: { ok: false } });
    expect(json['problems']).toContainEqual(expect.objectContaining({ code: 'logits-differ' }));
  });

  it('a cut shard is told of although nothing can be run', async () => {
    const source = path.join(fixtures, 'qwen3');
    const out = await upcycle(source, 'cut');
    const file = path.join(out, fs.readdirSync(out).find((name) => name.endsWith('.safetensors')) ?? '');
    fs.truncateSync(file, fs.statSync(file).size - 100);
    const { code, json } = await proof(out, source);
    expect(code).toBe(1);
    expect(json['ok']).toBe(false);
    expect(JSON.stringify(json['problems'])).toContain('100 fewer than it was written with');
    expect(json['checks']).toContainEqual(expect.objectContaining({ name: 'logits', ok: false }));
    expect(json['problems']).toContainEqual(expect.objectContaining({ code: 'logits-not-run' }));
  });

  const stories = sharedFolder('models', 'stories260K');
  it.skipIf(stories === null)(
    'stories260K → mixtral E8T2, on the built-in and on a given text; the result is kept',
    async () => {
      const source = stories ?? '';
      const out = await upcycle(source, 'stories', 'experts=8', 'top_k=2');
      const first = await proof(out, source);
      expect(first.json).toMatchObject({ ok: true, logits: { class: 'exact', ok: true }, notProven: [] });
      const text = path.join(folder, 'text.txt');
      fs.writeFileSync(text, 'Once upon a time, there was a little girl named Lily.');
      const second = await proof(out, source, '--text', text);
      expect(second.json['logits']).toMatchObject({
        ok: true,
        input: expect.stringContaining('the given text') as string,
      });
      const kept = await keptProof(path.join(out, 'moe-manifest.json'));
      expect(kept).toMatchObject(second.json['logits'] as JsonObject);
      const again = await cli(['verify', out, '--source', source, '--json']);
      expect(again.json()).toMatchObject({ ok: true });
      const opened = await openCheckpoint(out);
      expect((await overviewOf(opened, await inspectCheckpoint(opened))).facts).toContainEqual({
        label: 'Proof by running',
        value: expect.stringMatching(/^passes: logits differ by \d\.\de-\d+ \(relative norm\), limit 1e-5$/) as string,
        exact: null,
        note: expect.stringMatching(/^source and result on \d+ tokens of the given text/) as string,
      });
      // The second took the place of the first, and the manifest is sealed anew: it can still be undone.
      const manifest = fs.readFileSync(path.join(out, 'moe-manifest.json'), 'utf8');
      expect(manifest.split('"proof": ').length).toBe(2);
      const back = path.join(folder, 'stories-back');
      expect((await cli(['revert', out, back, '--json'])).code).toBe(0);
      expect((await cli(['inspect', out, '--json'])).code).toBe(0);
    },
  );

  it.skipIf(smollm2Folder === null)(
    'the real SmolLM2-135M → mixtral E4T2',
    async () => {
      const source = smollm2Folder ?? '';
      const text = path.join(folder, 'short.txt');
      fs.writeFileSync(text, 'The capital of France is Paris. 2 + 2 = 4.');
      const { json } = await proof(await upcycle(source, 'smol', 'experts=4', 'top_k=2'), source, '--text', text);
      expect(json).toMatchObject({ ok: true, logits: { class: 'exact', ok: true } });
    },
    240_000,
  );

  it('asks for a source, and for --logits with --text', async () => {
    expect(errorOf(await cli(['verify', folder, '--logits', '--json']))).toMatchObject({ code: 'source-missing' });
    const ran = await cli(['verify', folder, '--text', 'x', '--json']);
    expect(errorOf(ran)).toMatchObject({ code: 'text-without-logits' });
  });
});
