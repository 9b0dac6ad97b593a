/**
 * `model.safetensors.index.json`: which file holds which tensor. Read as a stream, one entry at a time: half a million
 * entries (60 MB) never stand in memory as text.
 */
import { open, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { SafetensorsError, byteCount, grouped, quoted } from './errors.ts';
import { JsonScanner, NEED_MORE } from './json-scanner.ts';
import type { JsonValue } from './json-scanner.ts';
import { guarded, refuseNonFile } from './read-header.ts';

export interface DuplicateEntry {
  readonly name: string;
  readonly first: string;
  readonly second: string;
}

export interface SafetensorsIndex {
  /** The `metadata` object as it stands; objects in it are Maps. */
  readonly metadata: ReadonlyMap<string, JsonValue>;
  /** `metadata.total_size`, if it is a whole number. */
  readonly totalSize?: number;
  /** Tensor name → file name, in the order of the file. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** Distinct file names, sorted. */
  readonly files: readonly string[];
  /** Tensors listed more than once (the last entry holds, as in Python); at most 1,000 are kept. */
  readonly duplicates: readonly DuplicateEntry[];
  readonly duplicateCount: number;
  /** Keys beside `metadata` and `weight_map`, which are ignored. */
  readonly unknownKeys: readonly string[];
}

export interface ReadIndexOptions {
  /** Named in errors. */
  readonly file?: string;
  /** Refuse longer files (default 512 MiB). */
  readonly maxBytes?: number;
}

const MAX_INDEX_BYTES = 2 ** 29;
/** Eight times the largest models; bounds the memory that a hostile index can take. */
const MAX_ENTRIES = 4_000_000;
/** One entry, or the metadata object, may not be longer: it is scanned as a whole. */
const MAX_VALUE_BYTES = 16 * 2 ** 20;
const MAX_REPORTED = 1000;
const CHUNK_BYTES = 1 << 20;

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COLON = 0x3a;

/** Reads an index file. Throws `SafetensorsError` (`invalid-index-json`, `invalid-index-file-name`, …). */
export async function readIndex(path: string, options: ReadIndexOptions = {}): Promise<SafetensorsIndex> {
  return guarded(path, async () => {
    refuseNonFile(path, await stat(path));
    const handle = await open(path, 'r');
    try {
      const parser = new IndexParser({ file: path, ...options });
      // Two buffers would do for a pipeline; one is enough, since the parser copies what it keeps.
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
      for (;;) {
        const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES);
        if (bytesRead === 0) return parser.finish();
        parser.push(buffer.subarray(0, bytesRead));
      }
    } finally {
      await handle.close();
    }
  });
}

/** Parses an index from chunks of bytes, split anywhere. */
export async function parseIndexStream(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: ReadIndexOptions = {},
): Promise<SafetensorsIndex> {
  const parser = new IndexParser(options);
  for await (const chunk of chunks) parser.push(chunk);
  return parser.finish();
}

/**
 * Why a file name in an index may not be used, or undefined: a hostile index must not lead out of its folder.
 * Refused: separators, drive letters, `.` and `..`, control characters, the empty name.
 */
export function fileNameProblem(name: string): string | undefined {
  if (name === '') return 'is empty';
  if (name === '.' || name === '..') return 'is not a file name';
  if (/[/\\]/.test(name)) return 'leads out of the folder';
  if (/^[A-Za-z]:/.test(name)) return 'begins with a drive letter';
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) < 0x20) return 'has a control character';
  return undefined;
}

type State = 'start' | 'first-key' | 'key' | 'after-value' | 'first-entry' | 'entry' | 'after-entry' | 'done';

class IndexParser {
  private readonly file: string | undefined;
  private readonly maxBytes: number;
  private window: Buffer = Buffer.alloc(0);
  /** Chunks that wait behind a value longer than they are: it is scanned again only when its text has doubled. */
  private queued: Buffer[] = [];
  private queuedBytes = 0;
  /** Bytes of the file before the window. */
  private base = 0;
  private readonly scanner: JsonScanner;
  private state: State = 'start';
  private metadata: ReadonlyMap<string, JsonValue> | undefined;
  private readonly weightMap = new Map<string, string>();
  private sawWeightMap = false;
  /** One string object per file name. */
  private readonly files = new Map<string, string>();
  /** The last file name read, and its text as usually written: neighbours mostly share it. */
  private recentFile = '';
  private recentFileText: Uint8Array = Uint8Array.of(0xff);
  private readonly duplicates: DuplicateEntry[] = [];
  private duplicateCount = 0;
  private readonly unknownKeys: string[] = [];

  constructor(options: ReadIndexOptions) {
    this.file = options.file;
    this.maxBytes = options.maxBytes ?? MAX_INDEX_BYTES;
    this.scanner = new JsonScanner(this.window, (position, what) => this.badJson(position, what), false);
  }

  private label(): string {
    return this.file === undefined ? 'the index' : basename(this.file);
  }

  private place(position: number): { readonly file?: string; readonly byte: number } {
    return { ...(this.file === undefined ? {} : { file: this.file }), byte: this.base + position };
  }

  private badJson(position: number, what: string): never {
    const byte = this.base + position;
    throw new SafetensorsError(
      what === 'not UTF-8' ? 'invalid-index-utf8' : 'invalid-index-json',
      `${this.label()} is not an index of safetensors files: ${what} (byte ${grouped(byte)})`,
      { ...this.place(position), hint: 'Fetch the index again, or rebuild it from the files.' },
    );
  }

  /** Takes the next bytes of the file; `chunk` may be reused afterwards. */
  push(chunk: Uint8Array): void {
    const rest = this.window.subarray(this.scanner.pos);
    const waiting = rest.length + this.queuedBytes;
    const from = this.base + this.scanner.pos;
    if (from + waiting + chunk.byteLength > this.maxBytes) {
      throw new SafetensorsError('index-too-large', `${this.label()} is longer than ${byteCount(this.maxBytes)}`, {
        ...this.place(this.scanner.pos),
        details: { limit: this.maxBytes },
      });
    }
    if (waiting > MAX_VALUE_BYTES) {
      this.badJson(this.scanner.pos, `one entry is longer than ${byteCount(MAX_VALUE_BYTES)}`);
    }
    if (this.queuedBytes + chunk.byteLength < rest.length) {
      this.queued.push(Buffer.from(chunk));
      this.queuedBytes += chunk.byteLength;
      return;
    }
    this.base = from;
    this.refill([rest, ...this.queued, chunk], false);
  }

  private refill(parts: readonly Uint8Array[], final: boolean): void {
    this.window = Buffer.concat(parts);
    this.queued = [];
    this.queuedBytes = 0;
    this.scanner.refill(this.window, final);
    this.run();
  }

  finish(): SafetensorsIndex {
    this.base += this.scanner.pos;
    this.refill([this.window.subarray(this.scanner.pos), ...this.queued], true);
    if (this.state !== 'done') this.scanner.unexpected('the rest of the index');
    if (!this.sawWeightMap) this.badJson(this.scanner.pos, 'weight_map is missing');
    const metadata = this.metadata ?? new Map<string, JsonValue>();
    const total = metadata.get('total_size');
    return {
      metadata,
      ...(typeof total === 'number' && Number.isSafeInteger(total) ? { totalSize: total } : {}),
      weightMap: this.weightMap,
      files: [...this.files.keys()].sort(),
      duplicates: this.duplicates,
      duplicateCount: this.duplicateCount,
      unknownKeys: this.unknownKeys,
    };
  }

  /** Takes whole steps as long as the window lasts; a step that meets its end is taken again with more bytes. */
  private run(): void {
    const { scanner } = this;
    let mark = scanner.pos;
    try {
      for (;;) {
        mark = scanner.pos;
        if (!this.step()) return;
      }
    } catch (error) {
      if (error !== NEED_MORE) throw error;
      scanner.pos = mark;
    }
  }

  /** One step; false when nothing is left. A step changes nothing before its last byte is read. */
  private step(): boolean {
    const { scanner } = this;
    switch (this.state) {
      case 'start':
        if (this.base === 0 && scanner.peek() === 0xef) {
          this.badJson(scanner.pos, 'it starts with a byte order mark, which Python refuses');
        }
        scanner.expect(OPEN_BRACE, "'{'");
        this.state = 'first-key';
        return true;
      case 'first-key':
        if (scanner.peek() === CLOSE_BRACE) {
          scanner.pos++;
          this.state = 'done';
        } else this.state = 'key';
        return true;
      case 'key':
        this.readKey();
        return true;
      case 'after-value':
        this.state = scanner.more(CLOSE_BRACE, "'}'") ? 'key' : 'done';
        return true;
      case 'first-entry':
        if (scanner.peek() === CLOSE_BRACE) {
          scanner.pos++;
          this.state = 'after-value';
        } else this.state = 'entry';
        return true;
      case 'entry':
        this.readEntry();
        return true;
      case 'after-entry':
        this.state = scanner.more(CLOSE_BRACE, "'}'") ? 'entry' : 'after-value';
        return true;
      case 'done':
        if (scanner.peek() !== -1) scanner.unexpected('nothing after the closing brace');
        return false;
    }
  }

  private readKey(): void {
    const { scanner } = this;
    const key = scanner.string('a key');
    scanner.expect(COLON, "':'");
    if (key === 'weight_map') {
      if (this.sawWeightMap) this.badJson(scanner.pos, 'weight_map is given twice');
      scanner.expect(OPEN_BRACE, "the object of weight_map ('{')");
      this.sawWeightMap = true;
      this.state = 'first-entry';
      return;
    }
    if (key === 'metadata') {
      if (this.metadata !== undefined) this.badJson(scanner.pos, 'metadata is given twice');
      const value = scanner.value(1);
      if (value === null) this.metadata = new Map();
      else if (value instanceof Map) this.metadata = value;
      else this.badJson(scanner.pos, 'metadata is not an object');
    } else {
      scanner.skip(1);
      if (this.unknownKeys.length < MAX_REPORTED) this.unknownKeys.push(key);
    }
    this.state = 'after-value';
  }

  private readEntry(): void {
    const { scanner, weightMap } = this;
    const name = scanner.string('a tensor name');
    scanner.expect(COLON, "':'");
    scanner.peek();
    const at = scanner.pos;
    const file = scanner.takeExact(this.recentFileText) ? this.recentFile : this.fileName(name, at);
    const known = weightMap.get(name);
    if (known !== undefined) {
      this.duplicateCount++;
      if (this.duplicates.length < MAX_REPORTED) this.duplicates.push({ name, first: known, second: file });
    } else if (weightMap.size >= MAX_ENTRIES) {
      throw new SafetensorsError('index-too-large', `${this.label()} lists more than ${grouped(MAX_ENTRIES)} tensors`, {
        ...this.place(at),
      });
    }
    weightMap.set(name, file);
    this.state = 'after-entry';
  }

  /** A file name that is not the one before: checked when first met, then one string object for all its tensors. */
  private fileName(tensor: string, at: number): string {
    const { scanner, files } = this;
    const raw = scanner.string('a file name');
    const known = files.get(raw);
    if (known === undefined) {
      const problem = fileNameProblem(raw);
      if (problem !== undefined) {
        throw new SafetensorsError(
          'invalid-index-file-name',
          `${this.label()}: the file name ${quoted(raw)} of tensor ${quoted(tensor)} ${problem}`,
          {
            ...this.place(at),
            tensor,
            hint: 'An index may only name files in its own folder. Do not trust this one.',
          },
        );
      }
      files.set(raw, raw);
    }
    this.recentFile = known ?? raw;
    this.recentFileText = Buffer.from(JSON.stringify(this.recentFile));
    return this.recentFile;
  }
}
