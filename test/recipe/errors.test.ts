import { describe, expect, it } from 'vitest';
import { diagnoseRecipe, loadRecipe } from '../../src/recipe/load.ts';
import { failure, load, loadSets } from './helpers.ts';

describe('errors', () => {
  it('says a fault once, also where the schema counts it twice', () => {
    const error = failure(() => load('seed: 9007199254740993\n'));
    expect(error.message).toMatch(
      /^a\.moe\.yaml:1:7: seed: expected a whole number from 0 to 9007199254740991, got \d+$/,
    );
  });

  it('all problems come at once, in reading order, each with key, place and what was expected', () => {
    const error = failure(() =>
      load('experts: eight\ntop_k: 2.5\ntopk: 3\nrouter: {init: foo, stdd: 1}\ntie: yes\nseed: -1\n', {
        sets: ['output.dtype=int8'],
      }),
    );
    expect(error.code).toBe('recipe-invalid');
    expect(error.kind).toBe('input');
    expect(error.message.split('\n')).toEqual([
      '8 problems in the recipe:',
      '  a.moe.yaml:1:10: experts: expected a whole number from 1 to 65536, got "eight"',
      '  a.moe.yaml:2:8: top_k: expected a whole number from 1 to the number of experts, got 2.5',
      '  a.moe.yaml:3:1: unknown key "topk"; did you mean "top_k"?',
      '  a.moe.yaml:4:16: router.init: expected normal, uniform, zero, orthogonal, hidden, hidden_avg or cheap_embed, got "foo"',
      '  a.moe.yaml:4:21: router: unknown key "stdd"; did you mean "std"?',
      '  a.moe.yaml:5:6: tie: expected auto, true or false, got "yes"',
      '  a.moe.yaml:6:7: seed: expected a whole number from 0 to 9007199254740991, got -1',
      '  --set output.dtype=int8: expected same, float32, bfloat16 or float16, got "int8"',
    ]);
    expect(error.place.details?.['problems']).toHaveLength(8);
  });

  it.each([
    ['num_local_experts: 4', 'experts'],
    ['num_experts_per_tok: 2', 'top_k'],
    ['dtype: float16', 'output.dtype'],
    ['expert-init: copy', 'expert_init'],
    ['parent: []', 'parents'],
    ['Layers: all', 'layers'],
  ])('%s: the nearest known name is %s', (text, near) => {
    const error = failure(() => load(`seed: 1\n${text}\n`));
    expect(error.code).toBe('unknown-key');
    expect(error.message).toMatch(/^a\.moe\.yaml:2:1: /);
    expect(error.message).toContain(`did you mean "${near}"?`);
  });

  it('a name that is near to nothing lists the known ones', () => {
    expect(failure(() => load('zzzzzzzz: 1\n')).message).toContain('known keys: preset, base, parents');
  });

  it('missing members are named with their index', () => {
    const error = failure(() => load('parents:\n  - {path: a, experts: 8}\n  - {experts: 1}\n'));
    expect(error.message).toContain('a.moe.yaml:3:5: parents[1].path: is missing; expected a path (text)');
  });

  it('shared_expert as a mapping names what is wrong inside', () => {
    const error = failure(() => load('shared_expert: {plan: z, widht: 3}\n'));
    expect(error.message.split('\n').slice(1)).toEqual([
      '  a.moe.yaml:1:16: shared_expert.width: is missing; expected a whole number, 1 or more',
      '  a.moe.yaml:1:23: shared_expert.plan: expected none, a, b or c, got "z"',
      '  a.moe.yaml:1:26: shared_expert: unknown key "widht"; did you mean "width"?',
    ]);
  });

  it('a fault of the command line alone is a usage error, one of a file is an input error', () => {
    expect(failure(() => loadSets('expert=2')).kind).toBe('usage');
    expect(failure(() => loadSets('experts')).kind).toBe('usage');
    expect(failure(() => loadRecipe({ preset: 'vavre-2025' })).kind).toBe('usage');
    expect(failure(() => load('expert: 2\n')).kind).toBe('input');
  });

  it('missing, binary, oversized and non-file recipes are told apart', () => {
    const code = (file: string): string => failure(() => loadRecipe({ file })).code;
    expect(code('/nowhere/a.moe.yaml')).toBe('recipe-not-found');
    expect(code('/')).toBe('recipe-not-a-file');
    expect(code('/dev/null')).toBe('recipe-not-a-file');
    expect(code(process.execPath)).toBe('recipe-too-large');
  });

  it('hands problems to editors without throwing, with the span of the value', () => {
    const { loaded, problems } = diagnoseRecipe({ text: 'experts: 2\ntop_k: 30\n', file: 'a.moe.yaml' });
    expect(loaded).toBeNull();
    expect(problems.map((problem) => problem.at)).toEqual([{ line: 2, column: 8, endLine: 2, endColumn: 10 }]);
  });
});

describe('hostile text', () => {
  const timed = (text: string): { code: string; ms: number } => {
    const start = performance.now();
    const { code } = failure(() => load(text));
    return { code, ms: performance.now() - start };
  };
  const laughs = ['a: &a [1,1,1,1,1,1,1,1,1,1]'];
  for (const [name, before] of [
    ['b', 'a'],
    ['c', 'b'],
    ['d', 'c'],
    ['e', 'd'],
  ])
    laughs.push(`${name}: &${name} [${Array.from({ length: 10 }, () => `*${before}`).join(',')}]`);

  it.each([
    ['alias bomb', laughs.join('\n'), 'yaml-refused'],
    ['alias to itself', 'config: &a {x: *a}', 'yaml-refused'],
    ['alias without anchor', 'config: *a', 'yaml-refused'],
    ['many aliases', `a: &x 1\nb: [${'*x,'.repeat(30_000)}]`, 'yaml-refused'],
    ['many keys', Array.from({ length: 21_000 }, (_, i) => `k${i}: 1`).join('\n'), 'yaml-refused'],
    ['deep brackets', '['.repeat(100_000), 'yaml-refused'],
    ['deep dashes', '- '.repeat(20_000), 'yaml-refused'],
    ['deep indents', Array.from({ length: 690 }, (_, i) => `${' '.repeat(i)}k:`).join('\n'), 'yaml-refused'],
    ['many anchors', '&a '.repeat(30_000), 'recipe-invalid'],
    ['huge', '#'.repeat(300_000), 'yaml-too-large'],
    ['binary tag', 'config: {x: !!binary aGk=}', 'yaml-refused'],
    ['map as key', '{a: 1}: 2', 'yaml-refused'],
    ['two documents', 'seed: 1\n---\nseed: 2\n', 'yaml-several-documents'],
    ['duplicate key', 'seed: 1\nseed: 2\n', 'yaml-duplicate-key'],
    ['unclosed', 'layers: [1\n', 'yaml-syntax'],
    ['list', '- 1\n', 'recipe-not-mapping'],
  ])('%s is refused in bounded time', (_name, text, code) => {
    const result = timed(text);
    expect(result.code).toBe(code);
    expect(result.ms).toBeLessThan(5000);
  });

  it('__proto__ is refused as a field name and reaches no prototype', () => {
    for (const text of [
      '__proto__: {polluted: 1}',
      'config: {__proto__: {polluted: 1}}',
      'router: {__proto__: {std: 3}}',
    ])
      expect(failure(() => load(text)).message).toContain('__proto__');
    expect(failure(() => loadSets('__proto__.polluted=1')).code).toBe('unknown-key');
    expect(failure(() => loadSets('config.__proto__.polluted=1')).code).toBe('refused-key');
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  });

  it('constructor and prototype are names like any other in config', () => {
    expect(load('config: {constructor: 1, prototype: {a: 2}}').recipe.config).toEqual({
      constructor: 1,
      prototype: { a: 2 },
    });
  });
});
