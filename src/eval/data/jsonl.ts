import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { MoeError, grouped, messageOf } from '../../common/errors.ts';
import type { Json } from '../python/json.ts';
import type { Row, RowSet } from './rows.ts';
import { isRow, typeName } from './rows.ts';

/** A data file larger than this is not an evaluation set; refusing it bounds memory. */
export const MAX_DATA_BYTES = 2 ** 31;
const MAX_LINE_BYTES = 64 * 2 ** 20;
const NEWLINE = 0x0a;

/**
 * Reads a jsonl file, or a .json file that holds one list. Lines end at the byte `\n` only: records may hold U+0085 or U+2028.
 * A byte order mark and blank lines are skipped. Every failure names the line.
 */
export async function readJsonRows(path: string, shownAs = path): Promise<RowSet> {
  const { size } = await stat(path);
  if (size > MAX_DATA_BYTES) throw tooLarge(shownAs, size);
  const rows: Row[] = [];
  const lines: number[] = [];
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let line = 0;
  let held: Buffer[] = [];
  let heldBytes = 0;
  let whole: string[] | undefined;

  const take = (bytes: Buffer): void => {
    line++;
    let text: string;
    try {
      text = decoder.decode(bytes);
    } catch (cause) {
      throw bad(shownAs, line, 'is not valid UTF-8', cause);
    }
    if (line === 1 && text.startsWith('\ufeff')) text = text.slice(1);
    if (whole !== undefined) {
      whole.push(text);
      return;
    }
    if (/^[ \t\r]*$/.test(text)) return;
    if (rows.length === 0 && /^\s*\[/.test(text)) {
      whole = [text];
      return;
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw bad(shownAs, line, `is not JSON: ${messageOf(cause)}`, cause);
    }
    if (!isRow(value)) throw bad(shownAs, line, `should hold a record, found ${typeName(value)}`);
    rows.push(value);
    lines.push(line);
  };

  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    if (!Buffer.isBuffer(chunk)) continue;
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      take(Buffer.concat([...held, chunk.subarray(start, end)]));
      held = [];
      heldBytes = 0;
      start = end + 1;
    }
    const rest = chunk.subarray(start);
    heldBytes += rest.length;
    if (heldBytes > MAX_LINE_BYTES) throw bad(shownAs, line + 1, `is longer than ${grouped(MAX_LINE_BYTES)} bytes`);
    if (rest.length > 0) held.push(rest);
  }
  if (heldBytes > 0) take(Buffer.concat(held));
  if (whole !== undefined) return rowsOfList(shownAs, whole.join('\n'));
  return {
    rows: alignColumns(rows),
    files: [shownAs],
    place: (i) => ({ file: shownAs, where: `line ${lines[i] ?? i + 1}` }),
  };
}

/**
 * Gives all records the same fields in the same order, that of first appearance, with null for absent ones: what the harness's
 * data library does, and so what its document hashes are over.
 */
export function alignColumns(rows: readonly Row[]): readonly Row[] {
  const columns = new Set(rows.flatMap((row) => Object.keys(row)));
  const order = [...columns];
  const same = (row: Row): boolean => {
    const keys = Object.keys(row);
    return keys.length === order.length && keys.every((key, i) => key === order[i]);
  };
  return rows.map((row) => {
    if (same(row)) return row;
    const aligned: Record<string, Json> = {};
    for (const key of order) {
      const value = Object.hasOwn(row, key) ? (row[key] ?? null) : null;
      Object.defineProperty(aligned, key, { value, enumerable: true, configurable: true, writable: true });
    }
    return aligned;
  });
}

function rowsOfList(file: string, text: string): RowSet {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MoeError('input', 'bad-json', `${file} is not JSON: ${messageOf(cause)}`, { file }, { cause });
  }
  if (!Array.isArray(value))
    throw new MoeError('input', 'bad-data-file', `${file} should hold a list of records`, { file });
  const rows = value.map((row: unknown, i): Row => {
    if (!isRow(row)) {
      const message = `${file}, row ${i}: should be a record, found ${typeName(row)}`;
      throw new MoeError('input', 'bad-data-line', message, { file });
    }
    return row;
  });
  return { rows: alignColumns(rows), files: [file], place: (i) => ({ file, where: `row ${i}` }) };
}

function bad(file: string, line: number, what: string, cause?: unknown): MoeError {
  return new MoeError(
    'input',
    'bad-data-line',
    `${file}, line ${line} ${what}`,
    { file, field: `line ${line}` },
    { cause },
  );
}

/** Refusal of an oversized data file. */
export function tooLarge(file: string, bytes: number): MoeError {
  return new MoeError(
    'resources',
    'data-file-too-large',
    `${file} holds ${grouped(bytes)} bytes; an evaluation file may hold at most ${grouped(MAX_DATA_BYTES)}`,
    { file, hint: 'Cut the file to the rows that should be scored.' },
  );
}
