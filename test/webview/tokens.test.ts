/** Tokens and the experts that ran them: which step tells of which token. */
import { describe, expect, it } from 'vitest';
import { firstCounts, tokenText, tokenWords, withStep } from '../../webview/lib/tokens.ts';
import type { ShownToken } from '../../webview/lib/tokens.ts';

const token = (id: number) => ({ id, text: ` t${String(id)}`, entry: `Ġt${String(id)}`, logprob: null });

describe('steps of a generation', () => {
  // Two layers, top-2; the prompt has three tokens.
  const prompt = withStep([], { tokens: [token(1), token(2), token(3)], prompt: true, ran: [] });
  const first = withStep(prompt, {
    tokens: [{ ...token(4), logprob: Math.log(0.25) }],
    prompt: false,
    ran: [
      { layer: 0, topK: 2, chosen: [0, 1, 2, 3, 1, 0], shares: [0.5, 0.6, 0.7] },
      { layer: 5, topK: 2, chosen: [3, 2, 3, 1, 3, 0], shares: [0.5, 0.5, 0.5] },
    ],
  });
  const second = withStep(first, {
    tokens: [token(5)],
    prompt: false,
    ran: [
      { layer: 0, topK: 2, chosen: [2, 0], shares: [0.8] },
      { layer: 5, topK: 2, chosen: [1, 3], shares: ['NaN'] },
    ],
  });
  const of = (tokens: readonly ShownToken[], layer: number) => tokens.map(({ experts }) => experts.get(layer) ?? null);

  it('the first new token brings the experts of the whole prompt, each later one those of the token before', () => {
    expect(of(prompt, 0)).toEqual([null, null, null]);
    expect(of(first, 0)).toEqual([[0, 1], [2, 3], [1, 0], null]);
    expect(of(second, 0)).toEqual([[0, 1], [2, 3], [1, 0], [2, 0], null]);
    expect(of(second, 5)).toEqual([[3, 2], [3, 1], [3, 0], [1, 3], null]);
  });

  it('counts first choices of one layer; the last token was never run', () => {
    expect(firstCounts(second, 0, 4)).toEqual([1, 1, 2, 0]);
    expect(firstCounts(second, 5, 4)).toEqual([0, 1, 0, 3]);
    const [, , , made, last] = second;
    if (made === undefined || last === undefined) throw new Error('tokens are missing');
    expect(tokenWords(made, 5)).toContain('experts of layer 5: 1, 3');
    expect(tokenWords(made, null)).toContain('probability 25.0 %');
    expect(tokenWords(last, 0)).toContain('not run');
  });

  it('a step without tokens brings the experts of the last', () => {
    const ran = [{ layer: 0, topK: 2, chosen: [3, 1], shares: [0.9] }];
    const done = withStep(second, { tokens: [], prompt: false, ran });
    expect(of(done, 0)).toEqual([
      [0, 1],
      [2, 3],
      [1, 0],
      [2, 0],
      [3, 1],
    ]);
    expect(done.map(({ shares }) => shares.get(0))).toEqual([0.5, 0.6, 0.7, 0.8, 0.9]);
    expect(
      done
        .slice(-1)
        .map((one) => tokenWords(one, 0))
        .join(),
    ).toContain('experts of layer 0: 3, 1\nrouter gave the first p 0.90');
  });

  it('part of a character is shown by its entry', () => {
    const [part] = withStep([], {
      tokens: [{ id: 9, text: '', entry: '<0xE6>', logprob: null }],
      prompt: true,
      ran: [],
    });
    expect(part === undefined ? '' : tokenText(part)).toBe('<0xE6>');
    expect(part === undefined ? '' : tokenWords(part, null)).toContain('<0xE6> (9)');
  });

  it('a dense model has no experts', () => {
    const dense = withStep(prompt, { tokens: [token(4)], prompt: false, ran: [] });
    expect(of(dense, 0)).toEqual([null, null, null, null]);
  });
});
