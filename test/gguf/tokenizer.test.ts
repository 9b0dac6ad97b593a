/** Tokenizers rebuilt from GGUF metadata give the ids of the reference implementations (fixtures/make-tokenizers.py). */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import { PRE_TOKENIZER_NAMES } from '../../src/gguf/pretokenizers.ts';
import { mergesFromScores } from '../../src/gguf/spm.ts';
import { tokenizerFromGguf } from '../../src/gguf/tokenizer.ts';
import type { GgufTokenizer } from '../../src/gguf/tokenizer.ts';
import type { GgufValue } from '../../src/gguf/types.ts';
import { caught } from './build.ts';

interface Spm {
  readonly tokens: readonly string[];
  readonly scores: readonly number[];
  readonly types: readonly number[];
  readonly texts: readonly string[];
  readonly ids: readonly (readonly number[])[];
}
interface Golden {
  readonly texts: readonly string[];
  readonly bpe: {
    readonly tokens: readonly string[];
    readonly types: readonly number[];
    readonly merges: readonly string[];
    readonly ids: Readonly<Record<string, readonly (readonly number[])[]>>;
  };
  readonly spm: Spm;
  readonly spm_no_prefix: Spm;
}
const golden = JSON.parse(
  gunzipSync(readFileSync(new URL('./fixtures/tokenizers.json.gz', import.meta.url))).toString(),
) as Golden;

const strings = (values: readonly string[]): GgufValue => ({ kind: 'strings', elementType: 'STRING', values });
const ints = (values: readonly number[]): GgufValue => ({
  kind: 'numbers',
  elementType: 'INT32',
  values: new Int32Array(values),
});
const floats = (values: readonly number[]): GgufValue => ({
  kind: 'numbers',
  elementType: 'FLOAT32',
  values: new Float32Array(values),
});

function build(values: Readonly<Record<string, GgufValue>>): GgufTokenizer {
  const metadata = new Map(
    Object.entries(values).map(([key, value]) => [key.startsWith('~') ? key.slice(1) : `tokenizer.ggml.${key}`, value]),
  );
  return tokenizerFromGguf({ path: 'x.gguf', metadata, metadataTypes: new Map() });
}

function load({ files }: GgufTokenizer): Tokenizer {
  const json = files.get('tokenizer.json');
  const config = files.get('tokenizer_config.json');
  if (json === undefined || config === undefined) throw new Error('no tokenizer');
  return new Tokenizer(JSON.parse(json) as object, JSON.parse(config) as object);
}

const { bpe } = golden;
const END = bpe.tokens.indexOf('<|end|>');
const bpeValues = (pre: string): Record<string, GgufValue> => ({
  model: 'gpt2',
  pre,
  tokens: strings(bpe.tokens),
  token_type: ints(bpe.types),
  merges: strings(bpe.merges),
  eos_token_id: END,
  add_bos_token: false,
});
const spmValues = (spm: Spm): Record<string, GgufValue> => ({
  model: 'llama',
  pre: 'default',
  tokens: strings(spm.tokens),
  token_type: ints(spm.types),
  scores: floats(spm.scores),
  bos_token_id: 1,
  eos_token_id: 2,
  unknown_token_id: 0,
});
const codes = (tokenizer: GgufTokenizer): string[] =>
  tokenizer.notes.filter((note) => note.severity === 'warning').map((note) => note.code);

describe.each(Object.keys(bpe.ids))('byte-level BPE, pre-tokenizer %s', (pre) => {
  const tokenizer = load(build(bpeValues(pre)));
  it.each(golden.texts.map((text, i) => [JSON.stringify(text), text, i] as const))('%s', (_shown, text, i) => {
    expect(tokenizer.encode(text).ids).toEqual(bpe.ids[pre]?.[i]);
  });
});

describe('the pre-tokenizers', () => {
  it('are told apart by the texts', () => {
    // Else the tests above could not fail: ids differ between all names that mean different things.
    const distinct = new Set(Object.values(bpe.ids).map((ids) => JSON.stringify(ids)));
    expect(distinct.size).toBe(Object.keys(bpe.ids).length - 1);
    expect(bpe.ids['smollm']).toEqual(bpe.ids['refact']);
  });

  it('are all accepted by the tokenizer library', () => {
    for (const pre of PRE_TOKENIZER_NAMES)
      expect(load(build(bpeValues(pre))).encode('a 1').ids.length).toBeGreaterThan(0);
  });
});

describe.each([
  ['with a leading space', golden.spm, {}],
  ['without', golden.spm_no_prefix, { add_space_prefix: false }],
] as const)('SentencePiece %s', (_name, spm, extra) => {
  const tokenizer = load(build({ ...spmValues(spm), ...extra }));
  it.each(spm.texts.map((text, i) => [JSON.stringify(text), text, i] as const))('%s', (_shown, text, i) => {
    expect(tokenizer.encode(text, { add_special_tokens: false }).ids).toEqual(spm.ids[i]);
  });

  it('adds the beginning token, and decodes what it encoded', () => {
    for (const text of spm.texts.filter((t) => t.length > 0)) {
      const { ids } = tokenizer.encode(text);
      expect(ids[0]).toBe(1);
      expect(tokenizer.decode(ids.slice(1))).toBe(text);
    }
  });
});

describe('edges and special tokens', () => {
  it('follow the file, then the kind of tokenizer', () => {
    const first = (values: Record<string, GgufValue>): number | undefined => load(build(values)).encode('a').ids[0];
    const { add_bos_token: _flag, ...unsaid } = bpeValues('llama-bpe');
    const plain = first(bpeValues('llama-bpe'));
    expect(first({ ...unsaid, bos_token_id: END })).toBe(END);
    expect(first({ ...bpeValues('llama-bpe'), bos_token_id: END })).toBe(plain);
    expect(first({ ...bpeValues('qwen2'), bos_token_id: END, add_bos_token: true })).toBe(END);
    expect(
      load(build({ ...bpeValues('qwen2'), add_eos_token: true }))
        .encode('a')
        .ids.at(-1),
    ).toBe(END);
    expect(first({ ...spmValues(golden.spm), add_bos_token: false })).not.toBe(1);
  });

  it('are named in the config files', () => {
    const { files } = build({
      ...bpeValues('qwen2'),
      padding_token_id: END,
      eot_token_id: END - 1,
      '~tokenizer.chat_template': '{{ x }}',
      '~general.sampling.temp': Math.fround(0.7),
    });
    expect(JSON.parse(files.get('special_tokens_map.json') ?? '')).toEqual({
      eos_token: '<|end|>',
      pad_token: '<|end|>',
    });
    expect(JSON.parse(files.get('generation_config.json') ?? '')).toEqual({
      eos_token_id: [END, END - 1],
      pad_token_id: END,
      temperature: 0.7,
      do_sample: true,
    });
    const config = JSON.parse(files.get('tokenizer_config.json') ?? '') as Record<string, unknown>;
    expect(config).toMatchObject({
      chat_template: '{{ x }}',
      eos_token: '<|end|>',
      clean_up_tokenization_spaces: false,
    });
    expect(config['added_tokens_decoder']).toMatchObject({
      [END]: { content: '<|end|>', special: true },
      [END + 1]: { content: '<|user|>', special: false },
    });
  });

  it('keep named chat templates apart', () => {
    const { files } = build({
      ...bpeValues('qwen2'),
      '~tokenizer.chat_template': 'A',
      '~tokenizer.chat_templates': strings(['tool_use']),
      '~tokenizer.chat_template.tool_use': 'B',
    });
    expect((JSON.parse(files.get('tokenizer_config.json') ?? '') as Record<string, unknown>)['chat_template']).toEqual([
      { name: 'default', template: 'A' },
      { name: 'tool_use', template: 'B' },
    ]);
  });

  it('are recognised where the converter forgot to mark them', () => {
    const types = bpe.types.map(() => 1);
    const made = build({ ...bpeValues('qwen2'), token_type: ints(types) });
    expect(load(made).encode('a<|end|>').ids.at(-1)).toBe(END);
    expect(made.notes.map((note) => note.code)).toContain('gguf-tokenizer-types');
  });

  it('swallow the white space after them in Phi-3, except three', () => {
    const named = (name: string): boolean[] => {
      const { files } = build({ ...bpeValues('qwen2'), '~general.name': name });
      const json = JSON.parse(files.get('tokenizer.json') ?? '') as { added_tokens: { rstrip: boolean }[] };
      return json.added_tokens.map((token) => token.rstrip);
    };
    expect(named('Phi 3 Mini')).toEqual([false, false]);
    expect(named('Phi-3-mini-4k-instruct')).toEqual([true, true]);
  });
});

describe('tokens with hostile or odd names', () => {
  const tokens = ['__proto__', 'constructor', '', '98765', '[PAD4]', ...bpe.tokens];
  const types = [1, 1, 1, 1, 5, ...bpe.types];
  const made = build({ ...bpeValues('gpt-2'), tokens: strings(tokens), token_type: ints(types) });
  const json = JSON.parse(made.files.get('tokenizer.json') ?? '') as { model: { vocab: Record<string, number> } };

  it('are entries like any other', () => {
    expect(Object.getOwnPropertyDescriptor(json.model.vocab, '__proto__')?.value).toBe(0);
    expect(json.model.vocab).toMatchObject({
      constructor: 1,
      '[EMPTY_2]': 2,
      '98765': 3,
    });
  });

  it('leave rows without a token out, and say so', () => {
    expect(Object.hasOwn(json.model.vocab, '[PAD4]')).toBe(false);
    expect(made.notes.map((note) => note.code)).toContain('gguf-tokenizer-fillers');
  });
});

describe('what cannot be rebuilt', () => {
  it.each<[string, Record<string, GgufValue>, string]>([
    ['WordPiece', { ...bpeValues('gpt-2'), model: 'bert' }, 'gguf-tokenizer-unsupported'],
    ['Unigram', { ...bpeValues('gpt-2'), model: 't5' }, 'gguf-tokenizer-unsupported'],
    ['RWKV', { ...bpeValues('gpt-2'), model: 'rwkv' }, 'gguf-tokenizer-unsupported'],
    ['a kind named like a property', { ...bpeValues('gpt-2'), model: 'constructor' }, 'gguf-tokenizer-unsupported'],
    ['an unknown pre-tokenizer', bpeValues('kimi-k2'), 'gguf-tokenizer-pre'],
    ['a pre-tokenizer named like a property', bpeValues('__proto__'), 'gguf-tokenizer-pre'],
    ['no vocabulary', { model: 'gpt2' }, 'gguf-tokenizer-missing'],
    [
      'BPE without merges',
      { model: 'gpt2', pre: 'gpt-2', tokens: strings(['a']), token_type: ints([1]) },
      'gguf-tokenizer-merges',
    ],
    [
      'SentencePiece without scores',
      { model: 'llama', tokens: strings(['a', 'b']), token_type: ints([1, 1]) },
      'gguf-tokenizer-scores',
    ],
    ['a token twice', { ...bpeValues('gpt-2'), tokens: strings([...bpe.tokens, 'a']) }, 'gguf-tokenizer-duplicate'],
  ])('%s gives no tokenizer.json and a warning', (_name, values, code) => {
    const made = build(values);
    expect(made.files.has('tokenizer.json')).toBe(false);
    expect(made.files.has('tokenizer_config.json')).toBe(false);
    expect(codes(made)).toContain(code);
  });

  it('is said where something is assumed', () => {
    const { pre: _pre, ...old } = bpeValues('gpt-2');
    expect(codes(build(old))).toContain('gguf-tokenizer-pre');
    expect(build(old).files.has('tokenizer.json')).toBe(true);
    expect(codes(build({ ...bpeValues('gpt-2'), merges: strings([...bpe.merges, 'lonely']) }))).toContain(
      'gguf-tokenizer-merges',
    );
    expect(codes(build({ ...bpeValues('gpt-2'), add_bos_token: true }))).toContain('gguf-tokenizer-special');
  });

  it('is an error where metadata has the wrong type', () => {
    expect(caught(() => build({ ...bpeValues('gpt-2'), tokens: 'text' }))).toMatchObject({ code: 'gguf-metadata' });
    expect(caught(() => build({ ...bpeValues('gpt-2'), bos_token_id: -1 }))).toMatchObject({ code: 'gguf-metadata' });
  });
});

describe('mergesFromScores', () => {
  it('orders by score, then by the longer left part', () => {
    const pieces = ['a', 'b', 'c', 'ab', 'bc', 'abc'];
    const ids = new Map(pieces.map((piece, id) => [piece, id]));
    expect(mergesFromScores(ids, [0, 0, 0, -2, -1, -3])).toEqual([
      ['b', 'c'],
      ['a', 'b'],
      ['ab', 'c'],
      ['a', 'bc'],
    ]);
  });

  it('cuts between characters, never within one', () => {
    const ids = new Map([
      ['🙂', 0],
      ['🙂🙂', 1],
      ['\ud83d', 2],
      ['\ude42', 3],
    ]);
    expect(mergesFromScores(ids, [0, -1, 0, 0])).toEqual([['🙂', '🙂']]);
  });
});
