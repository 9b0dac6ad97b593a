/** How stored elements become numbers: by their code (up to 16 bits: every value can be counted), or decoded block by block. */
import { DTYPE_BITS, isDtype, toFloat64 } from 'safetensors-js';
import type { SourceTensor, StorageDtype } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { dequantise } from '../gguf/dequant.ts';
import { ggmlTypeByName } from '../gguf/ggml-types.ts';

/** A dtype of at most 16 bits: element values by code. */
export interface CodeTable {
  readonly kind: 'codes';
  readonly bits: 4 | 8 | 16;
  /** Bytes of the smallest readable unit. */
  readonly unit: number;
  readonly values: Float64Array;
}

/** A dtype whose values are decoded. */
export interface Decoder {
  readonly kind: 'decoded';
  readonly unit: number;
  /** Values that one unit holds. */
  readonly perUnit: number;
  /** Every value is a float32 exactly. */
  readonly single: boolean;
  /** Stored as quantised blocks. */
  readonly quantised: boolean;
  decode(bytes: Uint8Array): Float32Array | Float64Array;
}

export type Coding = CodeTable | Decoder;

const tables = new Map<string, CodeTable>();

/** How a dtype is read; null where its values are not decoded here. */
export function codingOf(dtype: StorageDtype): Coding | null {
  if (isDtype(dtype)) {
    const bits = DTYPE_BITS[dtype];
    if (dtype === 'C64' || dtype === 'F6_E2M3' || dtype === 'F6_E3M2') return null;
    if (bits === 4 || bits === 8 || bits === 16) {
      let table = tables.get(dtype);
      if (table === undefined) tables.set(dtype, (table = codeTable(dtype, bits)));
      return table;
    }
    return {
      kind: 'decoded',
      unit: bits / 8,
      perUnit: 1,
      single: dtype === 'F32',
      quantised: false,
      decode: (bytes) =>
        dtype === 'F32' && bytes.byteOffset % 4 === 0
          ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2)
          : toFloat64(dtype, bytes),
    };
  }
  const type = ggmlTypeByName(dtype);
  if (type?.decoded !== true) return null;
  return {
    kind: 'decoded',
    unit: type.blockBytes,
    perUnit: type.blockElements,
    single: true,
    quantised: true,
    decode: (bytes) => {
      const out = new Float32Array((bytes.byteLength / type.blockBytes) * type.blockElements);
      dequantise(type, bytes, out);
      return out;
    },
  };
}

function codeTable(dtype: Parameters<typeof toFloat64>[0], bits: 4 | 8 | 16): CodeTable {
  // All codes in order, as bytes; two 4-bit codes share one, the lower first.
  const codes =
    bits === 16
      ? new Uint8Array(Uint16Array.from({ length: 65_536 }, (_, i) => i).buffer)
      : Uint8Array.from({ length: bits === 8 ? 256 : 8 }, (_, i) => (bits === 8 ? i : 2 * i + 16 * (2 * i + 1)));
  return { kind: 'codes', bits, unit: bits === 16 ? 2 : 1, values: toFloat64(dtype, codes) };
}

/** The coding of a tensor, or MoeError `stats-dtype` with what to do. */
export function requireCoding(tensor: SourceTensor): Coding {
  const coding = codingOf(tensor.dtype);
  if (coding !== null) return coding;
  throw new MoeError(
    'input',
    'stats-dtype',
    `${tensor.name} is stored as ${tensor.dtype}, whose values are not decoded here`,
    {
      tensor: tensor.name,
      file: tensor.file,
      hint: 'Its shape and place are shown all the same; use a conversion in another type to see values.',
    },
  );
}

/** Why a dtype's values cannot be shown, or null. */
export function undecodedReason(dtype: StorageDtype): string | null {
  return codingOf(dtype) === null ? `Values of ${dtype} are not decoded here.` : null;
}
