/**
 * The 8-bit floats and F4: decoding tables, and rounding as torch rounds. The parameters are those of the OCP FP8 and
 * MX specifications, and of the "FNUZ" variants (no infinity, one zero, NaN where minus zero would be).
 */

/** The 8-bit float dtypes. F8_E4M3 is the OCP "e4m3fn": it has NaN, but no infinity. */
export type Float8 = 'F8_E5M2' | 'F8_E4M3' | 'F8_E8M0' | 'F8_E4M3FNUZ' | 'F8_E5M2FNUZ';

interface MiniFormat {
  readonly mantissaBits: number;
  readonly bias: number;
  /** Largest finite code without sign. */
  readonly maxCode: number;
  /** Code, without sign, for what rounds beyond the largest finite value. */
  readonly overflow: number;
  readonly nan: number;
  readonly fnuz: boolean;
}

const FORMATS: Readonly<Record<Exclude<Float8, 'F8_E8M0'>, MiniFormat>> = {
  // Overflow: e5m2 has an infinity. e4m3fn has none and stays at its largest value, infinity included, as in torch 2.13
  // (older versions of torch gave NaN).
  F8_E5M2: { mantissaBits: 2, bias: 15, maxCode: 0x7b, overflow: 0x7c, nan: 0x7f, fnuz: false },
  F8_E4M3: { mantissaBits: 3, bias: 7, maxCode: 0x7e, overflow: 0x7e, nan: 0x7f, fnuz: false },
  F8_E4M3FNUZ: { mantissaBits: 3, bias: 8, maxCode: 0x7f, overflow: 0x80, nan: 0x80, fnuz: true },
  F8_E5M2FNUZ: { mantissaBits: 2, bias: 16, maxCode: 0x7f, overflow: 0x80, nan: 0x80, fnuz: true },
};

const decodeTables = new Map<Float8, Float32Array>();

/** The value of every code of an 8-bit float: 256 entries. */
export function float8Table(dtype: Float8): Float32Array {
  let table = decodeTables.get(dtype);
  if (table === undefined) {
    table = new Float32Array(256);
    for (let code = 0; code < 256; code++) table[code] = dtype === 'F8_E8M0' ? decodeE8M0(code) : decode(dtype, code);
    decodeTables.set(dtype, table);
  }
  return table;
}

function decodeE8M0(code: number): number {
  return code === 255 ? NaN : 2 ** (code - 127);
}

function decode(dtype: Exclude<Float8, 'F8_E8M0'>, code: number): number {
  const { mantissaBits, bias, maxCode, overflow, nan, fnuz } = FORMATS[dtype];
  if (fnuz && code === nan) return NaN;
  const magnitude = code & 0x7f;
  const sign = code >= 0x80 ? -1 : 1;
  if (magnitude > maxCode) return magnitude === overflow ? sign * Infinity : NaN;
  const exponent = magnitude >> mantissaBits;
  const mantissa = magnitude & ((1 << mantissaBits) - 1);
  const scale = 2 ** -mantissaBits;
  const value = exponent === 0 ? mantissa * scale * 2 ** (1 - bias) : (1 + mantissa * scale) * 2 ** (exponent - bias);
  return sign * value;
}

/** F4 (e2m1): eight magnitudes and a sign; two per byte, the low nibble first. */
export const FLOAT4_TABLE: Float32Array = Float32Array.from([
  0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6,
]);

/**
 * The code for an f32 given by its bits, rounded to nearest, ties to even. NaN stays NaN. Beyond the range:
 * infinity for e5m2, the largest value for e4m3fn, NaN for the FNUZ variants.
 */
export function float8Code(dtype: Float8, bits: number): number {
  return dtype === 'F8_E8M0' ? encodeE8M0(bits) : encode(FORMATS[dtype], bits);
}

function encode(format: MiniFormat, bits: number): number {
  const { mantissaBits, bias, maxCode, overflow, nan, fnuz } = format;
  const sign = bits < 0 || bits > 0x7fffffff ? 0x80 : 0;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return nan | sign;
  if (magnitude === 0x7f800000) return overflow | sign;
  const exponent = (magnitude >>> 23) - 127;
  // Subnormal f32 values lie far below half the smallest code of every format here.
  if (exponent === -127) return fnuz ? 0 : sign;
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const least = 1 - bias;
  const shift = 23 - mantissaBits + Math.max(0, least - exponent);
  if (shift > 24) return fnuz ? 0 : sign;
  const kept = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const rounded = kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0);
  // The hidden bit of a normal number adds one to the exponent field; a subnormal one that rounds up does the same.
  const code = exponent < least ? rounded : ((exponent + bias - 1) << mantissaBits) + rounded;
  if (code > maxCode) return overflow | sign;
  return fnuz && code === 0 ? 0 : code | sign;
}

/** Powers of two only, without sign or zero, as torch rounds them: the exponent goes up from 1.5 × 2^n on. */
function encodeE8M0(bits: number): number {
  const exponent = (bits >>> 23) & 0xff;
  if (exponent === 0xff) return 0xff;
  const mantissa = bits & 0x7fffff;
  if (mantissa < 0x400000) return exponent;
  // At exactly half, a normal number has an odd last bit (its hidden one) and goes up; a subnormal one stays.
  return mantissa > 0x400000 || exponent > 0 ? exponent + 1 : exponent;
}
