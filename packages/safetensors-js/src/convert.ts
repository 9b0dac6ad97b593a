/**
 * Conversion between stored elements and f32/f64: nearest, ties to even; subnormals, infinities and NaN kept apart.
 * The bulk functions work on bit patterns, so that NaN payloads survive and no value passes through a slow path.
 */
import { endianness } from 'node:os';
import type { Dtype } from './dtype.ts';
import { SafetensorsError, grouped } from './errors.ts';
import { FLOAT4_TABLE, float8Code, float8Table } from './mini-float.ts';
import type { Float8 } from './mini-float.ts';

export type { Float8 } from './mini-float.ts';

/** Typed arrays read memory in the machine's order, the format is little-endian. */
function requireLittleEndian(): void {
  if (endianness() !== 'LE') {
    throw new SafetensorsError('unsupported-dtype', 'conversion is implemented for little-endian machines only');
  }
}

function target<T extends { readonly length: number }>(out: T | undefined, length: number, make: () => T): T {
  if (out === undefined) return make();
  if (out.length < length) {
    throw new SafetensorsError(
      'invalid-argument',
      `the output has room for ${grouped(out.length)} elements, ${grouped(length)} are needed`,
    );
  }
  return out;
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** bf16 → f32, exact. */
export function bf16ToF32(source: Uint16Array, out?: Float32Array): Float32Array {
  const n = source.length;
  const result = target(out, n, () => new Float32Array(n));
  const bits = bitsOf(result);
  for (let i = 0; i < n; i++) bits[i] = (source[i] as number) << 16;
  return result;
}

/** f32 → bf16. NaN keeps its sign and becomes quiet. */
export function f32ToBf16(source: Float32Array, out?: Uint16Array): Uint16Array {
  const n = source.length;
  const result = target(out, n, () => new Uint16Array(n));
  const bits = bitsOf(source);
  for (let i = 0; i < n; i++) {
    const u = bits[i] as number;
    // Rounding a NaN could carry it into infinity: quiet it instead.
    result[i] = (u & 0x7fffffff) > 0x7f800000 ? (u >>> 16) | 0x40 : (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
  }
  return result;
}

let f16Bits: Uint32Array | undefined;

/** f32 bits of every f16 code: 256 KiB, made at first use. */
function f16Table(): Uint32Array {
  if (f16Bits !== undefined) return f16Bits;
  const table = new Uint32Array(65536);
  for (let code = 0; code < 65536; code++) {
    const sign = (code & 0x8000) << 16;
    const exponent = (code >>> 10) & 31;
    const mantissa = code & 0x3ff;
    if (exponent === 31) table[code] = sign | 0x7f800000 | (mantissa << 13);
    else if (exponent > 0) table[code] = sign | ((exponent + 112) << 23) | (mantissa << 13);
    else if (mantissa === 0) table[code] = sign;
    else {
      // Subnormal: normalise. `lead` is the position of the highest set bit.
      const lead = 31 - Math.clz32(mantissa);
      table[code] = sign | ((lead + 103) << 23) | ((mantissa << (23 - lead)) & 0x7fffff);
    }
  }
  f16Bits = table;
  return table;
}

/** f16 → f32, exact. */
export function f16ToF32(source: Uint16Array, out?: Float32Array): Float32Array {
  const n = source.length;
  const result = target(out, n, () => new Float32Array(n));
  const bits = bitsOf(result);
  const table = f16Table();
  for (let i = 0; i < n; i++) bits[i] = table[source[i] as number] as number;
  return result;
}

/** f32 → f16. From 65520 on it is infinity; NaN keeps its sign and becomes quiet. */
export function f32ToF16(source: Float32Array, out?: Uint16Array): Uint16Array {
  const n = source.length;
  const result = target(out, n, () => new Uint16Array(n));
  const bits = bitsOf(source);
  for (let i = 0; i < n; i++) {
    const u = bits[i] as number;
    const a = u & 0x7fffffff;
    let code: number;
    if (a >= 0x38800000) {
      if (a > 0x7f800000) code = 0x7e00 | ((a >>> 13) & 0x3ff);
      else if (a >= 0x47800000) code = 0x7c00;
      else code = (a - 0x38000000 + 0xfff + ((a >>> 13) & 1)) >>> 13;
    } else if (a <= 0x33000000) {
      // Up to half of the smallest subnormal, 2^-25: the tie goes to zero.
      code = 0;
    } else {
      const shift = 126 - (a >>> 23);
      const significand = (a & 0x7fffff) | 0x800000;
      const kept = significand >>> shift;
      const rest = significand & ((1 << shift) - 1);
      const half = 1 << (shift - 1);
      code = kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0);
    }
    result[i] = code | ((u >>> 16) & 0x8000);
  }
  return result;
}

/** An 8-bit float → f32, exact. */
export function f8ToF32(dtype: Float8, source: Uint8Array, out?: Float32Array): Float32Array {
  const n = source.length;
  const result = target(out, n, () => new Float32Array(n));
  const table = float8Table(dtype);
  for (let i = 0; i < n; i++) result[i] = table[source[i] as number] as number;
  return result;
}

/** f32 → an 8-bit float, with the rules of torch 2.13: overflow becomes infinity in e5m2, ±448 in e4m3fn, NaN in FNUZ and e8m0. */
export function f32ToF8(dtype: Float8, source: Float32Array, out?: Uint8Array): Uint8Array {
  const n = source.length;
  const result = target(out, n, () => new Uint8Array(n));
  const bits = bitsOf(source);
  for (let i = 0; i < n; i++) result[i] = float8Code(dtype, bits[i] as number);
  return result;
}

/** Bytes per element of the dtypes that can be read. F4 has two elements per byte. */
function elementCount(dtype: Dtype, bytes: Uint8Array, width: number): number {
  if (bytes.byteLength % width !== 0) {
    throw new SafetensorsError(
      'invalid-argument',
      `${grouped(bytes.byteLength)} bytes are not a whole number of ${dtype} elements`,
    );
  }
  return bytes.byteLength / width;
}

interface View<T> {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
}

/** Elements over the same memory; a copy where the bytes are not aligned for it. */
function viewAs<T>(View: View<T>, dtype: Dtype, bytes: Uint8Array): T {
  requireLittleEndian();
  const width = View.BYTES_PER_ELEMENT;
  const n = elementCount(dtype, bytes, width);
  if (bytes.byteOffset % width === 0) return new View(bytes.buffer, bytes.byteOffset, n);
  // `slice` of a Buffer would share memory.
  const copy = Uint8Array.prototype.slice.call(bytes);
  return new View(copy.buffer, copy.byteOffset, n);
}

function unsupported(dtype: Dtype, why: string): never {
  throw new SafetensorsError('unsupported-dtype', `${dtype} cannot be converted: ${why}`);
}

type FloatArray = Float32Array | Float64Array;

function copyInto<T extends FloatArray>(source: ArrayLike<number>, out: T): T {
  for (let i = 0; i < source.length; i++) out[i] = source[i] as number;
  return out;
}

/** Reads the dtypes that both `toFloat32` and `toFloat64` handle by plain assignment. */
function readPlain<T extends FloatArray>(dtype: Dtype, bytes: Uint8Array, make: (n: number) => T): T {
  const plain = (source: ArrayLike<number>): T => copyInto(source, make(source.length));
  switch (dtype) {
    case 'F64':
      return plain(viewAs(Float64Array, dtype, bytes));
    case 'I8':
      return plain(viewAs(Int8Array, dtype, bytes));
    case 'U8':
      return plain(bytes);
    case 'I16':
      return plain(viewAs(Int16Array, dtype, bytes));
    case 'U16':
      return plain(viewAs(Uint16Array, dtype, bytes));
    case 'I32':
      return plain(viewAs(Int32Array, dtype, bytes));
    case 'U32':
      return plain(viewAs(Uint32Array, dtype, bytes));
    case 'BOOL': {
      const out = make(bytes.length);
      for (let i = 0; i < bytes.length; i++) out[i] = bytes[i] === 0 ? 0 : 1;
      return out;
    }
    case 'F4': {
      const out = make(bytes.length * 2);
      for (let i = 0; i < bytes.length; i++) {
        const pair = bytes[i] as number;
        out[2 * i] = FLOAT4_TABLE[pair & 15] as number;
        out[2 * i + 1] = FLOAT4_TABLE[pair >>> 4] as number;
      }
      return out;
    }
    case 'F6_E2M3':
    case 'F6_E3M2':
      return unsupported(dtype, 'the format does not say how its elements are packed into bytes');
    case 'C64':
      return unsupported(dtype, 'it is complex');
    default:
      return unsupported(dtype, 'not a dtype of the format');
  }
}

/** The two halves of a 64-bit integer as one number, rounded once. */
function readInt64(signed: boolean, words: Uint32Array, i: number): number {
  const low = words[2 * i] as number;
  const high = words[2 * i + 1] as number;
  return (signed ? high | 0 : high) * 4294967296 + low;
}

/** As `readInt64`, but to be rounded to f32 afterwards: bits that f32 cannot hold only say "more than half". */
function readInt64ForF32(signed: boolean, words: Uint32Array, i: number): number {
  const low = words[2 * i] as number;
  const high = words[2 * i + 1] as number;
  const top = (signed ? high | 0 : high) * 4294967296;
  if (Math.abs(top) < 2 ** 52) return top + low;
  // Rounding to 53 bits first and to 24 then would round twice: drop the low bits, but keep a trace of them.
  const kept = (low & 0xffff0000) >>> 0;
  return top + kept + ((low & 0xffff) === 0 ? 0 : 0x8000);
}

/**
 * Elements of any real dtype as f32 (F64 and 64-bit integers rounded to nearest; BOOL as 0 and 1; F4 unpacked, low nibble
 * first). `bytes` may lie at any alignment; `out`, if given, must be long enough and is returned.
 * Throws `unsupported-dtype` for C64 and F6, `invalid-argument` for a ragged length or short output.
 */
export function toFloat32(dtype: Dtype, bytes: Uint8Array, out?: Float32Array): Float32Array {
  const make = (n: number): Float32Array => target(out, n, () => new Float32Array(n));
  switch (dtype) {
    case 'F32': {
      const source = viewAs(Uint32Array, dtype, bytes);
      const result = make(source.length);
      bitsOf(result).set(source);
      return result;
    }
    case 'BF16':
      return bf16ToF32(viewAs(Uint16Array, dtype, bytes), out);
    case 'F16':
      return f16ToF32(viewAs(Uint16Array, dtype, bytes), out);
    case 'F8_E5M2':
    case 'F8_E4M3':
    case 'F8_E8M0':
    case 'F8_E4M3FNUZ':
    case 'F8_E5M2FNUZ':
      return f8ToF32(dtype, bytes, out);
    case 'I64':
    case 'U64': {
      const n = elementCount(dtype, bytes, 8);
      const words = viewAs(Uint32Array, dtype, bytes);
      const result = make(n);
      for (let i = 0; i < n; i++) result[i] = readInt64ForF32(dtype === 'I64', words, i);
      return result;
    }
    default:
      return readPlain(dtype, bytes, make);
  }
}

/** As `toFloat32`, in double precision: exact for every dtype except 64-bit integers beyond 2^53. */
export function toFloat64(dtype: Dtype, bytes: Uint8Array, out?: Float64Array): Float64Array {
  const make = (n: number): Float64Array => target(out, n, () => new Float64Array(n));
  switch (dtype) {
    case 'I64':
    case 'U64': {
      const n = elementCount(dtype, bytes, 8);
      const words = viewAs(Uint32Array, dtype, bytes);
      const result = make(n);
      for (let i = 0; i < n; i++) result[i] = readInt64(dtype === 'I64', words, i);
      return result;
    }
    case 'F32':
    case 'BF16':
    case 'F16':
    case 'F8_E5M2':
    case 'F8_E4M3':
    case 'F8_E8M0':
    case 'F8_E4M3FNUZ':
    case 'F8_E5M2FNUZ': {
      const narrow = toFloat32(dtype, bytes);
      return copyInto(narrow, make(narrow.length));
    }
    default:
      return readPlain(dtype, bytes, make);
  }
}

/**
 * f32 values as bytes of a float dtype. `out`, if given, must hold them, at any alignment; the part written is returned.
 * Throws `unsupported-dtype` for integers, BOOL, C64, F6 and F4 (which have no agreed rounding, overflow or packing).
 */
export function fromFloat32(dtype: Dtype, values: Float32Array, out?: Uint8Array): Uint8Array {
  requireLittleEndian();
  const bytes = encoded(dtype, values);
  if (out === undefined) return bytes;
  target(out, bytes.length, () => out);
  out.set(bytes);
  return out.subarray(0, bytes.length);
}

function encoded(dtype: Dtype, values: Float32Array): Uint8Array {
  const raw = (view: Uint16Array | Float64Array): Uint8Array =>
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  switch (dtype) {
    case 'F32':
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
    case 'F64':
      return raw(Float64Array.from(values));
    case 'BF16':
      return raw(f32ToBf16(values));
    case 'F16':
      return raw(f32ToF16(values));
    case 'F8_E5M2':
    case 'F8_E4M3':
    case 'F8_E8M0':
    case 'F8_E4M3FNUZ':
    case 'F8_E5M2FNUZ':
      return f32ToF8(dtype, values);
    case 'F4':
    case 'F6_E2M3':
    case 'F6_E3M2':
      return unsupported(dtype, 'there is no agreed rounding and packing to write it with');
    case 'C64':
      return unsupported(dtype, 'it is complex');
    default:
      return unsupported(dtype, 'f32 values are written to float dtypes only');
  }
}
