import { describe, expect, it } from 'vitest';
import { append, largest, smallest } from '../../src/common/lists.ts';
import { PLAIN, table } from '../../src/report/text.ts';

const MANY = 400_000;

describe('lists of any length', () => {
  it('grow by more items than a call takes arguments', () => {
    const list = [0];
    append(
      list,
      Array.from({ length: MANY }, (_, i) => i),
    );
    expect(list.length).toBe(MANY + 1);
    expect(list.at(-1)).toBe(MANY - 1);
  });

  it('have a largest and a smallest value, as Math.max and Math.min have', () => {
    const values = Float64Array.from({ length: MANY }, (_, i) => (i * 7919) % MANY);
    expect([largest(values), smallest(values)]).toEqual([MANY - 1, 0]);
    for (const few of [[], [3], [3, -2, 7], [1, Number.NaN, 2]]) {
      expect(largest(few)).toBe(Math.max(...few));
      expect(smallest(few)).toBe(Math.min(...few));
      expect([largest(few, 5), smallest(few, -5)]).toEqual([Math.max(5, ...few), Math.min(-5, ...few)]);
    }
  });

  it('fill a table (tokens of a long text made one fail)', () => {
    const text = table(
      [{ title: 'id' }],
      Array.from({ length: MANY }, (_, i) => [String(i)]),
      PLAIN,
    );
    expect(text.length).toBeGreaterThan(MANY);
  });
});
