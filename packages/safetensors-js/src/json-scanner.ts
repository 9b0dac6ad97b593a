/**
 * A strict JSON scanner over bytes, with the judgements of serde_json (which the reference reader uses): no leading zeros,
 * no control characters in strings, no lone surrogates, numbers beyond the range of a double refused, 127 levels at most.
 * `JSON.parse` cannot serve: it hides duplicate keys, rounds integers beyond 2^53 and takes `1e0` for 1.
 */

import { invalidUtf8At } from './utf8.ts';

/** Reports a problem at a position in the scanned bytes; must throw. */
export type ScanFailure = (position: number, what: string) => never;

/** Thrown (by identity) when an unfinished window ends inside a value: the caller adds bytes and scans the value again. */
export const NEED_MORE = Symbol('need more bytes');

export type JsonValue =
  string | number | bigint | boolean | null | readonly JsonValue[] | ReadonlyMap<string, JsonValue>;

/** serde_json's recursion limit: 127 containers may be open at once. */
export const MAX_DEPTH = 127;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const U64_MAX = 0xffff_ffff_ffff_ffffn;
const I64_MIN = -0x8000_0000_0000_0000n;

/** Class of the number last scanned, as serde_json holds it: u64, i64 (below zero) or f64. */
export type NumberClass = 'u64' | 'i64' | 'f64';

export class JsonScanner {
  /** Next byte to read. */
  pos = 0;
  /** Value of the last number: exact when it is a safe integer; `big` is set when it is an integer beyond that. */
  num = 0;
  big: bigint | undefined = undefined;
  numClass: NumberClass = 'u64';

  private bytes: Buffer;
  private end: number;
  private readonly fail: ScanFailure;
  private final: boolean;

  /** `final` false: the bytes are a window, and its end is not the text's end. */
  constructor(bytes: Buffer, fail: ScanFailure, final = true) {
    this.bytes = bytes;
    this.end = bytes.length;
    this.fail = fail;
    this.final = final;
  }

  /** Replaces the window; `pos` starts over. */
  refill(bytes: Buffer, final: boolean): void {
    this.bytes = bytes;
    this.end = bytes.length;
    this.final = final;
    this.pos = 0;
  }

  /** The end was reached inside something. */
  private ended(what: string): never {
    if (!this.final) throw NEED_MORE;
    return this.fail(this.end, `the text ends ${what}`);
  }

  /** Fails at the current byte, naming it and what was expected. */
  unexpected(expected: string): never {
    if (this.pos >= this.end) return this.ended(`where ${expected} should follow`);
    return this.fail(this.pos, `expected ${expected}, found ${this.describe(this.pos)}`);
  }

  private describe(pos: number): string {
    const c = this.bytes[pos] as number;
    if (c > 0x20 && c < 0x7f) return `'${String.fromCharCode(c)}'`;
    return `byte 0x${c.toString(16).padStart(2, '0')}`;
  }

  /** Skips blanks and returns the next byte without taking it; -1 at the end of a final window. */
  peek(): number {
    const { bytes, end } = this;
    let p = this.pos;
    while (p < end) {
      const c = bytes[p] as number;
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) {
        this.pos = p;
        return c;
      }
      p++;
    }
    this.pos = p;
    if (!this.final) throw NEED_MORE;
    return -1;
  }

  /** Takes one structural byte (after blanks) or fails. */
  expect(c: number, name: string): void {
    if (this.peek() !== c) this.unexpected(name);
    this.pos++;
  }

  /** Takes `,` and answers true, or the closing byte and answers false. Anything else fails. */
  more(close: number, name: string): boolean {
    const c = this.peek();
    if (c === COMMA) {
      this.pos++;
      return true;
    }
    if (c !== close) this.unexpected(`',' or ${name}`);
    this.pos++;
    return false;
  }

  /** Takes exactly these bytes if they stand here (after blanks): spares a string for words that recur everywhere. */
  takeExact(word: Uint8Array): boolean {
    this.peek();
    const { bytes, pos } = this;
    const { length } = word;
    if (pos + length > this.end) return false;
    for (let i = 0; i < length; i++) if (bytes[pos + i] !== word[i]) return false;
    this.pos = pos + length;
    return true;
  }

  /** A string, its quotes taken. */
  string(expected = 'a string'): string {
    if (this.peek() !== QUOTE) this.unexpected(expected);
    const { bytes, end } = this;
    const start = this.pos + 1;
    let p = start;
    let ascii = true;
    while (p < end) {
      const c = bytes[p] as number;
      if (c === QUOTE) {
        this.pos = p + 1;
        return ascii ? bytes.toString('latin1', start, p) : this.decode(start, p);
      }
      if (c === BACKSLASH) return this.escapedString(start, p);
      if (c < 0x20) this.fail(p, 'control character inside a string');
      if (c >= 0x80) ascii = false;
      p++;
    }
    return this.ended('inside a string');
  }

  private decode(start: number, stop: number): string {
    try {
      return UTF8.decode(this.bytes.subarray(start, stop));
    } catch {
      return this.fail(start + invalidUtf8At(this.bytes.subarray(start, stop)), 'not UTF-8');
    }
  }

  private escapedString(start: number, firstEscape: number): string {
    const { bytes, end } = this;
    const parts: string[] = [];
    let from = start;
    let p = firstEscape;
    while (p < end) {
      const c = bytes[p] as number;
      if (c === QUOTE) {
        if (p > from) parts.push(this.decode(from, p));
        this.pos = p + 1;
        return parts.join('');
      }
      if (c < 0x20) this.fail(p, 'control character inside a string');
      if (c !== BACKSLASH) {
        p++;
        continue;
      }
      if (p > from) parts.push(this.decode(from, p));
      if (p + 1 >= end) return this.ended('inside an escape');
      const kind = bytes[p + 1] as number;
      if (kind === 0x75) {
        const unit = this.hex4(p + 2);
        if (unit >= 0xdc00 && unit <= 0xdfff) this.fail(p, 'lone surrogate in an escape');
        if (unit >= 0xd800 && unit <= 0xdbff) {
          if (p + 8 > end) return this.ended('inside an escape');
          if (bytes[p + 6] !== BACKSLASH || bytes[p + 7] !== 0x75) this.fail(p, 'lone surrogate in an escape');
          const low = this.hex4(p + 8);
          if (low < 0xdc00 || low > 0xdfff) this.fail(p, 'lone surrogate in an escape');
          parts.push(String.fromCharCode(unit, low));
          p += 12;
        } else {
          parts.push(String.fromCharCode(unit));
          p += 6;
        }
      } else {
        const plain = ESCAPES.get(kind);
        if (plain === undefined) return this.fail(p, 'unknown escape in a string');
        parts.push(plain);
        p += 2;
      }
      from = p;
    }
    return this.ended('inside a string');
  }

  private hex4(at: number): number {
    let value = 0;
    for (let i = at; i < at + 4; i++) {
      if (i >= this.end) return this.ended('inside an escape');
      const c = this.bytes[i] as number;
      const digit =
        c >= ZERO && c <= NINE ? c - ZERO : c >= 0x61 && c <= 0x66 ? c - 87 : c >= 0x41 && c <= 0x46 ? c - 55 : -1;
      if (digit < 0) this.fail(i, 'not a hexadecimal digit in an escape');
      value = value * 16 + digit;
    }
    return value;
  }

  /** A number: sets `num`, `big` and `numClass`. */
  number(expected = 'a number'): void {
    const first = this.peek();
    if (first !== MINUS && (first < ZERO || first > NINE)) this.unexpected(expected);
    const { bytes, end } = this;
    const start = this.pos;
    let p = first === MINUS ? start + 1 : start;
    const digits = p;
    let value = 0;
    while (p < end) {
      const c = bytes[p] as number;
      if (c < ZERO || c > NINE) break;
      value = value * 10 + (c - ZERO);
      p++;
    }
    if (p === digits) {
      this.pos = p;
      this.unexpected('a digit');
    }
    if (bytes[digits] === ZERO && p - digits > 1) this.fail(digits, 'number with a leading zero');
    // A number at a window's end may go on in the next window.
    if (p >= end && !this.final) throw NEED_MORE;
    const next = p < end ? (bytes[p] as number) : 0;
    if (next === DOT || next === 0x65 || next === 0x45) {
      this.float(start, digits, p);
      return;
    }
    this.pos = p;
    if (p - digits <= 15) {
      this.big = undefined;
      if (first !== MINUS) {
        this.num = value;
        this.numClass = 'u64';
      } else {
        // "-0" is a float to serde_json, and so no size.
        this.num = -value;
        this.numClass = value === 0 ? 'f64' : 'i64';
      }
      return;
    }
    this.longInteger(start, digits, p, first === MINUS);
  }

  private longInteger(start: number, digits: number, stop: number, negative: boolean): void {
    // Digits beyond a double's range: do not build a huge bigint from hostile text. 400 digits exceed 1e308 anyway.
    if (stop - digits > 400) this.fail(start, 'number out of range');
    const exact = BigInt(this.bytes.toString('latin1', digits, stop));
    const signed = negative ? -exact : exact;
    this.num = Number(signed);
    if (!Number.isFinite(this.num)) this.fail(start, 'number out of range');
    if (signed > U64_MAX || signed < I64_MIN) {
      this.numClass = 'f64';
      this.big = undefined;
    } else {
      this.numClass = negative ? 'i64' : 'u64';
      this.big = Number.isSafeInteger(this.num) ? undefined : signed;
    }
  }

  private float(start: number, digits: number, dotOrE: number): void {
    const { bytes, end } = this;
    let p = dotOrE;
    const skipDigits = (): void => {
      const from = p;
      while (p < end && (bytes[p] as number) >= ZERO && (bytes[p] as number) <= NINE) p++;
      if (p === from) {
        this.pos = p;
        this.unexpected('a digit');
      }
      if (p >= end && !this.final) throw NEED_MORE;
    };
    if (bytes[p] === DOT) {
      p++;
      skipDigits();
    }
    if (p < end && (bytes[p] === 0x65 || bytes[p] === 0x45)) {
      p++;
      if (p < end && (bytes[p] === 0x2b || bytes[p] === MINUS)) p++;
      skipDigits();
    }
    this.pos = p;
    this.big = undefined;
    this.numClass = 'f64';
    this.num = Number(bytes.toString('latin1', start, p));
    if (!Number.isFinite(this.num)) this.fail(digits, 'number out of range');
  }

  private literal(word: string): void {
    for (let i = 0; i < word.length; i++) {
      if (this.pos + i >= this.end) this.ended(`inside '${word}'`);
      if (this.bytes[this.pos + i] !== word.charCodeAt(i)) this.fail(this.pos, `expected '${word}'`);
    }
    this.pos += word.length;
  }

  /** Takes `null` and answers true if it stands here. */
  takeNull(): boolean {
    if (this.peek() !== 0x6e) return false;
    this.literal('null');
    return true;
  }

  /** Checks a value of any kind and drops it. `depth` is the number of containers already open around it. */
  skip(depth: number): void {
    const c = this.peek();
    if (c === QUOTE) {
      this.string();
    } else if (c === OPEN_BRACE) {
      this.enter(depth);
      this.pos++;
      if (this.peek() === CLOSE_BRACE) {
        this.pos++;
        return;
      }
      do {
        this.string('a key');
        this.expect(COLON, "':'");
        this.skip(depth + 1);
      } while (this.more(CLOSE_BRACE, "'}'"));
    } else if (c === OPEN_BRACKET) {
      this.enter(depth);
      this.pos++;
      if (this.peek() === CLOSE_BRACKET) {
        this.pos++;
        return;
      }
      do this.skip(depth + 1);
      while (this.more(CLOSE_BRACKET, "']'"));
    } else if (c === 0x74) this.literal('true');
    else if (c === 0x66) this.literal('false');
    else if (c === 0x6e) this.literal('null');
    else this.number('a value');
  }

  /** Reads a value of any kind. Objects become Maps, so that no name can reach a prototype; the last duplicate wins. */
  value(depth: number): JsonValue {
    const c = this.peek();
    if (c === QUOTE) return this.string();
    if (c === OPEN_BRACE) {
      this.enter(depth);
      this.pos++;
      const map = new Map<string, JsonValue>();
      if (this.peek() === CLOSE_BRACE) {
        this.pos++;
        return map;
      }
      do {
        const key = this.string('a key');
        this.expect(COLON, "':'");
        map.set(key, this.value(depth + 1));
      } while (this.more(CLOSE_BRACE, "'}'"));
      return map;
    }
    if (c === OPEN_BRACKET) {
      this.enter(depth);
      this.pos++;
      const list: JsonValue[] = [];
      if (this.peek() === CLOSE_BRACKET) {
        this.pos++;
        return list;
      }
      do list.push(this.value(depth + 1));
      while (this.more(CLOSE_BRACKET, "']'"));
      return list;
    }
    if (c === 0x74 || c === 0x66) {
      this.literal(c === 0x74 ? 'true' : 'false');
      return c === 0x74;
    }
    if (c === 0x6e) {
      this.literal('null');
      return null;
    }
    this.number('a value');
    return this.big ?? this.num;
  }

  /** Fails when one more container would exceed the depth limit. */
  enter(depth: number): void {
    if (depth >= MAX_DEPTH) this.fail(this.pos, `nested deeper than ${String(MAX_DEPTH)} levels`);
  }
}

const ESCAPES: ReadonlyMap<number, string> = new Map([
  [0x22, '"'],
  [0x5c, '\\'],
  [0x2f, '/'],
  [0x62, '\b'],
  [0x66, '\f'],
  [0x6e, '\n'],
  [0x72, '\r'],
  [0x74, '\t'],
]);
