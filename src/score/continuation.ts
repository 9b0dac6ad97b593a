/** The text that generated tokens add to a prompt. Pure. */
import type { TextTokenizer } from '../tokens/tokenizer.ts';

/** Tokens of the prompt that decoding looks back at: spaces at the start of a text are treated apart. */
const LOOK_BACK = 16;

/** Text of `ids` as a continuation of `prompt`; special tokens are left out. An unfinished character at the end is `\ufffd`. */
export function continuationText(
  tokenizer: Pick<TextTokenizer, 'decode'>,
  prompt: readonly number[],
  ids: readonly number[],
): string {
  const before = prompt.slice(-LOOK_BACK);
  const known = tokenizer.decode(before, { skipSpecial: true });
  const whole = tokenizer.decode([...before, ...ids], { skipSpecial: true });
  return whole.startsWith(known) ? whole.slice(known.length) : tokenizer.decode(ids, { skipSpecial: true });
}

/** Gives a growing text piece by piece, never half a character. */
export class TextStream {
  #shown = '';

  /** What `text` adds to what was given out before; all of it when `last`. */
  next(text: string, last = false): string {
    if (!text.startsWith(this.#shown)) return '';
    // Bytes of one character arrive one by one.
    const end = last ? text.length : text.replace(/\ufffd+$/, '').length;
    if (end <= this.#shown.length) return '';
    const piece = text.slice(this.#shown.length, end);
    this.#shown = text.slice(0, end);
    return piece;
  }
}
