/**
 * The tokenizer of a GGUF as Hugging Face files: tokenizer.json, tokenizer_config.json, special_tokens_map.json and
 * generation_config.json. The ids are those that the GGUF means, as llama.cpp reads it (Qwen's NFC apart: see pretokenizers.ts).
 * A kind that cannot be rebuilt gives no tokenizer.json and a warning, never a wrong one.
 */
import { grouped } from '../common/errors.ts';
import { Metadata } from './metadata.ts';
import { PRE_TOKENIZER_NAMES, findPreTokenizer } from './pretokenizers.ts';
import type { PreTokenizer } from './pretokenizers.ts';
import { bpeTokenizer, spmTokenizer } from './tokenizer-json.ts';
import type { Special, TokenizerJson } from './tokenizer-json.ts';
import type { GgufHeader, GgufNote } from './types.ts';
import { TokenType, readVocabulary } from './vocabulary.ts';
import type { Vocabulary } from './vocabulary.ts';
import { counted } from '../common/words.ts';

export interface GgufTokenizer {
  /** File name → content. Without tokenizer.json where the tokenizer could not be rebuilt. */
  readonly files: ReadonlyMap<string, string>;
  readonly notes: readonly GgufNote[];
}

type Source = Pick<GgufHeader, 'path' | 'metadata' | 'metadataTypes'>;

const COPY_HINT = "Copy tokenizer.json and tokenizer_config.json from the original model's Hugging Face folder.";

/**
 * Rebuilds the tokenizer files.
 * @throws MoeError `gguf-metadata` where tokenizer metadata has the wrong type
 */
export function tokenizerFromGguf(header: Source): GgufTokenizer {
  const metadata = new Metadata(header, 'tokenizer.ggml');
  const notes: GgufNote[] = [];
  const files = new Map<string, string>();
  const vocabulary = readVocabulary(metadata, notes);
  const json = vocabulary === undefined ? undefined : buildTokenizer(metadata, vocabulary, notes);
  if (vocabulary !== undefined && json !== undefined) {
    files.set('tokenizer.json', JSON.stringify(json.tokenizer));
    const named = namedTokens(metadata, vocabulary);
    files.set('tokenizer_config.json', pretty(configOf(metadata, json, named, notes)));
    if (Object.keys(named).length > 0) files.set('special_tokens_map.json', pretty(named));
  }
  const generation = generationConfig(new Metadata(header, 'general'), metadata, notes);
  if (generation !== undefined) files.set('generation_config.json', pretty(generation));
  return { files, notes };
}

function pretty(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function buildTokenizer(metadata: Metadata, vocabulary: Vocabulary, notes: GgufNote[]): TokenizerJson | undefined {
  const model = metadata.text('{arch}.model');
  switch (model) {
    case 'gpt2':
      return buildBpe(metadata, vocabulary, notes);
    case 'llama':
      return buildSpm(metadata, vocabulary, notes);
    default: {
      const known: Readonly<Record<string, string>> = {
        bert: 'WordPiece',
        t5: 'Unigram',
        rwkv: 'RWKV',
        plamo2: 'PLaMo-2',
        gemma4: 'Gemma 4',
      };
      const kind = model !== undefined && Object.hasOwn(known, model) ? ` (${known[model] ?? ''})` : '';
      notes.push({
        severity: 'warning',
        code: 'gguf-tokenizer-unsupported',
        field: 'tokenizer.ggml.model',
        message: `tokenizer kind "${model ?? 'none'}"${kind} cannot be rebuilt: the output has no tokenizer.json`,
        hint: COPY_HINT,
      });
      return undefined;
    }
  }
}

function buildBpe(metadata: Metadata, vocabulary: Vocabulary, notes: GgufNote[]): TokenizerJson | undefined {
  const pre = preTokenizerOf(metadata, notes);
  const merges = metadata.strings('{arch}.merges');
  if (pre === undefined) return undefined;
  if (merges === undefined) {
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-merges',
      field: 'tokenizer.ggml.merges',
      message: 'the byte-pair tokenizer has no merges: the output has no tokenizer.json',
      hint: COPY_HINT,
    });
    return undefined;
  }
  const pairs: [string, string][] = [];
  let broken = 0;
  for (const merge of merges) {
    // The left part may itself begin with a space.
    const at = merge.indexOf(' ', 1);
    if (at < 1 || at === merge.length - 1) broken++;
    else pairs.push([merge.slice(0, at), merge.slice(at + 1)]);
  }
  if (broken > 0) {
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-merges',
      field: 'tokenizer.ggml.merges',
      message: `${counted(broken, 'merge is', 'merges are')} not two parts with a space between, and left out`,
    });
  }
  return bpeTokenizer(vocabulary, pairs, pre, edgesOf(metadata, vocabulary, pre.addBos, notes));
}

function preTokenizerOf(metadata: Metadata, notes: GgufNote[]): PreTokenizer | undefined {
  const name = metadata.text('{arch}.pre');
  if (name === undefined) {
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-pre',
      field: 'tokenizer.ggml.pre',
      message:
        'the file does not say how text is cut before merging (it is from before May 2024); the default of that time is used',
      hint: 'Token ids may differ from the original model: copy its tokenizer.json instead.',
    });
    return findPreTokenizer('default');
  }
  const found = findPreTokenizer(name);
  if (found === undefined) {
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-pre',
      field: 'tokenizer.ggml.pre',
      message: `pre-tokenizer "${name}" is not known (known: ${PRE_TOKENIZER_NAMES.join(', ')}): the output has no tokenizer.json`,
      hint: COPY_HINT,
    });
  }
  if (found?.nfc === true) {
    notes.push({
      severity: 'info',
      code: 'gguf-tokenizer-nfc',
      field: 'tokenizer.ggml.pre',
      message: `Unicode is composed (NFC) before tokens are made, as the published "${name}" tokenizer does; a GGUF does not store that`,
    });
  }
  return found;
}

function buildSpm(metadata: Metadata, vocabulary: Vocabulary, notes: GgufNote[]): TokenizerJson | undefined {
  const scores = metadata.numbers('{arch}.scores');
  if (scores === undefined || scores.length < vocabulary.tokens.length) {
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-scores',
      field: 'tokenizer.ggml.scores',
      message: `the SentencePiece tokenizer has ${grouped(scores?.length ?? 0)} scores for ${grouped(vocabulary.tokens.length)} tokens: the output has no tokenizer.json`,
      hint: COPY_HINT,
    });
    return undefined;
  }
  if (!vocabulary.types.includes(TokenType.byte)) {
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-bytes',
      message: 'the SentencePiece vocabulary has no byte tokens: characters without a token become the unknown token',
    });
  }
  const prefix = metadata.flag('{arch}.add_space_prefix') ?? true;
  const unknownId = metadata.integer('{arch}.unknown_token_id');
  const unknown = vocabulary.tokens[unknownId ?? vocabulary.types.indexOf(TokenType.unknown)];
  return spmTokenizer(
    vocabulary,
    scores,
    { prefix, ...(unknown === undefined ? {} : { unknown }) },
    edgesOf(metadata, vocabulary, true, notes),
  );
}

/** Tokens put before and after a text: as the file says, else as its kind of tokenizer does. */
function edgesOf(
  metadata: Metadata,
  vocabulary: Vocabulary,
  bosByDefault: boolean,
  notes: GgufNote[],
): { bos?: Special; eos?: Special } {
  const edge = (add: boolean, key: string): Special | undefined => {
    if (!add) return undefined;
    const id = metadata.integer(key);
    const token = id === undefined ? undefined : vocabulary.tokens[id];
    if (id !== undefined && token !== undefined) return { id, token };
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-special',
      field: key.replace('{arch}', 'tokenizer.ggml'),
      message: `a token is to be added at the edge of each text, but "${key.replace('{arch}', 'tokenizer.ggml')}" names none; none is added`,
    });
    return undefined;
  };
  const bos = edge(metadata.flag('{arch}.add_bos_token') ?? bosByDefault, '{arch}.bos_token_id');
  const eos = edge(metadata.flag('{arch}.add_eos_token') ?? false, '{arch}.eos_token_id');
  return { ...(bos === undefined ? {} : { bos }), ...(eos === undefined ? {} : { eos }) };
}

function namedTokens(metadata: Metadata, vocabulary: Vocabulary): Record<string, string> {
  const named: Record<string, string> = {};
  for (const [name, key] of [
    ['bos_token', '{arch}.bos_token_id'],
    ['eos_token', '{arch}.eos_token_id'],
    ['unk_token', '{arch}.unknown_token_id'],
    ['pad_token', '{arch}.padding_token_id'],
    // The misspelling is the key's own.
    ['sep_token', '{arch}.seperator_token_id'],
    ['mask_token', '{arch}.mask_token_id'],
  ] as const) {
    const id = metadata.integer(key);
    const token = id === undefined ? undefined : vocabulary.tokens[id];
    if (token !== undefined) named[name] = token;
  }
  return named;
}

function configOf(
  metadata: Metadata,
  json: TokenizerJson,
  named: Record<string, string>,
  notes: GgufNote[],
): Record<string, unknown> {
  const decoder: Record<string, unknown> = {};
  for (const { id, ...rest } of json.added) decoder[String(id)] = rest;
  const template = chatTemplate(metadata, notes);
  return {
    added_tokens_decoder: decoder,
    ...named,
    clean_up_tokenization_spaces: false,
    // transformers' "no limit": the context length stands in config.json.
    model_max_length: 1e30,
    ...(template === undefined ? {} : { chat_template: template }),
    tokenizer_class: 'PreTrainedTokenizerFast',
  };
}

/** One template, or a list where the file has named ones beside the default. */
function chatTemplate(
  metadata: Metadata,
  notes: GgufNote[],
): string | { name: string; template: string }[] | undefined {
  const main = metadata.text('tokenizer.chat_template');
  const names = metadata.strings('tokenizer.chat_templates') ?? [];
  const list = main === undefined ? [] : [{ name: 'default', template: main }];
  for (const name of names) {
    const template = metadata.text(`tokenizer.chat_template.${name}`);
    if (template !== undefined && name !== 'default') list.push({ name, template });
  }
  if (list.length === 0) {
    notes.push({
      severity: 'info',
      code: 'gguf-chat-template',
      field: 'tokenizer.chat_template',
      message: 'the file has no chat template',
    });
    return undefined;
  }
  return list.length === 1 && main !== undefined ? main : list;
}

/** bos, eos (with end-of-turn and end-of-message), pad and the sampling advice that the file carries; undefined if nothing is known. */
function generationConfig(
  general: Metadata,
  tokenizer: Metadata,
  notes: GgufNote[],
): Record<string, unknown> | undefined {
  const config: Record<string, unknown> = {};
  const bos = tokenizer.integer('{arch}.bos_token_id');
  const eos = tokenizer.integer('{arch}.eos_token_id');
  const pad = tokenizer.integer('{arch}.padding_token_id');
  const ends = new Set([eos, tokenizer.integer('{arch}.eot_token_id'), tokenizer.integer('{arch}.eom_token_id')]);
  ends.delete(undefined);
  if (bos !== undefined) config['bos_token_id'] = bos;
  if (ends.size > 0) config['eos_token_id'] = ends.size === 1 ? [...ends][0] : [...ends];
  if (pad !== undefined) config['pad_token_id'] = pad;
  for (const [key, name] of [
    ['{arch}.sampling.temp', 'temperature'],
    ['{arch}.sampling.top_k', 'top_k'],
    ['{arch}.sampling.top_p', 'top_p'],
    ['{arch}.sampling.min_p', 'min_p'],
    ['{arch}.sampling.penalty_repeat', 'repetition_penalty'],
  ] as const) {
    const value = general.number(key);
    if (value === undefined) continue;
    config[name] = Number(value.toPrecision(7));
    config['do_sample'] = true;
  }
  if (ends.size > 1) {
    notes.push({
      severity: 'info',
      code: 'gguf-generation',
      field: 'eos_token_id',
      message:
        'generation_config.json ends a text at the end-of-turn token too, which the file names beside the end-of-text token',
    });
  }
  return Object.keys(config).length === 0 ? undefined : config;
}
