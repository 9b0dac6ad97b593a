import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { causalMask, HIDDEN, packedMask, packSegments, pastMask } from '../../src/model/masks.ts';

const seen = (mask: Float32Array, width: number): number[][] =>
  Array.from({ length: mask.length / width }, (_, q) =>
    Array.from({ length: width }, (_, k) => k).filter((k) => mask[q * width + k] === 0),
  );

describe('masks', () => {
  it('causal, with and without a window (the window counts the token itself)', () => {
    expect(seen(causalMask(4, null), 4)).toEqual([[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]);
    expect(seen(causalMask(4, 2), 4)).toEqual([[0], [0, 1], [1, 2], [2, 3]]);
    expect(causalMask(2, null)[1]).toBe(Math.fround(HIDDEN));
  });

  it('over a cache: what is filled and inside the window', () => {
    expect(seen(pastMask(2, 3, 3, 5, null), 5)).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ]);
    expect(seen(pastMask(2, 3, 3, 5, 3), 5)).toEqual([[1, 2], [2]]);
    expect(seen(pastMask(2, 5, 3, 4, 2), 4)).toEqual([[], []]);
  });

  it('cache and own mask together are the causal mask of the whole', () => {
    fc.assert(
      fc.property(
        fc.nat(6),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(4),
        fc.option(fc.integer({ min: 1, max: 6 })),
        (past, fresh, spare, window) => {
          const whole = seen(causalMask(past + fresh, window), past + fresh).slice(past);
          const old = seen(pastMask(fresh, past, past, past + spare + 1, window), past + spare + 1);
          const own = seen(causalMask(fresh, window), fresh);
          expect(old.map((row, i) => [...row, ...(own[i] ?? []).map((k) => k + past)])).toEqual(whole);
        },
      ),
    );
  });

  it('packed: each segment sees its ancestors and itself', () => {
    const row = packSegments([
      { ids: [1, 2], parent: -1 },
      { ids: [3], parent: 0 },
      { ids: [4, 5], parent: 0 },
      { ids: [6], parent: 2 },
      { ids: [7], parent: -1 },
    ]);
    expect(row.ids).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(row.positions).toEqual([0, 1, 2, 2, 3, 4, 0]);
    expect(row.starts).toEqual([0, 2, 3, 5, 6]);
    expect(seen(packedMask(row, null), 7)).toEqual([
      [0],
      [0, 1],
      [0, 1, 2],
      [0, 1, 3],
      [0, 1, 3, 4],
      [0, 1, 3, 4, 5],
      [6],
    ]);
    expect(seen(packedMask(row, 2), 7)).toEqual([[0], [0, 1], [1, 2], [1, 3], [3, 4], [4, 5], [6]]);
  });

  it('one segment is a plain row', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.option(fc.integer({ min: 1, max: 9 })), (length, window) => {
        const row = packSegments([{ ids: Array<number>(length).fill(1), parent: -1 }]);
        expect(packedMask(row, window)).toEqual(causalMask(length, window));
      }),
    );
  });

  it('a segment cannot continue a later one', () => {
    expect(() => packSegments([{ ids: [1], parent: 0 }])).toThrow(/does not come before/);
  });
});
