/**
 * Stored tensor data to float32, block by block, bit-identical to the `gguf` Python package (gguf.quants).
 *
 * Every step is one float32 operation there. Here it is done in double precision and rounded when stored, or rounded by
 * `Math.fround` before the next step: for one +, − or × of float32 operands that gives the same float32 (a double has more
 * than twice the bits plus two). Where a product needs no rounding at all (an 11-bit scale times a small integer) none is done.
 */
import { MoeError, grouped } from '../common/errors.ts';
import { dequantiseQ2K, dequantiseQ3K, dequantiseQ4K, dequantiseQ5K, dequantiseQ6K } from './dequant-k.ts';
import type { GgmlType } from './ggml-types.ts';
import { halfToFloat } from './half.ts';

/** Writes `blocks` whole blocks from `bytes` to `out`. */
export type BlockDecoder = (bytes: Uint8Array, out: Float32Array, blocks: number) => void;

const DECODERS: Readonly<Record<string, BlockDecoder>> = {
  F32: dequantiseF32,
  F16: dequantiseF16,
  BF16: dequantiseBF16,
  Q4_0: dequantiseQ40,
  Q4_1: dequantiseQ41,
  Q5_0: dequantiseQ50,
  Q5_1: dequantiseQ51,
  Q8_0: dequantiseQ80,
  Q2_K: dequantiseQ2K,
  Q3_K: dequantiseQ3K,
  Q4_K: dequantiseQ4K,
  Q5_K: dequantiseQ5K,
  Q6_K: dequantiseQ6K,
};

/**
 * Turns whole blocks of `type` into float32.
 * @param bytes stored data: a multiple of `type.blockBytes`; any run of whole blocks, so any row range can be made alone
 * @param out receives bytes.length / blockBytes × blockElements values
 * @throws MoeError `gguf-type-unsupported` for a type that is known by name only; `gguf-block-length` where lengths do not fit
 */
export function dequantise(type: GgmlType, bytes: Uint8Array, out: Float32Array): void {
  const decoder = Object.hasOwn(DECODERS, type.name) ? DECODERS[type.name] : undefined;
  if (decoder === undefined) throw unsupportedType(type);
  const blocks = bytes.length / type.blockBytes;
  if (!Number.isInteger(blocks) || out.length !== blocks * type.blockElements) {
    throw new MoeError(
      'internal',
      'gguf-block-length',
      `${grouped(bytes.length)} bytes of ${type.name} (blocks of ${type.blockBytes}) cannot give ${grouped(out.length)} values`,
    );
  }
  decoder(bytes, out, blocks);
}

/** The refusal of a tensor type that is not decoded, with what to use instead. */
export function unsupportedType(type: GgmlType, file?: string, tensor?: string): MoeError {
  const subject = tensor === undefined ? 'a tensor' : `tensor "${tensor}"`;
  return new MoeError(
    'input',
    'gguf-type-unsupported',
    `${file === undefined ? '' : `${file}: `}${subject} is stored as ${type.name}, which is not turned into floating point here`,
    {
      ...(file === undefined ? {} : { file }),
      ...(tensor === undefined ? {} : { tensor }),
      hint: 'Use a conversion of the same model in BF16, F16, F32, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or a K-quant (Q2_K to Q6_K).',
    },
  );
}

function dequantiseF32(bytes: Uint8Array, out: Float32Array): void {
  new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes);
}

function dequantiseF16(bytes: Uint8Array, out: Float32Array): void {
  const half = new Uint32Array(halfToFloat().buffer);
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0, p = 0; i < words.length; i++, p += 2)
    words[i] = half[(bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8)] ?? 0;
}

function dequantiseBF16(bytes: Uint8Array, out: Float32Array): void {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0, p = 0; i < words.length; i++, p += 2)
    words[i] = ((bytes[p] ?? 0) << 16) | ((bytes[p + 1] ?? 0) << 24);
}

// Below: `?? 0` never applies (indices are within whole blocks); it satisfies the checker and costs nothing measurable.

function dequantiseQ40(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 18, o += 32) {
    const d = half[(bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8)] ?? 0;
    for (let i = 0; i < 16; i++) {
      const q = bytes[p + 2 + i] ?? 0;
      out[o + i] = d * ((q & 15) - 8);
      out[o + 16 + i] = d * ((q >> 4) - 8);
    }
  }
}

function dequantiseQ41(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 20, o += 32) {
    const d = half[(bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8)] ?? 0;
    const m = half[(bytes[p + 2] ?? 0) | ((bytes[p + 3] ?? 0) << 8)] ?? 0;
    for (let i = 0; i < 16; i++) {
      const q = bytes[p + 4 + i] ?? 0;
      out[o + i] = d * (q & 15) + m;
      out[o + 16 + i] = d * (q >> 4) + m;
    }
  }
}

function dequantiseQ50(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 22, o += 32) {
    const d = half[(bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8)] ?? 0;
    const high =
      (bytes[p + 2] ?? 0) | ((bytes[p + 3] ?? 0) << 8) | ((bytes[p + 4] ?? 0) << 16) | ((bytes[p + 5] ?? 0) << 24);
    for (let i = 0; i < 16; i++) {
      const q = bytes[p + 6 + i] ?? 0;
      out[o + i] = d * (((q & 15) | (((high >>> i) & 1) << 4)) - 16);
      out[o + 16 + i] = d * (((q >> 4) | (((high >>> (16 + i)) & 1) << 4)) - 16);
    }
  }
}

function dequantiseQ51(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 24, o += 32) {
    const d = half[(bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8)] ?? 0;
    const m = half[(bytes[p + 2] ?? 0) | ((bytes[p + 3] ?? 0) << 8)] ?? 0;
    const high =
      (bytes[p + 4] ?? 0) | ((bytes[p + 5] ?? 0) << 8) | ((bytes[p + 6] ?? 0) << 16) | ((bytes[p + 7] ?? 0) << 24);
    for (let i = 0; i < 16; i++) {
      const q = bytes[p + 8 + i] ?? 0;
      out[o + i] = d * ((q & 15) | (((high >>> i) & 1) << 4)) + m;
      out[o + 16 + i] = d * ((q >> 4) | (((high >>> (16 + i)) & 1) << 4)) + m;
    }
  }
}

function dequantiseQ80(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 34, o += 32) {
    const d = half[(bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8)] ?? 0;
    for (let i = 0; i < 32; i++) out[o + i] = d * (signed[p + 2 + i] ?? 0);
  }
}
