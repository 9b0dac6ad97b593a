/** The test forward itself: against logits that transformers computed, and against mistakes that it must see. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildModel, forward, loadModel, relativeDifference, topK } from './forward.ts';
import type { JsonObject, TestTensor } from './reader.ts';
import { asObject, readConfig, readTensors } from './reader.ts';

const fixtures = fileURLToPath(new URL('./fixtures', import.meta.url));
const shared = fileURLToPath(new URL('../../../shared/models/hf-tiny', import.meta.url));

interface Expected {
  readonly sequences: readonly (readonly number[])[];
  readonly logits: readonly (readonly (readonly number[])[])[];
}

function expectedOf(folder: string): Expected {
  return JSON.parse(readFileSync(join(folder, 'expected_logits.json'), 'utf8')) as Expected;
}

function worst(folder: string, model = loadModel(folder)): number {
  const { sequences, logits } = expectedOf(folder);
  expect(sequences.length).toBeGreaterThan(0);
  return Math.max(...sequences.map((ids, i) => relativeDifference(forward(model, ids), logits[i] ?? [])));
}

/** The fixture's difference after `change` to its config and tensors. */
function altered(
  name: string,
  change: (config: Record<string, unknown>, tensors: Map<string, TestTensor>) => void,
): number {
  const folder = join(fixtures, name);
  const config: Record<string, unknown> = { ...readConfig(folder) };
  const tensors = readTensors(folder);
  change(config, tensors);
  return worst(folder, buildModel(config, tensors));
}

describe('logits of transformers', () => {
  it('has a fixture for every family', () => {
    const types = new Set(readdirSync(fixtures).map((name) => readConfig(join(fixtures, name))['model_type']));
    expect([...types].sort()).toEqual(
      'flex_olmo gemma granite granitemoe llama mistral mixtral olmo2 olmoe phi3 qwen2 qwen2_moe qwen3 qwen3_moe'.split(
        ' ',
      ),
    );
  });

  it.each(readdirSync(fixtures))('fixture %s', (name) => {
    expect(worst(join(fixtures, name))).toBeLessThan(2e-6);
  });

  if (existsSync(shared)) {
    it.each(readdirSync(shared))('shared hf-tiny %s', (name) => {
      expect(worst(join(shared, name))).toBeLessThan(2e-6);
    });
  } else {
    process.stderr.write(`SKIPPED: reference logits of ${shared} (folder not present)\n`);
    it.skip('shared hf-tiny (folder not present)', () => undefined);
  }
});

describe('reading fixtures', () => {
  const reading = fileURLToPath(new URL('./fixtures-reading', import.meta.url));
  it.each(readdirSync(reading))('%s: truth.json agrees with the file', (name) => {
    const folder = join(reading, name);
    const truth = asObject(JSON.parse(readFileSync(join(folder, 'truth.json'), 'utf8')), name);
    const tensors = readTensors(folder);
    const elements = [...tensors.values()].reduce((sum, tensor) => sum + tensor.data.length, 0);
    expect([tensors.size, elements]).toEqual([truth['tensorCount'], truth['elementsInFile']]);
    const expertLayers = new Set(
      [...tensors.keys()].flatMap((key) => /layers\.(\d+)\..*experts\./.exec(key)?.[1] ?? []),
    );
    expect([...expertLayers].map(Number).sort()).toEqual(truth['moeLayers']);
  });
});

describe('mistakes show', () => {
  const ropeKinds = [
    'llama-tied-llama3rope',
    'llama-yarn',
    'llama-yarn-mscale',
    'llama-linear',
    'llama-dynamic',
    'phi3-longrope',
  ];
  it.each(ropeKinds)('rope scaling dropped from %s', (name) => {
    const difference = altered(name, (config) => {
      delete config['rope_scaling'];
      delete config['rope_parameters'];
    });
    expect(difference).toBeGreaterThan(1e-3);
  });

  it.each([
    ['mistral-window', { sliding_window: null }],
    ['mistral-window', { sliding_window: 5 }],
    ['qwen2-window', { layer_types: undefined, max_window_layers: 0 }],
    ['llama', { rms_norm_eps: 1e-3 }],
    ['qwen2_moe', { norm_topk_prob: false }],
    ['flex_olmo', { num_experts_per_tok: 2 }],
    ['granite', { residual_multiplier: 1 }],
    ['granitemoe', { attention_multiplier: 0.5 }],
    ['olmoe', { clip_qkv: null }],
    ['gemma', { hidden_act: 'silu' }],
  ] as const)('%s with %o', (name, fields) => {
    expect(altered(name, (config) => Object.assign(config, fields))).toBeGreaterThan(1e-4);
  });

  it('a missing, an unexpected and a misshapen tensor throw', () => {
    expect(() => altered('llama', (_, tensors) => tensors.delete('model.layers.1.mlp.up_proj.bias'))).toThrow(
      /missing tensor model.layers.1/,
    );
    const stray = { shape: [1], data: new Float64Array(1) };
    expect(() => altered('llama', (_, tensors) => tensors.set('stray', stray))).toThrow(/unexpected tensors: stray/);
    expect(() => altered('llama', (_, tensors) => tensors.set('model.norm.weight', stray))).toThrow(
      /model.norm.weight has shape \[1\]/,
    );
    expect(() => altered('llama-tied-llama3rope', (config) => (config['tie_word_embeddings'] = false))).toThrow(
      /missing tensor lm_head/,
    );
  });

  it('a stored lm_head of a tied model must equal the embedding', () => {
    const withHead = (shift: number): number =>
      altered('gemma', (_, tensors) => {
        const embedding = tensors.get('model.embed_tokens.weight');
        if (embedding !== undefined)
          tensors.set('lm_head.weight', { ...embedding, data: embedding.data.map((x) => x + shift) });
      });
    expect(withHead(0)).toBeLessThan(2e-6);
    expect(() => withHead(1)).toThrow(/lm_head.weight differs/);
  });

  it('an unknown family or rope type is refused, not guessed', () => {
    expect(() => altered('llama', (config) => (config['model_type'] = 'gpt2'))).toThrow(/gpt2/);
    expect(() => altered('llama', (config) => (config['rope_scaling'] = { rope_type: 'axial' }))).toThrow(/axial/);
  });
});

describe('parts', () => {
  it('reads both spellings of rope alike', () => {
    const difference = altered('llama-yarn', (config) => {
      const rope: JsonObject = asObject(config['rope_parameters'], 'rope_parameters');
      const { rope_theta: theta, ...scaling } = rope;
      delete config['rope_parameters'];
      config['rope_theta'] = theta;
      config['rope_scaling'] = scaling;
    });
    expect(difference).toBeLessThan(2e-6);
  });

  it('gives equal scores to the lower index', () => {
    expect(topK(Float64Array.of(1, 3, 3, 0, 3), 2)).toEqual([1, 2]);
    expect(topK(new Float64Array(4), 3)).toEqual([0, 1, 2]);
  });

  it('packed experts of transformers 5 compute the same as per-expert ones', () => {
    const difference = altered('mixtral', (_, tensors) => {
      const part = (layer: number, e: number, w: string): TestTensor => {
        const name = `model.layers.${layer}.block_sparse_moe.experts.${e}.${w}.weight`;
        const tensor = tensors.get(name);
        if (tensor === undefined) throw new Error(name);
        tensors.delete(name);
        return tensor;
      };
      const stack = (parts: readonly TestTensor[], shape: number[]): TestTensor => ({
        shape,
        data: Float64Array.from(parts.flatMap((tensor) => [...tensor.data])),
      });
      for (const layer of [0, 1]) {
        const prefix = `model.layers.${layer}.mlp`;
        const gateUp = [0, 1, 2, 3].flatMap((e) => [part(layer, e, 'w1'), part(layer, e, 'w3')]);
        tensors.set(`${prefix}.experts.gate_up_proj`, stack(gateUp, [4, 8, 16]));
        tensors.set(
          `${prefix}.experts.down_proj`,
          stack(
            [0, 1, 2, 3].map((e) => part(layer, e, 'w2')),
            [4, 16, 4],
          ),
        );
        const gate = tensors.get(`model.layers.${layer}.block_sparse_moe.gate.weight`);
        tensors.delete(`model.layers.${layer}.block_sparse_moe.gate.weight`);
        if (gate !== undefined) tensors.set(`${prefix}.gate.weight`, gate);
      }
    });
    expect(difference).toBeLessThan(2e-6);
  });

  it('relativeDifference is 0 for equal logits, sees a sign, and refuses other shapes', () => {
    expect(relativeDifference([[0, 0]], [[0, 0]])).toBe(0);
    expect(relativeDifference([[3, -4]], [[3, 4]])).toBeCloseTo(8 / 5, 12);
    expect(relativeDifference([[NaN]], [[1]])).toBeNaN();
    expect(() => relativeDifference([[1]], [[1], [2]])).toThrow(RangeError);
    expect(() => relativeDifference([[1, 2]], [[1]])).toThrow(RangeError);
  });
});
