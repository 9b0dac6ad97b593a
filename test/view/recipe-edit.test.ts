import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { JsonValue } from '../../src/common/json.ts';
import type { RecipeChange } from '../../src/protocol/planning.ts';
import { applyRecipeChanges } from '../../src/view/recipe-edit.ts';
import { flowText } from '../../src/view/yaml-flow.ts';

const set = (path: string, value: JsonValue): RecipeChange => ({ op: 'set', path: steps(path), value });
const remove = (path: string): RecipeChange => ({ op: 'remove', path: steps(path) });
const steps = (path: string): (string | number)[] =>
  path.split('.').map((step) => (/^\d+$/.test(step) ? Number(step) : step));
const edit = (text: string, ...changes: RecipeChange[]): string => applyRecipeChanges(text, changes);

const RECIPE = `# Our first MoE
base: ./llama   # the dense one

experts: 8      # as Mixtral
top_k: 2
router:
  # small
  init: normal
  std:   0.02   # He et al.
parents:
  - path: "a"   # code
    experts: 2
  - {path: b, experts: 1}
layers: [0, 2,  4]   # odd ones stay
output: { dtype: same }
# the end
`;

describe('recipe edits', () => {
  it('changes one value and nothing else', () => {
    expect(edit(RECIPE, set('experts', 16))).toBe(RECIPE.replace('experts: 8 ', 'experts: 16 '));
    expect(edit(RECIPE, set('router.std', 0.1))).toBe(RECIPE.replace('0.02', '0.1'));
    expect(edit(RECIPE, set('base', './my model'))).toBe(RECIPE.replace('./llama', './my model'));
    expect(edit(RECIPE, set('base', 'a: b # c'))).toBe(RECIPE.replace('./llama', '"a: b # c"'));
    expect(edit(RECIPE, set('layers', 'every:2'))).toBe(RECIPE.replace('[0, 2,  4]', 'every:2'));
    expect(edit(RECIPE, set('parents.0.experts', 4))).toBe(RECIPE.replace('    experts: 2', '    experts: 4'));
    expect(edit(RECIPE, set('parents.1.path', 'c'))).toBe(RECIPE.replace('path: b', 'path: c'));
    expect(edit(RECIPE, set('experts', 8))).toBe(RECIPE);
  });

  it('adds fields at the end of their group', () => {
    expect(edit(RECIPE, set('router.order', 'softmax-topk'))).toBe(
      RECIPE.replace('# He et al.\n', '# He et al.\n  order: softmax-topk\n'),
    );
    expect(edit(RECIPE, set('output.shard_size', '2GB'))).toBe(
      RECIPE.replace('{ dtype: same }', '{ dtype: same, shard_size: 2GB }'),
    );
    expect(edit(RECIPE, set('seed', 7))).toBe(RECIPE.replace('# the end\n', 'seed: 7\n# the end\n'));
    expect(edit('', set('router.std', 0.1))).toBe('router:\n  std: 0.1\n');
    expect(edit('# only this', set('experts', 4))).toBe('# only this\nexperts: 4\n');
    expect(edit('a: 1', set('b', 'x'))).toBe('a: 1\nb: x\n');
    expect(edit(RECIPE, set('parents.2', { path: 'c', experts: 3 }))).toBe(
      RECIPE.replace('experts: 1}\n', 'experts: 1}\n  - { path: c, experts: 3 }\n'),
    );
    expect(edit('router:\n', set('router.std', 1))).toBe('router: { std: 1 }\n');
  });

  it('writes prompts as a person would, one expert after the other', () => {
    const first = edit(
      'experts: 2 # two\nrouter:\n  init: hidden\n',
      set('router.prompts.0.positive_prompts', ['a: b', 'c']),
    );
    expect(first).toBe('experts: 2 # two\nrouter:\n  init: hidden\n  prompts:\n    - positive_prompts: ["a: b", c]\n');
    const second = edit(first, set('router.prompts.1.positive_prompts', ['d']));
    expect(second).toBe(`${first}    - positive_prompts: [d]\n`);
    const third = edit(second, set('router.prompts.0.negative_prompts', ['e']));
    expect(third).toBe(second.replace('c]\n', 'c]\n      negative_prompts: [e]\n'));
    expect(edit(third, remove('router.prompts.0.negative_prompts'))).toBe(second);
    expect(edit(second, remove('router.prompts.1'))).toBe(first);
    expect(edit('router: {init: hidden}\n', set('router.prompts.0.positive_prompts', ['x']))).toBe(
      'router: {init: hidden, prompts: [{ positive_prompts: [x] }]}\n',
    );
  });

  it('removes fields, and groups that are left empty', () => {
    expect(edit(RECIPE, remove('top_k'))).toBe(RECIPE.replace('top_k: 2\n', ''));
    expect(edit(RECIPE, remove('output.dtype'))).toBe(RECIPE.replace('output: { dtype: same }\n', ''));
    expect(edit(RECIPE, remove('router.init'))).toBe(RECIPE.replace('  init: normal\n', ''));
    expect(edit('a: {b: 1, c: 2}\n', remove('a.c'))).toBe('a: {b: 1}\n');
    expect(edit('a: {b: 1, c: 2}\n', remove('a.b'))).toBe('a: {c: 2}\n');
    expect(edit(RECIPE, remove('parents.1'))).toBe(RECIPE.replace('  - {path: b, experts: 1}\n', ''));
    expect(edit(RECIPE, remove('nothing.here'))).toBe(RECIPE);
    expect(edit('experts: 4 # four\n', remove('experts'))).toBe('');
  });

  it('knows the short forms of groups', () => {
    expect(edit('expert_init: noise # n\n', set('expert_init.method', 'drop'))).toBe('expert_init: drop # n\n');
    expect(edit('expert_init: noise # n\n', set('expert_init.std', 0.1))).toBe(
      'expert_init: { method: noise, std: 0.1 } # n\n',
    );
    expect(
      edit('expert_init:\n  method: noise\n  std: 0.1 # x\n  ratio: 0.5\n', set('expert_init.method', 'drop')),
    ).toBe('expert_init:\n  method: drop\n  ratio: 0.5\n');
    expect(edit('', set('expert_init.method', 'svd'))).toBe('expert_init: svd\n');
    expect(edit('shared_expert: b\n', set('shared_expert.width', 64))).toBe('shared_expert: { plan: b, width: 64 }\n');
    expect(edit('shared_expert: {plan: b, width: 64}\n', remove('shared_expert.width'))).toBe('shared_expert: b\n');
    expect(edit('shared_expert: {plan: b, width: 64}\n', set('shared_expert.plan', 'auto'))).toBe(
      'shared_expert: auto\n',
    );
    expect(edit('', set('tie', 'true'), set('output.clone', 'auto'))).toBe('tie: true\noutput:\n  clone: auto\n');
  });

  it('keeps line breaks, anchors, block texts and dashes right', () => {
    expect(edit('a: 1\r\nb: 2\r\n', set('a', 3), set('c', 4))).toBe('a: 3\r\nb: 2\r\nc: 4\r\n');
    expect(edit('a: |\n  x\n  y\nb: 1\n', set('a', 'z'))).toBe('a: z\nb: 1\n');
    expect(parse(edit('a: &x 1\nb: *x\n', set('b', 2)))).toEqual({ a: 1, b: 2 });
    // b would change with it: not done silently.
    expect(() => edit('a: &x 1\nb: *x\n', set('a', 2))).toThrow('cannot be edited');
    expect(edit('config:\n  x: [1,\n    2]\n  y: 1\n', set('config.x', 5))).toBe('config:\n  x: 5\n  y: 1\n');
    expect(edit('layers:\n- 1\n- 2\nseed: 1\n', set('layers', [3]))).toBe('layers: [3]\nseed: 1\n');
  });

  it('refuses what it cannot read', () => {
    for (const text of ['- 1\n', 'a: [', 'a: 1\na: 2\n', '"x"'])
      expect(() => edit(text, set('experts', 1))).toThrowError(
        expect.objectContaining({ code: 'recipe-not-editable' }),
      );
  });

  it('any change gives the values that it should, and leaves all else alone', () => {
    const scalar = fc.oneof(
      fc.integer({ min: 0, max: 99 }),
      fc.boolean(),
      fc.constantFrom(
        'a',
        'x y',
        '1',
        'no',
        'a: b',
        '#x',
        '',
        'every:2',
        '0-3,5',
        "it's",
        '"',
        'é',
        'null',
        '-',
        '5GB',
      ),
    );
    const value: fc.Arbitrary<JsonValue> = fc.oneof(
      scalar,
      fc.array(scalar, { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('p', 'q r', '1', '__proto__x'), scalar, { maxKeys: 2 }),
    );
    const member = fc.tuple(
      scalar,
      fc.constantFrom('', ' # c1', '   # c2'),
      fc.constantFrom('block', 'flow', 'plain'),
      value,
    );
    fc.assert(
      fc.property(
        fc.array(member, { maxLength: 5 }),
        fc.nat(6),
        fc.constantFrom('', 'in', 'in.deep'),
        value,
        fc.boolean(),
        (members, at, inner, wanted, removing) => {
          let text = '# head\n';
          for (const [i, [simple, comment, form, other]] of members.entries()) {
            if (form === 'plain') text += `k${String(i)}: ${flowText(simple, false)}${comment}\n`;
            else if (form === 'flow') text += `k${String(i)}: ${flowText(other, false)}${comment}\n`;
            else text += `k${String(i)}:${comment}\n  # above\n  in: ${flowText(simple, false)}\n\n  z: 1${comment}\n`;
          }
          text += '# tail\n';
          const path = [`k${String(at)}`, ...inner.split('.').filter((part) => part !== '')];
          const change: RecipeChange = removing ? { op: 'remove', path } : { op: 'set', path, value: wanted };
          const before: unknown = parse(text) ?? {};
          const after: unknown = parse(applyRecipeChanges(text, [change])) ?? {};
          const get = (from: unknown): unknown =>
            path.reduce<unknown>(
              (node, key) =>
                typeof node === 'object' && node !== null ? (node as Record<string, unknown>)[key] : undefined,
              from,
            );
          if (removing) expect(get(after)).toBeUndefined();
          else expect(get(after)).toEqual(wanted);
          const { [path[0] ?? '']: _a, ...restBefore } = before as Record<string, unknown>;
          const { [path[0] ?? '']: _b, ...restAfter } = after as Record<string, unknown>;
          expect(restAfter).toEqual(restBefore);
          const result = applyRecipeChanges(text, [change]);
          expect(result.startsWith('# head\n')).toBe(true);
          expect(result).toContain('# tail');
          // Lines of other fields are untouched.
          const others = text.split('\n').filter((line) => /^k\d/.test(line) && !line.startsWith(`${path[0] ?? ''}:`));
          for (const line of others) expect(result).toContain(line);
        },
      ),
      { numRuns: 500 },
    );
  });
});
