import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { layersText, parseLayers, parseSize } from '../../src/recipe/units.ts';
import { failure, load, loadSets } from './helpers.ts';

describe('layers', () => {
  it.each([
    ['all', 'all'],
    ['every:2', 'every:2'],
    ['[0, 2, 5]', [0, 2, 5]],
    ['0-3,24-26', [0, 1, 2, 3, 24, 25, 26]],
    ['"0-1, 5"', [0, 1, 5]],
    ['[4-6, 1]', [1, 4, 5, 6]],
    ['7', [7]],
  ])('%s', (text, layers) => {
    expect(load(`layers: ${text}\n`).recipe.layers).toEqual(layers);
  });

  it.each(['every:0', '5-3', '[]', '[-1]', '[1.5]', 'some', '0-', '[a]', '{a: 1}', 'true', '100000', '[[1]]'])(
    'refuses %s, naming key and line',
    (text) => {
      const error = failure(() => load(`experts: 8\nlayers: ${text}\n`));
      expect(error.code).toBe('bad-value');
      expect(error.message).toMatch(/^a\.moe\.yaml:2:9: layers: expected all, every:k/);
    },
  );

  it('says which layers were named twice', () => {
    const loaded = load('layers: [3, 1, 3]\n');
    expect(loaded.recipe.layers).toEqual([1, 3]);
    expect(loaded.warnings.map((warning) => warning.message)).toEqual(['layers named more than once count once: 3']);
  });

  it('text and list are inverse', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(200), { minLength: 1 }), (list) => {
        const sorted = [...list].sort((a, b) => a - b);
        expect(parseLayers(layersText(sorted))).toEqual({ ok: true, layers: sorted, repeated: [] });
      }),
    );
  });
});

describe('sizes', () => {
  it.each([
    ['5GB', 5e9],
    ['500MB', 5e8],
    ['1.5 gb', 15e8],
    ['2GiB', 2 ** 31],
    ['64KiB', 65536],
    ['123', 123],
    [777, 777],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
    expect(loadSets(`output.shard_size=${text}`).recipe.output.shard_size).toBe(bytes);
  });

  it.each(['5XB', '-1', '0', 'GB', '1e9GB', '99999999TB', '.inf', '1.5', 'true'])('%s is refused', (text) => {
    expect(failure(() => loadSets(`output.shard_size=${text}`)).message).toContain(
      `--set output.shard_size=${text}: expected a size such as 5GB`,
    );
  });
});

describe('expert_init', () => {
  it.each([
    ['noise', { method: 'noise', std: 0.02, ratio: 0.5 }],
    ['drop', { method: 'drop', ratio: 0.5, variant: 'paper' }],
    ['{method: drop, variant: official}', { method: 'drop', ratio: 0.5, variant: 'official' }],
    ['{method: split, by: norm}', { method: 'split', by: 'norm' }],
    ['svd', { method: 'svd', rank: 512, scale: 0.5 }],
    ['permute', { method: 'permute' }],
  ])('%s', (text, init) => {
    expect(load(`expert_init: ${text}\ngranularity: 2\n`).recipe.expert_init).toEqual(init);
  });

  it('refuses a field of another method and says whose it is', () => {
    const error = failure(() => load('expert_init: {method: permute, ratio: 0.1}\n'));
    expect(error.message).toBe('a.moe.yaml:1:39: expert_init.ratio: method permute has no field "ratio"');
    expect(error.place.hint).toBe('ratio belongs to noise and drop: set expert_init.method too');
  });

  it('a ratio outside 0..1, not a number or infinite is refused', () => {
    for (const ratio of ['1.01', '-0.1', '.nan', '.inf', '"0.5"'])
      expect(failure(() => load(`expert_init: {method: drop, ratio: ${ratio}}\n`)).message).toContain(
        'expert_init.ratio: expected a number from 0 to 1, got',
      );
  });
});

describe('relations', () => {
  it('refuses top_k above experts naming both numbers, as an impossible request even from --set', () => {
    const error = failure(() => loadSets('experts=2', 'top_k=3'));
    expect(error.code).toBe('top-k-exceeds-experts');
    expect(error.kind).toBe('input');
    expect(error.message).toContain('top_k is 3 but there are only 2 experts');
  });

  it('accepts 3, 5 and 6 experts without a word', () => {
    for (const experts of [3, 5, 6]) expect(loadSets(`experts=${experts}`).warnings).toEqual([]);
  });

  it('granularity must divide experts', () => {
    const error = failure(() => load('experts: 8\ngranularity: 3\n'));
    expect(error.code).toBe('experts-not-multiple-of-granularity');
    expect(error.message).toContain('granularity 3 does not divide experts 8');
    expect(error.place.hint).toBe('use 6 or 9 experts');
  });

  it('parents may not give more experts than there are; what they leave open is the base’s, and said', () => {
    const two = 'parents: [{path: a, experts: 3}, {path: b, experts: 2}]\n';
    const error = failure(() => load(`experts: 8\ngranularity: 2\n${two}`));
    expect(error.code).toBe('parents-exceed-experts');
    expect(error.message).toContain(
      'the parents give 5 experts (3 + 2) but there are only 4 of full width (8 at granularity 2)',
    );
    const exact = load(`experts: 5\n${two}`);
    expect([exact.parentPaths, exact.warnings]).toEqual([['/nowhere/a', '/nowhere/b'], []]);
    const open = load(`experts: 8\n${two}`);
    expect(open.warnings.map((warning) => warning.message)).toEqual([
      'the parents give 5 of 8 experts; the base gives the first 3',
    ]);
  });

  it('warns of values without effect', () => {
    const codes = (text: string): string[] => load(text).warnings.map((warning) => warning.code);
    expect(codes('router: {init: zero, std: 0.1}\n')).toEqual(['router-std-unused']);
    expect(codes('router: {init: zero}\n')).toEqual([]);
    expect(codes('expert_init: split\n')).toEqual(['split-without-granularity']);
    expect(codes('rest: average\n')).toEqual(['rest-without-parents']);
  });
});
