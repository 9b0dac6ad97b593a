/**
 * A forward-only reader over a file: positional reads through one window that grows to what is asked and no further.
 * Every length is compared with what is left of the file before anything is allocated, so that a hostile or truncated
 * file costs an error, never memory.
 */
import { readSync } from 'node:fs';
import { MoeError, grouped, messageOf, systemCodeOf } from '../common/errors.ts';
import type { ErrorPlace } from '../common/errors.ts';

/** Bytes read at a time. A whole 50k-token vocabulary takes two reads. */
const WINDOW_BYTES = 1024 * 1024;

/** Metadata and tensor table together: the largest known (262k tokens and half a million merges) is below 32 MiB. */
export const MAX_HEADER_BYTES = 256 * 1024 * 1024;

/** One string: an embedded tokenizer.json is the largest known kind, about 20 MB. */
export const MAX_STRING_BYTES = 64 * 1024 * 1024;

export class GgufCursor {
  /** Absolute offset of the next byte. */
  position = 0;
  /** What is being read, for error messages: `key "x"`, `tensor "y"`. */
  subject = 'the header';
  /** Metadata key or tensor concerned, for the error's place. */
  place: { field?: string; tensor?: string } = {};
  private readonly base: Buffer;
  private window: Buffer;
  private windowStart = 0;

  constructor(
    private readonly fd: number,
    readonly path: string,
    readonly size: number,
  ) {
    this.base = Buffer.alloc(Math.min(WINDOW_BYTES, size));
    this.window = this.base.subarray(0, 0);
  }

  /** An input error at `byte` (default: the current position). */
  error(code: string, message: string, hint?: string, byte: number = this.position): MoeError {
    const place: ErrorPlace = { file: this.path, byte, ...this.place, ...(hint === undefined ? {} : { hint }) };
    return new MoeError('input', code, `${this.path}: ${message}`, place);
  }

  /** The file ends before what it announces. */
  truncated(what: string, needed: number): MoeError {
    const left = this.size - this.position;
    return this.error(
      'gguf-truncated',
      `the file ends inside ${this.subject}: ${what} needs ${grouped(needed)} bytes at byte ${grouped(this.position)}, ` +
        `but ${grouped(left)} are left of ${grouped(this.size)}`,
      'The file is cut or damaged: compare its size with the published one and fetch it again.',
    );
  }

  /** Makes the next `length` bytes readable in the window and returns where in it they begin; moves past them. */
  take(length: number, what: string): number {
    if (length > this.size - this.position) throw this.truncated(what, length);
    this.checkHeaderLimit(length);
    let begin = this.position - this.windowStart;
    if (begin < 0 || begin + length > this.window.length) {
      this.fill(length);
      begin = 0;
    }
    this.position += length;
    return begin;
  }

  /** Refuses to go `length` bytes further where the header would become larger than any real one. */
  checkHeaderLimit(length: number): void {
    if (this.position + length <= MAX_HEADER_BYTES) return;
    throw this.error(
      'gguf-header-too-large',
      `metadata and tensor table go beyond ${grouped(MAX_HEADER_BYTES)} bytes, at ${this.subject}`,
      'No real model needs that much; the file is damaged or hostile.',
    );
  }

  private fill(length: number): void {
    const wanted = Math.min(Math.max(length, WINDOW_BYTES), this.size - this.position);
    // A value larger than the window gets a buffer of its own, dropped at the next refill.
    const buffer = wanted <= this.base.length ? this.base : Buffer.alloc(wanted);
    this.readInto(buffer, wanted, this.position);
    this.window = buffer.subarray(0, wanted);
    this.windowStart = this.position;
  }

  private readInto(target: Uint8Array, length: number, at: number): void {
    let done = 0;
    while (done < length) {
      let got: number;
      try {
        got = readSync(this.fd, target, done, length - done, at + done);
      } catch (cause) {
        throw new MoeError(
          'input',
          'gguf-unreadable',
          `${this.path}: reading ${grouped(length)} bytes at byte ${grouped(at)} failed: ${messageOf(cause)}`,
          { file: this.path, byte: at, details: { systemCode: systemCodeOf(cause) ?? null } },
          { cause },
        );
      }
      if (got === 0) {
        throw this.error('gguf-truncated', `the file became shorter while it was read (byte ${grouped(at + done)})`);
      }
      done += got;
    }
  }

  /** Fills `target` with the next bytes of the file, past the window. */
  copyTo(target: Uint8Array, what: string): void {
    if (target.byteLength > this.size - this.position) throw this.truncated(what, target.byteLength);
    const begin = this.position - this.windowStart;
    const inWindow = begin >= 0 ? Math.min(target.byteLength, Math.max(0, this.window.length - begin)) : 0;
    if (inWindow > 0) target.set(this.window.subarray(begin, begin + inWindow));
    if (inWindow < target.byteLength) {
      const rest = target.subarray(inWindow);
      this.readInto(rest, rest.byteLength, this.position + inWindow);
    }
    this.position += target.byteLength;
  }

  u8(what: string): number {
    const at = this.take(1, what);
    return this.window.readUInt8(at);
  }
  i8(what: string): number {
    const at = this.take(1, what);
    return this.window.readInt8(at);
  }
  u16(what: string): number {
    const at = this.take(2, what);
    return this.window.readUInt16LE(at);
  }
  i16(what: string): number {
    const at = this.take(2, what);
    return this.window.readInt16LE(at);
  }
  u32(what: string): number {
    const at = this.take(4, what);
    return this.window.readUInt32LE(at);
  }
  i32(what: string): number {
    const at = this.take(4, what);
    return this.window.readInt32LE(at);
  }
  f32(what: string): number {
    const at = this.take(4, what);
    return this.window.readFloatLE(at);
  }
  f64(what: string): number {
    const at = this.take(8, what);
    return this.window.readDoubleLE(at);
  }
  u64(what: string): bigint {
    const at = this.take(8, what);
    return this.window.readBigUInt64LE(at);
  }
  i64(what: string): bigint {
    const at = this.take(8, what);
    return this.window.readBigInt64LE(at);
  }

  /** A 64-bit count or length. Values beyond 2^53 come back as they round: every caller compares with a smaller limit. */
  count(what: string): number {
    const at = this.take(8, what);
    return this.window.readUInt32LE(at) + this.window.readUInt32LE(at + 4) * 2 ** 32;
  }

  /** A length-prefixed UTF-8 string. `valid` is false where bytes were not UTF-8 and U+FFFD stands for them. */
  string(what: string): { text: string; valid: boolean } {
    const length = this.count(`the length of ${what}`);
    if (length > MAX_STRING_BYTES) {
      const tooLong = `${what} in ${this.subject} claims ${grouped(length)} bytes, more than ${grouped(MAX_STRING_BYTES)}`;
      // A cut or overwritten file usually shows up here: say which of the two it is.
      if (length > this.size - this.position) throw this.truncated(what, length);
      throw this.error('gguf-string-too-long', tooLong, 'The file is damaged or hostile.');
    }
    const at = this.take(length, what);
    const text = this.window.toString('utf8', at, at + length);
    const valid = !text.includes('\ufffd') || isUtf8(this.window.subarray(at, at + length));
    return { text, valid };
  }

  /** The next `length` bytes (fewer at the end of the file) without moving. */
  peek(length: number): Buffer {
    const target = Buffer.alloc(Math.min(length, this.size - this.position));
    this.readInto(target, target.length, this.position);
    return target;
  }
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
