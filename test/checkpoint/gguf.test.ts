import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { RangeReader } from '../../src/checkpoint/read.ts';
import { diffCheckpoints } from '../../src/diff/index.ts';
import { doctor } from '../../src/doctor/index.ts';
import { inspectCheckpoint } from '../../src/inspect/index.ts';
import type { WeightSource } from '../../src/model/weights.ts';
import { weightsOf } from '../../src/runtime/checkpoint.ts';
import { TINY_CONFIG, codes, failure, problem, temporaryFolder, tinyDense, writeJson, writeModel } from './files.ts';

const MODELS = join(import.meta.dirname, '../gguf/fixtures/models');

/** The file of field case G3-12, as its make.py writes it: tokenizer arrays of 9 MB before the sizes. */
function bigVocabulary(tokens: number, more: Readonly<Record<string, string>> = {}): Buffer {
  const u32 = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer);
  const u64 = (value: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
  const text = (value: string): Buffer => Buffer.concat([u64(value.length), Buffer.from(value)]);
  const words = Array.from({ length: tokens }, (_, i) => text(`token-number-${String(i).padStart(7, '0')}`));
  const pairs = [
    [text('general.architecture'), u32(8), text('llama')],
    [text('tokenizer.ggml.tokens'), u32(9, 8), u64(tokens), ...words],
    [text('tokenizer.ggml.scores'), u32(9, 6), u64(tokens), Buffer.alloc(4 * tokens)],
    [text('llama.block_count'), u32(4, 40)],
    [text('llama.expert_count'), u32(4, 8)],
    [text('llama.expert_used_count'), u32(4, 2)],
    ...Object.entries(more).map(([key, value]) => [text(key), u32(8), text(value)]),
  ];
  const tensor = [text('blk.0.ffn_gate_inp.weight'), u32(2), u64(4), u64(8), u32(0), u64(0)];
  const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(1), u64(pairs.length), ...pairs.flat(), ...tensor]);
  const padding = Buffer.alloc((32 - (head.length % 32)) % 32);
  return Buffer.concat([head, padding, Buffer.from(Float32Array.from({ length: 32 }, (_, i) => i).buffer)]);
}

const partOf3 = (i: number): string => `split-0000${String(i)}-of-00003.gguf`;

describe('a GGUF that was cut into parts', () => {
  it('is one checkpoint, whichever part or folder is named', async () => {
    const whole = await openCheckpoint(join(MODELS, 'llama.gguf'));
    const folder = temporaryFolder();
    for (const i of [1, 2, 3]) copyFileSync(join(MODELS, partOf3(i)), join(folder, partOf3(i)));
    for (const path of [folder, join(folder, partOf3(1)), join(folder, partOf3(3))]) {
      const cp = await openCheckpoint(path);
      expect(cp.files.map(({ name }) => name)).toEqual([1, 2, 3].map(partOf3));
      expect([...cp.tensors.keys()].sort()).toEqual([...whole.tensors.keys()].sort());
      expect([...(cp.gguf?.keys() ?? [])].sort()).toEqual([...(whole.gguf?.keys() ?? [])].sort());
      expect(cp.config).toEqual(whole.config);
      const facts = (report: Awaited<ReturnType<typeof inspectCheckpoint>>) => [report.parameters, report.bytes];
      expect(facts(await inspectCheckpoint(cp))).toEqual(facts(await inspectCheckpoint(whole)));
      // Values, through both readers.
      expect((await diffCheckpoints(whole, cp)).identical).toBe(true);
      const [a, b] = [whole, cp].map((one) => weightsOf(one, { cacheFolder: folder }).source);
      for (const name of a?.names() ?? []) expect(valuesOf(b, name)).toEqual(valuesOf(a, name));
    }
  });

  it('with a part missing is refused by its name; leniently, what is there is shown', async () => {
    const folder = temporaryFolder();
    for (const i of [1, 3]) copyFileSync(join(MODELS, partOf3(i)), join(folder, partOf3(i)));
    const file = join(folder, partOf3(1));
    expect(await failure(() => openCheckpoint(file))).toMatchObject({ code: 'gguf-split-missing' });
    const cp = await openCheckpoint(file, { lenient: true });
    expect(codes(cp.problems)).toContain('gguf-split-missing');
    expect(cp.files).toHaveLength(1);
  });
});

function valuesOf(source: WeightSource | undefined, name: string): Buffer {
  const data = source?.get(name)?.data;
  if (data?.kind !== 'file') throw new Error(name);
  return readFileSync(data.file).subarray(data.offset, data.offset + data.bytes);
}

describe('GGUF as a checkpoint', () => {
  it('G3-12: sizes behind a large vocabulary', async () => {
    const file = join(temporaryFolder(), 'big-vocab.gguf');
    const bytes = bigVocabulary(300_000);
    expect(bytes.length).toBe(9_600_352 + 128);
    writeFileSync(file, bytes);
    const cp = await openCheckpoint(file);
    const report = await inspectCheckpoint(cp);
    expect([report.layers, report.experts?.perLayer, report.experts?.topK]).toEqual([40, 8, 2]);
    expect(report.tensorCount).toBe(1);
    const router = cp.tensors.get('blk.0.ffn_gate_inp.weight');
    expect(router?.shape).toEqual([8, 4]);
    const reader = new RangeReader(cp);
    const value = await reader.bytes('big-vocab.gguf', (router?.begin ?? 0) + 4 * (7 * 4 + 3), 4);
    expect(value.readFloatLE()).toBe(31);
    await reader.close();
    // Cut inside the data: what was parsed is kept.
    truncateSync(file, bytes.length - 4);
    const cut = await failure(() => openCheckpoint(file));
    expect(cut).toMatchObject({ kind: 'input', place: { details: { tensors: ['blk.0.ffn_gate_inp.weight'] } } });
    const lenient = await openCheckpoint(file, { lenient: true });
    expect([lenient.tensors.size, lenient.config?.['num_hidden_layers'], lenient.files[0]?.state]).toEqual([
      1,
      40,
      'unreadable',
    ]);
  });

  it('carries the licence that the file states, as the head of a model card', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'said.gguf'), bigVocabulary(3, { 'general.license': 'apache-2.0' }));
    writeFileSync(join(folder, 'silent.gguf'), bigVocabulary(3));
    const card = async (name: string): Promise<string | undefined> =>
      (await openCheckpoint(join(folder, name))).sidecars.find((sidecar) => sidecar.name === 'README.md')?.text;
    expect(await card('said.gguf')).toMatch(/^---\nlicense: "apache-2.0"\n/);
    expect(await card('silent.gguf')).toBeUndefined();
  });

  it('gives Hugging Face names with what must be done to each tensor', async () => {
    const cp = await openCheckpoint(join(MODELS, 'llama.gguf'));
    expect(cp.format).toBe('gguf');
    expect(cp.config?.['model_type']).toBe('llama');
    const q = cp.gguf?.get('model.layers.0.self_attn.q_proj.weight');
    expect(q).toEqual({
      tensor: 'blk.0.attn_q.weight',
      transform: { kind: 'unpermute', heads: cp.config?.['num_attention_heads'] },
    });
    const k = cp.gguf?.get('model.layers.0.self_attn.k_proj.weight');
    expect(k?.transform).toEqual({ kind: 'unpermute', heads: cp.config?.['num_key_value_heads'] });
    expect(cp.gguf?.get('model.layers.0.mlp.up_proj.weight')).toEqual({
      tensor: 'blk.0.ffn_up.weight',
      transform: { kind: 'none' },
    });
    expect(cp.sidecars.map((s) => s.name)).toContain('config.json');
    const gemma = await openCheckpoint(join(MODELS, 'gemma.gguf'));
    expect(gemma.gguf?.get('model.norm.weight')?.transform).toEqual({ kind: 'subtract-one' });
  });

  it('opens a folder that holds one, asks where there are several, and leaves one beside safetensors alone', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'a.gguf'), bigVocabulary(3));
    expect((await openCheckpoint(folder)).format).toBe('gguf');
    writeFileSync(join(folder, 'b.gguf'), bigVocabulary(3));
    expect((await failure(() => openCheckpoint(folder))).code).toBe('several-gguf');
    writeModel(join(folder, 'model.safetensors'), tinyDense());
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    const cp = await openCheckpoint(folder);
    expect([cp.format, codes(cp.problems)]).toEqual(['hf', ['gguf-ignored']]);
  });

  it.each([
    ['mixtral.gguf', 'GGUF', 4],
    ['qwen2_moe.gguf', 'GGUF', 4],
    ['granitemoe.gguf', 'GGUF', 4],
  ])('%s: stacked experts are counted', async (name, layout, experts) => {
    const report = await inspectCheckpoint(await openCheckpoint(join(MODELS, name)));
    expect(report.experts).toMatchObject({ layout, perLayer: experts, topK: 2 });
    expect(report.parameters.active).toBeLessThan(report.parameters.total ?? 0);
  });

  it('lists a file of an architecture that is not supported', async () => {
    const file = join(temporaryFolder(), 'x.gguf');
    const bytes = bigVocabulary(3);
    const changed = Buffer.from(bytes.toString('latin1').replaceAll('llama', 'lxama'), 'latin1');
    writeFileSync(file, changed);
    const report = await inspectCheckpoint(await openCheckpoint(file));
    expect([report.modelType, report.layers, report.experts?.perLayer]).toEqual(['lxama', 40, 8]);
    expect(problem(report.problems, 'gguf-unsupported-arch').severity).toBe('warning');
  });

  it('is healthy or not by its values', async () => {
    const report = await doctor(join(MODELS, 'llama.gguf'));
    expect(report.checked.tensors).toBe(report.inspect.tensorCount);
    expect(codes(report.problems, 'error')).toEqual([]);
  });
});

const SMOL = [join(import.meta.dirname, '../../.cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf')].find(existsSync);
if (SMOL === undefined) process.emitWarning('SKIPPED: SmolLM2-135M (GGUF) is not in .cache');

describe.skipIf(SMOL === undefined)('SmolLM2-135M', () => {
  it('has 134,515,008 parameters, tied once, also as a GGUF', async () => {
    const cp = await openCheckpoint(SMOL ?? '');
    const report = await inspectCheckpoint(cp);
    expect(report).toMatchObject({
      kind: 'dense',
      modelType: 'llama',
      tied: true,
      layers: 30,
      parameters: { total: 134_515_008, active: 134_515_008 },
      dtypes: { F32: 61, Q4_1: 210, Q8_0: 1 },
    });
    expect(codes(report.problems, 'error')).toEqual([]);
    expect(cp.sidecars.find((sidecar) => sidecar.name === 'README.md')?.text).toContain('license: "apache-2.0"');
    const self = await diffCheckpoints(cp, cp, { values: false });
    expect([self.added, self.removed, self.reshaped]).toEqual([[], [], []]);
  });
});
