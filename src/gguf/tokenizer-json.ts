/** The structure of tokenizer.json for the two kinds that can be rebuilt: byte-level BPE and SentencePiece BPE. */
import type { PreTokenizer } from './pretokenizers.ts';
import { mergesFromScores } from './spm.ts';
import { TokenType, isFiller } from './vocabulary.ts';
import type { Vocabulary } from './vocabulary.ts';

export interface Special {
  readonly id: number;
  readonly token: string;
}

/** An entry of `added_tokens`: text that is cut out before anything else happens. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

export interface TokenizerJson {
  /** The content of tokenizer.json. */
  readonly tokenizer: Readonly<Record<string, unknown>>;
  readonly added: readonly AddedToken[];
}

interface Edges {
  readonly bos?: Special;
  readonly eos?: Special;
}

/** SentencePiece's visible space. */
const SPACE = '▁';

/** Byte-level BPE (`tokenizer.ggml.model` = gpt2). */
export function bpeTokenizer(
  vocabulary: Vocabulary,
  merges: readonly [string, string][],
  pre: PreTokenizer,
  edges: Edges,
): TokenizerJson {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  const splits = pre.patterns.map((pattern) => ({
    type: 'Split',
    pattern: { Regex: pattern },
    behavior: 'Isolated',
    invert: false,
  }));
  const template = templateOf(edges);
  const added = addedTokens(vocabulary);
  return {
    added,
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer: pre.nfc ? { type: 'NFC' } : null,
      pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits, byteLevel] },
      post_processor: template === null ? byteLevel : { type: 'Sequence', processors: [byteLevel, template] },
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        // A byte without a token is dropped, as the merges' own readers do.
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: pre.ignoreMerges,
        vocab: vocabOf(vocabulary),
        merges,
      },
    },
  };
}

/** SentencePiece BPE with byte fallback (`tokenizer.ggml.model` = llama). */
export function spmTokenizer(
  vocabulary: Vocabulary,
  scores: ArrayLike<number>,
  options: { readonly prefix: boolean; readonly unknown?: string },
  edges: Edges,
): TokenizerJson {
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: SPACE };
  const prepend = { type: 'Prepend', prepend: SPACE };
  const decoders = [
    { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    ...(options.prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
  ];
  const added = addedTokens(vocabulary);
  const pieces = new Map<string, number>();
  for (const [id, token] of vocabulary.tokens.entries()) {
    const type = vocabulary.types[id];
    const plain = type === TokenType.normal || (type === TokenType.unused && !isFiller(token, id, type));
    if (plain) pieces.set(token, id);
  }
  return {
    added,
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer: { type: 'Sequence', normalizers: options.prefix ? [prepend, replace] : [replace] },
      pre_tokenizer: null,
      post_processor: templateOf(edges),
      decoder: { type: 'Sequence', decoders },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: options.unknown ?? null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: vocabulary.types.includes(TokenType.byte),
        ignore_merges: false,
        vocab: vocabOf(vocabulary),
        merges: mergesFromScores(pieces, scores),
      },
    },
  };
}

/** Token → id, without fillers. Null prototype: `__proto__` is a token like any other. */
function vocabOf({ tokens, types }: Vocabulary): Record<string, number> {
  const vocab = Object.create(null) as Record<string, number>;
  for (const [id, token] of tokens.entries()) if (!isFiller(token, id, types[id])) vocab[token] = id;
  return vocab;
}

function addedTokens({ tokens, types, stripsRight }: Vocabulary): AddedToken[] {
  const added: AddedToken[] = [];
  for (const [id, content] of tokens.entries()) {
    const type = types[id];
    const special = type === TokenType.control || type === TokenType.unknown;
    if (!special && type !== TokenType.userDefined) continue;
    added.push({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: stripsRight(content),
      normalized: false,
      special,
    });
  }
  return added;
}

function templateOf({ bos, eos }: Edges): Readonly<Record<string, unknown>> | null {
  if (bos === undefined && eos === undefined) return null;
  const mark = (special: Special | undefined, type: number): unknown[] =>
    special === undefined ? [] : [{ SpecialToken: { id: special.token, type_id: type } }];
  const text = (id: string, type: number): unknown[] => [
    ...mark(bos, type),
    { Sequence: { id, type_id: type } },
    ...mark(eos, type),
  ];
  const specials = Object.create(null) as Record<string, unknown>;
  for (const special of [bos, eos]) {
    if (special !== undefined)
      specials[special.token] = { id: special.token, ids: [special.id], tokens: [special.token] };
  }
  return {
    type: 'TemplateProcessing',
    single: text('A', 0),
    pair: [...text('A', 0), ...text('B', 1)],
    special_tokens: specials,
  };
}
