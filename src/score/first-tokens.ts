/** The first tokens of a long text without tokenising all of it. */

/** Tokens beyond the limit that must be there: what stands at the cut may be tokenised otherwise than inside the text. */
const SPARE = 32;

/**
 * What `encode(text).slice(0, limit)` gives, from a beginning of the text that is long enough. Megabytes take a tokenizer
 * without a pre-tokenizer seconds.
 */
export function firstTokens(encode: (text: string) => number[], text: string, limit: number): number[] {
  for (let length = 8 * (limit + SPARE); length < text.length; length *= 2) {
    const ids = encode(text.slice(0, length));
    if (ids.length >= limit + SPARE) return ids.slice(0, limit);
  }
  const ids = encode(text);
  return ids.length > limit ? ids.slice(0, limit) : ids;
}
