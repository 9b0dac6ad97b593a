/** Tokens and their types from metadata, with the corrections that GGUF readers make. */
import { grouped } from '../common/errors.ts';
import type { Metadata } from './metadata.ts';
import type { GgufNote } from './types.ts';

/** `tokenizer.ggml.token_type`. */
export const TokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Vocabulary {
  /** By id. */
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  /** Whether a token swallows the white space after it (Phi-3's chat marks do). */
  readonly stripsRight: (token: string) => boolean;
}

/** Texts that end a turn or a text. Readers treat them as control tokens even where a converter forgot to mark them. */
const END_MARKS = new Set([
  '<|eot_id|>',
  '<|eom_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<end_of_turn>',
  '<|endoftext|>',
  '<|end_of_text|>',
  '</s>',
  '<EOT>',
  '_<EOT>',
  '[EOT]',
  '[EOS]',
  '<end_of_utterance>',
  '<eos>',
  '<｜end▁of▁sentence｜>',
]);

/** Rows that a converter invented to fill the embedding up: `[PAD151700]`. They are no tokens. */
export function isFiller(token: string, id: number, type: number | undefined): boolean {
  return type === TokenType.unused && token === `[PAD${id}]`;
}

/** The vocabulary, or undefined (with a note) where there is none or it cannot be a tokenizer.json's. */
export function readVocabulary(metadata: Metadata, notes: GgufNote[]): Vocabulary | undefined {
  const stored = metadata.strings('{arch}.tokens');
  if (stored === undefined || stored.length === 0) {
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-missing',
      field: 'tokenizer.ggml.tokens',
      message: 'the file holds no vocabulary: the output has no tokenizer.json',
      hint: "Copy the tokenizer files from the original model's Hugging Face folder.",
    });
    return undefined;
  }
  const tokens = stored.map((token, id) => (token === '' ? `[EMPTY_${id}]` : token));
  const types = typesOf(metadata, tokens, notes);
  const seen = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    const before = seen.get(token);
    if (before !== undefined) {
      notes.push({
        severity: 'warning',
        code: 'gguf-tokenizer-duplicate',
        field: 'tokenizer.ggml.tokens',
        message: `tokens ${before} and ${id} are both ${JSON.stringify(token)}, which a tokenizer.json cannot say: the output has none`,
      });
      return undefined;
    }
    seen.set(token, id);
  }
  const fillers = tokens.filter((token, id) => isFiller(token, id, types[id])).length;
  if (fillers > 0) {
    notes.push({
      severity: 'info',
      code: 'gguf-tokenizer-fillers',
      message: `${grouped(fillers)} of ${grouped(tokens.length)} embedding rows belong to no token; they are left out of tokenizer.json`,
    });
  }
  return { tokens, types, stripsRight: rightStripping(metadata) };
}

function typesOf(metadata: Metadata, tokens: readonly string[], notes: GgufNote[]): number[] {
  const stored = metadata.numbers('{arch}.token_type');
  if (stored === undefined || stored.length < tokens.length) {
    notes.push({
      severity: 'warning',
      code: 'gguf-tokenizer-types',
      field: 'tokenizer.ggml.token_type',
      message: `${grouped(stored?.length ?? 0)} token types for ${grouped(tokens.length)} tokens: tokens without a type count as ordinary text`,
    });
  }
  const types: number[] = Array.from(tokens, (_token, id) => stored?.[id] ?? TokenType.normal);
  const corrected: string[] = [];
  for (const [id, token] of tokens.entries()) {
    if (!END_MARKS.has(token) || types[id] === TokenType.control) continue;
    corrected.push(token);
    types[id] = TokenType.control;
  }
  if (corrected.length > 0) {
    notes.push({
      severity: 'info',
      code: 'gguf-tokenizer-types',
      field: 'tokenizer.ggml.token_type',
      message: `${corrected.join(', ')} end a text but are not marked as control tokens; they are treated as such, as GGUF readers do`,
    });
  }
  return types;
}

/** Phi-3's tokenizer drops white space after its special tokens, except after these three; GGUF readers know it by name. */
function rightStripping(metadata: Metadata): (token: string) => boolean {
  const name = metadata.text('general.name')?.toLowerCase() ?? '';
  if (!name.includes('phi-3') && !name.includes('phi3')) return () => false;
  const keeps = new Set(['<unk>', '<s>', '<|endoftext|>']);
  return (token) => !keeps.has(token);
}
