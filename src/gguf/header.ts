/**
 * Reads the header of a local GGUF file (version 2 or 3, little endian): metadata, tensor table, where the data starts.
 * Strict and bounded; why not a library: docs/decisions/gguf-reader.md.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { MoeError, grouped, messageOf, systemCodeOf } from '../common/errors.ts';
import { GgufCursor } from './cursor.ts';
import { GGML_TYPES, REMOVED_GGML_TYPES } from './ggml-types.ts';
import type { GgmlType } from './ggml-types.ts';
import type { GgufHeader, GgufNote, GgufTensor, GgufValue } from './types.ts';
import { readValue, typeNameOf } from './values.ts';
import type { ValueBudget } from './values.ts';
import { counted } from '../common/words.ts';

const MAX_KEYS = 100_000;
const MAX_TENSORS = 1_000_000;
/** ggml itself has four dimensions. */
const MAX_DIMENSIONS = 4;
const DEFAULT_ALIGNMENT = 32;
const MAX_NAME_BYTES = 65_535;
/** Offset of a tensor whose data cannot be placed, since the tensor table is cut. */
export const UNKNOWN_OFFSET = -1;

/** What could be read of a file, whole or not. */
export interface GgufScan extends GgufHeader {
  /** Number of metadata keys and tensors that the file announces. */
  readonly declared: { readonly keys: number; readonly tensors: number };
  /** Why the rest is missing or wrong; absent when the header is whole and right. */
  readonly error?: MoeError;
}

interface Draft {
  version: number;
  alignment: number;
  metadata: Map<string, GgufValue>;
  metadataTypes: Map<string, string>;
  tensors: Map<string, GgufTensor>;
  dataStart: number;
  notes: GgufNote[];
  declared: { keys: number; tensors: number };
}

/**
 * Reads the header of one GGUF file.
 * @throws MoeError `input` that names file, byte and key or tensor. Its details say how much was read; `scanGgufHeader` keeps it.
 */
export function readGgufHeader(path: string): GgufHeader {
  const { error, declared: _declared, ...header } = scanGgufHeader(path);
  if (error !== undefined) throw error;
  return header;
}

/**
 * As `readGgufHeader`, but a broken or truncated file gives what was parsed before the fault, and the fault as `error`.
 * @throws MoeError `input` only where the file cannot be opened or is no GGUF at all.
 */
export function scanGgufHeader(path: string): GgufScan {
  const { fd, size } = openFile(path);
  try {
    const cursor = new GgufCursor(fd, path, size);
    const draft: Draft = {
      version: readPreamble(cursor),
      alignment: DEFAULT_ALIGNMENT,
      metadata: new Map(),
      metadataTypes: new Map(),
      tensors: new Map(),
      dataStart: 0,
      notes: [],
      declared: { keys: 0, tensors: 0 },
    };
    const error = fillDraft(cursor, draft);
    return { path, fileSize: size, ...draft, ...(error === undefined ? {} : { error }) };
  } finally {
    closeSync(fd);
  }
}

function openFile(path: string): { fd: number; size: number } {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    const missing = systemCodeOf(cause) === 'ENOENT';
    throw new MoeError(
      'input',
      missing ? 'file-not-found' : 'gguf-unreadable',
      missing ? `${path}: there is no such file` : `${path}: cannot be opened: ${messageOf(cause)}`,
      { file: path },
      { cause },
    );
  }
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new MoeError('input', 'gguf-unreadable', `${path}: is not a regular file`, { file: path });
  }
  return { fd, size: stat.size };
}

/** Checks magic, byte order and version; returns the version. */
function readPreamble(cursor: GgufCursor): number {
  const start = cursor.peek(64);
  const magic = start.toString('latin1', 0, 4);
  if (magic !== 'GGUF') throw notGguf(cursor, magic, start);
  cursor.take(4, 'the magic');
  const versionAt = cursor.position;
  const version = cursor.u32('the version');
  const swapped = Buffer.from([0, 0, 0, 0]);
  swapped.writeUInt32BE(version);
  const bigEndian = swapped.readUInt32LE();
  if (version > 0xffff && bigEndian >= 1 && bigEndian <= 0xffff) {
    throw cursor.error(
      'gguf-big-endian',
      `this is a big-endian GGUF (version ${bigEndian}); only little-endian files are read`,
      'Convert the model again for a little-endian machine, or with `gguf_convert_endian.py MODEL little`.',
      versionAt,
    );
  }
  if (version !== 2 && version !== 3) {
    throw cursor.error(
      'gguf-version',
      `GGUF version ${version} is not supported; versions 2 and 3 are`,
      version === 1 ? 'Version 1 was in use in August 2023 only: convert the model again.' : undefined,
      versionAt,
    );
  }
  return version;
}

function notGguf(cursor: GgufCursor, magic: string, start: Buffer): MoeError {
  if (start.toString('latin1').startsWith('version https://git-lfs')) {
    return cursor.error(
      'git-lfs-pointer',
      'is a Git LFS pointer, not the model itself',
      'Run `git lfs pull` in its repository, or download the file.',
    );
  }
  if (['lmgg', 'fmgg', 'tjgg', 'algg'].includes(magic)) {
    return cursor.error(
      'gguf-old-format',
      'is a GGML file from before GGUF (2023)',
      'Convert the original model again.',
    );
  }
  if (start.length === 0) return cursor.error('not-gguf', 'is empty');
  const shown = JSON.stringify(magic);
  return cursor.error('not-gguf', `is no GGUF file: it starts with ${shown} where "GGUF" is expected`);
}

/** Reads everything after the version; returns the fault that ended it, if any. */
function fillDraft(cursor: GgufCursor, draft: Draft): MoeError | undefined {
  try {
    const tensorsAt = cursor.position;
    draft.declared.tensors = cursor.count('the tensor count');
    const keysAt = cursor.position;
    draft.declared.keys = cursor.count('the metadata count');
    limit(cursor, 'metadata keys', draft.declared.keys, MAX_KEYS, keysAt);
    limit(cursor, 'tensors', draft.declared.tensors, MAX_TENSORS, tensorsAt);
    readMetadata(cursor, draft);
    draft.alignment = alignmentOf(cursor, draft);
    readTensorTable(cursor, draft);
    checkData(cursor, draft);
    notePart(draft);
    return undefined;
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    const details = {
      keysRead: draft.metadata.size,
      keysDeclared: draft.declared.keys,
      tensorsRead: draft.tensors.size,
      tensorsDeclared: draft.declared.tensors,
    };
    return new MoeError(error.kind, error.code, error.message, { ...error.place, details });
  }
}

/** A part of a split model is a right file, but not a model. */
function notePart(draft: Draft): void {
  const count = draft.metadata.get('split.count');
  const part = draft.metadata.get('split.no');
  if (typeof count !== 'number' || typeof part !== 'number' || count <= 1) return;
  draft.notes.push({
    severity: 'warning',
    code: 'gguf-split',
    field: 'split.no',
    message: `this file is part ${part + 1} of ${count} of a split model; the other parts hold the rest of its tensors`,
  });
}

function limit(cursor: GgufCursor, what: string, count: number, max: number, byte: number): void {
  if (count <= max) return;
  throw cursor.error(
    'gguf-too-many',
    `announces ${grouped(count)} ${what}; at most ${grouped(max)} are read`,
    'The file is damaged or hostile.',
    byte,
  );
}

function readName(cursor: GgufCursor, what: string): string {
  const at = cursor.position;
  const { text, valid } = cursor.string(what);
  if (!valid) throw cursor.error('gguf-name', `${what} is not UTF-8`, undefined, at);
  if (text.length === 0) throw cursor.error('gguf-name', `${what} is empty`, undefined, at);
  if (text.length > MAX_NAME_BYTES)
    throw cursor.error('gguf-name', `${what} is ${grouped(text.length)} characters long`, undefined, at);
  return text;
}

function readMetadata(cursor: GgufCursor, draft: Draft): void {
  const budget: ValueBudget = { strings: 0, lossy: 0 };
  for (let i = 0; i < draft.declared.keys; i++) {
    cursor.subject = `metadata key ${i + 1} of ${draft.declared.keys}`;
    cursor.place = {};
    const keyAt = cursor.position;
    const key = readName(cursor, 'the key name');
    cursor.subject = `metadata key "${key}"`;
    cursor.place = { field: key };
    if (draft.metadata.has(key))
      throw cursor.error('gguf-duplicate-key', `${cursor.subject} occurs twice`, undefined, keyAt);
    const typeAt = cursor.position;
    const type = cursor.u32('the value type');
    if (typeNameOf(type) === undefined) {
      throw cursor.error(
        'gguf-value-type',
        `${cursor.subject} has unknown value type ${type}`,
        'The file is damaged, or newer than this reader.',
        typeAt,
      );
    }
    const lossyBefore = budget.lossy;
    const { value, typeName } = readValue(cursor, type, budget);
    draft.metadata.set(key, value);
    draft.metadataTypes.set(key, typeName);
    if (budget.lossy > lossyBefore) {
      draft.notes.push({
        severity: 'warning',
        code: 'gguf-not-utf8',
        field: key,
        message: `${counted(budget.lossy - lossyBefore, 'string', 'strings')} of "${key}" ${budget.lossy - lossyBefore === 1 ? 'is' : 'are'} not UTF-8; U+FFFD stands for the bytes that are not`,
      });
    }
  }
  cursor.place = {};
}

function alignmentOf(cursor: GgufCursor, draft: Draft): number {
  const value = draft.metadata.get('general.alignment');
  if (value === undefined) return DEFAULT_ALIGNMENT;
  const valid =
    typeof value === 'number' &&
    Number.isInteger(value) &&
    value >= 1 &&
    value <= 2 ** 30 &&
    Math.log2(value) % 1 === 0;
  if (valid) return value;
  cursor.place = { field: 'general.alignment' };
  throw cursor.error('gguf-alignment', `general.alignment is ${String(value)}; a power of two is expected`);
}

function readTensorTable(cursor: GgufCursor, draft: Draft): void {
  const rows: { name: string; type: GgmlType; shape: number[]; elements: number; offset: number; bytes: number }[] = [];
  const names = new Set<string>();
  const keep = (dataStart: number | undefined): void => {
    draft.dataStart = dataStart ?? 0;
    for (const row of rows) {
      const { type, offset, ...rest } = row;
      const absolute = dataStart === undefined ? UNKNOWN_OFFSET : dataStart + offset;
      draft.tensors.set(row.name, { ...rest, file: cursor.path, ggmlType: type, offset: absolute });
    }
  };
  try {
    for (let i = 0; i < draft.declared.tensors; i++) {
      cursor.subject = `tensor ${i + 1} of ${draft.declared.tensors}`;
      cursor.place = {};
      const nameAt = cursor.position;
      const name = readName(cursor, 'the tensor name');
      cursor.subject = `tensor "${name}"`;
      cursor.place = { tensor: name };
      if (names.has(name))
        throw cursor.error('gguf-duplicate-tensor', `${cursor.subject} occurs twice`, undefined, nameAt);
      names.add(name);
      rows.push({ name, ...readTensorRow(cursor, draft.alignment) });
    }
  } catch (error) {
    // Where the data would start is unknown when the table is cut.
    keep(undefined);
    throw error;
  }
  cursor.place = {};
  keep(Math.ceil(cursor.position / draft.alignment) * draft.alignment);
}

function readTensorRow(
  cursor: GgufCursor,
  alignment: number,
): { type: GgmlType; shape: number[]; elements: number; offset: number; bytes: number } {
  const dimensionsAt = cursor.position;
  const dimensions = cursor.u32('the number of dimensions');
  if (dimensions > MAX_DIMENSIONS) {
    throw cursor.error(
      'gguf-dimensions',
      `${cursor.subject} has ${grouped(dimensions)} dimensions; at most ${MAX_DIMENSIONS} exist`,
      'The file is damaged.',
      dimensionsAt,
    );
  }
  const ne: number[] = [];
  let elements = 1;
  for (let d = 0; d < dimensions; d++) {
    const at = cursor.position;
    const size = cursor.count('a dimension');
    elements *= size;
    if (!Number.isSafeInteger(size) || !Number.isSafeInteger(elements)) {
      throw cursor.error(
        'gguf-dimensions',
        `${cursor.subject}: dimension ${d} is ${grouped(size)}, too large`,
        'The file is damaged.',
        at,
      );
    }
    ne.push(size);
  }
  const typeAt = cursor.position;
  const typeId = cursor.u32('the data type');
  const type = GGML_TYPES.get(typeId);
  if (type === undefined) throw unknownType(cursor, typeId, typeAt);
  const rowLength = ne[0] ?? 1;
  if (rowLength % type.blockElements !== 0) {
    throw cursor.error(
      'gguf-row-length',
      `${cursor.subject}: a row has ${grouped(rowLength)} elements, no multiple of ${type.name}'s block of ${type.blockElements}`,
      'The file is damaged.',
      dimensionsAt,
    );
  }
  const offsetAt = cursor.position;
  const offset = cursor.count('the data offset');
  const bytes = (elements / type.blockElements) * type.blockBytes;
  if (!Number.isSafeInteger(offset) || offset % alignment !== 0 || !Number.isSafeInteger(bytes)) {
    throw cursor.error(
      'gguf-offset',
      `${cursor.subject}: data offset ${grouped(offset)} is no multiple of the alignment ${alignment}`,
      'The file is damaged.',
      offsetAt,
    );
  }
  return { type, shape: ne.reverse(), elements, offset, bytes };
}

function unknownType(cursor: GgufCursor, id: number, at: number): MoeError {
  const removed = REMOVED_GGML_TYPES.get(id);
  return cursor.error(
    'gguf-tensor-type',
    removed === undefined ? `${cursor.subject} has unknown ggml type ${id}` : `${cursor.subject} has type ${removed}`,
    'Use a conversion of the model in another type, such as Q8_0, Q4_K_M or BF16.',
    at,
  );
}

/** Every tensor's bytes must lie in the file and belong to it alone. */
function checkData(cursor: GgufCursor, draft: Draft): void {
  const sorted = [...draft.tensors.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = draft.dataStart;
  let before: GgufTensor | undefined;
  let holes = 0;
  for (const tensor of sorted) {
    cursor.place = { tensor: tensor.name };
    if (before !== undefined && tensor.offset < end && tensor.bytes > 0) {
      throw cursor.error(
        'gguf-overlap',
        `tensor "${tensor.name}" (from byte ${grouped(tensor.offset)}) overlaps "${before.name}" (to byte ${grouped(end)})`,
        'The file is damaged.',
        tensor.offset,
      );
    }
    const tensorEnd = tensor.offset + tensor.bytes;
    if (tensorEnd > cursor.size) {
      const missing = sorted.filter((t) => t.offset + t.bytes > cursor.size).length;
      throw cursor.error(
        'gguf-truncated',
        `tensor "${tensor.name}" needs bytes ${grouped(tensor.offset)} to ${grouped(tensorEnd)}, but the file ends at ${grouped(cursor.size)}; ` +
          `${grouped(missing)} of ${grouped(sorted.length)} tensors are not whole`,
        'The file is cut: compare its size with the published one and fetch it again.',
        tensor.offset,
      );
    }
    if (tensor.offset - end >= draft.alignment) holes++;
    end = Math.max(end, tensorEnd);
    before = tensor;
  }
  cursor.place = {};
  const trailing = cursor.size - end;
  if (holes > 0)
    draft.notes.push({
      severity: 'info',
      code: 'gguf-holes',
      message: `${counted(holes, 'gap between tensors is', 'gaps between tensors are')} not used`,
    });
  if (sorted.length > 0 && trailing >= draft.alignment) {
    draft.notes.push({
      severity: 'info',
      code: 'gguf-trailing',
      message: `${grouped(trailing)} bytes after the last tensor are not used`,
    });
  }
}
