import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { loadRecipe } from '../../src/recipe/load.ts';
import { PRESETS } from '../../src/recipe/presets.ts';
import { failure, load, loadSets } from './helpers.ts';

const folder = mkdtempSync(join(tmpdir(), 'recipe-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('order: preset < recipe < --set', () => {
  it('each layer wins over the one below, value by value, and says so', () => {
    const { recipe, origin } = load('router: {std: 0.03}\ntop_k: 4\n', {
      preset: 'drop-upcycling',
      sets: ['router.std=0.04', 'seed=7'],
    });
    expect(recipe.router).toEqual({ init: 'uniform', std: 0.04, order: 'topk-softmax' });
    expect(recipe.expert_init).toEqual({ method: 'drop', ratio: 0.5, variant: 'paper' });
    expect([recipe.top_k, recipe.experts, recipe.seed, recipe.preset]).toEqual([4, 8, 7, 'drop-upcycling']);
    expect(origin.get('router.std')).toBe('--set router.std=0.04');
    expect(origin.get('router.init')).toBe('preset drop-upcycling');
    expect(origin.get('top_k')).toBe('a.moe.yaml line 2');
    expect(origin.get('scale')).toBe('default');
  });

  it('a new method takes its own defaults, the same method keeps what was set', () => {
    const text = 'expert_init: {method: noise, std: 0.5, ratio: 0.9}\n';
    const init = (...sets: string[]): unknown => load(text, { sets }).recipe.expert_init;
    expect(init('expert_init.method=drop')).toEqual({ method: 'drop', ratio: 0.5, variant: 'paper' });
    expect(init('expert_init=drop')).toEqual({ method: 'drop', ratio: 0.5, variant: 'paper' });
    expect(init('expert_init.method=noise')).toEqual({ method: 'noise', std: 0.5, ratio: 0.9 });
    expect(init('expert_init.ratio=0.1')).toEqual({ method: 'noise', std: 0.5, ratio: 0.1 });
    expect(init('expert_init.ratio=0.1', 'expert_init.method=drop')).toEqual({
      method: 'drop',
      ratio: 0.1,
      variant: 'paper',
    });
  });

  it('values are YAML and later settings win', () => {
    const { recipe } = loadSets(
      'layers=[0,2]',
      'router.std=0.01',
      'tie=true',
      'config.a.b=[1, {c: x}]',
      'config.d=',
      'experts=4',
      'experts=16',
      'shared_expert.plan=b',
      'shared_expert.width=64',
      'parents=[{path: p, experts: 16}]',
    );
    expect(recipe).toMatchObject({
      layers: [0, 2],
      router: { std: 0.01, init: 'normal' },
      tie: true,
      config: { a: { b: [1, { c: 'x' }] }, d: null },
      experts: 16,
      shared_expert: { plan: 'b', width: 64 },
      parents: [{ path: 'p', experts: 16 }],
    });
  });

  it('config merges by field over the preset', () => {
    expect(loadRecipe({ preset: 'vavre-2024', sets: ['config.router_aux_loss_coef=0.5'] }).recipe.config).toEqual({
      router_aux_loss_coef: 0.5,
      output_router_logits: true,
    });
  });

  it('a recipe may name its preset; the option may repeat but not contradict it', () => {
    expect(load('preset: mixtral-8x\n').recipe.target).toBe('mixtral');
    expect(load('preset: mixtral-8x\n', { preset: 'mixtral-8x' }).preset?.name).toBe('mixtral-8x');
    expect(failure(() => load('preset: mixtral-8x\n', { preset: 'qwen-moe' })).code).toBe('presets-differ');
    expect(failure(() => load('preset: mixtral8\n')).message).toContain('there is no preset "mixtral8"');
  });

  it('paths are relative to the recipe; SRC overrides base and is relative to the working folder', () => {
    mkdirSync(join(folder, 'sub'));
    writeFileSync(join(folder, 'sub', 'a.moe.yaml'), 'base: ../dense\n');
    const from = loadRecipe({ file: 'sub/a.moe.yaml', cwd: folder });
    expect(from.basePath).toBe(join(folder, 'dense'));
    const over = loadRecipe({ file: 'sub/a.moe.yaml', src: 'other', cwd: folder });
    expect(over.basePath).toBe(join(folder, 'other'));
    expect(over.recipe.base).toBe('other');
    expect(over.origin.get('base')).toBe('SRC');
    expect(loadRecipe({ cwd: folder }).basePath).toBeNull();
  });

  it('any number of random settings of one key equals the last one', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 6 }), (values) => {
        const { recipe } = loadSets(...values.map((value) => `seed=${value}`));
        expect(recipe.seed).toBe(values.at(-1));
      }),
    );
  });
});

describe('presets', () => {
  it.each(PRESETS.map((preset) => preset.name))('%s loads, names its assumptions, warns of nothing', (name) => {
    const { recipe, preset, warnings } = loadRecipe({ preset: name });
    expect(recipe.preset).toBe(name);
    expect(warnings).toEqual([]);
    expect(preset?.assumptions.length).toBeGreaterThan(2);
  });

  it('are the five of the contract', () => {
    expect(PRESETS.map((preset) => preset.name)).toEqual([
      'vavre-2024',
      'he-2024-e8g8t8',
      'drop-upcycling',
      'qwen-moe',
      'mixtral-8x',
    ]);
  });

  it('vavre-2024 says what the paper never stated and explains its printed counts', () => {
    const sheet = PRESETS.find((preset) => preset.name === 'vavre-2024')?.assumptions.join('\n') ?? '';
    for (const word of [
      'Layer subset',
      'Router init',
      'Auxiliary loss',
      'batch size',
      'Sequence length',
      '34.4B',
      '11.8B',
    ])
      expect(sheet).toContain(word);
    expect(sheet).toContain('47,491,321,856 / 13,668,454,400');
  });

  it('he-2024-e8g8t8 is 8 replicas of 8 slices, 8 used, as published', () => {
    const { recipe } = loadRecipe({ preset: 'he-2024-e8g8t8' });
    expect([recipe.experts, recipe.granularity, recipe.top_k, recipe.router.order, recipe.scale]).toEqual([
      64,
      8,
      8,
      'softmax-topk',
      'megatron',
    ]);
  });
});
