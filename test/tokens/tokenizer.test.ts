import * as fs from 'node:fs';
import * as path from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/common/json.ts';
import { renderChat } from '../../src/tokens/chat.ts';
import { loadTokenizer, loadTokenizerFolder } from '../../src/tokens/folder.ts';
import { TextTokenizer, wellFormedText } from '../../src/tokens/tokenizer.ts';

const shared = path.resolve(import.meta.dirname, '../../../shared');
const hasShared = fs.existsSync(path.join(shared, 'models'));
if (!hasShared) console.warn('SKIPPED: ../shared is absent, token goldens are not checked');

interface Golden {
  readonly items: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly decoded_equals_text: boolean;
    readonly decoded?: string;
  }[];
}

/** A byte-level toy: ids are the letters, `ab` merges, <s> and </s> are special. */
const TOY = {
  model: { type: 'BPE', vocab: { a: 0, b: 1, c: 2, ab: 3, '<s>': 4, '</s>': 5, '<x>': 6 }, merges: ['a b'] },
  added_tokens: [
    { id: 4, content: '<s>', special: true, normalized: false, lstrip: false, rstrip: false, single_word: false },
  ],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
};
const withPost = {
  ...TOY,
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { '<s>': { id: '<s>', ids: [4], tokens: ['<s>'] } },
  },
};

describe('special tokens', () => {
  const config = { bos_token: '<s>', eos_token: { content: '</s>' } };
  const ids = (json: object, extra: object, options?: { addSpecial: boolean }): number[] =>
    new TextTokenizer({ tokenizerJson: json as never, tokenizerConfig: { ...config, ...extra } }).encode(
      'abc',
      options,
    );

  it('the post-processor decides unless the config names a switch', () => {
    expect(ids(withPost, {})).toEqual([4, 3, 2]);
    expect(ids(withPost, { add_bos_token: false })).toEqual([3, 2]);
    expect(ids(withPost, { add_eos_token: true })).toEqual([3, 2, 5]);
    expect(ids(TOY, {})).toEqual([3, 2]);
    expect(ids(TOY, { add_bos_token: true, add_eos_token: true })).toEqual([4, 3, 2, 5]);
    expect(ids(TOY, { add_bos_token: true }, { addSpecial: false })).toEqual([3, 2]);
    expect(ids(withPost, {}, { addSpecial: false })).toEqual([3, 2]);
  });

  it('tokens named only in the config are cut out of texts; unknown ones are left out and said so', () => {
    const tokenizer = new TextTokenizer({
      tokenizerJson: TOY,
      tokenizerConfig: { ...config, additional_special_tokens: ['<x>', '<unknown>'] },
    });
    expect(tokenizer.encode('a<x>b</s>')).toEqual([0, 6, 1, 5]);
    expect(tokenizer.notes.join()).toContain('"<unknown>"');
    expect(tokenizer).toMatchObject({ bosId: 4, eosId: 5, padId: undefined, size: 7 });
    expect(tokenizer.tokens([3, 99])).toEqual(['ab', '<99>']);
  });

  it('special_tokens_map.json fills what the config does not name', () => {
    const tokenizer = new TextTokenizer({ tokenizerJson: TOY, specialTokensMap: { eos_token: '</s>' } });
    expect(tokenizer.eosId).toBe(5);
  });
});

describe('files that are not as they should be', () => {
  const withVocab = (vocab: JsonObject): JsonObject => ({ ...TOY, model: { ...TOY.model, vocab } });
  it.each([
    ['text', { a: '0' }],
    ['fractions', { a: 0.5 }],
    ['nothing', { a: null }],
    ['negative numbers', { a: -1 }],
    ['more than 32 bits', { a: 2 ** 32 }],
  ])('ids that are %s are refused, not passed on', (_, vocab) => {
    expect(() => new TextTokenizer({ tokenizerJson: withVocab(vocab) })).toThrow(/the id of token "a" is/);
  });

  it('an empty vocabulary is refused; so is what makes the library stumble, as the file’s fault', () => {
    expect(() => new TextTokenizer({ tokenizerJson: withVocab({}) })).toThrow(/its vocabulary is empty/);
    const odd = {
      ...TOY,
      post_processor: { type: 'TemplateProcessing', single: [null], pair: [], special_tokens: {} },
    };
    let failed: unknown = null;
    try {
      new TextTokenizer({ tokenizerJson: odd }).encode('ab');
    } catch (error) {
      failed = error;
    }
    expect(failed).toMatchObject({ kind: 'input', code: 'tokenizer-unusable' });
  });
});

describe('text', () => {
  it('too long for memory is refused before anything is made of it', () => {
    const tokenizer = new TextTokenizer({ tokenizerJson: TOY });
    expect(() => tokenizer.encode('a'.repeat(8_000_001))).toThrow(/8,000,001 characters cannot be tokenised at once/);
  });

  it('lone surrogates become U+FFFD, pairs stay', () => {
    expect(wellFormedText('a\ud83d\ude00b')).toBe('a\ud83d\ude00b');
    expect(wellFormedText('\ud83da\ude00')).toBe('\ufffda\ufffd');
    const point = fc.oneof(fc.integer({ min: 0, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }));
    fc.assert(
      fc.property(fc.array(point, { maxLength: 20 }), (points) => {
        const text = String.fromCodePoint(...points);
        expect(wellFormedText(text)).toBe(text);
      }),
    );
  });

  it('files that cannot be used are refused by name', () => {
    expect(() => loadTokenizer(() => undefined)).toThrow(expect.objectContaining({ code: 'no-tokenizer' }) as Error);
    expect(() => loadTokenizer((name) => (name === 'tokenizer.model' ? 'x' : undefined))).toThrow(
      /only tokenizer.model/,
    );
    expect(() => loadTokenizer((name) => (name === 'tokenizer.json' ? '{' : undefined))).toThrow(
      expect.objectContaining({ code: 'tokenizer-not-json' }) as Error,
    );
    expect(() => loadTokenizer((name) => (name === 'tokenizer.json' ? '[]' : undefined))).toThrow(
      expect.objectContaining({ code: 'tokenizer-not-json' }) as Error,
    );
    expect(() =>
      loadTokenizer((name) => (name === 'tokenizer.json' ? '{"model":{"type":"Nope"}}' : undefined)),
    ).toThrow(expect.objectContaining({ code: 'tokenizer-unusable' }) as Error);
    expect(() => loadTokenizer((name) => (name === 'tokenizer.json' ? '{}' : undefined))).toThrow(
      expect.objectContaining({ code: 'tokenizer-unusable' }) as Error,
    );
  });
});

describe.skipIf(!hasShared)('goldens', () => {
  const smol = hasShared ? loadTokenizerFolder(path.join(shared, 'models', 'smollm2-135m')) : undefined;
  const stories = hasShared ? loadTokenizerFolder(path.join(shared, 'models', 'stories260K')) : undefined;

  it('SmolLM2: ids of every golden string, and back', () => {
    const { items } = JSON.parse(
      fs.readFileSync(path.join(shared, 'data', 'goldens', 'smollm2-135m.tokens.json'), 'utf8'),
    ) as Golden;
    expect(items.length).toBeGreaterThan(50);
    for (const { text, ids, decoded_equals_text, decoded } of items) {
      expect(smol?.tokenizer.encode(text)).toEqual(ids);
      expect(smol?.tokenizer.encode(text, { addSpecial: false })).toEqual(ids);
      const back = smol?.tokenizer.decode(ids);
      if (decoded_equals_text) expect(back).toBe(text);
      else if (decoded !== undefined) expect(back).toBe(decoded);
      expect(smol?.tokenizer.pieces(ids).join('')).toBe(back);
    }
  });

  it('SmolLM2: the chat template', () => {
    if (smol?.chatTemplate === undefined) throw new Error('no template');
    const text = renderChat(smol.chatTemplate, [{ role: 'user', content: 'Hi' }], smol.tokenizer, {
      addGenerationPrompt: true,
    });
    expect(text).toBe(
      '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
    );
    expect(smol.tokenizer.encode(text, { addSpecial: false })[0]).toBe(smol.tokenizer.bosId);
    expect(() => renderChat('{{ raise_exception("no") }}', [], smol.tokenizer, { addGenerationPrompt: true })).toThrow(
      expect.objectContaining({ code: 'chat-template-failed' }) as Error,
    );
  });

  it('stories260K: BOS by add_bos_token, text of pieces', () => {
    const tokenizer = stories?.tokenizer;
    if (tokenizer === undefined) throw new Error('no tokenizer');
    const ids = tokenizer.encode('Once upon a time, there was a 🐈.');
    expect(ids[0]).toBe(1);
    expect(tokenizer.encode('Once', { addSpecial: false })[0]).not.toBe(1);
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe('Once upon a time, there was a 🐈.');
    expect(tokenizer.pieces(ids).join('')).toBe(tokenizer.decode(ids));
    const long = tokenizer.encode('The cat sat. '.repeat(40), { addSpecial: false });
    expect(tokenizer.pieces(long).join('')).toBe(tokenizer.decode(long));
  });
});
