/** A tokenizer.json whose tokens are the 256 bytes and two marks: byte-level BPE without merges. */
import type { JsonObject } from '../common/json.ts';

export const SPECIAL_TOKENS = [
  { id: 256, content: '<|begin|>' },
  { id: 257, content: '<|end|>' },
] as const;

export const BYTE_TOKENIZER_SIZE = 256 + SPECIAL_TOKENS.length;

/**
 * The character that byte-level BPE shows for each byte (GPT-2's table): printable Latin-1 stands for itself, the rest
 * takes the code points from 256 on in order.
 */
export function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
}

/** The tokenizer: id of a token = its byte; marks follow. */
export function byteTokenizer(): JsonObject {
  const vocab = Object.fromEntries([
    ...byteCharacters().map((character, byte) => [character, byte] as const),
    ...SPECIAL_TOKENS.map(({ id, content }) => [content, id] as const),
  ]);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map(({ id, content }) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: [],
    },
  };
}
