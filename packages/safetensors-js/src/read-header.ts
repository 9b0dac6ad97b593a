/**
 * Reading a file's header: 8 bytes, then exactly as many as they announce, never the data. The header's length is checked
 * against the limit and the file's size before anything is allocated for it.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { LFS_POINTER_MAX_BYTES, parseLfsPointer, recognise } from './diagnose.ts';
import type { Lookalike } from './diagnose.ts';
import { SafetensorsError, byteCount, grouped, quoted } from './errors.ts';
import { MAX_HEADER_BYTES, parseHeader } from './header.ts';
import type { SafetensorsHeader } from './header.ts';

export interface ReadHeaderOptions {
  /** Refuse longer headers (default: the format's 100,000,000; more reads what other readers refuse). */
  readonly maxHeaderBytes?: number;
  /** Name of the setting behind `maxHeaderBytes`, for the message. */
  readonly limitName?: string;
}

/**
 * Reads and checks a file's header, and that the file's size is what the header implies. Reads 8 + N bytes.
 * Throws `SafetensorsError`; for `file-truncated` and `trailing-bytes` the error carries `header`.
 */
export async function readHeader(path: string, options: ReadHeaderOptions = {}): Promise<SafetensorsHeader> {
  await guarded(path, async () => {
    refuseNonFile(path, await stat(path));
  });
  const handle = await guarded(path, () => open(path, 'r'));
  try {
    return await readHeaderFrom(handle, path, options);
  } finally {
    await handle.close();
  }
}

/** As `readHeader`, over an open file. `path` is for messages. */
export async function readHeaderFrom(
  handle: FileHandle,
  path: string,
  options: ReadHeaderOptions = {},
): Promise<SafetensorsHeader> {
  return guarded(path, async () => {
    const stats = await handle.stat();
    refuseNonFile(path, stats);
    const size = stats.size;
    const prefix = await readUpTo(handle, 0, Math.min(PREFIX_BYTES, size));
    const verdict = judgeLength(prefix, size, options);
    if (verdict.problem) {
      const head = await readUpTo(handle, 0, Math.min(LFS_POINTER_MAX_BYTES, size));
      throw lengthError(path, verdict, head, size, options);
    }
    const json = await readUpTo(handle, 8, verdict.headerBytes);
    return finish(path, json, verdict.headerBytes, size);
  });
}

/** As `readHeader`, synchronously. */
export function readHeaderSync(path: string, options: ReadHeaderOptions = {}): SafetensorsHeader {
  let fd: number | undefined;
  try {
    refuseNonFile(path, statSync(path));
    fd = openSync(path, 'r');
    const stats = fstatSync(fd);
    refuseNonFile(path, stats);
    const size = stats.size;
    const prefix = readUpToSync(fd, 0, Math.min(PREFIX_BYTES, size));
    const verdict = judgeLength(prefix, size, options);
    if (verdict.problem) {
      const head = readUpToSync(fd, 0, Math.min(LFS_POINTER_MAX_BYTES, size));
      throw lengthError(path, verdict, head, size, options);
    }
    return finish(path, readUpToSync(fd, 8, verdict.headerBytes), verdict.headerBytes, size);
  } catch (error) {
    throw fromSystem(error, path);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** As `readHeader`, for a file that lies in memory. `name` is for messages. */
export function headerOfBytes(
  bytes: Uint8Array,
  name = 'the data',
  options: ReadHeaderOptions = {},
): SafetensorsHeader {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const verdict = judgeLength(file.subarray(0, PREFIX_BYTES), file.length, options);
  if (verdict.problem) {
    throw lengthError(name, verdict, file.subarray(0, LFS_POINTER_MAX_BYTES), file.length, options);
  }
  return finish(name, file.subarray(8, 8 + verdict.headerBytes), verdict.headerBytes, file.length);
}

/** The length, and the first byte of what should be JSON. */
const PREFIX_BYTES = 9;

interface LengthVerdict {
  readonly headerBytes: number;
  /** The length as written: may exceed 2^53. */
  readonly written: bigint;
  readonly problem: boolean;
}

function limitOf(options: ReadHeaderOptions): number {
  const limit = options.maxHeaderBytes ?? MAX_HEADER_BYTES;
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw new SafetensorsError('invalid-argument', `maxHeaderBytes must be a whole number, not ${String(limit)}`);
  }
  return limit;
}

function judgeLength(prefix: Buffer, size: number, options: ReadHeaderOptions): LengthVerdict {
  if (prefix.length < 8) return { headerBytes: 0, written: 0n, problem: true };
  const written = prefix.readBigUInt64LE(0);
  const headerBytes = Number(written);
  // A zip's first bytes give a length of 67 MB: no need to read so much of a pickle to refuse it.
  const first = prefix[8] ?? 0x20;
  const blank = first === 0x20 || first === 0x09 || first === 0x0a || first === 0x0d;
  const binary = first < 0x20 && !blank && recognise(prefix.subarray(0, 8)) !== undefined;
  return { headerBytes, written, problem: binary || written > BigInt(limitOf(options)) || headerBytes + 8 > size };
}

/** The error for a length that cannot be: told apart by what the file really is. */
function lengthError(
  path: string,
  verdict: LengthVerdict,
  head: Buffer,
  size: number,
  options: ReadHeaderOptions,
): SafetensorsError {
  const name = basename(path);
  const file = path;
  if (size === 0) {
    return new SafetensorsError('empty-file', `${name} is empty (0 bytes)`, {
      file,
      byte: 0,
      hint: 'An interrupted download or save left it: fetch or write it again.',
    });
  }
  const pointer = size < LFS_POINTER_MAX_BYTES ? parseLfsPointer(head) : undefined;
  if (pointer !== undefined) {
    return new SafetensorsError(
      'lfs-pointer',
      `${name} is a Git LFS pointer (real size ${byteCount(pointer.size)}); run git lfs pull`,
      {
        file,
        byte: 0,
        hint: 'Run git lfs pull in the folder (git lfs install first, if Git LFS is new here).',
        details: { oid: pointer.oid, size: pointer.size },
      },
    );
  }
  if (head.length < 8) {
    return new SafetensorsError(
      'header-too-small',
      `${name} has ${byteCount(size)}: too short for the 8 bytes that start a safetensors file`,
      { file, byte: 0, hint: 'Fetch or write the file again.', details: { fileBytes: size } },
    );
  }
  const { written } = verdict;
  const limit = limitOf(options);
  const needed = written + 8n;
  const details = { headerBytes: written <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(written) : String(written) };
  // Before any guess: a length that fits the file, with an opening brace behind it.
  if (written > BigInt(limit) && needed <= BigInt(size) && head[8] === 0x7b) {
    return tooManyTensors(path, Number(written), limit, options);
  }
  const lookalike = recognise(head);
  if (lookalike !== undefined) return notSafetensors(path, lookalike);
  if (written > BigInt(limit)) {
    return new SafetensorsError(
      'header-too-large',
      `${name} is not a safetensors file: its first 8 bytes, read as the header's length, give ${grouped(written)}, ` +
        `but the file has ${byteCount(size)} and headers may have ${grouped(limit)}`,
      {
        file,
        byte: 0,
        hint: 'Check where the file comes from; fetch it again if it should be safetensors.',
        details: { ...details, limit, fileBytes: size },
      },
    );
  }
  const missing = Number(needed) - size;
  return new SafetensorsError(
    'invalid-header-length',
    `${name}: the header should have ${byteCount(written)}, but the file ends ${byteCount(missing)} before the header does`,
    {
      file,
      byte: size,
      hint: 'The file is cut off inside its header (or is not safetensors): fetch or write it again.',
      details: { ...details, missing, fileBytes: size },
    },
  );
}

function notSafetensors(path: string, { kind, what }: Lookalike): SafetensorsError {
  return new SafetensorsError('not-safetensors', `${basename(path)} is not a safetensors file; it looks like ${what}`, {
    file: path,
    byte: 0,
    hint: 'Check where the file comes from; fetch it again if it should be safetensors.',
    details: { looksLike: kind },
  });
}

/** A header that is long but begins soundly: not damage, and not to be called so. */
function tooManyTensors(path: string, written: number, limit: number, options: ReadHeaderOptions): SafetensorsError {
  const name = basename(path);
  const details = { headerBytes: written, limit, readersLimit: MAX_HEADER_BYTES };
  if (written > MAX_HEADER_BYTES) {
    return new SafetensorsError(
      'header-too-large',
      `${name}: the header is ${byteCount(written)}; the format's readers stop at ${grouped(MAX_HEADER_BYTES)}. ` +
        'By its beginning this is a valid file with too many tensors, split it',
      { file: path, byte: 0, hint: 'Split the tensors over several files with an index.', details },
    );
  }
  const setting = options.limitName ?? 'maxHeaderBytes';
  return new SafetensorsError(
    'header-too-large',
    `${name}: the header is ${byteCount(written)}; the limit set here is ${grouped(limit)} (${setting}). ` +
      `The format allows ${grouped(MAX_HEADER_BYTES)}`,
    { file: path, byte: 0, hint: `Raise ${setting}, or split the file.`, details: { ...details, setting } },
  );
}

function finish(path: string, json: Buffer, headerBytes: number, size: number): SafetensorsHeader {
  const name = basename(path);
  if (json.length < headerBytes) {
    throw new SafetensorsError('file-changed', `${name} became shorter while it was read`, {
      file: path,
      hint: 'Another program is writing it: try again when it is done.',
    });
  }
  let header: SafetensorsHeader;
  try {
    header = parseHeader(json, { file: path });
  } catch (error) {
    throw error instanceof SafetensorsError ? renamed(error, name) : error;
  }
  const sizeProblem = checkFileSize(header, size, path);
  if (sizeProblem !== undefined) throw sizeProblem;
  return header;
}

/** Puts the file's name before a header error's message. */
function renamed(error: SafetensorsError, name: string): SafetensorsError {
  return new SafetensorsError(error.code, `${name}: ${error.message}`, error);
}

/** The error for a file that is shorter or longer than its header says, or undefined. It carries `header`. */
export function checkFileSize(header: SafetensorsHeader, size: number, path: string): SafetensorsError | undefined {
  const name = basename(path);
  const expected = header.dataStart + header.dataBytes;
  if (size < expected) {
    const missing = expected - size;
    const have = size - header.dataStart;
    let firstIncomplete = '';
    let tensor: { readonly tensor?: string } = {};
    for (const info of header.tensors.values()) {
      if (info.end > have) {
        firstIncomplete = `; first incomplete tensor ${plainName(info.name)}`;
        tensor = { tensor: info.name };
        break;
      }
    }
    return new SafetensorsError(
      'file-truncated',
      `${name}: file is ${byteCount(missing)} shorter than its header says${firstIncomplete}`,
      {
        file: path,
        ...tensor,
        byte: size,
        hint: 'An interrupted download or save cut it off: fetch or write it again.',
        details: { missing, firstIncompleteTensor: tensor.tensor ?? null, fileBytes: size, expectedBytes: expected },
        header,
      },
    );
  }
  if (size > expected) {
    const extra = size - expected;
    return new SafetensorsError(
      'trailing-bytes',
      `${name}: ${byteCount(extra)} after the last tensor; the reference loader refuses this file`,
      {
        file: path,
        byte: expected,
        hint: `The tensors are whole: rewrite the file without the extra ${byteCount(extra)}.`,
        details: { extra, fileBytes: size, expectedBytes: expected },
        header,
      },
    );
  }
  return undefined;
}

/** Ordinary names bare, anything odd quoted. */
function plainName(name: string): string {
  return /^[\w.\-/]{1,200}$/.test(name) ? name : quoted(name);
}

async function readUpTo(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled === length ? buffer : buffer.subarray(0, filled);
}

function readUpToSync(fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const bytesRead = readSync(fd, buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled === length ? buffer : buffer.subarray(0, filled);
}

interface KindOfFile {
  isFile(): boolean;
  isDirectory(): boolean;
}

/** Refuses directories, pipes and devices: opening a pipe would wait for ever. */
export function refuseNonFile(path: string, stats: KindOfFile): void {
  if (stats.isFile()) return;
  const what = stats.isDirectory() ? 'a folder' : 'not a regular file';
  throw new SafetensorsError('not-a-file', `${basename(path) || path} is ${what}`, {
    file: path,
    hint: 'Name a .safetensors file.',
  });
}

/** Runs an action, turning system errors into `SafetensorsError`. */
export async function guarded<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw fromSystem(error, path);
  }
}

/** A `SafetensorsError` for anything thrown by the file system; others pass unchanged. */
export function fromSystem(error: unknown, path: string): unknown {
  if (error instanceof SafetensorsError) return error;
  if (typeof error !== 'object' || error === null || !('code' in error) || typeof error.code !== 'string') return error;
  const { code } = error;
  const message = error instanceof Error ? error.message : code;
  const place = { file: path, details: { systemCode: code } };
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new SafetensorsError('file-not-found', `${path} does not exist`, place, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new SafetensorsError('permission-denied', `${path} may not be accessed (${code})`, place, { cause: error });
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const what = code === 'ENOSPC' ? 'the disk is full' : 'the disk quota is used up';
    return new SafetensorsError('disk-full', `${path} cannot be written: ${what}`, place, { cause: error });
  }
  return new SafetensorsError('io-error', `${path}: ${message}`, place, { cause: error });
}
