/** IEEE half precision to float32, exactly, by table: 65,536 entries made on first use. */

let table: Float32Array | undefined;

/** `halfToFloat()[bits]` is the float32 value of the half-precision number with those bits. */
export function halfToFloat(): Float32Array {
  if (table !== undefined) return table;
  const made = new Float32Array(65_536);
  // Built from bits, not by arithmetic, so that NaN payloads widen as the hardware widens them.
  const words = new Uint32Array(made.buffer);
  for (let bits = 0; bits < 65_536; bits++) {
    const sign = (bits & 0x8000) << 16;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0) {
      // Subnormal: fraction × 2^-24, exact in float32.
      made[bits] = (sign === 0 ? 1 : -1) * fraction * 2 ** -24;
    } else if (exponent === 31) {
      const quiet = fraction === 0 ? 0 : 0x400000;
      words[bits] = (sign | 0x7f800000 | quiet | (fraction << 13)) >>> 0;
    } else {
      words[bits] = (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
    }
  }
  table = made;
  return made;
}
