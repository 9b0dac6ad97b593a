/** A tensor as a NumPy file, streamed: header and data are written beside the target and moved there when whole. */
import { link, open, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { FileHandle } from 'node:fs/promises';
import { DTYPE_BITS, isDtype } from 'safetensors-js';
import { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint, StorageDtype } from '../checkpoint/types.ts';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import type { BytesProgress } from '../protocol/checkpoint.ts';
import { requireCoding } from './codes.ts';
import type { Coding } from './codes.ts';
import { STATS_CHUNK_BYTES, storedTensor } from './tensor-stats.ts';

export interface ExportOptions {
  readonly overwrite: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: BytesProgress) => void) | undefined;
}

export interface Exported {
  readonly path: string;
  readonly bytes: number;
  /** NumPy's name of the type. */
  readonly descr: string;
  /** How values were changed, where NumPy has no such type; null where bytes are the same. */
  readonly converted: string | null;
}

/** Types that NumPy knows: their bytes are written as they are. */
const DESCRS: ReadonlyMap<StorageDtype, string> = new Map<StorageDtype, string>([
  ['BOOL', '|b1'],
  ['U8', '|u1'],
  ['I8', '|i1'],
  ['U16', '<u2'],
  ['I16', '<i2'],
  ['F16', '<f2'],
  ['U32', '<u4'],
  ['I32', '<i4'],
  ['F32', '<f4'],
  ['U64', '<u8'],
  ['I64', '<i8'],
  ['F64', '<f8'],
  ['C64', '<c8'],
]);

/**
 * Writes a tensor to `to`. bf16, 8- and 4-bit floats and quantised blocks become float32, which holds each of their values.
 * @throws MoeError `exists` without `overwrite`; `write-failed`; those of reading
 */
export async function exportNpy(cp: Checkpoint, name: string, to: string, options: ExportOptions): Promise<Exported> {
  const tensor = storedTensor(cp, name);
  const same = DESCRS.get(tensor.dtype);
  const coding = same === undefined ? requireCoding(tensor) : null;
  const descr = same ?? '<f4';
  if (!options.overwrite && (await exists(to))) throw existsError(to);
  const temp = join(dirname(to), `.${basename(to)}.${String(process.pid)}.${String(Date.now())}.part`);
  const reader = new RangeReader(cp, { signal: options.signal, chunkBytes: STATS_CHUNK_BYTES });
  let file: FileHandle | undefined;
  try {
    file = await open(temp, 'wx');
    const header = npyHeader(descr, tensor.shape);
    await writeAll(file, header);
    let bytes = header.length;
    let done = 0;
    const unit = coding?.unit ?? (isDtype(tensor.dtype) ? Math.max(1, DTYPE_BITS[tensor.dtype] / 8) : 1);
    for await (const chunk of reader.chunks(tensor.file, tensor.begin, tensor.bytes, unit)) {
      const out = coding === null ? chunk : asSingles(chunk, coding);
      await writeAll(file, out);
      bytes += out.length;
      done += chunk.length;
      options.onProgress?.({ bytesDone: done, bytesTotal: tensor.bytes, what: `writing ${basename(to)}` });
    }
    await file.sync();
    await file.close();
    file = undefined;
    await moveTo(temp, to, options.overwrite);
    return { path: to, bytes, descr, converted: coding === null ? null : `${tensor.dtype} to float32` };
  } catch (error) {
    await file?.close().catch(() => undefined);
    await unlink(temp).catch(() => undefined);
    if (error instanceof MoeError) throw error;
    const full = systemCodeOf(error) === 'ENOSPC';
    throw new MoeError(
      full ? 'resources' : 'input',
      'write-failed',
      `${to} cannot be written: ${messageOf(error)}`,
      { file: to, hint: full ? 'Free space on the disk.' : 'Choose a folder that you may write to.' },
      { cause: error },
    );
  } finally {
    await reader.close();
  }
}

/** Version 1.0 header, padded so that the data begins at a multiple of 64; version 2.0 for absurdly many dimensions. */
export function npyHeader(descr: string, shape: readonly number[]): Buffer {
  const tuple = shape.length === 1 ? `(${String(shape[0])},)` : `(${shape.join(', ')})`;
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const large = dict.length + 75 > 65_535;
  const lead = large ? 12 : 10;
  const padded = Math.ceil((lead + dict.length + 1) / 64) * 64;
  const out = Buffer.alloc(padded, 0x20);
  out.write('\u0093NUMPY', 0, 'latin1');
  out[6] = large ? 2 : 1;
  out[7] = 0;
  if (large) out.writeUInt32LE(padded - lead, 8);
  else out.writeUInt16LE(padded - lead, 8);
  out.write(dict, lead, 'latin1');
  out[padded - 1] = 0x0a;
  return out;
}

function asSingles(chunk: Buffer, coding: Coding): Buffer {
  let out: Float32Array;
  if (coding.kind === 'decoded') {
    const values = coding.decode(chunk);
    out = values instanceof Float32Array ? values : Float32Array.from(values);
  } else if (coding.bits === 4) {
    out = new Float32Array(chunk.length * 2);
    for (const [i, byte] of chunk.entries()) {
      out[2 * i] = coding.values[byte & 15] ?? NaN;
      out[2 * i + 1] = coding.values[byte >> 4] ?? NaN;
    }
  } else {
    const codes = coding.bits === 8 ? chunk : new Uint16Array(chunk.buffer, chunk.byteOffset, chunk.length >> 1);
    out = new Float32Array(codes.length);
    for (let i = 0; i < codes.length; i++) out[i] = coding.values[codes[i] ?? 0] ?? NaN;
  }
  return Buffer.from(out.buffer, out.byteOffset, out.byteLength);
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
}

/** Without `overwrite`, a file that appeared meanwhile is kept: a link fails where the name is taken. */
async function moveTo(temp: string, to: string, overwrite: boolean): Promise<void> {
  if (!overwrite) {
    try {
      await link(temp, to);
      await unlink(temp);
      return;
    } catch (error) {
      if (systemCodeOf(error) === 'EEXIST') throw existsError(to);
      // File systems without links: the check at the start must do.
    }
  }
  await rename(temp, to);
}

function existsError(to: string): MoeError {
  return new MoeError('usage', 'exists', `${to} exists already`, {
    file: to,
    hint: 'Choose another name, or overwrite it.',
  });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
