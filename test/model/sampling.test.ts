import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  argMax,
  checkSampling,
  GREEDY,
  logSumExp,
  sample,
  seededRandom,
  topIndices,
} from '../../src/model/sampling.ts';

const logits = Float32Array.from([0, Math.log(4), Math.log(3), Math.log(2)]);

describe('sampling', () => {
  it('greedy is the first largest', () => {
    expect(argMax(Float32Array.from([1, 3, 3]))).toBe(1);
    expect(argMax(Float32Array.from([Number.NaN, -1, -2]))).toBe(1);
    expect(sample(logits, GREEDY, () => 0.99)).toBe(1);
    expect(sample(logits, { temperature: 2, topP: 1, topK: 1 }, () => 0.99)).toBe(1);
  });

  it('draws in proportion to exp(logit / temperature)', () => {
    // Sorted: 1 (0.4), 2 (0.3), 3 (0.2), 0 (0.1).
    const at = (point: number, topP = 1, topK = 0, temperature = 1): number =>
      sample(logits, { temperature, topP, topK }, () => point);
    expect([0, 0.39, 0.41, 0.69, 0.71, 0.89, 0.91, 0.999].map((p) => at(p))).toEqual([1, 1, 2, 2, 3, 3, 0, 0]);
    // temperature 0.5 squares the odds: 16/30, 9/30, 4/30, 1/30.
    expect([0.53, 0.54, 0.83, 0.84, 0.96, 0.97].map((p) => at(p, 1, 0, 0.5))).toEqual([1, 2, 2, 3, 3, 0]);
  });

  it('top-p keeps the token that reaches it, top-k counts', () => {
    const drawn = (topP: number, topK: number): Set<number> =>
      new Set(Array.from({ length: 100 }, (_, i) => sample(logits, { temperature: 1, topP, topK }, () => i / 100)));
    expect(drawn(0.1, 0)).toEqual(new Set([1]));
    expect(drawn(0.5, 0)).toEqual(new Set([1, 2]));
    expect(drawn(0.95, 0)).toEqual(new Set([1, 2, 3, 0]));
    expect(drawn(1, 2)).toEqual(new Set([1, 2]));
  });

  it('log-sum-exp survives large logits and is exact enough', () => {
    expect(logSumExp(Float32Array.from([1000, 1000]))).toBeCloseTo(1000 + Math.log(2), 9);
    expect(logSumExp(logits)).toBeCloseTo(Math.log(10), 6);
  });

  it('top indices: largest first, ties by index', () => {
    expect(topIndices(Float32Array.from([1, 5, 5, 2]), 3)).toEqual([1, 2, 3]);
    const values = fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 30 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 100 }), (list, count) => {
        const sorted = list.map((value, i) => ({ value, i })).sort((a, b) => b.value - a.value || a.i - b.i);
        expect(topIndices(Float32Array.from(list), count)).toEqual(sorted.slice(0, count).map(({ i }) => i));
      }),
    );
  });

  it('a seed repeats, another differs, and numbers are uniform', () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed);
      return Array.from({ length: 1000 }, random);
    };
    expect(draw(5)).toEqual(draw(5));
    expect(draw(5)).not.toEqual(draw(6));
    expect(draw(2 ** 40)).not.toEqual(draw(0));
    const mean = draw(1).reduce((a, b) => a + b, 0) / 1000;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.04);
    fc.assert(
      fc.property(fc.nat(), (seed) => draw(seed).every((x) => x >= 0 && x < 1)),
      { numRuns: 20 },
    );
  });

  it('refuses values that make no sense', () => {
    expect(() => checkSampling({ ...GREEDY, temperature: -1 })).toThrow(/temperature is -1/);
    expect(() => checkSampling({ ...GREEDY, topP: 0 })).toThrow(/top-p is 0/);
    expect(() => checkSampling({ ...GREEDY, topK: 1.5 })).toThrow(/top-k/);
    expect(() => seededRandom(-1)).toThrow(/seed/);
  });
});
