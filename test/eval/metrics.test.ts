import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  argmax,
  bootstrapPerplexityStderr,
  mean,
  meanStderr,
  perplexity,
  pickChoices,
  pooledStderr,
  rollingMetrics,
  topMargin,
  weightedMean,
  wilsonInterval,
} from '../../src/eval/metrics.ts';
import { SHARED, haveShared } from './helpers/shared.ts';

describe('argmax (numpy)', () => {
  it.each([
    [[1, 3, 3], 1],
    [[-Infinity, -Infinity], 0],
    [[1, NaN, 5, NaN], 1],
    [[-2, -1, -3], 1],
    [[], 0],
  ])('%j', (values, index) => {
    expect(argmax(values)).toBe(index);
  });
});

describe('accuracy picks', () => {
  it('normalises by code points and by bytes, never by UTF-16 units', () => {
    const choices = ['xy', 'a\u00e9\u00ea', 'go \u{1f44d}\u{1f3fd}'];
    expect(pickChoices([-2, -2.7, -4.7], choices)).toEqual({ acc: 0, acc_norm: 1, acc_bytes: 2 });
  });

  it('an empty choice has length 0: its log-likelihood becomes minus infinity, or NaN when it is 0', () => {
    expect(pickChoices([-1, -2], ['', 'ab']).acc_norm).toBe(1);
    expect(pickChoices([0, -2], ['', 'ab']).acc_norm).toBe(0);
  });

  it('takes the first of exact ties', () => {
    expect(pickChoices([-1, -1, -1], ['a', 'a', 'a'])).toEqual({ acc: 0, acc_norm: 0, acc_bytes: 0 });
    expect(topMargin([-1, -3, -1])).toBe(0);
    expect(topMargin([-1, -3, -2])).toBe(1);
    expect(topMargin([-1])).toBe(Infinity);
  });

  it.skipIf(!haveShared('field/inputs/G4-05', 'field case G4-05'))('field case G4-05', () => {
    const doc = JSON.parse(readFileSync(join(SHARED, 'field/inputs/G4-05/doc.jsonl'), 'utf8')) as {
      choices: string[];
      loglikelihoods: number[];
    };
    expect(pickChoices(doc.loglikelihoods, doc.choices)).toEqual({ acc: 0, acc_norm: 1, acc_bytes: 2 });
  });
});

describe('standard errors', () => {
  it('divides by n − 1', () => {
    const ten = [0, 1, 0, 0, 1, 0, 0, 1, 0, 0];
    expect(mean(ten)).toBe(0.3);
    expect(meanStderr(ten)).toBeCloseTo(0.15275252316519466, 15); // lm_eval 0.4.13
  });

  it('is unknown for one sample, not 0 or NaN', () => {
    expect(meanStderr([1])).toBeNull();
    expect(meanStderr([])).toBeNull();
  });

  it('pools by the harness’s formula', () => {
    // sqrt(((3·0.1²·4) + (9·0.2²·10)) / (14 − 2) / 14)
    expect(pooledStderr([0.1, 0.2], [4, 10])).toBeCloseTo(Math.sqrt((0.12 + 3.6) / 12 / 14), 15);
    expect(pooledStderr([0.1, null], [4, 10])).toBeNull();
    expect(pooledStderr([0, 0], [1, 1])).toBeNull();
    expect(weightedMean([0.5, 1], [1, 3])).toBe(0.875);
  });

  it('pooling equal halves is close to the error of the whole', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 40, maxLength: 80 }), (xs) => {
        const doubled = [...xs, ...xs];
        const pooled = pooledStderr([meanStderr(xs), meanStderr(xs)], [xs.length, xs.length]) ?? NaN;
        const whole = meanStderr(doubled) ?? NaN;
        expect(Math.abs(pooled - whole)).toBeLessThanOrEqual(whole * 0.02 + 1e-12);
      }),
    );
  });
});

describe('perplexities', () => {
  it('of words and of rolling pages', () => {
    expect(perplexity([Math.log(0.5), Math.log(0.125)])).toBeCloseTo(4, 12);
    const { word_perplexity, byte_perplexity, bits_per_byte } = rollingMetrics([
      { logprob: -Math.log(8), words: 2, bytes: 5 },
      { logprob: -Math.log(2), words: 2, bytes: 3 },
    ]);
    expect(word_perplexity).toBeCloseTo(2, 12);
    expect(byte_perplexity).toBeCloseTo(2 ** 0.5, 12);
    expect(bits_per_byte).toBeCloseTo(0.5, 12);
  });

  it('bootstrap: unknown for one value, stops when cancelled', async () => {
    expect(await bootstrapPerplexityStderr([-1])).toBeNull();
    expect(await bootstrapPerplexityStderr([-1, -2], 0)).toBeNull();
    await expect(bootstrapPerplexityStderr([-1, -2], 5000, AbortSignal.abort())).rejects.toThrow();
  });
});

describe('Wilson interval', () => {
  it('matches the textbook and stays inside [0, 1]', () => {
    const [low, high] = wilsonInterval(8, 10) ?? [0, 0];
    expect(low).toBeCloseTo(0.4901625, 6); // statsmodels proportion_confint(8, 10, method="wilson")
    expect(high).toBeCloseTo(0.9433178, 6);
    expect(wilsonInterval(0, 0)).toBeNull();
    expect(wilsonInterval(0, 5)?.[0]).toBe(0);
    expect(wilsonInterval(5, 5)?.[1]).toBe(1);
  });
});
