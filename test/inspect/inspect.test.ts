import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { inspectCheckpoint } from '../../src/inspect/index.ts';
import type { InspectReport } from '../../src/inspect/index.ts';
import {
  TINY_CONFIG,
  codes,
  problem,
  readJson,
  shared,
  temporaryFolder,
  tinyDense,
  writeJson,
  writeModel,
} from '../checkpoint/files.ts';
import type { TestTensor } from '../checkpoint/files.ts';

async function inspect(path: string): Promise<InspectReport> {
  return inspectCheckpoint(await openCheckpoint(path));
}

/** A folder with these tensors and this config. */
function folderOf(
  tensors: readonly TestTensor[],
  config: unknown,
  metadata?: Readonly<Record<string, string>>,
): string {
  const folder = temporaryFolder();
  writeModel(join(folder, 'model.safetensors'), tensors, metadata);
  writeJson(join(folder, 'config.json'), config);
  return folder;
}

const moeLayer = (experts: number, layer = 0): TestTensor[] => [
  { name: `model.layers.${String(layer)}.block_sparse_moe.gate.weight`, shape: [experts, 8] },
  ...Array.from(
    { length: experts },
    (_, e) => `model.layers.${String(layer)}.block_sparse_moe.experts.${String(e)}`,
  ).flatMap((at): TestTensor[] => [
    { name: `${at}.w1.weight`, shape: [12, 8] },
    { name: `${at}.w3.weight`, shape: [12, 8] },
    { name: `${at}.w2.weight`, shape: [8, 12] },
  ]),
];

/** tinyDense with its feed-forwards replaced by experts. */
const tinyMixtral = (experts = 4): TestTensor[] =>
  tinyDense({ head: true })
    .filter((t) => !t.name.includes('.mlp.'))
    .concat(moeLayer(experts, 0), moeLayer(experts, 1));

const MIXTRAL = {
  ...TINY_CONFIG,
  model_type: 'mixtral',
  architectures: ['MixtralForCausalLM'],
  num_local_experts: 4,
  num_experts_per_tok: 2,
  tie_word_embeddings: false,
};

interface Truth {
  readonly modelType: string;
  readonly layout: string;
  readonly parameters: { readonly total: number; readonly active: number };
  readonly tied: boolean;
  readonly tensorCount: number;
  readonly experts: number;
  readonly topK: number;
  readonly expertWidth: number;
  readonly shared: number;
  readonly sharedWidth: number;
  readonly moeLayers: readonly number[];
}

const READING = join(import.meta.dirname, '../forward/fixtures-reading');

describe('families that are only read, as torch counts them', () => {
  it.each(readdirSync(READING).filter((name) => existsSync(join(READING, name, 'truth.json'))))('%s', async (name) => {
    const truth = readJson(join(READING, name, 'truth.json')) as Truth;
    const report = await inspect(join(READING, name));
    expect(report).toMatchObject({
      kind: 'moe',
      modelType: truth.modelType,
      parameters: truth.parameters,
      tied: truth.tied,
      tensorCount: truth.tensorCount,
    });
    expect(report.experts).toMatchObject({
      perLayer: truth.experts,
      topK: truth.topK,
      width: truth.expertWidth,
      shared: truth.shared,
      sharedWidth: truth.shared === 0 ? null : truth.sharedWidth,
      layers: truth.moeLayers.length,
      layerIndices: truth.moeLayers,
    });
    expect(report.experts?.layout?.startsWith(truth.layout)).toBe(true);
    expect(codes(report.problems, 'error')).toEqual([]);
    expect(codes(report.problems, 'warning')).toEqual([]);
  });

  it('names the orientation of packed experts', async () => {
    const layout = async (name: string): Promise<unknown> => (await inspect(join(READING, name))).experts?.layout;
    expect(await layout('llama4_text')).toBe('packed-transposed');
    expect(await layout('gpt_oss')).toBe('packed-interleaved');
    expect(await layout('mixtral-packed')).toBe('packed');
    expect((await inspect(join(READING, '../fixtures/granitemoe'))).experts?.layout).toBe('granitemoe');
  });
});

describe('dense and MoE families that are written', () => {
  const folder = join(READING, '../fixtures');
  it.each(readdirSync(folder))('%s has nothing to complain of', async (name) => {
    const report = await inspect(join(folder, name));
    expect(report.problems.filter((p) => p.severity !== 'info')).toEqual([]);
    expect(report.kind).toBe(/moe|olmoe|flex|mixtral/.test(name) ? 'moe' : 'dense');
  });
});

describe('real and shared models', () => {
  const llama = shared('models/configs/llama-3.1-8b');
  it.skipIf(llama === null)('Llama-3.1-8B by config and index alone', async () => {
    const report = await inspect(llama ?? '');
    expect(report).toMatchObject({
      planOnly: true,
      kind: 'dense',
      parameters: { total: 8_030_261_248, active: 8_030_261_248 },
      bytes: 16_060_522_496,
      shards: 4,
      layers: 32,
    });
    expect(codes(report.problems)).toEqual(['plan-only']);
  });

  const stories = shared('models/stories260K');
  it.skipIf(stories === null)('stories260K: tokenizer and embedding agree', async () => {
    const report = await inspect(stories ?? '');
    expect(report).toMatchObject({ kind: 'dense', tied: true, parameters: { total: 260_032 } });
    expect(report.problems).toEqual([]);
  });

  const tiny = shared('models/hf-tiny');
  it.skipIf(tiny === null)('buffers are not parameters', async () => {
    const report = await inspect(join(tiny ?? '', 'llama_sharded'));
    // 11·8 twice, a final norm, and two layers of 496.
    expect(report.parameters.total).toBe(88 + 88 + 8 + 2 * 496);
    expect(problem(report.problems, 'buffers-not-counted').message).toContain('inv_freq');
  });
});

describe('lone files', () => {
  it('are unknown where nothing tells, and MoE where experts are', async () => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'x.safetensors'), [{ name: 'a.weight', shape: [2, 3] }]);
    expect(await inspect(join(folder, 'x.safetensors'))).toMatchObject({
      format: 'safetensors',
      modelType: null,
      kind: 'unknown',
      parameters: { total: 6, active: 6 },
      dtypes: { F32: 1 },
      layers: null,
    });
    writeModel(join(folder, 'y.safetensors'), moeLayer(4));
    const report = await inspect(join(folder, 'y.safetensors'));
    expect(report).toMatchObject({ kind: 'moe', parameters: { total: 32 + 4 * 288, active: null } });
    expect(report.experts).toMatchObject({ perLayer: 4, topK: null, width: 12 });
    expect(problem(report.problems, 'top-k-unknown').severity).toBe('warning');
  });
});

describe('config against tensors', () => {
  it('is quiet about a model that is in order', async () => {
    expect((await inspect(folderOf(tinyDense(), TINY_CONFIG))).problems).toEqual([]);
    expect((await inspect(folderOf(tinyMixtral(), MIXTRAL))).problems).toEqual([]);
  });

  it('finds missing tensors, other shapes and strangers', async () => {
    const tensors = tinyDense()
      .filter((t) => t.name !== 'model.layers.1.mlp.up_proj.weight')
      .map((t) => (t.name === 'model.layers.0.mlp.up_proj.weight' ? { ...t, shape: [11, 8] } : t))
      .concat({ name: 'model.layers.0.self_attn.q_proj.bias', shape: [8] });
    const { problems } = await inspect(folderOf(tensors, TINY_CONFIG));
    expect(problem(problems, 'missing-tensors').details?.['tensors']).toEqual(['model.layers.1.mlp.up_proj.weight']);
    expect(problem(problems, 'shape-mismatch')).toMatchObject({
      tensor: 'model.layers.0.mlp.up_proj.weight',
      details: { tensors: [{ shape: [11, 8], expected: [12, 8] }] },
    });
    expect(problem(problems, 'unexpected-tensors').tensor).toBe('model.layers.0.self_attn.q_proj.bias');
  });

  it('names the field that a wrong vocabulary, width or number of layers contradicts', async () => {
    const fields = async (change: object): Promise<unknown[]> =>
      (await inspect(folderOf(tinyDense(), { ...TINY_CONFIG, ...change }))).problems
        .filter((p) => p.code === 'config-mismatch')
        .map((p) => p.details?.['field']);
    expect(await fields({ vocab_size: 17 })).toEqual(['vocab_size']);
    expect(await fields({ hidden_size: 16 })).toEqual(['hidden_size']);
    expect(await fields({ num_hidden_layers: 1 })).toEqual(['num_hidden_layers']);
    const more = await inspect(folderOf(tinyDense(), { ...TINY_CONFIG, num_hidden_layers: 3 }));
    expect(problem(more.problems, 'missing-tensors').details?.['count']).toBe(9);
  });

  it('finds the model behind another prefix', async () => {
    const nested = { model_type: 'x', architectures: ['X'], text_config: TINY_CONFIG };
    const report = await inspect(folderOf(tinyDense({ prefix: 'model.language_model.' }), nested));
    expect(report.problems).toEqual([]);
    expect(report.modelType).toBe('x');
  });

  it('says when a family is unknown layer by layer', async () => {
    const config = { ...TINY_CONFIG, model_type: 'brand_new', num_hidden_layers: 3 };
    const report = await inspect(folderOf(tinyDense(), config));
    expect(problem(report.problems, 'missing-layers').details?.['layers']).toEqual([2]);
  });

  it('lets an absurd config cost nothing', async () => {
    for (const change of [
      { num_hidden_layers: 1e15 },
      { num_local_experts: 1e12 },
      { vocab_size: 'x' },
      { hidden_size: null },
    ]) {
      const report = await inspect(folderOf(tinyMixtral(), { ...MIXTRAL, ...change }));
      expect(codes(report.problems, 'error').length + codes(report.problems, 'warning').length).toBeGreaterThan(0);
    }
  });
});

describe('experts against each other and the config', () => {
  it('counts from the files', async () => {
    const report = await inspect(folderOf(tinyMixtral(), MIXTRAL));
    const expert = 3 * 12 * 8;
    const rest = 2 * (16 * 8) + 8 + 2 * (8 + 64 + 32 + 32 + 64 + 8 + 4 * 8);
    expect(report.parameters).toEqual({ total: rest + 2 * 4 * expert, active: rest + 2 * 2 * expert });
    expect(report.experts).toMatchObject({
      perLayer: 4,
      topK: 2,
      layers: 2,
      width: 12,
      layout: 'per-expert',
      shared: 0,
    });
  });

  it('names the expert and the projection that is missing', async () => {
    const gone = new Set(['model.layers.1.block_sparse_moe.experts.2.w3.weight']);
    for (const w of ['w1', 'w2', 'w3']) gone.add(`model.layers.0.block_sparse_moe.experts.1.${w}.weight`);
    const { problems } = await inspect(
      folderOf(
        tinyMixtral().filter((t) => !gone.has(t.name)),
        MIXTRAL,
      ),
    );
    expect(problem(problems, 'missing-experts').details?.['experts']).toEqual([
      'layer 0 expert 1',
      'layer 1 expert 2 (no up)',
    ]);
    expect(problem(problems, 'router-mismatch').message).toContain('4 rows for 3 experts');
    expect(new Set(problem(problems, 'missing-tensors').details?.['tensors'] as string[])).toEqual(gone);
  });

  it('compares their number and width with the config', async () => {
    const more = await inspect(folderOf(tinyMixtral(6), MIXTRAL));
    expect(problem(more.problems, 'experts-mismatch').details).toEqual({
      field: 'num_local_experts',
      config: 4,
      tensors: 6,
    });
    const wide = await inspect(folderOf(tinyMixtral(), { ...MIXTRAL, intermediate_size: 24 }));
    expect(problem(wide.problems, 'expert-width-mismatch').details).toMatchObject({ config: 24, tensors: 12 });
    const greedy = await inspect(
      folderOf(tinyMixtral(2), { ...MIXTRAL, num_local_experts: 2, num_experts_per_tok: 3 }),
    );
    expect(problem(greedy.problems, 'top-k-exceeds-experts').severity).toBe('error');
  });

  it('says when a config promises experts and none is there', async () => {
    const report = await inspect(folderOf(tinyDense(), { ...MIXTRAL, tie_word_embeddings: true }));
    expect(report.kind).toBe('moe');
    expect(problem(report.problems, 'experts-missing').severity).toBe('error');
  });

  it('reads dbrx, whose stacks have experts and width in one dimension', async () => {
    const tensors: TestTensor[] = [
      { name: 'transformer.wte.weight', shape: [16, 8] },
      { name: 'transformer.blocks.0.ffn.router.layer.weight', shape: [4, 8] },
      { name: 'transformer.blocks.0.ffn.experts.mlp.w1', shape: [4 * 5, 8] },
      { name: 'transformer.blocks.0.ffn.experts.mlp.v1', shape: [4 * 5, 8] },
      { name: 'transformer.blocks.0.ffn.experts.mlp.w2', shape: [4 * 5, 8] },
      { name: 'lm_head.weight', shape: [16, 8] },
    ];
    const config = {
      model_type: 'dbrx',
      d_model: 8,
      n_layers: 1,
      vocab_size: 16,
      ffn_config: { ffn_hidden_size: 5, moe_num_experts: 4, moe_top_k: 3 },
    };
    const report = await inspect(folderOf(tensors, config));
    expect(report.experts).toMatchObject({ layout: 'dbrx', perLayer: 4, topK: 3, width: 5 });
    expect(report.parameters).toEqual({ total: 288 + 480, active: 288 + 360 });
    expect(codes(report.problems, 'error')).toEqual([]);
  });

  it('calls one stack per projection so, gated or not, and says that experts in attention are always counted', async () => {
    const tensors: TestTensor[] = [
      { name: 'model.embed_tokens.weight', shape: [16, 8] },
      { name: 'model.layers.0.mixer.gate.weight', shape: [4, 8] },
      { name: 'model.layers.0.mixer.experts.up_proj', shape: [4, 6, 8] },
      { name: 'model.layers.0.mixer.experts.down_proj', shape: [4, 8, 6] },
      { name: 'model.layers.0.self_attention.experts.input_linear.weight', shape: [4, 8, 8] },
    ];
    const config = {
      model_type: 'x',
      num_experts: 4,
      num_experts_per_tok: 1,
      moe_intermediate_size: 6,
      hidden_size: 8,
      tie_word_embeddings: true,
    };
    const report = await inspect(folderOf(tensors, config));
    expect(report.experts).toMatchObject({ layout: 'stacked', width: 6 });
    expect(codes(report.problems)).toEqual(['attention-experts']);
    expect(report.parameters).toEqual({ total: 128 + 32 + 384 + 256, active: 128 + 32 + 96 + 256 });
  });

  it('counts quantised experts as stored, and says so', async () => {
    const tensors: TestTensor[] = [
      { name: 'model.embed_tokens.weight', shape: [16, 8] },
      { name: 'lm_head.weight', shape: [16, 8] },
      { name: 'model.layers.0.mlp.router.weight', shape: [4, 8] },
      { name: 'model.layers.0.mlp.experts.gate_up_proj_blocks', shape: [4, 12, 1, 16], dtype: 'U8' },
      { name: 'model.layers.0.mlp.experts.gate_up_proj_scales', shape: [4, 12, 1], dtype: 'U8' },
      { name: 'model.layers.0.mlp.experts.gate_up_proj_bias', shape: [4, 12] },
    ];
    const config = { ...MIXTRAL, model_type: 'gpt_oss', num_hidden_layers: 1 };
    const report = await inspect(folderOf(tensors, config));
    expect(report.experts).toMatchObject({ perLayer: 4, width: 6, layout: 'packed-interleaved' });
    expect(problem(report.problems, 'quantised-count').message).toContain('as stored');
    const routed = 4 * 12 * 16 + 4 * 12 + 4 * 12;
    expect(report.parameters).toEqual({ total: 256 + 32 + routed, active: 256 + 32 + routed / 2 });
  });
});

describe('tied embeddings', () => {
  it('count once, wherever the name lies', async () => {
    const plain = await inspect(folderOf(tinyDense(), TINY_CONFIG));
    const twice = await inspect(folderOf(tinyDense({ head: true }), TINY_CONFIG));
    const renamed = tinyDense().map((t) => (t.name.includes('embed_tokens') ? { ...t, name: 'lm_head.weight' } : t));
    const alias = await inspect(folderOf(renamed, TINY_CONFIG, { 'model.embed_tokens.weight': 'lm_head.weight' }));
    expect(twice.parameters).toEqual(plain.parameters);
    expect(alias.parameters).toEqual(plain.parameters);
    expect([plain.tied, twice.tied, alias.tied]).toEqual([true, true, true]);
    expect(codes(alias.problems)).toEqual([]);
    expect(problem(twice.problems, 'tied-with-head').severity).toBe('warning');
  });

  it('are an error when a head is needed and not there', async () => {
    const report = await inspect(folderOf(tinyDense(), { ...TINY_CONFIG, tie_word_embeddings: false }));
    expect(problem(report.problems, 'untied-without-head').tensor).toBe('lm_head.weight');
    const headless = { ...TINY_CONFIG, tie_word_embeddings: false, architectures: ['LlamaModel'] };
    expect(codes((await inspect(folderOf(tinyDense(), headless))).problems)).toEqual([]);
  });

  it('follow the family where the config is silent', async () => {
    const { tie_word_embeddings: _, ...silent } = TINY_CONFIG;
    const llama = await inspect(folderOf(tinyDense(), silent));
    expect(codes(llama.problems)).toContain('untied-without-head');
    const gemma = await inspect(folderOf(tinyDense(), { ...silent, model_type: 'gemma' }));
    expect([gemma.tied, codes(gemma.problems, 'error')]).toEqual([true, []]);
  });
});

describe('tokenizer against embedding', () => {
  const withTokenizer = (highest: number): string => {
    const folder = folderOf(tinyDense(), TINY_CONFIG);
    const vocab = Object.fromEntries(Array.from({ length: highest + 1 }, (_, id) => [`t${String(id)}`, id]));
    writeJson(join(folder, 'tokenizer.json'), { model: { vocab }, added_tokens: [] });
    return folder;
  };

  it('rows beyond the tokenizer are information, ids beyond the rows an error', async () => {
    expect((await inspect(withTokenizer(15))).problems).toEqual([]);
    const padded = await inspect(withTokenizer(11));
    expect(problem(padded.problems, 'embedding-rows-beyond-tokenizer')).toMatchObject({
      severity: 'info',
      details: { rows: 16, highestId: 11, tokens: 12 },
    });
    const short = await inspect(withTokenizer(17));
    const beyond = problem(short.problems, 'token-ids-beyond-embedding');
    expect(beyond).toMatchObject({ severity: 'error', details: { rows: 16, highestId: 17, count: 2 } });
    expect(beyond.message).toContain('"t16"');
  });

  it('a broken tokenizer.json is a problem of its own', async () => {
    const folder = folderOf(tinyDense(), TINY_CONFIG);
    writeFileSync(join(folder, 'tokenizer.json'), '{"model": {"vocab": {"a": 1');
    expect(codes((await inspect(folder)).problems)).toEqual(['tokenizer-not-json']);
  });
});
