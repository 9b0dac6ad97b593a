/** Values of a Hugging Face tensor from a GGUF file: any row range, dequantised, in Hugging Face order. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { MoeError, grouped, messageOf } from '../common/errors.ts';
import { dequantise, unsupportedType } from './dequant.ts';
import type { GgufPiece, GgufSource } from './names.ts';
import { storedRow } from './transform.ts';
import type { GgufTensor } from './types.ts';

/** Stored bytes read at a time. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/** Rows of a shape: the product of all dimensions but the last. A vector's rows are its elements. */
export function rowCount(shape: readonly number[]): number {
  return shape.length === 1 ? (shape[0] ?? 0) : shape.slice(0, -1).reduce((product, size) => product * size, 1);
}

/** Elements per row: the last dimension; 1 for a vector or scalar. */
export function rowLength(shape: readonly number[]): number {
  return shape.length <= 1 ? 1 : (shape.at(-1) ?? 1);
}

/** Stored bytes per row of a matrix: always whole blocks. */
export function rowBytes(tensor: Pick<GgufTensor, 'shape' | 'ggmlType'>): number {
  return (rowLength(tensor.shape) / tensor.ggmlType.blockElements) * tensor.ggmlType.blockBytes;
}

/**
 * Float32 values of rows `begin` to `end` (exclusive) of a Hugging Face tensor.
 * Meant for small tensors, tests and spot checks: a bulk writer reads the byte ranges itself and calls `dequantise`.
 * @throws MoeError `input` where the type is not decoded or the file cannot be read
 */
export function readSource(source: GgufSource, begin = 0, end: number = rowCount(source.shape)): Float32Array {
  const rows = rowCount(source.shape);
  if (!(Number.isInteger(begin) && Number.isInteger(end) && 0 <= begin && begin <= end && end <= rows)) {
    throw new MoeError(
      'internal',
      'gguf-rows',
      `rows ${begin} to ${end} of "${source.name}", which has ${grouped(rows)}`,
    );
  }
  const length = rowLength(source.shape);
  for (const piece of source.pieces) checkReadable(piece.tensor);
  const out = valuesOf(source.name, (end - begin) * length);
  let row = 0;
  for (const piece of source.pieces) {
    const pieceRows = piece.end - piece.begin;
    const from = Math.max(begin, row);
    const until = Math.min(end, row + pieceRows);
    if (from < until)
      readPiece(piece, from - row, until - row, out.subarray((from - begin) * length, (until - begin) * length));
    row += pieceRows;
  }
  return out;
}

/** Float32 values of a whole stored tensor, in stored order. */
export function readStoredTensor(tensor: GgufTensor): Float32Array {
  checkReadable(tensor);
  const out = valuesOf(tensor.name, tensor.elements);
  withFile(tensor, (fd) => {
    // Blocks, not rows: right for vectors and scalars too.
    const { blockBytes, blockElements } = tensor.ggmlType;
    const blocks = tensor.bytes / blockBytes;
    const step = Math.max(1, Math.floor(CHUNK_BYTES / blockBytes));
    for (let block = 0; block < blocks; block += step) {
      const until = Math.min(blocks, block + step);
      decode(
        fd,
        tensor,
        block * blockBytes,
        until * blockBytes,
        out.subarray(block * blockElements, until * blockElements),
      );
    }
  });
  return out;
}

/** Rows `begin` to `end` of the piece (0 = its first row in Hugging Face order) into `out`. */
function readPiece(piece: GgufPiece, begin: number, end: number, out: Float32Array): void {
  const { tensor, transform } = piece;
  const pieceRows = piece.end - piece.begin;
  const stored = (row: number): number =>
    piece.begin + (transform.kind === 'unpermute' ? storedRow(row, pieceRows, transform.heads) : row);
  if (tensor.shape.length <= 1) {
    const all = readStoredTensor(tensor);
    for (let row = begin; row < end; row++) out[row - begin] = all[stored(row)] ?? 0;
  } else {
    const length = rowLength(tensor.shape);
    const width = rowBytes(tensor);
    const step = transform.kind === 'unpermute' ? 1 : Math.max(1, Math.floor(CHUNK_BYTES / Math.max(1, width)));
    withFile(tensor, (fd) => {
      for (let row = begin; row < end; row += step) {
        const until = Math.min(end, row + step);
        const from = stored(row);
        decode(
          fd,
          tensor,
          from * width,
          (from + until - row) * width,
          out.subarray((row - begin) * length, (until - begin) * length),
        );
      }
    });
  }
  if (transform.kind === 'subtractOne') for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) - 1;
}

/** Values that are made at once: 4 GiB of float32. */
const MAX_VALUES = 2 ** 30;

function valuesOf(name: string, count: number): Float32Array {
  if (count <= MAX_VALUES) return new Float32Array(count);
  throw new MoeError(
    'resources',
    'tensor-too-large',
    `"${name}": ${grouped(count)} values at once; at most ${grouped(MAX_VALUES)} are made`,
    {
      tensor: name,
    },
  );
}

/** Refuses, before memory is taken for it, a tensor of an undecoded type or one that the file does not hold whole. */
function checkReadable(tensor: GgufTensor): void {
  if (!tensor.ggmlType.decoded) throw unsupportedType(tensor.ggmlType, tensor.file, tensor.name);
  const place = { file: tensor.file, tensor: tensor.name };
  if (tensor.offset < 0) {
    throw new MoeError(
      'input',
      'gguf-truncated',
      `${tensor.file}: where tensor "${tensor.name}" lies is unknown, the tensor table is cut`,
      place,
    );
  }
  const size = statSync(tensor.file, { throwIfNoEntry: false })?.size ?? 0;
  if (tensor.offset + tensor.bytes > size) {
    throw new MoeError(
      'input',
      'gguf-truncated',
      `${tensor.file}: tensor "${tensor.name}" needs ${grouped(tensor.offset + tensor.bytes)} bytes of the file, which has ${grouped(size)}`,
      place,
    );
  }
}

function withFile(tensor: GgufTensor, use: (fd: number) => void): void {
  let fd: number;
  try {
    fd = openSync(tensor.file, 'r');
  } catch (cause) {
    const message = `${tensor.file}: cannot be opened for tensor "${tensor.name}": ${messageOf(cause)}`;
    throw new MoeError('input', 'gguf-unreadable', message, { file: tensor.file, tensor: tensor.name }, { cause });
  }
  try {
    use(fd);
  } finally {
    closeSync(fd);
  }
}

/** Stored bytes `begin` to `end` of the tensor, as float32. */
function decode(fd: number, tensor: GgufTensor, begin: number, end: number, out: Float32Array): void {
  const bytes = new Uint8Array(end - begin);
  const at = tensor.offset + begin;
  let done = 0;
  while (done < bytes.length) {
    const got = readSync(fd, bytes, done, bytes.length - done, at + done);
    if (got === 0) {
      throw new MoeError(
        'input',
        'gguf-truncated',
        `${tensor.file}: ends at byte ${grouped(at + done)}, inside tensor "${tensor.name}"`,
        {
          file: tensor.file,
          tensor: tensor.name,
          byte: at + done,
        },
      );
    }
    done += got;
  }
  dequantise(tensor.ggmlType, bytes, out);
}
