import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { tokenIds } from '../../src/inspect/tokenizer-ids.ts';
import type { TokenIds } from '../../src/inspect/tokenizer-ids.ts';

function scan(value: unknown, rows = 1_000_000, shape: 'tokenizer' | 'map' = 'tokenizer', indent = 0): TokenIds {
  return tokenIds(Buffer.from(JSON.stringify(value, null, indent)), shape, rows, 'tokenizer.json');
}

describe('token ids of a tokenizer', () => {
  it('takes the vocabulary and the added tokens, and nothing else', () => {
    const tokenizer = {
      version: '1.0',
      added_tokens: [{ id: 7, content: '<s>', special: true, nested: { id: 99 } }],
      normalizer: { id: 500, vocab: { x: 600 } },
      model: { type: 'BPE', merges: [['a', 'b'], 700], vocab: { a: 0, b: 1, '"}\\"': 5, vocab: 6 } },
    };
    for (const indent of [0, 2]) {
      expect(scan(tokenizer, 100, 'tokenizer', indent)).toEqual({
        tokens: 5,
        highest: 7,
        beyond: { count: 0, first: null, firstId: -1 },
      });
    }
    expect(scan(tokenizer, 6).beyond).toEqual({ count: 2, first: null, firstId: 7 });
  });

  it('numbers a Unigram vocabulary by position', () => {
    expect(
      scan(
        {
          model: {
            vocab: [
              ['<unk>', 0],
              ['a', -2.5],
              ['[', -3],
            ],
          },
        },
        2,
      ),
    ).toEqual({
      tokens: 3,
      highest: 2,
      beyond: { count: 1, first: null, firstId: 2 },
    });
  });

  it('reads a bare map, and names the first token without a row', () => {
    expect(scan({ a: 0, Ä: 12, b: 13 }, 12, 'map').beyond).toEqual({ count: 2, first: 'Ä', firstId: 12 });
  });

  it('agrees with JSON.parse on any vocabulary', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.nat(1000), { noNullPrototype: true }), fc.nat(1000), (vocab, rows) => {
        const ids = Object.values(vocab);
        const found = scan({ model: { vocab } }, rows);
        expect(found.tokens).toBe(ids.length);
        expect(found.highest).toBe(Math.max(-1, ...ids));
        expect(found.beyond.count).toBe(ids.filter((id) => id >= rows).length);
      }),
    );
  });

  it.each([
    '',
    '{',
    '{"model":{"vocab":{"a":1}',
    '[1}',
    '{"a":"',
    '{"model":{"vocab":{"a":-1}}}',
    '{} x',
    '{"model":{"vocab":{"a":1.5}}}',
  ])('refuses %j with the byte', (text) => {
    expect(() => tokenIds(Buffer.from(text), 'tokenizer', 10, 't.json')).toThrow(MoeError);
  });

  it('is bounded in depth and never fails otherwise', () => {
    expect(() => tokenIds(Buffer.from('['.repeat(1e6)), 'tokenizer', 10, 't')).toThrow(/nested too deep/);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          tokenIds(bytes, 'tokenizer', 10, 't');
        } catch (error) {
          if (!(error instanceof MoeError)) throw error;
        }
      }),
    );
  });
});
