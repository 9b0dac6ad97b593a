import { readFile, stat } from 'node:fs/promises';
import { parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { MoeError, messageOf } from '../../common/errors.ts';
import type { Json } from '../python/json.ts';
import { MAX_DATA_BYTES, tooLarge } from './jsonl.ts';
import type { Row, RowSet } from './rows.ts';
import { typeName } from './rows.ts';

/** Reads a parquet file (any codec that the Hub uses). int64 becomes a number, or fails where it would lose digits. */
export async function readParquetRows(path: string, shownAs = path): Promise<RowSet> {
  let table: Record<string, unknown>[];
  try {
    const { size } = await stat(path);
    if (size > MAX_DATA_BYTES) throw tooLarge(shownAs, size);
    // Whole: where reading takes turns, failures of later columns come when nobody waits for them any more.
    const whole = await readFile(path);
    const file = new Uint8Array(whole).buffer;
    const metadata = await parquetMetadataAsync(file);
    const bytes = metadata.row_groups.reduce((n, group) => n + Number(group.total_byte_size), 0);
    if (bytes > MAX_DATA_BYTES) throw tooLarge(shownAs, bytes);
    table = await withStrays(() => parquetReadObjects({ file, metadata, compressors }));
  } catch (cause) {
    if (cause instanceof MoeError) throw cause;
    throw new MoeError(
      'input',
      'bad-parquet',
      `${shownAs} cannot be read as parquet: ${messageOf(cause)}`,
      { file: shownAs, hint: 'A Git LFS pointer or a half-finished download looks like this: fetch the file again.' },
      { cause },
    );
  }
  const rows = table.map((record, i): Row => {
    const out: Record<string, Json> = {};
    for (const [key, value] of Object.entries(record)) define(out, key, toJson(value, shownAs, i, key));
    return out;
  });
  return { rows, files: [shownAs], place: (i) => ({ file: shownAs, where: `row ${i}` }) };
}

/**
 * Of several damaged columns the library hands on the first failure only; the others are rejections that nobody handles, which
 * would end the process. They are this read's failure.
 */
async function withStrays<T>(read: () => Promise<T>): Promise<T> {
  const strays: unknown[] = [];
  const stray = (reason: unknown): void => {
    strays.push(reason);
  };
  process.on('unhandledRejection', stray);
  try {
    return await read();
  } finally {
    // Node tells of them a turn later.
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', stray);
    if (strays.length > 0) throw strays[0];
  }
}

function toJson(value: unknown, file: string, row: number, field: string): Json {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number') return value;
  if (typeof value === 'bigint') {
    const n = Number(value);
    if (Number.isSafeInteger(n)) return n;
    const message = `${file}, row ${row}: field "${field}" holds ${value}, too large to be read exactly`;
    throw new MoeError('input', 'bad-data-field', message, { file, field });
  }
  if (Array.isArray(value)) return value.map((v) => toJson(v, file, row, field));
  if (value instanceof Date) return value.toISOString();
  if (ArrayBuffer.isView(value)) {
    const message = `${file}, row ${row}: field "${field}" holds binary data, expected text or numbers`;
    throw new MoeError('input', 'bad-data-field', message, { file, field });
  }
  if (typeof value === 'object') {
    const out: Record<string, Json> = {};
    for (const [key, inner] of Object.entries(value)) define(out, key, toJson(inner, file, row, `${field}.${key}`));
    return out;
  }
  const message = `${file}, row ${row}: field "${field}" holds ${typeName(value)}, which has no JSON form`;
  throw new MoeError('input', 'bad-data-field', message, { file, field });
}

// A column named __proto__ must become a plain property.
function define(target: Record<string, Json>, key: string, value: Json): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}
