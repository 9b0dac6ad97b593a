import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { traceJson } from '../../src/eval/trace-export.ts';
import { traceReport } from '../../src/eval/trace-report.ts';
import { COUNTED, ExpertTrace, PAD, PREFIX, maxViolation, pairIndex, roundToBf16 } from '../../src/eval/trace.ts';
import { TWO, logits, only, report } from './helpers/trace.ts';

const LN2 = Math.LN2;

describe('definitions on a case worked by hand', () => {
  const layer = only(report({}, [{ logits: TWO, tokenIds: [7, 9], domain: ['law', 'art'] }]));

  it('load, importance, top-1, mean gate', () => {
    expect(layer.tokens).toBe(2);
    expect(layer.counts).toEqual([1, 2, 1, 0]);
    expect(layer.load).toEqual([0.25, 0.5, 0.25, 0]);
    expect(layer.importance.map((p) => Number(p.toFixed(12)))).toEqual([0.3125, 0.375, 0.1875, 0.125]);
    expect(layer.top1).toEqual([1, 1, 0, 0]);
    // Normalised weights: 2/3 and 1/3 for each token.
    expect(layer.meanGate.map((g) => Number(g.toFixed(12)))).toEqual([0.333333333333, 0.5, 0.166666666667, 0]);
  });

  it('entropy, MaxVio, dead experts, auxiliary and z losses', () => {
    // Each token: −(½ ln ½ + ¼ ln ¼ + 2·⅛ ln ⅛) = 1.75 ln 2, over ln 4.
    expect(layer.routerEntropy).toBeCloseTo(1.75 / 2, 12);
    expect(layer.loadEntropy).toBeCloseTo(1.5 / 2, 12);
    expect(layer.maxVio).toBe(1); // (2 − 1) / 1
    expect(layer.batchMaxVio).toBe(1);
    expect(layer.dead).toEqual([3]);
    expect(layer.cold).toEqual([]);
    // 4 · (¼·0.3125 + ½·0.375 + ¼·0.1875)
    expect(layer.auxSwitch).toBeCloseTo(1.25, 12);
    expect(layer.routerZ).toBeCloseTo(0, 12); // logsumexp of log-probabilities is 0
    expect(layer.importanceCv2).toBeCloseTo((0.0625 ** 2 + 0.125 ** 2 + 0.0625 ** 2 + 0.125 ** 2) / 4 / 0.0625, 12);
  });

  it('margin, co-activation, domains, vocabulary', () => {
    expect(layer.margin?.mean).toBeCloseTo(0.125, 12);
    expect(layer.margin?.min).toBeCloseTo(0.125, 12);
    expect(layer.bf16TieRate).toBe(0);
    expect(layer.coactivation).toEqual([[1, 1, 0, 0], [0.5, 1, 0.5, 0], [0, 1, 1, 0], null]);
    expect(layer.domains).toEqual([
      { domain: 'law', tokens: 1, share: [1, 1, 0, 0] },
      { domain: 'art', tokens: 1, share: [0, 1, 1, 0] },
    ]);
    expect(layer.vocabulary).toMatchObject({ specialisation: 1, trackedTokenIds: 2, untrackedOccurrences: 0 });
  });

  it('HF’s auxiliary loss is k times Megatron’s on one layer', () => {
    expect(report({}, [{ logits: TWO }]).auxHf).toBeCloseTo(2.5, 12);
  });

  it('drops: slots beyond capacity by every rule', () => {
    const share = (factor: number, convention: string): number | undefined =>
      layer.drops.find((d) => d.factor === factor && d.convention === convention && d.base === 'valid-tokens')?.share;
    // T = 2, k = 2, N = 4. Megatron: ceil(4/4·1) = 1 slot, expert 1 has 2 → 1 of 4 dropped; at 1.25 and more, 2 slots.
    expect(share(1, 'megatron')).toBe(0.25);
    expect(share(1.25, 'megatron')).toBe(0);
    // Paper: ceil(2/4·c) is 1 slot up to c = 2.
    expect([1, 1.25, 2, 4].map((c) => share(c, 'paper'))).toEqual([0.25, 0.25, 0.25, 0]);
    expect(layer.dropWindows).toBe(1);
  });
});

describe('what is counted', () => {
  it('pads and few-shot prefix enter nothing but their own counts', () => {
    const noise = logits([[0.01, 0.01, 0.49, 0.49]]);
    const mixed = only(
      report({}, [
        {
          logits: [...noise, ...TWO.slice(0, 4), ...noise, ...TWO.slice(4)],
          state: [PAD, COUNTED, PREFIX, COUNTED],
          tokenIds: [1, 7, 2, 9],
        },
      ]),
    );
    const clean = only(report({}, [{ logits: TWO, tokenIds: [7, 9] }]));
    const { pads, prefixTokens, drops, ...rest } = mixed;
    const { pads: _p, prefixTokens: _q, drops: _d, ...same } = clean;
    expect([pads, prefixTokens]).toEqual([1, 1]);
    expect(rest).toEqual(same);
    expect(drops.filter((d) => d.base === 'valid-tokens')).toEqual(
      clean.drops.filter((d) => d.base === 'valid-tokens'),
    );
  });

  it('logits that are not finite are counted apart', () => {
    const layer = only(report({}, [{ logits: [NaN, 0, 0, 0, Infinity, 0, 0, 0, ...TWO.slice(0, 4)] }]));
    expect(layer).toMatchObject({ nonFinite: 2, tokens: 1, counts: [1, 1, 0, 0] });
  });

  it('nothing observed: null, never NaN', () => {
    const r = report({}, []);
    expect(only(r)).toMatchObject({
      maxVio: null,
      routerEntropy: null,
      auxSwitch: null,
      margin: null,
      bf16TieRate: null,
      dead: [],
    });
    expect(r).toMatchObject({ maxVio: null, auxHf: null });
    expect(traceJson(r)).not.toContain('NaN');
    expect(JSON.parse(traceJson(r))).toHaveProperty('definitions.maxVio');
  });

  it('shapes that do not fit are refused', () => {
    const trace = new ExpertTrace({ layers: [3], experts: 4, topK: 2 });
    expect(() => trace.observe({ layer: 0, tokens: 1, logits: [0, 0, 0, 0] })).toThrow(
      'found layer 0, expected one of 3',
    );
    expect(() => trace.observe({ layer: 3, tokens: 2, logits: [0] })).toThrow('found 1 logits, expected 2 × 4');
    expect(() => trace.observe({ layer: 3, tokens: 1, logits: [0, 0, 0, 0], selected: [0] })).toThrow(
      '1 selected experts',
    );
    expect(() => trace.observe({ layer: 3, tokens: 1, logits: [0, 0, 0, 0], selected: [0, 4] })).toThrow('expert 4');
    expect(() => trace.observe({ layer: 3, tokens: 1, logits: [0, 0, 0, 0], state: [] })).toThrow('0 states');
    expect(() => new ExpertTrace({ layers: [0], experts: 2, topK: 3 })).toThrow('1 ≤ top-k ≤ experts');
  });
});

describe('selection', () => {
  it('ties go to the lower index; the model’s own choice, when given, is what counts', () => {
    expect(only(report({}, [{ logits: [0, 0, 0, 0] }])).counts).toEqual([1, 1, 0, 0]);
    expect(only(report({}, [{ logits: [0, 0, 0, 0], selected: [3, 2] }]))).toMatchObject({
      counts: [0, 0, 1, 1],
      top1: [0, 0, 0, 1],
    });
  });

  it('a selection bias moves the choice, not the weight', () => {
    const layer = only(report({ normTopK: false }, [{ logits: TWO.slice(0, 4), selectionBias: [0, 0, 0.2, 0] }]));
    expect(layer.counts).toEqual([1, 0, 1, 0]); // scores ½, ¼, 0.325, ⅛
    expect(layer.meanGate[2]).toBeCloseTo(0.125, 12);
    expect(layer.margin?.mean).toBeCloseTo(0.075, 12);
  });

  it('sigmoid gates: probabilities are sigmoids over their sum', () => {
    const layer = only(report({ gate: 'sigmoid' }, [{ logits: [0, Math.log(3), -Math.log(3), 0] }]));
    // sigmoids ½, ¾, ¼, ½: sum 2.
    expect(layer.importance.map((p) => Number(p.toFixed(12)))).toEqual([0.25, 0.375, 0.125, 0.25]);
    expect(layer.counts).toEqual([1, 1, 0, 0]);
  });

  it('agrees with sorting, on any logits', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 6, maxLength: 6 }),
        fc.integer({ min: 1, max: 6 }),
        (row, k) => {
          const counts = only(report({ experts: 6, topK: k }, [{ logits: row }])).counts;
          const best = [...row.keys()].sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0) || a - b).slice(0, k);
          expect([...counts.keys()].filter((i) => counts[i] === 1)).toEqual(best.sort((a, b) => a - b));
        },
      ),
    );
  });

  it('bf16: equal after rounding is a tie', () => {
    expect(roundToBf16(1.00390625)).toBe(1); // 1 + 2^-8 lies halfway, even is 1
    expect(roundToBf16(1.01171875)).toBe(1.015625); // 1 + 3·2^-8, even is 1 + 2^-6
    expect(roundToBf16(-3.0001)).toBe(-3);
    const layer = only(report({ topK: 1 }, [{ logits: [3, 3.001, 0, 0, 3, 3.05, 0, 0] }]));
    expect(layer.bf16TieRate).toBe(0.5);
    expect(layer.margin?.min).toBeGreaterThan(0);
    expect(only(report({ topK: 4 }, [{ logits: TWO }])).bf16TieRate).toBeNull(); // all chosen: no margin
  });
});

describe('accumulation', () => {
  const rows = fc.array(fc.array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: 4, maxLength: 4 }), {
    minLength: 1,
    maxLength: 12,
  });

  it('does not depend on batching, except what is per batch', () => {
    fc.assert(
      fc.property(rows, (tokens) => {
        const config = { dropWindow: 3 };
        const whole = only(report(config, [{ logits: tokens.flat() }]));
        const single = only(
          report(
            config,
            tokens.map((row) => ({ logits: row })),
          ),
        );
        const { batchMaxVio: _a, ...a } = whole;
        const { batchMaxVio: _b, ...b } = single;
        expect(b).toEqual(a);
      }),
    );
  });

  it('invariants: shares sum to one, pairs to k(k−1)/2 per token', () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 4 }), (tokens, k) => {
        const layer = only(report({ topK: k }, [{ logits: tokens.flat() }]));
        const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
        expect(sum(layer.counts)).toBe(tokens.length * k);
        expect(sum(layer.load)).toBeCloseTo(1, 9);
        expect(sum(layer.importance)).toBeCloseTo(1, 9);
        expect(sum(layer.meanGate)).toBeCloseTo(1, 9);
        const together = sum(
          layer.coactivation.flatMap((row, i) => (row ?? []).map((p, j) => (j === i ? 0 : p * (layer.counts[i] ?? 0)))),
        );
        expect(together / 2).toBeCloseTo((tokens.length * k * (k - 1)) / 2, 6);
        expect(layer.routerEntropy).toBeLessThanOrEqual(1 + 1e-12);
      }),
    );
  });

  it('model MaxVio is the mean over layers, not of averaged loads', () => {
    const trace = new ExpertTrace({ layers: [1, 5], experts: 2, topK: 1 });
    trace.observe({ layer: 1, tokens: 2, logits: [1, 0, 1, 0] });
    trace.observe({ layer: 5, tokens: 2, logits: [0, 1, 0, 1] });
    const r = traceReport(trace);
    expect(r.layers.map((l) => l.maxVio)).toEqual([1, 1]);
    expect(r.maxVio).toBe(1); // averaged loads would be balanced: 0
    expect(maxViolation([])).toBe(0);
  });

  it('adjacent-rank pairs leave out the outer pair of a top-3', () => {
    const row = [[0.5, 0.3, 0.15, 0.05]];
    expect(only(report({ topK: 3 }, [{ logits: logits(row) }])).coactivation[0]).toEqual([1, 1, 1, 0]);
    expect(only(report({ topK: 3, pairs: 'adjacent-rank' }, [{ logits: logits(row) }])).coactivation[0]).toEqual([
      1, 1, 0, 0,
    ]);
  });

  it('reporting twice, or before the window is full, changes nothing', () => {
    const trace = new ExpertTrace({ layers: [0], experts: 4, topK: 2, dropWindow: 100 });
    trace.observe({ layer: 0, tokens: 2, logits: TWO });
    const first = traceReport(trace);
    expect(traceReport(trace)).toEqual(first);
    expect(only(first).drops[0]?.share).toBe(0.25);
    trace.observe({ layer: 0, tokens: 2, logits: TWO });
    expect(only(traceReport(trace)).dropWindows).toBe(1); // still one window, of four tokens
  });

  it('memory is bounded: token ids and domains beyond the limits are counted, not kept', () => {
    const trace = new ExpertTrace({ layers: [0], experts: 4, topK: 1, vocabularyCounters: 12, maxDomains: 3 });
    for (let i = 0; i < 10; i++)
      trace.observe({ layer: 0, tokens: 1, logits: [1, 0, 0, 0], tokenIds: [i], domain: `d${i}` });
    trace.observe({ layer: 0, tokens: 1, logits: [0, 1, 0, 0], tokenIds: [0], domain: 'd0' });
    const layer = only(traceReport(trace, { minOccurrences: 2 }));
    expect(layer.vocabulary).toEqual({
      specialisation: 3 / 4,
      trackedTokenIds: 3,
      untrackedOccurrences: 7,
      top: [{ tokenId: 0, occurrences: 2, expert: 0, share: 0.5 }],
    });
    expect(layer.domains.map((d) => [d.domain, d.tokens])).toEqual([
      ['d0', 2],
      ['d1', 1],
      ['(other)', 8],
    ]);
  });

  it('pair index covers the upper triangle once', () => {
    const seen = new Set<number>();
    for (let i = 0; i < 7; i++) for (let j = i + 1; j < 7; j++) seen.add(pairIndex(j, i, 7));
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 21 }, (_, i) => i));
  });
});

it('entropy of a uniform router is 1, and of one expert 0', () => {
  expect(only(report({}, [{ logits: [2, 2, 2, 2] }])).routerEntropy).toBeCloseTo(1, 12);
  expect(only(report({ experts: 1, topK: 1 }, [{ logits: [5] }])).routerEntropy).toBe(0);
  expect(only(report({ experts: 2, topK: 1 }, [{ logits: [0, 0] }])).routerZ).toBeCloseTo(LN2 ** 2, 12);
});
