/**
 * Token ids of a tokenizer.json (or vocab.json) in one pass over its bytes: nothing is built but the numbers. A vocabulary
 * of a quarter million tokens is 30 MB of JSON, and ten times that as objects.
 */
import { MoeError, grouped } from '../common/errors.ts';

export interface TokenIds {
  /** Entries of the vocabulary and of the added tokens. */
  readonly tokens: number;
  /** Highest id; −1 for an empty vocabulary. */
  readonly highest: number;
  /** Tokens whose id is `rows` or more: how many, and the first of them. */
  readonly beyond: { readonly count: number; readonly first: string | null; readonly firstId: number };
}

type Context = 'tokenizer' | 'model' | 'vocab-map' | 'vocab-list' | 'added' | 'added-item' | 'other';

const MAX_DEPTH = 500;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Reads the ids. `shape`: 'tokenizer' for tokenizer.json, 'map' for a bare {token: id} (vocab.json, added_tokens.json).
 * `rows`: rows of the embedding. Throws MoeError `tokenizer-not-json` with the byte.
 */
export function tokenIds(bytes: Uint8Array, shape: 'tokenizer' | 'map', rows: number, file: string): TokenIds {
  return new Scan(bytes, rows, file).run(shape === 'map' ? 'vocab-map' : 'tokenizer');
}

class Scan {
  private readonly bytes: Buffer;
  private readonly rows: number;
  private readonly file: string;
  private pos = 0;
  private tokens = 0;
  private highest = -1;
  private count = 0;
  private first: string | null = null;
  private firstId = -1;

  constructor(bytes: Uint8Array, rows: number, file: string) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.rows = rows;
    this.file = file;
  }

  run(root: Context): TokenIds {
    // A byte order mark is tolerated, as by Python's utf-8-sig.
    if (this.bytes.length >= 3 && this.bytes.readUIntBE(0, 3) === 0xefbbbf) this.pos = 3;
    const stack: Context[] = [];
    const kinds: boolean[] = [];
    let key: readonly [number, number] | null = null;
    for (;;) {
      const c = this.next();
      if (c < 0) break;
      const context = stack.at(-1) ?? null;
      if (c === QUOTE) {
        const at = this.string();
        const isKey = kinds.at(-1) === true && this.isColonNext();
        if (isKey) key = at;
        else key = null;
      } else if (c === 0x7b || c === 0x5b) {
        const isObject = c === 0x7b;
        const opened = context === null ? (isObject ? root : 'other') : this.open(context, key, isObject);
        if (context === 'vocab-list' && !isObject) this.add(this.tokens, null);
        if (stack.length >= MAX_DEPTH) this.fail('it is nested too deep');
        stack.push(opened);
        kinds.push(isObject);
        key = null;
        this.pos++;
      } else if (c === 0x7d || c === 0x5d) {
        if (kinds.pop() !== (c === 0x7d)) this.fail('a bracket closes what was not opened');
        stack.pop();
        key = null;
        this.pos++;
        if (stack.length === 0) break;
      } else if (c === 0x2c || c === 0x3a) {
        this.pos++;
      } else {
        this.scalar(context, key);
        key = null;
      }
    }
    if (stack.length > 0 || this.pos === 0) this.fail('it ends too early');
    if (this.next() >= 0) this.fail('something follows its end');
    return {
      tokens: this.tokens,
      highest: this.highest,
      beyond: { count: this.count, first: this.first, firstId: this.firstId },
    };
  }

  private open(context: Context, key: readonly [number, number] | null, isObject: boolean): Context {
    if (context === 'added') return isObject ? 'added-item' : 'other';
    if (key === null) return 'other';
    const name = key[1] - key[0] > 40 ? '' : this.bytes.toString('latin1', key[0], key[1]);
    if (context === 'tokenizer' && name === 'model' && isObject) return 'model';
    if (context === 'tokenizer' && name === 'added_tokens' && !isObject) return 'added';
    if (context === 'model' && name === 'vocab') return isObject ? 'vocab-map' : 'vocab-list';
    return 'other';
  }

  private scalar(context: Context | null, key: readonly [number, number] | null): void {
    const start = this.pos;
    const { bytes } = this;
    while (this.pos < bytes.length && !isDelimiter(bytes[this.pos] ?? 0)) this.pos++;
    if (this.pos === start) this.fail('an unexpected character');
    if (context !== 'vocab-map' && context !== 'added-item') return;
    if (key === null) return;
    if (context === 'added-item' && !this.isId(key)) return;
    const text = bytes.toString('latin1', start, Math.min(this.pos, start + 20));
    const id = /^\d{1,15}$/.test(text) ? Number(text) : -1;
    if (id < 0) this.fail('a token id is no whole number');
    this.add(id, context === 'vocab-map' ? key : null);
  }

  private isId([start, end]: readonly [number, number]): boolean {
    return end - start === 2 && this.bytes[start] === 0x69 && this.bytes[start + 1] === 0x64;
  }

  private add(id: number, key: readonly [number, number] | null): void {
    this.tokens++;
    if (id > this.highest) this.highest = id;
    if (id < this.rows) return;
    this.count++;
    if (this.firstId >= 0) return;
    this.firstId = id;
    this.first = key === null ? null : this.bytes.toString('utf8', key[0], Math.min(key[1], key[0] + 80));
  }

  /** The next byte that is no white space, not consumed; −1 at the end. */
  private next(): number {
    const { bytes } = this;
    while (this.pos < bytes.length) {
      const c = bytes[this.pos] ?? 0;
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return c;
      this.pos++;
    }
    return -1;
  }

  /** Consumes a string; gives where its raw content begins and ends. */
  private string(): readonly [number, number] {
    const { bytes } = this;
    const start = ++this.pos;
    for (;;) {
      const end = bytes.indexOf(QUOTE, this.pos);
      if (end < 0) this.fail('a string does not end');
      let slashes = 0;
      for (let i = end - 1; i >= start && bytes[i] === BACKSLASH; i--) slashes++;
      this.pos = end + 1;
      if (slashes % 2 === 0) return [start, end];
    }
  }

  private isColonNext(): boolean {
    return this.next() === 0x3a;
  }

  private fail(what: string): never {
    throw new MoeError('input', 'tokenizer-not-json', `${this.file} is not JSON: ${what} (byte ${grouped(this.pos)})`, {
      file: this.file,
      byte: this.pos,
      hint: 'Fetch it again.',
    });
  }
}

function isDelimiter(c: number): boolean {
  return c === 0x2c || c === 0x7d || c === 0x5d || c === 0x7b || c === 0x5b || c === 0x3a || c === QUOTE || c <= 0x20;
}
