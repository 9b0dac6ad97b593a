/**
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): a counter-based generator. Block n
 * of a stream is a pure function of (key, n), so any part of a random tensor can be made alone, on any machine.
 */

const M0_LOW = 0x1f53;
const M0_HIGH = 0xd251;
const M0 = 0xd2511f53 | 0;
const M1_LOW = 0x8d57;
const M1_HIGH = 0xcd9e;
const M1 = 0xcd9e8d57 | 0;
const W0 = 0x9e3779b9 | 0;
const W1 = 0xbb67ae85 | 0;
const ROUNDS = 10;

/**
 * The high 32 bits of (high·2^16 + low)·x, as a signed 32-bit number. 16-bit halves keep every product inside 32 bits,
 * where Math.imul is exact.
 */
function multiplyHigh(low: number, high: number, x: number): number {
  const xLow = x & 0xffff;
  const xHigh = x >>> 16;
  const lowLow = Math.imul(low, xLow);
  const lowHigh = Math.imul(low, xHigh);
  const highLow = Math.imul(high, xLow);
  const carry = ((lowLow >>> 16) + (lowHigh & 0xffff) + (highLow & 0xffff)) >>> 16;
  return (Math.imul(high, xHigh) + (lowHigh >>> 16) + (highLow >>> 16) + carry) | 0;
}

/** Writes the four 32-bit words of block (c0, c1, c2, c3) under key (k0, k1) into `out`. */
export function philoxBlock(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
  out: Uint32Array,
): void {
  let x0 = c0 | 0;
  let x1 = c1 | 0;
  let x2 = c2 | 0;
  let x3 = c3 | 0;
  let a = k0 | 0;
  let b = k1 | 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(M0_LOW, M0_HIGH, x0);
    const low0 = Math.imul(M0, x0);
    const high1 = multiplyHigh(M1_LOW, M1_HIGH, x2);
    const low1 = Math.imul(M1, x2);
    x0 = high1 ^ x1 ^ a;
    x1 = low1;
    x2 = high0 ^ x3 ^ b;
    x3 = low0;
    a = (a + W0) | 0;
    b = (b + W1) | 0;
  }
  out[0] = x0;
  out[1] = x1;
  out[2] = x2;
  out[3] = x3;
}
