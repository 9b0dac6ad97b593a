/** Prompts as lines of a text box, and the edits that typing comes to. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonValue } from '../../src/common/json.ts';
import type { RecipeField } from '../../src/protocol/planning.ts';
import { linesOf, promptBoxes, promptEdit, promptsIn, promptsOf } from '../../webview/lib/prompts.ts';

const field = (value: JsonValue, max: number | null = 2, disabled: string | null = null): RecipeField => ({
  path: ['router', 'prompts'],
  field: 'router.prompts',
  label: 'Router prompts',
  about: '',
  expected: '',
  control: 'prompts',
  choices: [],
  min: null,
  max,
  value,
  resolved: null,
  origin: 'default',
  disabled,
  problems: [],
});

describe('prompts in a text box', () => {
  it('come back as they were, line breaks and backslashes too', () => {
    // Spaces at the ends are tokens too; only a prompt of nothing but space has no line.
    const some = fc.string({ unit: 'grapheme' }).filter((one) => one.trim() !== '');
    fc.assert(
      fc.property(fc.array(some), (prompts) => {
        expect(promptsIn(linesOf(prompts))).toEqual(prompts);
      }),
    );
    expect(linesOf(['one\ntwo', 'a\\n'])).toBe('one\\ntwo\na\\\\n');
    expect(promptsIn('\\frac{1}{2} in C:\\data')).toEqual(['\\frac{1}{2} in C:\\data']);
    expect(promptsIn(' a \r\n\n  \nQuestion: \n')).toEqual([' a ', 'Question: ']);
  });

  it('are read leniently, with a box for the next expert while there is room', () => {
    expect(promptsOf('nonsense')).toEqual([]);
    const one = [{ positive_prompts: ['a', 3] }, null] as JsonValue;
    expect(promptsOf(one)).toEqual([
      { positive: ['a'], negative: [] },
      { positive: [], negative: [] },
    ]);
    expect(promptBoxes(field(null))).toHaveLength(1);
    expect(promptBoxes(field(one))).toHaveLength(2);
    expect(promptBoxes(field(one, 3))).toHaveLength(3);
    expect(promptBoxes(field(null, 2, 'not now'))).toHaveLength(0);
  });

  it('become small edits', () => {
    const two = field([{ positive_prompts: ['a'] }, { positive_prompts: ['b'], negative_prompts: ['c'] }]);
    const path = (...more: (string | number)[]) => ['router', 'prompts', ...more];
    expect(promptEdit(two, 0, 'positive', 'a\n')).toBeNull();
    expect(promptEdit(two, 0, 'positive', 'a\nd')).toEqual({
      op: 'set',
      path: path(0, 'positive_prompts'),
      value: ['a', 'd'],
    });
    expect(promptEdit(two, 0, 'positive', ' ')).toBe('needed');
    expect(promptEdit(two, 1, 'positive', '')).toEqual({ op: 'remove', path: path(1) });
    expect(promptEdit(two, 1, 'negative', '')).toEqual({ op: 'remove', path: path(1, 'negative_prompts') });
    expect(promptEdit(two, 0, 'negative', 'x')).toEqual({ op: 'set', path: path(0, 'negative_prompts'), value: ['x'] });
    expect(promptEdit(field([{ positive_prompts: ['a'] }]), 0, 'positive', '')).toEqual({ op: 'remove', path: path() });
    expect(promptEdit(field(null), 0, 'positive', 'a')).toEqual({
      op: 'set',
      path: path(0, 'positive_prompts'),
      value: ['a'],
    });
    expect(promptEdit(field(null), 0, 'negative', 'a')).toBe('needed');
  });
});
