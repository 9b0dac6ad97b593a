/** Texts of tokens as they come, one by one. Pure. */
import type { TextTokenizer } from '../tokens/tokenizer.ts';

/** A character has at most so many bytes: more tokens without one that ends are not text. */
const LONGEST = 4;
/** Tokens that are decoded together, and how many of them are kept: the start of a text is treated apart. */
const WINDOW = 32;
const KEPT = 8;

export class PieceStream {
  #ids: number[] = [];
  #before = '';
  #open = 0;

  constructor(private readonly tokenizer: Pick<TextTokenizer, 'decode'>) {}

  /** What this token adds to the text; nothing while a character is unfinished, the whole of it when it is. */
  push(id: number): string {
    this.#ids.push(id);
    const text = this.tokenizer.decode(this.#ids);
    if (text.endsWith('\ufffd') && ++this.#open < LONGEST) return '';
    const piece = text.slice(this.#before.length);
    const broken = text.endsWith('\ufffd');
    this.#open = 0;
    this.#before = text;
    if (broken) {
      // What comes next may change how the broken bytes read: they are let go of.
      this.#ids = [];
      this.#before = '';
    } else if (this.#ids.length >= WINDOW) {
      this.#ids = this.#ids.slice(-KEPT);
      this.#before = this.tokenizer.decode(this.#ids);
    }
    return piece;
  }
}
