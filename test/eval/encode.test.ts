import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requestDigest, idsKey } from '../../src/eval/digests.ts';
import { RequestEncoder, cutToLength, rollingWindows } from '../../src/eval/encode.ts';
import type { EncodeRules } from '../../src/eval/encode.ts';
import type { EvalTokenizer } from '../../src/eval/scorer.ts';
import { toyTokenizer } from './helpers/fake-scorer.ts';

const NEW: EncodeRules = { profile: 'harness-0.4.9.2', addBos: 'auto' };
const OLD: EncodeRules = { profile: 'harness-0.4.9.1', addBos: 'auto' };
const ids = (text: string): number[] => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i) + 3);

describe('request encoding', () => {
  it('moves trailing white space of the context to the continuation', () => {
    const encoder = new RequestEncoder(toyTokenizer(), NEW);
    expect(encoder.pair('a b \u0085', ' c')).toEqual({ contextIds: ids('a b'), continuationIds: ids(' \u0085 c') });
  });

  it('keeps the context’s own ids where the boundary merges', () => {
    // A tokenizer that knows "ab" as one token.
    const merging: EvalTokenizer = {
      bosId: 1,
      encode: (text) => (text.match(/ab|./g) ?? []).map((t) => (t === 'ab' ? 500 : t.charCodeAt(0))),
    };
    const encoder = new RequestEncoder(merging, NEW);
    expect(encoder.pair('xa', 'bc')).toEqual({ contextIds: [120, 97], continuationIds: [99] });
    expect(cutToLength(encoder.pair('xa', 'b'), 10)).toBe('empty-continuation');
  });

  it('an empty context is the prefix token, unless the continuation begins with it', () => {
    const encoder = new RequestEncoder(toyTokenizer({ addsBos: true }), NEW);
    expect(encoder.pair('', ' x')).toEqual({ contextIds: [1], continuationIds: ids(' x') });
    const sameStart: EvalTokenizer = { bosId: 100, encode: (text) => Array.from(text, (c) => c.charCodeAt(0)) };
    expect(new RequestEncoder(sameStart, NEW).pair('', 'dog')).toEqual({
      contextIds: [100],
      continuationIds: [111, 103],
    });
  });

  it('BOS: the tokenizer decides since 0.4.9.2; none before it, Gemma excepted', () => {
    const adds = toyTokenizer({ addsBos: true });
    const first = (rules: EncodeRules, tokenizer = adds): number | undefined =>
      new RequestEncoder(tokenizer, rules).pair('q', ' a').contextIds[0];
    expect(first(NEW)).toBe(1);
    expect(first(OLD)).toBe(ids('q')[0]);
    expect(first({ ...OLD, modelType: 'gemma2' })).toBe(1);
    expect(first({ ...NEW, addBos: false })).toBe(ids('q')[0]);
    expect(first(NEW, toyTokenizer())).toBe(ids('q')[0]);
    expect(first({ ...NEW, addBos: true }, toyTokenizer())).toBe(1);
    expect(new RequestEncoder(adds, { ...NEW, addBos: true }).encode('q')).toEqual([1, ...ids('q')]); // not twice
  });

  it('adds no BOS when the text already begins with it, since 0.4.9.2', () => {
    expect(new RequestEncoder(toyTokenizer({ addsBos: true }), NEW).encode('<s>q')).toEqual(ids('<s>q'));
    expect(new RequestEncoder(toyTokenizer({ addsBos: true }), { ...OLD, addBos: true }).encode('<s>q')[0]).toBe(1);
  });

  it('prefix token: the user’s, else BOS, else EOS, else an error', () => {
    const encode = (): number[] => [9];
    expect(new RequestEncoder({ bosId: 1, eosId: 2, encode }, { ...NEW, prefixTokenId: 7 }).prefixTokenId).toBe(7);
    expect(new RequestEncoder({ bosId: 1, eosId: 2, encode }, NEW).prefixTokenId).toBe(1);
    expect(new RequestEncoder({ eosId: 2, encode }, NEW).prefixTokenId).toBe(2);
    expect(() => new RequestEncoder({ encode }, NEW)).toThrow('neither a BOS nor an EOS');
  });

  it('a context of white space alone has no ids of its own', () => {
    expect(cutToLength(new RequestEncoder(toyTokenizer(), NEW).pair('  ', 'x'), 10)).toBe('empty-context');
    expect(new RequestEncoder(toyTokenizer({ addsBos: true }), NEW).pair('  ', 'x')).toEqual({
      contextIds: [1],
      continuationIds: ids('  x'),
    });
  });
});

describe('cutting to the model length', () => {
  it('keeps maxLength + 1 tokens from the right, BOS goes first', () => {
    const pair = { contextIds: [1, 2, 3, 4], continuationIds: [5, 6] };
    expect(cutToLength(pair, 5)).toEqual({ ...pair, cut: 0 });
    expect(cutToLength(pair, 4)).toEqual({ contextIds: [2, 3, 4], continuationIds: [5, 6], cut: 1 });
    expect(cutToLength(pair, 2)).toEqual({ contextIds: [4], continuationIds: [5, 6], cut: 3 });
    expect(cutToLength(pair, 1)).toBe('continuation-too-long');
  });
});

describe('rolling windows', () => {
  it('the worked example of reference section 3.4', () => {
    const windows = rollingWindows([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 99, 4);
    // Inputs there are context + continuation without its last token.
    expect(windows.map((w) => [...w.contextIds, ...w.continuationIds.slice(0, -1)])).toEqual([
      [99, 0, 1, 2],
      [3, 4, 5, 6],
      [5, 6, 7, 8],
    ]);
    expect(windows.map((w) => w.continuationIds)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
  });

  it('predicts every token once, in order, from at most maxLength tokens', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (tokens, max) => {
        const windows = rollingWindows(tokens, 77, max);
        expect(windows.flatMap((w) => w.continuationIds)).toEqual(tokens);
        const all = [77, ...tokens];
        let end = 0;
        for (const w of windows) {
          end += w.continuationIds.length;
          const input = [...w.contextIds, ...w.continuationIds].slice(0, -1);
          expect(w.contextIds.length).toBeGreaterThan(0);
          expect(input.length).toBeLessThanOrEqual(max);
          expect(input).toEqual(all.slice(end - input.length, end)); // what stands before the last predicted token
        }
      }),
    );
  });

  it('BOS is doubled by a tokenizer that adds it, single on request and under the old rule', () => {
    const encoder = new RequestEncoder(toyTokenizer({ addsBos: true }), NEW);
    expect(encoder.rolling('ab', 10)).toEqual([{ contextIds: [1], continuationIds: [1, ...ids('ab')] }]);
    expect(encoder.rolling('ab', 10, true)).toEqual([{ contextIds: [1], continuationIds: ids('ab') }]);
    expect(new RequestEncoder(toyTokenizer({ addsBos: true }), OLD).rolling('ab', 10)).toEqual(
      encoder.rolling('ab', 10, true),
    );
    expect(encoder.rolling('', 10, true)).toEqual([]);
  });
});

describe('digests', () => {
  it('tell context and continuation apart', () => {
    expect(requestDigest('a', 'b')).not.toBe(requestDigest('ab', ''));
    expect(idsKey({ contextIds: [1, 2], continuationIds: [3] })).not.toBe(
      idsKey({ contextIds: [1], continuationIds: [2, 3] }),
    );
    expect(idsKey({ contextIds: [1], continuationIds: [2] })).toMatch(/^[0-9a-f]{32}$/);
  });
});
