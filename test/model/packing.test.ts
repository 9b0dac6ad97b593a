import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packSegments } from '../../src/model/masks.ts';
import { commonPrefix, packRows } from '../../src/model/packing.ts';

describe('packing', () => {
  it('computes shared beginnings once', () => {
    const [row, ...rest] = packRows([[1, 2, 3], [1, 2, 4], [1, 2, 4, 5], [9], [1, 2]], 100);
    expect(rest).toEqual([]);
    expect(row?.segments).toEqual([
      { ids: [1, 2], parent: -1 },
      { ids: [3], parent: 0 },
      { ids: [4], parent: 0 },
      { ids: [5], parent: 2 },
      { ids: [9], parent: -1 },
    ]);
    expect([0, 1, 2, 3].map((depth) => row?.placeOf(2, depth))).toEqual([0, 1, 3, 4]);
    expect(row?.placeOf(4, 1)).toBe(1);
    expect(() => row?.placeOf(4, 2)).toThrow(RangeError);
  });

  it('every token of every sequence is found with its own history, in rows within the budget', () => {
    const sequences = fc.array(fc.array(fc.nat(3), { minLength: 1, maxLength: 7 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(sequences, fc.integer({ min: 1, max: 20 }), fc.nat(11), (all, budget, odd) => {
        const rows = packRows(all, budget, (index) => index === odd);
        expect(rows.flatMap((row) => row.members)).toEqual(all.map((_, i) => i));
        for (const row of rows) {
          const packed = packSegments(row.segments);
          if (row.members.includes(odd)) expect(row.members).toEqual([odd]);
          if (row.members.length > 1)
            expect(packed.ids.length).toBeLessThanOrEqual(Math.max(budget, all[row.members[0] ?? 0]?.length ?? 0));
          row.members.forEach((index, slot) => {
            (all[index] ?? []).forEach((id, depth) => {
              const place = row.placeOf(slot, depth);
              expect(packed.ids[place]).toBe(id);
              expect(packed.positions[place]).toBe(depth);
            });
          });
        }
      }),
      { numRuns: 200 },
    );
  });

  it('common beginnings', () => {
    expect(commonPrefix([1, 2, 3], [1, 2, 4])).toBe(2);
    expect(commonPrefix([], [1])).toBe(0);
    expect(commonPrefix([1], [1, 2])).toBe(1);
  });
});
