/** Tensors, and slices of tensors, as matrices whose rows can be read in float64. */
import { DTYPE_BITS, isDtype, toFloat64 } from 'safetensors-js';
import type { RangeReader } from '../checkpoint/read.ts';
import type { SourceTensor, StorageDtype } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { dequantise } from '../gguf/dequant.ts';
import { ggmlTypeByName } from '../gguf/ggml-types.ts';
import type { GgmlType } from '../gguf/ggml-types.ts';
import type { GgufSource } from '../gguf/names.ts';
import { readSource } from '../gguf/tensor-data.ts';

/** Row-major. A vector has one element per row, so that any length can be read in parts. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: StorageDtype;
  /** Where the bytes lie, if they can be compared as they are. */
  readonly raw: {
    readonly reader: RangeReader;
    readonly file: string;
    readonly begin: number;
    readonly bytes: number;
  } | null;
  /** Values of rows `begin` to `end` (exclusive). */
  read(begin: number, end: number): Promise<Float64Array>;
}

/** Are two stretches of stored data equal byte for byte? */
export async function sameBytes(x: NonNullable<Matrix['raw']>, y: NonNullable<Matrix['raw']>): Promise<boolean> {
  if (x.bytes !== y.bytes) return false;
  const step = 2 ** 20;
  for (let at = 0; at < x.bytes; at += step) {
    const length = Math.min(step, x.bytes - at);
    const mine = await x.reader.bytes(x.file, x.begin + at, length);
    if (!mine.equals(await y.reader.bytes(y.file, y.begin + at, length))) return false;
  }
  return true;
}

/** The stored data of rows `begin` to `begin + rows`, or null where a matrix is not stored row by row. */
export function rawRows({ raw, rows: all }: Matrix, begin: number, rows: number): Matrix['raw'] {
  const bytesPerRow = raw === null || all === 0 ? NaN : raw.bytes / all;
  if (raw === null || !Number.isInteger(bytesPerRow)) return null;
  return { ...raw, begin: raw.begin + begin * bytesPerRow, bytes: rows * bytesPerRow };
}

/** Elements decoded at a time: 2 MiB of float64 per side. */
export const STEP_ELEMENTS = 262_144;

/** Rows that make up about one step. */
export function rowsPerStep(cols: number): number {
  return Math.max(1, Math.floor(STEP_ELEMENTS / Math.max(1, cols)));
}

/** Rows × columns of a shape. */
export function asMatrix(shape: readonly number[]): { readonly rows: number; readonly cols: number } {
  if (shape.length === 0) return { rows: 1, cols: 1 };
  if (shape.length === 1) return { rows: shape[0] ?? 0, cols: 1 };
  return { rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), cols: shape.at(-1) ?? 1 };
}

interface Coding {
  readonly bytesPerRow: (cols: number) => number;
  decode(bytes: Uint8Array, elements: number): Float64Array;
}

/** How a dtype's rows are read; null for types that are known by name only. */
function codingOf(dtype: StorageDtype): Coding | null {
  if (isDtype(dtype)) {
    // Sub-byte floats do not start on bytes, complex numbers are two: both are compared as bytes only.
    if (dtype === 'C64' || dtype === 'F4' || dtype.startsWith('F6_')) return null;
    const bits = DTYPE_BITS[dtype];
    return { bytesPerRow: (cols) => (cols * bits) / 8, decode: (bytes) => toFloat64(dtype, bytes) };
  }
  const type = ggmlTypeByName(dtype);
  return type?.decoded === true ? blocks(type) : null;
}

function blocks(type: GgmlType): Coding {
  return {
    bytesPerRow: (cols) => (cols / type.blockElements) * type.blockBytes,
    decode: (bytes, elements) => {
      const out = new Float32Array(elements);
      dequantise(type, bytes, out);
      return Float64Array.from(out);
    },
  };
}

/** Can values of this dtype be compared as numbers? */
export function isDecodable(dtype: StorageDtype): boolean {
  return codingOf(dtype) !== null;
}

/**
 * `rows` rows of a tensor from row `first` on, as they lie on disk. Throws MoeError `internal` for rows that are no whole
 * bytes or blocks.
 */
export function storedMatrix(
  reader: RangeReader,
  tensor: SourceTensor,
  slice?: { readonly first: number; readonly rows: number },
): Matrix {
  const { rows: allRows, cols } = asMatrix(tensor.shape);
  const rows = slice?.rows ?? allRows;
  const coding = codingOf(tensor.dtype);
  // A vector of a quantised type cannot be cut at every element; it is read whole as one row.
  const flat = tensor.shape.length === 1 && coding !== null && !Number.isInteger(coding.bytesPerRow(1));
  const width = flat ? allRows : cols;
  const bytesPerRow = coding?.bytesPerRow(width) ?? 0;
  const begin = tensor.begin + (slice === undefined ? 0 : slice.first * bytesPerRow);
  return {
    rows: flat ? 1 : rows,
    cols: width,
    dtype: tensor.dtype,
    raw: {
      reader,
      file: tensor.file,
      begin,
      bytes: slice === undefined ? tensor.bytes : rows * bytesPerRow,
    },
    read: async (from, to) => {
      if (coding === null || !Number.isInteger(bytesPerRow)) {
        throw new MoeError(
          'internal',
          'diff-dtype',
          `rows of ${tensor.name} (${tensor.dtype}) cannot be read as numbers`,
        );
      }
      const bytes = await reader.bytes(tensor.file, begin + from * bytesPerRow, (to - from) * bytesPerRow);
      return coding.decode(bytes, (to - from) * width);
    },
  };
}

/** A GGUF tensor under its Hugging Face name: dequantised, rows in Hugging Face order. */
export function ggufMatrix(source: GgufSource, dtype: StorageDtype): Matrix {
  const { rows, cols } = asMatrix(source.shape);
  return {
    rows,
    cols,
    dtype,
    raw: null,
    read: (from, to) => Promise.resolve(Float64Array.from(readSource(source, from, to))),
  };
}
