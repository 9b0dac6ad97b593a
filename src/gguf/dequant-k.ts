/**
 * The K-quants: super-blocks of 256 weights with small integer scales per 16 or 32 weights. See dequant.ts for why the
 * arithmetic is bit-identical. Scales: 11-bit half × 6- to 8-bit integer × 2- to 6-bit weight fit in float32's 24 bits or are
 * rounded once at the same place as in the reference, so only differences (`dl·q − ml`) round, when stored.
 */
import { halfToFloat } from './half.ts';

const fround = Math.fround;

/** 84 bytes: 16 × (4-bit scale, 4-bit min), 64 bytes of 2-bit weights, half d, half dmin. */
export function dequantiseQ2K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 84, o += 256) {
    const d = half[(bytes[p + 80] ?? 0) | ((bytes[p + 81] ?? 0) << 8)] ?? 0;
    const dmin = half[(bytes[p + 82] ?? 0) | ((bytes[p + 83] ?? 0) << 8)] ?? 0;
    // Weight 128·h + 32·s + j sits in byte 32·h + j, bits 2s and 2s+1; groups of 16 share a scale.
    for (let g = 0; g < 16; g++) {
      const sc = bytes[p + g] ?? 0;
      const dl = d * (sc & 15);
      const ml = dmin * (sc >> 4);
      const shift = ((g >> 1) & 3) * 2;
      const from = p + 16 + (g >> 3) * 32 + (g & 1) * 16;
      const to = o + g * 16;
      for (let i = 0; i < 16; i++) out[to + i] = dl * (((bytes[from + i] ?? 0) >> shift) & 3) - ml;
    }
  }
}

/** 110 bytes: 32 bytes of high bits, 64 bytes of low 2-bit weights, 12 bytes of 6-bit scales, half d. */
export function dequantiseQ3K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 110, o += 256) {
    const d = half[(bytes[p + 108] ?? 0) | ((bytes[p + 109] ?? 0) << 8)] ?? 0;
    for (let g = 0; g < 16; g++) {
      // Scale g: low 4 bits in byte g mod 8 (low nibble for g < 8), high 2 bits in byte 8 + g mod 4.
      const low = (bytes[p + 96 + (g & 7)] ?? 0) >> (g < 8 ? 0 : 4);
      const high = (bytes[p + 104 + (g & 3)] ?? 0) >> ((g >> 2) * 2);
      const dl = d * (((low & 15) | ((high & 3) << 4)) - 32);
      const shift = ((g >> 1) & 3) * 2;
      const from = p + 32 + (g >> 3) * 32 + (g & 1) * 16;
      const mask = p + (g & 1) * 16;
      const bit = g >> 1;
      const to = o + g * 16;
      for (let i = 0; i < 16; i++) {
        // A set high bit means "no offset", a clear one −4.
        const high = (((bytes[mask + i] ?? 0) >> bit) & 1) << 2;
        out[to + i] = dl * ((((bytes[from + i] ?? 0) >> shift) & 3) + high - 4);
      }
    }
  }
}

/** 6-bit scale of group `g` (0 to 7) in the 12 bytes at `p`, as Q4_K and Q5_K pack them. */
function scaleOf(bytes: Uint8Array, p: number, g: number): number {
  if (g < 4) return (bytes[p + g] ?? 0) & 63;
  return ((bytes[p + 4 + g] ?? 0) & 15) | (((bytes[p + g - 4] ?? 0) >> 2) & 48);
}

/** 6-bit min of group `g` in the same 12 bytes. */
function minOf(bytes: Uint8Array, p: number, g: number): number {
  if (g < 4) return (bytes[p + 4 + g] ?? 0) & 63;
  return ((bytes[p + 4 + g] ?? 0) >> 4) | (((bytes[p + g] ?? 0) >> 2) & 48);
}

/** 144 bytes: half d, half dmin, 12 bytes of scales and mins, 128 bytes of 4-bit weights. */
export function dequantiseQ4K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 144, o += 256) {
    const d = half[(bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8)] ?? 0;
    const dmin = half[(bytes[p + 2] ?? 0) | ((bytes[p + 3] ?? 0) << 8)] ?? 0;
    for (let g = 0; g < 8; g++) {
      const dl = d * scaleOf(bytes, p + 4, g);
      const ml = dmin * minOf(bytes, p + 4, g);
      const from = p + 16 + (g >> 1) * 32;
      const shift = (g & 1) * 4;
      const to = o + g * 32;
      for (let i = 0; i < 32; i++) out[to + i] = dl * (((bytes[from + i] ?? 0) >> shift) & 15) - ml;
    }
  }
}

/** 176 bytes: as Q4_K, with 32 bytes of fifth bits before the 128 bytes of low bits. */
export function dequantiseQ5K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 176, o += 256) {
    const d = half[(bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8)] ?? 0;
    const dmin = half[(bytes[p + 2] ?? 0) | ((bytes[p + 3] ?? 0) << 8)] ?? 0;
    for (let g = 0; g < 8; g++) {
      const dl = d * scaleOf(bytes, p + 4, g);
      const ml = dmin * minOf(bytes, p + 4, g);
      const from = p + 48 + (g >> 1) * 32;
      const shift = (g & 1) * 4;
      const to = o + g * 32;
      for (let i = 0; i < 32; i++) {
        const q = (((bytes[from + i] ?? 0) >> shift) & 15) | ((((bytes[p + 16 + i] ?? 0) >> g) & 1) << 4);
        out[to + i] = dl * q - ml;
      }
    }
  }
}

/** 210 bytes: 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 signed 8-bit scales, half d. */
export function dequantiseQ6K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const half = halfToFloat();
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let b = 0, p = 0, o = 0; b < blocks; b++, p += 210, o += 256) {
    const d = half[(bytes[p + 208] ?? 0) | ((bytes[p + 209] ?? 0) << 8)] ?? 0;
    for (let g = 0; g < 16; g++) {
      // 11 bits × 8 bits is exact; × 6 bits is 25 bits, so the product rounds once, when stored.
      const dl = fround(d * (signed[p + 192 + g] ?? 0));
      // Group g of 16: half g>>3 of the block, quarter (g>>1)&3 of it, side g&1.
      const quarter = (g >> 1) & 3;
      const low = p + (g >> 3) * 64 + (quarter & 1) * 32 + (g & 1) * 16;
      const lowShift = (quarter >> 1) * 4;
      const high = p + 128 + (g >> 3) * 32 + (g & 1) * 16;
      const highShift = quarter * 2;
      const to = o + g * 16;
      for (let i = 0; i < 16; i++) {
        const q = (((bytes[low + i] ?? 0) >> lowShift) & 15) | ((((bytes[high + i] ?? 0) >> highShift) & 3) << 4);
        out[to + i] = dl * (q - 32);
      }
    }
  }
}
