/**
 * Writing headers and indexes as text, byte for byte as the Rust/Python implementation and transformers write them.
 */
import { dtypeRank, tensorBytes } from './dtype.ts';
import type { Dtype } from './dtype.ts';
import { SafetensorsError, byteCount, grouped, quoted } from './errors.ts';
import { MAX_HEADER_BYTES } from './header.ts';
import { fileNameProblem } from './read-index.ts';

export interface TensorSpec {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface EncodeOptions {
  /** `__metadata__`; an empty one is written as `{}`, an absent one not at all. Order is kept. */
  readonly metadata?: Readonly<Record<string, string>> | ReadonlyMap<string, string>;
  /** The data section starts at a multiple of this (default 8, as the reference). */
  readonly align?: number;
  /** The data section starts exactly here; takes precedence over `align`. Throws `header-does-not-fit` when too small. */
  readonly padTo?: number;
}

export interface TensorRange {
  /** Relative to the data section. */
  readonly begin: number;
  readonly end: number;
}

export interface EncodedHeader {
  /** The 8 length bytes and the JSON, padded with spaces: everything before the data. */
  readonly bytes: Buffer;
  /** Where each tensor goes, by name, in the given order; relative to the data section. */
  readonly offsets: ReadonlyMap<string, TensorRange>;
  /** Bytes of the data section. */
  readonly dataBytes: number;
}

/** The first test is free for strings of one-byte characters, which is nearly all of them. */
function hasLoneSurrogate(text: string): boolean {
  return /[\ud800-\udfff]/.test(text) && /\p{Surrogate}/u.test(text);
}

/** Readers of other languages refuse names that are not Unicode; `__metadata__` has its own meaning. */
function checkName(name: string): void {
  if (name === '__metadata__') {
    throw new SafetensorsError('invalid-tensor-name', 'a tensor cannot be named __metadata__', { tensor: name });
  }
  if (hasLoneSurrogate(name)) {
    throw new SafetensorsError('invalid-tensor-name', `tensor name ${quoted(name)} has a lone surrogate`, {
      tensor: name,
    });
  }
}

/**
 * The header for tensors in the given order, one after the other without holes.
 * For the bytes that `safetensors.serialize` would write, give `referenceOrder(specs)`.
 * Throws `duplicate-key`, `invalid-tensor-name`, `invalid-shape`, `unknown-dtype`, `misaligned-slice`,
 * `validation-overflow`, `invalid-metadata`, `header-too-large` (over 100,000,000 bytes), `header-does-not-fit`.
 */
export function encodeHeader(specs: readonly TensorSpec[], options: EncodeOptions = {}): EncodedHeader {
  const offsets = new Map<string, TensorRange>();
  const text = new TextChunks();
  if (options.metadata !== undefined) text.add(`"__metadata__":${metadataText(options.metadata)}`);
  let offset = 0;
  for (const { name, dtype, shape } of specs) {
    checkName(name);
    const end = offset + tensorBytes(dtype, shape, name);
    if (end > Number.MAX_SAFE_INTEGER) {
      throw new SafetensorsError('offset-too-large', `tensor ${quoted(name)} would end beyond 2^53-1 bytes`, {
        tensor: name,
      });
    }
    const before = offsets.size;
    offsets.set(name, { begin: offset, end });
    if (offsets.size === before) {
      throw new SafetensorsError('duplicate-key', `tensor ${quoted(name)} is given twice`, { tensor: name });
    }
    text.add(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],` +
        `"data_offsets":[${String(offset)},${String(end)}]}`,
    );
    offset = end;
  }
  const json = text.finish();
  return { bytes: frame(json, text.length, options), offsets, dataBytes: offset };
}

/** Collects the members of an object, as bytes from time to time: half a million short strings are heavy. */
class TextChunks {
  length = 0;
  private readonly chunks: Buffer[] = [];
  private parts: string[] = [];
  private lead = '{';

  add(member: string): void {
    this.parts.push(member);
    if (this.parts.length === 4096) this.flush();
  }

  private flush(): void {
    if (this.parts.length === 0) return;
    this.push(this.lead + this.parts.join(','));
    this.lead = ',';
    this.parts = [];
  }

  private push(text: string): void {
    const chunk = Buffer.from(text, 'utf8');
    this.chunks.push(chunk);
    this.length += chunk.length;
  }

  finish(): readonly Buffer[] {
    this.flush();
    this.push(this.lead === '{' ? '{}' : '}');
    return this.chunks;
  }
}

function metadataText(metadata: Readonly<Record<string, string>> | ReadonlyMap<string, string>): string {
  const entries: Iterable<readonly [string, unknown]> =
    metadata instanceof Map ? metadata.entries() : Object.entries(metadata);
  const parts: string[] = [];
  for (const [key, value] of entries) {
    if (typeof value !== 'string' || hasLoneSurrogate(key) || hasLoneSurrogate(value)) {
      throw new SafetensorsError(
        'invalid-metadata',
        `metadata ${quoted(key)}: keys and values must be Unicode strings`,
      );
    }
    parts.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`);
  }
  return `{${parts.join(',')}}`;
}

/** Length, JSON and padding. */
function frame(json: readonly Buffer[], jsonBytes: number, options: EncodeOptions): Buffer {
  const align = options.align ?? 8;
  if (!Number.isSafeInteger(align) || align < 1) {
    throw new SafetensorsError('invalid-argument', `align must be a whole number from 1, not ${String(align)}`);
  }
  const least = 8 + jsonBytes;
  const dataStart = options.padTo ?? Math.ceil(least / align) * align;
  if (!Number.isSafeInteger(dataStart) || dataStart < least) {
    throw new SafetensorsError(
      'header-does-not-fit',
      `the header takes ${byteCount(least)}, more than the ${grouped(dataStart)} it should be padded to`,
      { details: { headerBytes: least, padTo: dataStart } },
    );
  }
  if (dataStart - 8 > MAX_HEADER_BYTES) {
    throw new SafetensorsError(
      'header-too-large',
      `the header would have ${byteCount(dataStart - 8)}; the format's readers stop at ${grouped(MAX_HEADER_BYTES)}`,
      {
        hint: 'Split the tensors over several files.',
        details: { headerBytes: dataStart - 8, limit: MAX_HEADER_BYTES },
      },
    );
  }
  const bytes = Buffer.allocUnsafeSlow(dataStart);
  bytes.writeBigUInt64LE(BigInt(dataStart - 8), 0);
  let at = 8;
  for (const chunk of json) at += chunk.copy(bytes, at);
  bytes.fill(0x20, at);
  return bytes;
}

/**
 * The order in which the reference writes tensors: dtypes of higher alignment first (`DTYPES` reversed), then by name in
 * byte order. Returns a new array.
 */
export function referenceOrder<T extends TensorSpec>(specs: readonly T[]): T[] {
  return [...specs].sort((a, b) => dtypeRank(b.dtype) - dtypeRank(a.dtype) || compareUtf8(a.name, b.name));
}

/** Order of the UTF-8 bytes, which is that of code points; JavaScript's own order differs beyond U+FFFF. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) {
      const xHigh = x >= 0xd800 && x <= 0xdfff;
      const yHigh = y >= 0xd800 && y <= 0xdfff;
      // A surrogate stands for a code point beyond every other unit.
      if (xHigh !== yHigh) return xHigh ? 1 : -1;
      return x - y;
    }
  }
  return a.length - b.length;
}

export interface IndexEntry {
  readonly name: string;
  readonly file: string;
  /** Bytes of the tensor, summed into `total_size`. */
  readonly bytes: number;
}

/**
 * The text of `model.safetensors.index.json` as transformers writes it: keys sorted, two blanks of indent, newline at the
 * end. `total_size` is the sum of the entries' bytes; further `metadata` is merged in. Non-ASCII is escaped as Python does.
 */
export function buildIndex(
  entries: Iterable<IndexEntry>,
  metadata: Readonly<Record<string, string | number | boolean | null>> = {},
): string {
  const weightMap = new Map<string, string>();
  let total = 0;
  for (const { name, file, bytes } of entries) {
    checkName(name);
    if (weightMap.has(name)) {
      throw new SafetensorsError('duplicate-key', `tensor ${quoted(name)} is given twice`, { tensor: name });
    }
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new SafetensorsError('invalid-argument', `tensor ${quoted(name)}: bytes must be a whole number`, {
        tensor: name,
      });
    }
    const problem = fileNameProblem(file);
    if (problem !== undefined) {
      throw new SafetensorsError('invalid-index-file-name', `the file name ${quoted(file)} ${problem}`, {
        tensor: name,
      });
    }
    weightMap.set(name, file);
    total += bytes;
  }
  const meta = new Map<string, string | number | boolean | null>(Object.entries(metadata));
  meta.set('total_size', total);
  const metaLines = [...meta].sort(byKey).map(([key, value]) => `    ${pythonString(key)}: ${jsonOf(value)}`);
  const mapLines = [...weightMap].sort(byKey).map(([name, file]) => `    ${pythonString(name)}: ${pythonString(file)}`);
  const weightText = mapLines.length === 0 ? '{}' : `{\n${mapLines.join(',\n')}\n  }`;
  return `{\n  "metadata": {\n${metaLines.join(',\n')}\n  },\n  "weight_map": ${weightText}\n}\n`;
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return compareUtf8(a[0], b[0]);
}

function jsonOf(value: string | number | boolean | null): string {
  return typeof value === 'string' ? pythonString(value) : JSON.stringify(value);
}

/** A JSON string as Python's `json.dumps` writes it: everything beyond ASCII as `\uXXXX`. */
function pythonString(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
