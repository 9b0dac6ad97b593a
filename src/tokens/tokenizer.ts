/**
 * Text to token ids and back, by the model's tokenizer.json, as transformers 5 does it: the file's own pipeline, plus the
 * BOS/EOS switches and named special tokens of tokenizer_config.json, which readers of tokenizer.json alone do not see.
 */
import { Tokenizer } from '@huggingface/tokenizers';
import { whileBlocking } from '../common/blocking.ts';
import { grouped, MoeError, messageOf } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';

/** Parsed contents of the files beside a checkpoint. */
export interface TokenizerFiles {
  readonly tokenizerJson: JsonObject;
  readonly tokenizerConfig?: JsonObject;
  readonly specialTokensMap?: JsonObject;
}

export interface EncodeOptions {
  /** Apply the tokenizer's own rule for special tokens (true by default). */
  readonly addSpecial?: boolean;
}

/** Characters of one text: a word may be as long, and the library takes some 300 bytes for each character of a word. */
const MOST_CHARACTERS = 8_000_000;

const NAMED = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'] as const;
type Named = (typeof NAMED)[number];

interface AddedToken {
  readonly content: string;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** A tokenizer, ready to use. Throws a MoeError when the files cannot be used. */
export class TextTokenizer {
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  /** What was assumed or differs from what a user may expect. */
  readonly notes: readonly string[];
  readonly #tokenizer: Tokenizer;
  readonly #special: ReadonlyMap<Named, string>;
  /** null: tokenizer.json's post-processor decides; else what transformers puts in its place. */
  readonly #frame: { readonly before: readonly number[]; readonly after: readonly number[] } | null;

  constructor(files: TokenizerFiles) {
    const config = files.tokenizerConfig ?? {};
    const notes: string[] = [];
    this.#special = namedTokens(config, files.specialTokensMap ?? {});
    const json = withAddedTokens(files.tokenizerJson, config, this.#special, notes);
    // The library would change texts by options of tokenizer_config.json; transformers' fast tokenizers do not.
    checkVocabulary(files.tokenizerJson['model']);
    this.#tokenizer = usable(() => new Tokenizer(json, {}));
    const id = (name: Named): number | undefined => {
      const text = this.#special.get(name);
      return text === undefined ? undefined : this.#tokenizer.token_to_id(text);
    };
    this.bosId = id('bos_token');
    this.eosId = id('eos_token');
    this.padId = id('pad_token');
    this.#frame = frameOf(config, files.tokenizerJson, this.bosId, this.eosId);
    noteKnownDifferences(files.tokenizerJson, config, notes);
    this.notes = notes;
  }

  /**
   * Token ids of `text`. Lone surrogates become U+FFFD first, as in every other implementation. Throws `text-too-long`, instead of
   * taking all memory, from 8 million characters on.
   */
  encode(text: string, options: EncodeOptions = {}): number[] {
    if (text.length > MOST_CHARACTERS)
      throw new MoeError(
        'resources',
        'text-too-long',
        `A text of ${grouped(text.length)} characters cannot be tokenised at once, at most ${grouped(MOST_CHARACTERS)}.`,
        { hint: 'Split it into several texts.' },
      );
    const add = options.addSpecial ?? true;
    const wellFormed = wellFormedText(text);
    if (this.#frame === null) return this.#ids(wellFormed, add);
    const ids = this.#ids(wellFormed, false);
    return add ? [...this.#frame.before, ...ids, ...this.#frame.after] : ids;
  }

  /** Text of ids; special tokens are written out unless `skipSpecial`; unknown ids give nothing. Nothing is cleaned up. */
  decode(ids: readonly number[], options: { readonly skipSpecial?: boolean } = {}): string {
    const known = ids.filter((id) => this.#tokenizer.id_to_token(id) !== undefined);
    if (known.length === 0) return '';
    return usable(() =>
      this.#tokenizer.decode(known, {
        skip_special_tokens: options.skipSpecial ?? false,
        clean_up_tokenization_spaces: false,
      }),
    );
  }

  #ids(text: string, special: boolean): number[] {
    return usable(() => this.#tokenizer.encode(text, { add_special_tokens: special }).ids);
  }

  /** The vocabulary entry of each id, as it stands in the file; `<id>` for ids outside of it. */
  tokens(ids: readonly number[]): string[] {
    return ids.map((id) => this.#tokenizer.id_to_token(id) ?? `<${id}>`);
  }

  /**
   * The piece of text that each id adds; joined they are `decode(ids)`. An id that ends inside a character adds nothing, the
   * one that completes it adds the character.
   */
  pieces(ids: readonly number[]): string[] {
    const pieces: string[] = [];
    let from = 0;
    let before = '';
    ids.forEach((_, i) => {
      const text = this.decode(ids.slice(from, i + 1));
      const complete = i === ids.length - 1 || !text.endsWith('\ufffd');
      pieces.push(complete ? text.slice(before.length) : '');
      if (!complete) return;
      before = text;
      // Decoding needs what came before (spaces at the start of a text are treated apart), but not all of it.
      if (i - from < 32) return;
      from = i - 8;
      before = this.decode(ids.slice(from, i + 1));
    });
    return pieces;
  }

  tokenId(token: string): number | undefined {
    return this.#tokenizer.token_to_id(token);
  }

  /** Text of a named special token. */
  special(name: Named): string | undefined {
    return this.#special.get(name);
  }

  /** One more than the highest id. */
  get size(): number {
    let top = -1;
    for (const id of this.#tokenizer.get_vocab(true).values()) top = Math.max(top, id);
    return top + 1;
  }
}

/** What the library does with a file that is not as it should be: anything. It is the file's fault, and is said so. */
function usable<T>(work: () => T): T {
  try {
    return whileBlocking(work);
  } catch (error) {
    throw new MoeError(
      'input',
      'tokenizer-unusable',
      `tokenizer.json cannot be used: ${messageOf(error)}`,
      { file: 'tokenizer.json', hint: 'Check that it is whole, and fetch it again if in doubt.' },
      { cause: error },
    );
  }
}

/** Throws where the vocabulary is empty, or gives what is no id: the library would pass it on. */
function checkVocabulary(model: JsonValue | undefined): void {
  const vocab = isJsonObject(model) ? model['vocab'] : undefined;
  const wrong = (what: string): MoeError =>
    new MoeError('input', 'tokenizer-unusable', `tokenizer.json cannot be used: ${what}`, {
      file: 'tokenizer.json',
      field: 'model.vocab',
    });
  if (Array.isArray(vocab) && vocab.length === 0) throw wrong('its vocabulary is empty');
  if (!isJsonObject(vocab)) return;
  let empty = true;
  for (const [token, id] of Object.entries(vocab)) {
    empty = false;
    if (!(typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < 2 ** 31))
      throw wrong(
        `the id of token ${JSON.stringify(token)} is ${JSON.stringify(id)}, expected a whole number from 0 on`,
      );
  }
  if (empty) throw wrong('its vocabulary is empty');
}

/** Replaces lone surrogates by U+FFFD. */
export function wellFormedText(text: string): string {
  return text.replace(/[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]/g, (match) =>
    match.length === 2 ? match : '\ufffd',
  );
}

/** Special tokens by role: tokenizer_config.json first, then special_tokens_map.json. A token is a string or an object. */
function namedTokens(config: JsonObject, map: JsonObject): ReadonlyMap<Named, string> {
  const result = new Map<Named, string>();
  for (const name of NAMED) {
    const text = tokenText(own(config, name)) ?? tokenText(own(map, name));
    if (text !== undefined) result.set(name, text);
  }
  return result;
}

function own(object: JsonObject, key: string): JsonValue | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function tokenText(value: JsonValue | undefined): string | undefined {
  if (typeof value === 'string') return value;
  if (isJsonObject(value)) {
    const content = value['content'];
    return typeof content === 'string' ? content : undefined;
  }
  return undefined;
}

/**
 * tokenizer.json plus the added tokens that only tokenizer_config.json names. transformers adds them, so that their text is
 * cut out before the model runs. Tokens outside the vocabulary would get new ids, beyond the embedding: they are left out.
 */
function withAddedTokens(
  json: JsonObject,
  config: JsonObject,
  named: ReadonlyMap<Named, string>,
  notes: string[],
): JsonObject {
  const model = json['model'];
  if (!isJsonObject(model))
    throw new MoeError('input', 'tokenizer-unusable', 'tokenizer.json has no model.', {
      file: 'tokenizer.json',
      field: 'model',
    });
  const present = json['added_tokens'];
  const listed: readonly JsonValue[] = Array.isArray(present) ? present : [];
  const known = new Set(listed.map((token) => tokenText(token)));
  const vocabulary = vocabularyOf(model);
  const extra: JsonObject[] = [];
  const add = (token: AddedToken): void => {
    if (known.has(token.content)) return;
    known.add(token.content);
    const id = vocabulary(token.content);
    if (id === undefined)
      notes.push(`${JSON.stringify(token.content)} of tokenizer_config.json is not in the vocabulary and is left out`);
    else extra.push({ id, single_word: false, ...token });
  };
  const decoder = own(config, 'added_tokens_decoder');
  for (const value of isJsonObject(decoder) ? Object.values(decoder) : []) {
    const content = tokenText(value);
    if (content === undefined || !isJsonObject(value)) continue;
    const flag = (key: string): boolean => value[key] === true;
    add({
      content,
      lstrip: flag('lstrip'),
      rstrip: flag('rstrip'),
      normalized: flag('normalized'),
      special: flag('special'),
    });
  }
  for (const content of [...named.values(), ...extraTokens(config)])
    add({ content, lstrip: false, rstrip: false, normalized: false, special: true });
  // Absent steps mean none, as for the Rust library; this one insists on the fields.
  return {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...json,
    added_tokens: [...listed, ...extra],
  };
}

function extraTokens(config: JsonObject): readonly string[] {
  const lists = [own(config, 'additional_special_tokens'), own(config, 'extra_special_tokens')];
  return lists.flatMap((list) =>
    Array.isArray(list) ? list.flatMap((token: JsonValue) => tokenText(token) ?? []) : [],
  );
}

function vocabularyOf(model: JsonObject): (token: string) => number | undefined {
  const vocab = model['vocab'];
  if (isJsonObject(vocab)) {
    return (token) => {
      const id = own(vocab, token);
      return typeof id === 'number' ? id : undefined;
    };
  }
  if (Array.isArray(vocab)) {
    const ids = new Map<string, number>();
    vocab.forEach((entry: JsonValue, id) => {
      const text: unknown = Array.isArray(entry) ? entry[0] : undefined;
      if (typeof text === 'string') ids.set(text, id);
    });
    return (token) => ids.get(token);
  }
  return () => undefined;
}

/** transformers replaces the post-processor when the config names add_bos_token or add_eos_token, or when there is none. */
function frameOf(
  config: JsonObject,
  json: JsonObject,
  bos: number | undefined,
  eos: number | undefined,
): { readonly before: readonly number[]; readonly after: readonly number[] } | null {
  const named = Object.hasOwn(config, 'add_bos_token') || Object.hasOwn(config, 'add_eos_token');
  if (!named && isJsonObject(json['post_processor'])) return null;
  const before = config['add_bos_token'] === true && bos !== undefined ? [bos] : [];
  const after = config['add_eos_token'] === true && eos !== undefined ? [eos] : [];
  return { before, after };
}

function noteKnownDifferences(json: JsonObject, config: JsonObject, notes: string[]): void {
  const kind = config['tokenizer_class'];
  if (typeof kind !== 'string' || !kind.startsWith('Llama')) return;
  if (stepTypes(json['pre_tokenizer']).includes('ByteLevel')) {
    notes.push(
      'tokenizer_class is Llama but tokenizer.json is byte-level: transformers 5 replaces its pre-tokenizer and loses spaces; tokenizer.json is followed here',
    );
  } else if (isJsonObject(json['normalizer'])) {
    notes.push(
      'transformers 5 replaces the normalizer of Llama tokenizers: texts that begin with a space may differ by one token; tokenizer.json is followed here',
    );
  }
}

/** Types of a pre-tokenizer, sequences flattened. */
function stepTypes(step: JsonValue | undefined): readonly string[] {
  if (!isJsonObject(step)) return [];
  const type = step['type'];
  const inner = step['pretokenizers'];
  return [
    ...(typeof type === 'string' ? [type] : []),
    ...(Array.isArray(inner) ? inner.flatMap((item: JsonValue) => stepTypes(item)) : []),
  ];
}
