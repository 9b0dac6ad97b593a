/**
 * Float storage ↔ float64. Every F32, BF16 and F16 value is a float64, so decoding is exact; encoding rounds once, to nearest
 * even, straight from float64 (rounding through float32 first would round twice).
 */
import type { Dtype } from 'safetensors-js';
import { DTYPE_BITS } from 'safetensors-js';
import { MoeError } from '../common/errors.ts';

/** The dtypes that arithmetic is defined on. */
export type FloatDtype = 'F64' | 'F32' | 'BF16' | 'F16';

export function isFloatDtype(dtype: string): dtype is FloatDtype {
  return dtype === 'F32' || dtype === 'BF16' || dtype === 'F16' || dtype === 'F64';
}

/** The dtype itself if arithmetic can be done on it, else an error that names the operation. */
export function requireFloat(dtype: Dtype, op: string): FloatDtype {
  if (isFloatDtype(dtype)) return dtype;
  throw new MoeError('input', 'unsupported-dtype', `"${op}" is defined on F64, F32, BF16 and F16, not on ${dtype}.`, {
    hint: 'Tensors of this dtype can only be copied whole.',
  });
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** Values converted at once: whole arrays are set natively, and stay in the processor's nearest cache. */
const BULK = 2048;
const bulk = new Float32Array(BULK);
const bulkBits = new Uint32Array(bulk.buffer);
const bulkWords = new Uint16Array(BULK);

/**
 * Bits of float32(x) rounded to odd: truncated, with the last bit set when anything was cut. Rounding that to a format of
 * at least two bits less equals rounding x itself once.
 */
function oddSingleBits(x: number): number {
  single[0] = x;
  const rounded = single[0];
  let bits = singleBits[0] ?? 0;
  if (rounded === x || Number.isNaN(x)) return bits;
  if (Math.abs(rounded) > Math.abs(x)) bits -= 1;
  return bits | 1;
}

/** BF16 bits of x, to nearest even; NaN becomes the quiet NaN 0x7FC0, as PyTorch writes it. */
export function bf16Bits(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0;
  const bits = oddSingleBits(x);
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** F16 bits of x, to nearest even; overflow becomes infinity. */
export function f16Bits(x: number): number {
  const bits = oddSingleBits(x);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    // Normal: rebias the exponent (127 → 15) and drop 13 bits; a carry runs into the exponent as it should.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  // Subnormal: the 24-bit significand shifted until its unit is 2^-24.
  const shift = 126 - (magnitude >>> 23);
  if (shift > 24) return sign;
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const kept = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept);
}

let f16Values: Float64Array | undefined;

function f16Table(): Float64Array {
  if (f16Values !== undefined) return f16Values;
  const table = new Float64Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >>> 10) & 31;
    const fraction = bits & 1023;
    const magnitude =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction === 0
            ? Infinity
            : NaN
          : (1024 + fraction) * 2 ** (exponent - 25);
    table[bits] = bits >= 0x8000 ? -magnitude : magnitude;
  }
  f16Values = table;
  return table;
}

function view<T>(
  Kind: new (buffer: ArrayBufferLike, offset: number, length: number) => T,
  width: number,
  bytes: Buffer,
  count: number,
): T {
  // Typed views need aligned memory; our own chunk buffers have it, a caller's may not.
  const source = bytes.byteOffset % width === 0 ? bytes : Buffer.from(new Uint8Array(bytes).buffer);
  return new Kind(source.buffer, source.byteOffset, count);
}

/** The first `count` values in `bytes`, exactly, into `out`. */
export function decodeFloats(dtype: FloatDtype, bytes: Buffer, count: number, out: Float64Array): void {
  switch (dtype) {
    case 'F64':
      out.set(view(Float64Array, 8, bytes, count));
      return;
    case 'F32':
      out.set(view(Float32Array, 4, bytes, count));
      return;
    case 'BF16': {
      const words = view(Uint16Array, 2, bytes, count);
      for (let done = 0; done < count; done += BULK) {
        const part = Math.min(BULK, count - done);
        for (let i = 0; i < part; i++) bulkBits[i] = (words[done + i] ?? 0) << 16;
        out.set(part === BULK ? bulk : bulk.subarray(0, part), done);
      }
      return;
    }
    case 'F16': {
      const words = view(Uint16Array, 2, bytes, count);
      const table = f16Table();
      for (let i = 0; i < count; i++) out[i] = table[words[i] ?? 0] ?? 0;
    }
  }
}

/** Writes `values[0..count)` into `bytes`, each rounded once to nearest even. */
export function encodeFloats(dtype: FloatDtype, values: Float64Array, count: number, bytes: Buffer): void {
  const width = DTYPE_BITS[dtype] / 8;
  if (bytes.byteOffset % width !== 0) {
    const aligned = Buffer.from(new ArrayBuffer(count * width));
    encodeFloats(dtype, values, count, aligned);
    aligned.copy(bytes);
    return;
  }
  switch (dtype) {
    case 'F64':
      new Float64Array(bytes.buffer, bytes.byteOffset, count).set(values.subarray(0, count));
      return;
    case 'F32':
      new Float32Array(bytes.buffer, bytes.byteOffset, count).set(values.subarray(0, count));
      return;
    case 'BF16':
      encodeBf16(values, count, new Uint16Array(bytes.buffer, bytes.byteOffset, count));
      return;
    case 'F16':
      encodeF16(values, count, new Uint16Array(bytes.buffer, bytes.byteOffset, count));
  }
}

// The usual case straight from the double's own bits (high word: sign, 11 exponent bits, 20 fraction bits): rebias the
// exponent, let one bit stand for everything below it, and round what is too much; a carry runs into the exponent as it
// should. Values that are subnormal, zero, too large or no numbers in the target take the slow way.

function encodeBf16(values: Float64Array, count: number, out: Uint16Array): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, count * 2);
  for (let i = 0; i < count; i++) {
    const high = words[2 * i + 1] ?? 0;
    const magnitude = high & 0x7fffffff;
    if (magnitude >= 897 << 20 && magnitude < 1150 << 20) {
      const v = (magnitude - (896 << 20)) | ((words[2 * i] ?? 0) === 0 ? 0 : 1);
      out[i] = ((high >>> 16) & 0x8000) | ((v + 0xfff + ((v >>> 13) & 1)) >>> 13);
    } else {
      out[i] = bf16Bits(values[i] ?? 0);
    }
  }
}

function encodeF16(values: Float64Array, count: number, out: Uint16Array): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, count * 2);
  for (let i = 0; i < count; i++) {
    const high = words[2 * i + 1] ?? 0;
    const magnitude = high & 0x7fffffff;
    if (magnitude >= 1009 << 20 && magnitude < 1038 << 20) {
      const v = (magnitude - (1008 << 20)) | ((words[2 * i] ?? 0) === 0 ? 0 : 1);
      out[i] = ((high >>> 16) & 0x8000) | ((v + 0x1ff + ((v >>> 10) & 1)) >>> 10);
    } else {
      out[i] = f16Bits(values[i] ?? 0);
    }
  }
}

/** Rounds `values[0..count)` in place to what the dtype can hold. */
export function roundFloats(dtype: FloatDtype, values: Float64Array, count: number): void {
  switch (dtype) {
    case 'F64':
      return;
    case 'F32':
      for (let i = 0; i < count; i++) values[i] = Math.fround(values[i] ?? 0);
      return;
    case 'BF16':
      for (let done = 0; done < count; done += BULK) {
        const part = Math.min(BULK, count - done);
        encodeBf16(values.subarray(done, done + part), part, bulkWords);
        for (let i = 0; i < part; i++) bulkBits[i] = (bulkWords[i] ?? 0) << 16;
        values.set(part === BULK ? bulk : bulk.subarray(0, part), done);
      }
      return;
    case 'F16': {
      const table = f16Table();
      for (let done = 0; done < count; done += BULK) {
        const part = Math.min(BULK, count - done);
        encodeF16(values.subarray(done, done + part), part, bulkWords);
        for (let i = 0; i < part; i++) values[done + i] = table[bulkWords[i] ?? 0] ?? 0;
      }
    }
  }
}
