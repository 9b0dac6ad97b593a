/**
 * The header's JSON: parsed in one pass over the bytes, and judged as the Rust reference (safetensors 0.8) judges it.
 * The one deliberate difference: a name that appears twice is refused, where the reference silently keeps the last.
 */
import { isUtf8 } from 'node:buffer';
import { dtypeOf, shapeText, sizeOf, sizeProblemText } from './dtype.ts';
import type { Dtype } from './dtype.ts';
import { SafetensorsError, byteCount, grouped, quoted } from './errors.ts';
import type { SafetensorsErrorCode, SafetensorsErrorPlace } from './errors.ts';
import { JsonScanner } from './json-scanner.ts';
import { ShapePool } from './shape-pool.ts';
import { invalidUtf8At } from './utf8.ts';

/** Longest header that the format's readers accept, in bytes of JSON. */
export const MAX_HEADER_BYTES = 100_000_000;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  /** Frozen; equal shapes share one array. */
  readonly shape: readonly number[];
  /** First byte, relative to the data section (`SafetensorsHeader.dataStart`). */
  readonly begin: number;
  /** One past the last byte, relative to the data section. */
  readonly end: number;
  /** Present only where a dimension exceeds 2^53-1, which a valid file can have only beside a 0: the exact shape. */
  readonly exactShape?: readonly bigint[];
}

export interface SafetensorsHeader {
  /** N: bytes of JSON, padding included. */
  readonly headerBytes: number;
  /** Where the data section starts: 8 + N. */
  readonly dataStart: number;
  readonly metadata: ReadonlyMap<string, string>;
  /** By name, in offset order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Bytes of the data section, as the tensors cover it. */
  readonly dataBytes: number;
}

export interface ParseHeaderOptions {
  /** Named in errors. */
  readonly file?: string;
}

const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** A Map holds 2^24 entries. Only a header beyond the format's limit can have so many. */
const MAX_TENSORS = 16_000_000;

const DTYPE_KEY: Uint8Array = Buffer.from('"dtype"');
const SHAPE_KEY: Uint8Array = Buffer.from('"shape"');
const OFFSETS_KEY: Uint8Array = Buffer.from('"data_offsets"');

/** The JSON starts after the 8 bytes of its length: positions in it become positions in the file by adding this. */
const JSON_START = 8;

const BROKEN_HEADER_HINT = 'The header is damaged or was written by a faulty program: fetch or write the file again.';

/**
 * Parses a header's JSON (without the 8 length bytes). Throws `SafetensorsError` with one of `invalid-header-utf8`,
 * `invalid-header-json`, `duplicate-key`, `unknown-dtype`, `invalid-offset`, `tensor-invalid-info`, `misaligned-slice`,
 * `validation-overflow`, `offset-too-large`; `byte` is the position in the file. Whether the file is long enough for the
 * data is not its business (see `readHeader`).
 */
export function parseHeader(bytes: Uint8Array, options: ParseHeaderOptions = {}): SafetensorsHeader {
  return new HeaderParser(bytes, options.file).parse();
}

class HeaderParser {
  private readonly json: JsonScanner;
  private readonly bytes: Buffer;
  private readonly file: string | undefined;
  private readonly metadata = new Map<string, string>();
  private sawMetadata = false;
  private tensors = new Map<string, TensorInfo>();
  /** Begins and ends never decrease so far: the map is in offset order already. */
  private ordered = true;
  private lastBegin = 0;
  private lastEnd = 0;
  private readonly shapes = new ShapePool();
  /** The last dtype read, and its text with quotes. */
  private recentDtype: Dtype = 'F32';
  private recentDtypeText: Uint8Array = Buffer.from('"F32"');
  // Fields of the tensor being read.
  private tensor: string | undefined = undefined;
  private dtype: Dtype | undefined = undefined;
  private shape: readonly number[] | undefined = undefined;
  private exactShape: readonly bigint[] | undefined = undefined;
  private begin = -1;
  private end = -1;
  private sawOffsets = false;

  constructor(bytes: Uint8Array, file: string | undefined) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.file = file;
    this.json = new JsonScanner(this.bytes, (position, what) => this.badJson(position, what));
  }

  private fail(code: SafetensorsErrorCode, position: number, message: string, more: SafetensorsErrorPlace = {}): never {
    const where = this.tensor === undefined ? '' : `tensor ${quoted(this.tensor)}: `;
    throw new SafetensorsError(code, `${where}${message} (byte ${grouped(position + JSON_START)})`, {
      ...(this.file === undefined ? {} : { file: this.file }),
      ...(this.tensor === undefined ? {} : { tensor: this.tensor }),
      byte: position + JSON_START,
      hint: BROKEN_HEADER_HINT,
      ...more,
    });
  }

  private badJson(position: number, what: string): never {
    return this.fail('invalid-header-json', position, `the header is not the JSON of this format: ${what}`);
  }

  parse(): SafetensorsHeader {
    const { json, bytes } = this;
    if (!isUtf8(bytes)) {
      this.fail('invalid-header-utf8', invalidUtf8At(bytes), 'the header is not UTF-8');
    }
    json.expect(OPEN_BRACE, "'{'");
    if (json.peek() === CLOSE_BRACE) {
      json.pos++;
    } else {
      do this.entry();
      while (json.more(CLOSE_BRACE, "'}'"));
    }
    if (json.peek() !== -1) json.unexpected('nothing but spaces after the closing brace');
    const dataBytes = this.layOut();
    return {
      headerBytes: bytes.length,
      dataStart: bytes.length + JSON_START,
      metadata: this.metadata,
      tensors: this.tensors,
      dataBytes,
    };
  }

  private entry(): void {
    const { json } = this;
    json.peek();
    const keyAt = json.pos;
    const name = json.string('a tensor name');
    json.expect(COLON, "':'");
    if (name === '__metadata__') {
      this.readMetadata(keyAt);
      return;
    }
    this.tensor = name;
    if (this.tensors.size >= MAX_TENSORS) {
      this.fail('header-too-large', keyAt, `more than ${grouped(MAX_TENSORS)} tensors`, {
        hint: 'Split the tensors over several files with an index.',
      });
    }
    const before = this.tensors.size;
    this.readTensor();
    this.addTensor(name);
    if (this.tensors.size === before) {
      this.fail('duplicate-key', keyAt, 'the name appears twice in the header: which one holds is ambiguous');
    }
    this.tensor = undefined;
  }

  private readMetadata(keyAt: number): void {
    const { json, metadata } = this;
    if (this.sawMetadata) this.fail('duplicate-key', keyAt, '__metadata__ appears twice in the header');
    this.sawMetadata = true;
    if (json.takeNull()) return;
    json.expect(OPEN_BRACE, "the object of __metadata__ ('{')");
    if (json.peek() === CLOSE_BRACE) {
      json.pos++;
      return;
    }
    do {
      json.peek();
      const at = json.pos;
      const key = json.string('a metadata key');
      if (metadata.has(key)) this.fail('duplicate-key', at, `the key ${quoted(key)} appears twice in __metadata__`);
      json.expect(COLON, "':'");
      metadata.set(key, json.string('a string (metadata values must be strings)'));
    } while (json.more(CLOSE_BRACE, "'}'"));
  }

  /** A tensor's object, or the list form `[dtype, shape, offsets]`, which the reference accepts too. */
  private readTensor(): void {
    const { json } = this;
    this.dtype = undefined;
    this.shape = undefined;
    this.exactShape = undefined;
    this.sawOffsets = false;
    const first = json.peek();
    const openAt = json.pos;
    if (first === OPEN_BRACKET) {
      json.pos++;
      this.readDtype();
      json.expect(0x2c, "','");
      this.readShape();
      json.expect(0x2c, "','");
      this.readOffsets();
      json.expect(CLOSE_BRACKET, "']'");
      return;
    }
    if (first !== OPEN_BRACE) json.unexpected("the object of a tensor ('{')");
    json.pos++;
    if (json.peek() === CLOSE_BRACE) {
      json.pos++;
    } else {
      do {
        json.peek();
        const keyAt = json.pos;
        const key = this.readKey();
        json.expect(COLON, "':'");
        if (key === 'dtype') {
          if (this.dtype !== undefined) this.fail('duplicate-key', keyAt, 'dtype is given twice');
          this.readDtype();
        } else if (key === 'shape') {
          if (this.shape !== undefined) this.fail('duplicate-key', keyAt, 'shape is given twice');
          this.readShape();
        } else if (key === 'data_offsets') {
          if (this.sawOffsets) this.fail('duplicate-key', keyAt, 'data_offsets is given twice');
          this.readOffsets();
        } else {
          json.skip(2);
        }
      } while (json.more(CLOSE_BRACE, "'}'"));
    }
    if (this.dtype === undefined) this.badJson(openAt, 'dtype is missing');
    if (this.shape === undefined) this.badJson(openAt, 'shape is missing');
    if (!this.sawOffsets) this.badJson(openAt, 'data_offsets is missing');
  }

  /** A key of a tensor's object; the three usual ones cost no string. */
  private readKey(): string {
    const { json } = this;
    if (json.takeExact(DTYPE_KEY)) return 'dtype';
    if (json.takeExact(SHAPE_KEY)) return 'shape';
    if (json.takeExact(OFFSETS_KEY)) return 'data_offsets';
    return json.string('a key');
  }

  private readDtype(): void {
    const { json } = this;
    // Most tensors of a file share one dtype.
    if (json.takeExact(this.recentDtypeText)) {
      this.dtype = this.recentDtype;
      return;
    }
    // serde also takes the form {"F32": null} of an enum.
    const wrapped = json.peek() === OPEN_BRACE;
    if (wrapped) json.pos++;
    json.peek();
    const at = json.pos;
    const name = json.string('a dtype');
    this.dtype = dtypeOf(name);
    if (this.dtype === undefined) {
      this.fail('unknown-dtype', at, `unknown dtype ${quoted(name)}`, {
        hint: 'The file needs a newer reader, or was not written as safetensors.',
        details: { dtype: name.slice(0, 200) },
      });
    }
    if (wrapped) {
      json.expect(COLON, "':'");
      if (!json.takeNull()) json.unexpected("'null'");
      json.expect(CLOSE_BRACE, "'}'");
    } else {
      this.recentDtype = this.dtype;
      this.recentDtypeText = Buffer.from(`"${name}"`);
    }
  }

  private readShape(): void {
    const { json, shapes } = this;
    json.expect(OPEN_BRACKET, "the list of a shape ('[')");
    shapes.start();
    let big: bigint[] | undefined;
    if (json.peek() === CLOSE_BRACKET) {
      json.pos++;
    } else {
      do {
        this.readSize('a dimension');
        if (json.big !== undefined && big === undefined) big = shapes.dims().map(BigInt);
        if (big !== undefined) big.push(json.big ?? BigInt(json.num));
        shapes.push(json.num);
      } while (json.more(CLOSE_BRACKET, "']'"));
    }
    if (big !== undefined) this.exactShape = Object.freeze(big);
    this.shape = shapes.take();
  }

  /** A number that fits an unsigned 64-bit integer, written as one. */
  private readSize(what: string): void {
    const { json } = this;
    json.peek();
    const at = json.pos;
    json.number(what);
    if (json.numClass !== 'u64') {
      this.badJson(at, `${what} must be a whole number from 0 to 2^64-1, without fraction, exponent or sign`);
    }
  }

  private readOffsets(): void {
    const { json } = this;
    json.expect(OPEN_BRACKET, "the list of data_offsets ('[')");
    this.readSize('a data offset');
    this.begin = json.num;
    json.expect(0x2c, "',' (data_offsets has two numbers)");
    this.readSize('a data offset');
    this.end = json.num;
    json.expect(CLOSE_BRACKET, "']' (data_offsets has two numbers)");
    this.sawOffsets = true;
  }

  private addTensor(name: string): void {
    const { dtype, shape, begin, end } = this;
    if (dtype === undefined || shape === undefined) return;
    if (begin < this.lastBegin || (begin === this.lastBegin && end < this.lastEnd)) this.ordered = false;
    this.lastBegin = begin;
    this.lastEnd = end;
    this.tensors.set(
      name,
      this.exactShape === undefined
        ? { name, dtype, shape, begin, end }
        : { name, dtype, shape, begin, end, exactShape: this.exactShape },
    );
  }

  /** Checks that the tensors cover the data without hole or overlap, each with the size of its shape. Returns the end. */
  private layOut(): number {
    if (!this.ordered) {
      // Stable: empty tensors at one offset keep the order of the header.
      const sorted = [...this.tensors.values()].sort((a, b) => a.begin - b.begin || a.end - b.end);
      this.tensors = new Map(sorted.map((info) => [info.name, info]));
    }
    let expected = 0;
    let previous = '';
    for (const info of this.tensors.values()) {
      // Beyond 2^53 the numbers are not exact any more, and no file is so large.
      if (info.end > Number.MAX_SAFE_INTEGER || info.begin > Number.MAX_SAFE_INTEGER) {
        this.failAt('offset-too-large', info, 'its data_offsets are beyond 2^53-1: no file is that large', {});
      }
      if (info.begin !== expected || info.end < info.begin) this.badOffsets(info, expected, previous);
      const size = sizeOf(info.dtype, info.exactShape ?? info.shape);
      if (typeof size === 'string') {
        this.failAt(size, info, sizeProblemText(size, info.dtype, info.exactShape ?? info.shape), {});
      }
      if (info.end - info.begin !== size) {
        const has = info.end - info.begin;
        this.failAt(
          'tensor-invalid-info',
          info,
          `${info.dtype} ${shapeText(info.shape)} takes ${byteCount(size)}, but its data_offsets ` +
            `[${String(info.begin)}, ${String(info.end)}] hold ${grouped(has)}`,
          { expectedBytes: size, bytes: has },
        );
      }
      expected = info.end;
      previous = info.name;
    }
    return expected;
  }

  private badOffsets(info: TensorInfo, expected: number, previous: string): never {
    const { begin, end } = info;
    const range = `data_offsets [${String(begin)}, ${String(end)}]`;
    const details = { begin, end, expectedBegin: expected };
    if (begin > expected) {
      const gap = begin - expected;
      return this.failAt('invalid-offset', info, `${range} leave a hole of ${byteCount(gap)} before it`, details);
    }
    if (begin < expected) {
      const overlap = `${range} overlap tensor ${quoted(previous)}, which ends at ${grouped(expected)}`;
      return this.failAt('invalid-offset', info, overlap, details);
    }
    return this.failAt('invalid-offset', info, `${range} end before they begin`, details);
  }

  /** Positions of entries are not kept (memory); an error looks its own up again. */
  private failAt(
    code: SafetensorsErrorCode,
    info: TensorInfo,
    message: string,
    details: Readonly<Record<string, unknown>>,
  ): never {
    this.tensor = info.name;
    return this.fail(code, this.positionOf(info.name), message, { details });
  }

  private positionOf(name: string): number {
    const scanner = new JsonScanner(this.bytes, (position, what) => this.badJson(position, what));
    scanner.expect(OPEN_BRACE, "'{'");
    do {
      scanner.peek();
      const at = scanner.pos;
      const key = scanner.string();
      if (key === name) return at;
      scanner.expect(COLON, "':'");
      scanner.skip(1);
    } while (scanner.more(CLOSE_BRACE, "'}'"));
    return 0;
  }
}
