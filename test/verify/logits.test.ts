import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LogitComparison, judgeLogits, proofIds, windowsOf } from '../../src/verify/logits.ts';

function compared(a: readonly (readonly number[])[], b: readonly (readonly number[])[]) {
  const comparison = new LogitComparison(a[0]?.length ?? 0);
  a.forEach((row, i) => {
    comparison.add(Float32Array.from(row), Float32Array.from(b[i] ?? []));
  });
  return comparison.result();
}

describe('difference of logits', () => {
  it('by hand', () => {
    const result = compared(
      [
        [0, 3, 4],
        [1, 0, 0],
      ],
      [
        [0, 3, 4],
        [0, 2, 0],
      ],
    );
    expect(result).toMatchObject({ positions: 2, vocabulary: 3, equalLogits: 4, maxAbs: 2, argmaxEqual: 1 });
    expect(result.relativeNorm).toBeCloseTo(Math.sqrt(5 / 26), 12);
    const [p, q] = [
      [Math.E, 1, 1],
      [1, Math.E ** 2, 1],
    ];
    const [P, Q] = [Math.E + 2, Math.E ** 2 + 2];
    const kl = p.reduce((sum, x, i) => sum + (x / P) * Math.log(x / P / ((q[i] ?? 0) / Q)), 0);
    expect(result.meanKl).toBeCloseTo(kl / 2, 12);
    expect(result.maxKl).toBeCloseTo(kl, 12);
  });

  it('a shift of all logits changes no distribution; KL is never negative', () => {
    const row = fc.array(fc.float({ min: -20, max: 20, noNaN: true }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(row, row, (a, b) => {
        expect(compared([a], [a.map((x) => x + 1)]).maxKl).toBeLessThan(1e-5);
        expect(compared([a], [b]).meanKl).toBeGreaterThanOrEqual(0);
        expect(compared([a], [a])).toMatchObject({ equalLogits: 4, relativeNorm: 0, maxAbs: 0, argmaxEqual: 1 });
      }),
    );
  });

  it('what is not finite never passes', () => {
    const bad = compared([[0, 1]], [[Number.NaN, 1]]);
    expect(bad.nonFinite).toBe(1);
    for (const kind of ['bit-exact', 'exact', 'approximate', 'not-preserving'] as const)
      expect(judgeLogits(bad, kind, '').ok).toBe(false);
  });

  it('exact and bit-exact keep the limit, the others only report', () => {
    const near = compared([[1, 1]], [[1, 1 + 1e-5]]);
    const far = compared([[1, 1]], [[1, 1 + 1e-4]]);
    for (const kind of ['bit-exact', 'exact'] as const) {
      expect(judgeLogits(near, kind, '')).toMatchObject({ ok: true, bitEqual: false, limit: 1e-5 });
      expect(judgeLogits(far, kind, '').ok).toBe(false);
    }
    expect(judgeLogits(far, 'approximate', '')).toMatchObject({ ok: true, limit: null });
    expect(judgeLogits(compared([[2, 1]], [[2, 1]]), 'bit-exact', '').bitEqual).toBe(true);
    expect(judgeLogits(compared([], []), 'exact', '').ok).toBe(false);
  });

  it('tokens that stand in for a text lie in the vocabulary; windows join to the ids', () => {
    const ids = proofIds(50);
    expect(Math.max(...ids)).toBeLessThan(50);
    expect(new Set(ids).size).toBeGreaterThan(40);
    expect(windowsOf(ids, 100).flat()).toEqual(ids);
    expect(windowsOf(proofIds(9, 2000), 8192).map(({ length }) => length)).toEqual([512, 512, 512, 464]);
  });
});
