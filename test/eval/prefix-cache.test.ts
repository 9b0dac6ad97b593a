import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RequestEncoder } from '../../src/eval/encode.ts';
import { PrefixCache, splitsAfterNewline } from '../../src/eval/prefix-cache.ts';
import type { EvalTokenizer } from '../../src/eval/scorer.ts';
import { SHARED, haveShared, readJson, tokenizerFrom } from './helpers/shared.ts';

/** Words and runs of white space: local at a lone newline, as byte-level BPE is. Counts what it is asked to encode. */
function countingTokenizer(): EvalTokenizer & { characters: number } {
  const ids = new Map<string, number>();
  const self = {
    characters: 0,
    bosId: 0,
    splitsAfterNewline: true,
    encode(text: string, { addSpecial }: { addSpecial: boolean }): number[] {
      self.characters += text.length;
      const words = text.match(/\s+(?!\S)|\s|[^\s]+/g) ?? [];
      const out = words.map((w) => {
        const id = ids.get(w) ?? ids.size + 1;
        ids.set(w, id);
        return id;
      });
      return addSpecial ? [0, ...out] : out;
    },
  };
  return self;
}

const RULES = { profile: 'harness-0.4.9.2', addBos: 'auto' } as const;
const piece = fc.constantFrom('\n', '\n\n', ' ', 'a', 'B.', 'Answer:', '\r\n', '\u0085', '\ufeff', '7', ' x', '\t');
const texts = fc.array(
  fc.array(piece, { maxLength: 14 }).map((p) => p.join('')),
  { minLength: 1, maxLength: 6 },
);

describe('prefix cache', () => {
  it('gives the ids of the whole text, in any order of texts', () => {
    fc.assert(
      fc.property(texts, texts, (shared, list) => {
        const tokenizer = countingTokenizer();
        const whole = (text: string): readonly number[] => tokenizer.encode(text, { addSpecial: false });
        const cache = new PrefixCache(whole);
        for (const [i, tail] of list.entries()) {
          const beginning = shared[i % shared.length] ?? '';
          cache.share(beginning);
          for (const text of [beginning + tail, `${beginning}${tail} A`])
            expect(cache.encode(text)).toEqual(whole(text));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('encodes a common beginning once', () => {
    const tokenizer = countingTokenizer();
    const encoder = new RequestEncoder(tokenizer, RULES);
    const shots = 'Question number one?\nAnswer: yes\n\n'.repeat(200);
    tokenizer.characters = 0;
    for (let doc = 0; doc < 50; doc++) {
      encoder.share(shots);
      for (const letter of ['A', 'B', 'C', 'D']) encoder.pair(`${shots}Question ${doc}?\nAnswer:`, ` ${letter}`);
    }
    expect(tokenizer.characters).toBeLessThan(shots.length + 50 * 400); // 250 times the length without it
  });

  it('is not used where the tokenizer appends something', () => {
    const tokenizer = countingTokenizer();
    const plain = tokenizer.encode.bind(tokenizer);
    const appends: EvalTokenizer = {
      bosId: 0,
      splitsAfterNewline: true,
      encode: (text, o) => (o.addSpecial ? [...plain(text, o), 99] : plain(text, o)),
    };
    expect(new RequestEncoder(appends, RULES).encode('a\nb').at(-1)).toBe(99);
    expect(new RequestEncoder(appends, RULES).encode('a\nb')).toHaveLength(5);
  });
});

describe('which tokenizers are local at a newline', () => {
  const model = { type: 'BPE' };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
  it.each([
    [{ model, pre_tokenizer: byteLevel }, true],
    [
      {
        model,
        normalizer: { type: 'NFC' },
        pre_tokenizer: byteLevel,
        added_tokens: [{ content: '<s>', lstrip: false }],
      },
      true,
    ],
    [
      {
        model,
        pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel] },
      },
      true,
    ],
    [{ model, pre_tokenizer: { ...byteLevel, add_prefix_space: true } }, false],
    [{ model, pre_tokenizer: byteLevel, normalizer: { type: 'Strip' } }, false],
    [{ model, pre_tokenizer: byteLevel, added_tokens: [{ content: '<mask>', lstrip: true }] }, false],
    [{ model, pre_tokenizer: byteLevel, added_tokens: [{ content: '\n\n' }] }, false],
    [
      {
        model,
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [{ type: 'Split', behavior: 'Isolated', pattern: { Regex: '.*' } }, byteLevel],
        },
      },
      false,
    ],
    [{ model: { type: 'Unigram' }, pre_tokenizer: byteLevel }, false],
    [{ model, pre_tokenizer: { type: 'Metaspace' } }, false],
    [null, false],
    [{}, false],
  ])('%j: %s', (json, local) => {
    expect(splitsAfterNewline(json)).toBe(local);
  });

  const there = haveShared('models/smollm2-135m/tokenizer.json', 'prefix cache on a real tokenizer');
  it.skipIf(!there)('SmolLM2 is, and its ids are the same; stories260K (SentencePiece) is not', () => {
    expect(splitsAfterNewline(readJson(join(SHARED, 'models/stories260K/tokenizer.json')))).toBe(false);
    const tokenizer = tokenizerFrom(join(SHARED, 'models/smollm2-135m'), { bos: '<|im_start|>', eos: '<|im_end|>' });
    expect(tokenizer.splitsAfterNewline).toBe(true);
    const whole = (text: string): readonly number[] => tokenizer.encode(text, { addSpecial: false });
    const cache = new PrefixCache(whole);
    const real = fc
      .array(
        fc.oneof(
          piece,
          fc.string({ unit: 'grapheme', maxLength: 4 }),
          fc.constantFrom('<|im_start|>', "'s", '?\n', ' 12'),
        ),
      )
      .map((p) => p.join(''));
    fc.assert(
      fc.property(real, real, (a, b) => {
        cache.share(a);
        cache.encode(`${a}b`);
        expect(cache.encode(a + b)).toEqual(whole(a + b));
        expect(cache.encode(`${a}${b} A`)).toEqual(whole(`${a}${b} A`));
      }),
      { numRuns: 300 },
    );
  });
});
