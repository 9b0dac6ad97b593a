/**
 * Element types of the format, as the Rust reference lists them, and the size arithmetic over them.
 */
import { SafetensorsError, quoted } from './errors.ts';
import type { SafetensorsErrorCode } from './errors.ts';

/**
 * Every dtype of the reference, in its own order: increasing alignment. `referenceOrder` sorts by this order, descending.
 */
export const DTYPES = [
  'BOOL',
  'F4',
  'F6_E2M3',
  'F6_E3M2',
  'U8',
  'I8',
  'F8_E5M2',
  'F8_E4M3',
  'F8_E8M0',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
  'I16',
  'U16',
  'F16',
  'BF16',
  'I32',
  'U32',
  'F32',
  'C64',
  'F64',
  'I64',
  'U64',
] as const;

export type Dtype = (typeof DTYPES)[number];

/** Bits of one element. F4 and F6 are packed: only whole bytes of them can be stored. */
export const DTYPE_BITS: Readonly<Record<Dtype, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

const BY_NAME: ReadonlyMap<string, Dtype> = new Map(DTYPES.map((dtype) => [dtype, dtype]));
const RANK: ReadonlyMap<Dtype, number> = new Map(DTYPES.map((dtype, index) => [dtype, index]));

/** The shared constant for a dtype's name, or undefined: names parsed from files become one string object each. */
export function dtypeOf(name: string): Dtype | undefined {
  return BY_NAME.get(name);
}

export function isDtype(name: unknown): name is Dtype {
  return typeof name === 'string' && BY_NAME.has(name);
}

/** Position of a dtype in the reference's order (0 = BOOL, lowest alignment). */
export function dtypeRank(dtype: Dtype): number {
  return RANK.get(dtype) ?? -1;
}

const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** Why a shape has no size: the reference's two refusals, and the one of our own (beyond exact numbers of JavaScript). */
export type SizeProblem = 'validation-overflow' | 'misaligned-slice' | 'offset-too-large';

/**
 * Bytes of a tensor, or the problem, judged as the reference does in 64-bit arithmetic: the product of the dimensions is
 * checked from left to right, so `[2^63, 2, 0]` overflows although it is empty.
 */
export function sizeOf(dtype: Dtype, shape: readonly number[] | readonly bigint[]): number | SizeProblem {
  const bits = DTYPE_BITS[dtype];
  let elements = 1;
  for (let i = 0; i < shape.length; i++) {
    const dim = shape[i];
    if (typeof dim !== 'number') return sizeOfBig(bits, shape);
    elements *= dim;
    // Past 2^53 doubles lie; the exact path decides.
    if (elements > Number.MAX_SAFE_INTEGER) return sizeOfBig(bits, shape);
  }
  const total = elements * bits;
  if (total > Number.MAX_SAFE_INTEGER) return sizeOfBig(bits, shape);
  if (bits < 8 && total % 8 !== 0) return 'misaligned-slice';
  return total / 8;
}

function sizeOfBig(bits: number, shape: readonly (number | bigint)[]): number | SizeProblem {
  let elements = 1n;
  for (const dim of shape) {
    elements *= BigInt(dim);
    if (elements > U64_MAX) return 'validation-overflow';
  }
  const total = elements * BigInt(bits);
  if (total > U64_MAX) return 'validation-overflow';
  if (total % 8n !== 0n) return 'misaligned-slice';
  const bytes = total / 8n;
  return bytes > BigInt(Number.MAX_SAFE_INTEGER) ? 'offset-too-large' : Number(bytes);
}

/** What a `SizeProblem` means, for messages. */
export function sizeProblemText(problem: SizeProblem, dtype: Dtype, shape: readonly (number | bigint)[]): string {
  const what = `${dtype} ${shapeText(shape)}`;
  switch (problem) {
    case 'validation-overflow':
      return `the size of ${what} overflows 64 bits`;
    case 'misaligned-slice':
      return `${what} is not a whole number of bytes (${String(DTYPE_BITS[dtype])} bits per element)`;
    case 'offset-too-large':
      return `${what} is larger than 2^53-1 bytes`;
  }
}

/** `[2, 3]`, shortened when a hostile header gives thousands of dimensions. */
export function shapeText(shape: readonly (number | bigint)[]): string {
  const shown = shape.slice(0, 16).map(String).join(', ');
  return shape.length > 16 ? `[${shown}, … ${String(shape.length)} dimensions]` : `[${shown}]`;
}

/**
 * Bytes of a tensor of this dtype and shape.
 * Throws `invalid-shape` (negative, fractional), `misaligned-slice` (packed dtype not filling its last byte),
 * `validation-overflow` (beyond 64 bits) or `offset-too-large` (beyond 2^53-1).
 */
export function tensorBytes(dtype: Dtype, shape: readonly number[], tensor?: string): number {
  if (!isDtype(dtype)) refuse('unknown-dtype', `unknown dtype ${JSON.stringify(dtype)}`, tensor);
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0) {
      refuse(
        'invalid-shape',
        `shape ${shapeText(shape)}: every dimension must be a whole number from 0 to 2^53-1`,
        tensor,
      );
    }
  }
  const size = sizeOf(dtype, shape);
  if (typeof size === 'string') refuse(size, sizeProblemText(size, dtype, shape), tensor);
  return size;
}

function refuse(code: SafetensorsErrorCode, message: string, tensor: string | undefined): never {
  if (tensor === undefined) throw new SafetensorsError(code, message);
  throw new SafetensorsError(code, `tensor ${quoted(tensor)}: ${message}`, { tensor });
}
