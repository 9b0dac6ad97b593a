/** Values that are not finite, found by their bits: a loop over 32-bit words, two half-width elements at a time. */
import type { StorageDtype } from '../checkpoint/types.ts';
import { ggmlTypeByName } from '../gguf/ggml-types.ts';

/** What a scan of one tensor found. Indices count elements (blocks, for quantised types). */
export interface ValueFindings {
  nan: number;
  infinite: number;
  /** Index of the first value that is not finite, −1 for none. */
  first: number;
  /** All bits seen so far are zero. */
  zero: boolean;
}

export function newFindings(): ValueFindings {
  return { nan: 0, infinite: 0, first: -1, zero: true };
}

/** Scans a chunk whose first element has index `index`; the chunk holds whole elements (blocks). */
export type ValueScanner = (chunk: Uint8Array, index: number, into: ValueFindings) => void;

/** A dtype's scanner and the bytes of its element or block; null where no bit pattern is other than finite. */
export interface ScannerOf {
  readonly scan: ValueScanner;
  readonly unit: number;
}

/** The scanner for a dtype. Integers, booleans, F4 and F6 have finite values only: they are looked at for zeros alone. */
export function scannerOf(dtype: StorageDtype): ScannerOf {
  switch (dtype) {
    case 'BF16':
      return { scan: halves(0x7f80), unit: 2 };
    case 'F16':
      return { scan: halves(0x7c00), unit: 2 };
    case 'F32':
      return { scan: words(1, 0x7f800000), unit: 4 };
    case 'C64':
      return { scan: words(1, 0x7f800000), unit: 4 };
    case 'F64':
      return { scan: words(2, 0x7ff00000), unit: 8 };
    case 'F8_E4M3':
      return { scan: bytes((b) => ((b & 0x7f) === 0x7f ? 'nan' : null)), unit: 1 };
    case 'F8_E5M2':
      return { scan: bytes((b) => ((b & 0x7f) < 0x7c ? null : (b & 0x7f) === 0x7c ? 'inf' : 'nan')), unit: 1 };
    case 'F8_E4M3FNUZ':
    case 'F8_E5M2FNUZ':
      return { scan: bytes((b) => (b === 0x80 ? 'nan' : null)), unit: 1 };
    case 'F8_E8M0':
      return { scan: bytes((b) => (b === 0xff ? 'nan' : null)), unit: 1 };
    default:
      return blockScanner(dtype);
  }
}

/** Two 16-bit floats per word. `mask`: the exponent's bits; a value is not finite when all of them are set. */
function halves(mask: number): ValueScanner {
  const both = mask | (mask << 16);
  // Adding the lowest exponent bit carries into the sign's place exactly where the exponent is all ones.
  const step = (mask & -mask) | ((mask & -mask) << 16);
  const fraction = 0x7fff & ~mask;
  return (chunk, index, into) => {
    const count = chunk.byteLength >> 1;
    const pairs = count >> 1;
    const wide = new Uint32Array(chunk.buffer, chunk.byteOffset, pairs);
    let seen = 0;
    let hit = 0;
    for (let i = 0; i < pairs; i++) {
      const x = wide[i] ?? 0;
      seen |= x;
      hit |= ((x & both) + step) & 0x80008000;
    }
    const narrow = new Uint16Array(chunk.buffer, chunk.byteOffset, count);
    const last = narrow[count - 1] ?? 0;
    if (seen !== 0 || (count % 2 === 1 && last !== 0)) into.zero = false;
    if (hit === 0 && (count % 2 === 0 || (last & mask) !== mask)) return;
    for (let i = 0; i < count; i++) {
      const x = narrow[i] ?? 0;
      if ((x & mask) === mask) note(into, index + i, (x & fraction) !== 0);
    }
  };
}

/** Elements of `width` words (1: float32, 2: float64, high word last); `mask`: exponent bits of the high word. */
function words(width: 1 | 2, mask: number): ValueScanner {
  return (chunk, index, into) => {
    const all = new Uint32Array(chunk.buffer, chunk.byteOffset, chunk.byteLength >> 2);
    let seen = 0;
    let hit = false;
    for (let i = width - 1; i < all.length; i += width) {
      const x = all[i] ?? 0;
      seen |= x;
      if ((x & mask) === mask) hit = true;
    }
    if (width === 2) for (let i = 0; i < all.length; i += 2) seen |= all[i] ?? 0;
    if (seen !== 0) into.zero = false;
    if (!hit) return;
    const fraction = 0x7fffffff & ~mask;
    for (let i = width - 1, n = 0; i < all.length; i += width, n++) {
      const x = all[i] ?? 0;
      const low = width === 2 ? (all[i - 1] ?? 0) : 0;
      if ((x & mask) === mask) note(into, index + n, (x & fraction) !== 0 || low !== 0);
    }
  };
}

function bytes(judge: (byte: number) => 'nan' | 'inf' | null): ValueScanner {
  const table = Array.from({ length: 256 }, (_, b) => judge(b));
  const bad = Uint8Array.from(table, (verdict) => (verdict === null ? 0 : 1));
  return (chunk, index, into) => {
    let seen = 0;
    let hit = 0;
    for (let i = 0; i < chunk.length; i++) {
      const b = chunk[i] ?? 0;
      seen |= b;
      hit |= bad[b] ?? 0;
    }
    if (seen !== 0) into.zero = false;
    if (hit === 0) return;
    for (let i = 0; i < chunk.length; i++) {
      const verdict = table[chunk[i] ?? 0] ?? null;
      if (verdict !== null) note(into, index + i, verdict === 'nan');
    }
  };
}

function note(into: ValueFindings, index: number, isNan: boolean): void {
  if (isNan) into.nan++;
  else into.infinite++;
  if (into.first < 0) into.first = index;
}

/** Where the float16 scales lie in a block of a quantised type: values are finite exactly when they are. */
const SCALES: Readonly<Record<string, readonly number[]>> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q8_1: [0, 2],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ2_XXS: [0],
  IQ2_XS: [0],
  IQ2_S: [0],
  IQ3_XXS: [0],
  IQ3_S: [0],
  IQ1_S: [0],
  IQ4_NL: [0],
  IQ4_XS: [0],
};

/** Types whose scales are not looked at: their values cannot be judged here. */
const UNKNOWN: ReadonlySet<StorageDtype> = new Set(['Q8_K', 'IQ1_M', 'TQ1_0', 'TQ2_0', 'MXFP4', 'NVFP4', 'Q1_0']);

/** Can a scan tell whether values of this type are finite? */
export function isScanned(dtype: StorageDtype): boolean {
  return !UNKNOWN.has(dtype);
}

function blockScanner(dtype: StorageDtype): ScannerOf {
  const type = ggmlTypeByName(dtype);
  const at = Object.hasOwn(SCALES, dtype) ? (SCALES[dtype] ?? []) : [];
  const unit = type?.quantised === true ? type.blockBytes : 1;
  return {
    unit,
    scan: (chunk, index, into) => {
      if (into.zero && chunk.some((b) => b !== 0)) into.zero = false;
      if (at.length === 0) return;
      for (let block = 0, from = 0; from + unit <= chunk.length; block++, from += unit) {
        for (const offset of at) {
          const high = chunk[from + offset + 1] ?? 0;
          if ((high & 0x7c) !== 0x7c) continue;
          note(into, index + block, (high & 0x03) !== 0 || chunk[from + offset] !== 0);
          break;
        }
      }
    },
  };
}
