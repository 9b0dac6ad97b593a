import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bf16Bits, decodeFloats, encodeFloats, f16Bits, roundFloats } from '../../src/evaluate/codec.ts';
import type { FloatDtype } from '../../src/evaluate/codec.ts';
import { roundTo } from './naive.ts';

/** The values of all 65,536 bit patterns. */
function allValues(dtype: FloatDtype): Float64Array {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const out = new Float64Array(65536);
  decodeFloats(dtype, Buffer.from(bits.buffer), 65536, out);
  return out;
}

describe.each([
  ['BF16', bf16Bits],
  ['F16', f16Bits],
] as const)('%s', (dtype, toBits) => {
  const values = allValues(dtype);

  it('gives every bit pattern back', () => {
    const wrong: number[] = [];
    values.forEach((x, bits) => {
      if (Number.isNaN(x) ? !Number.isNaN(values[toBits(x)]) : toBits(x) !== bits) wrong.push(bits);
    });
    expect(wrong).toEqual([]);
  });

  it('rounds halfway cases between all neighbours to the even one, and anything beside them to the nearer', () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < 0x7f80; bits++) {
      const low = values[bits] ?? NaN;
      const high = values[bits + 1] ?? NaN;
      if (!Number.isFinite(low) || !Number.isFinite(high)) continue;
      const middle = low + (high - low) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      // Far closer to the middle than a float32 can tell: rounding twice would go wrong.
      const nudge = (high - low) * 2 ** -40;
      if (toBits(middle) !== even || toBits(middle - nudge) !== bits || toBits(middle + nudge) !== bits + 1)
        wrong.push(bits);
      if (toBits(-middle) !== (even | 0x8000)) wrong.push(-bits);
    }
    expect(wrong).toEqual([]);
  });

  it('is the same in bulk, for every pattern and all halfway cases', () => {
    const inputs: number[] = [NaN, 1e308, -1e308, 1e-320, 0, -0];
    for (let bits = 0; bits < 65536; bits++) {
      const x = values[bits] ?? NaN;
      const next = values[bits + 1] ?? NaN;
      inputs.push(x, x + (next - x) / 2, x + (next - x) * (0.5 + 2 ** -40), x + (next - x) * (0.5 - 2 ** -40));
    }
    const out = Buffer.from(new ArrayBuffer(inputs.length * 2));
    encodeFloats(dtype, Float64Array.from(inputs), inputs.length, out);
    const rounded = Float64Array.from(inputs);
    roundFloats(dtype, rounded, inputs.length);
    const wrong = inputs.filter(
      (x, i) => out.readUInt16LE(i * 2) !== toBits(x) || !Object.is(rounded[i], values[toBits(x)]),
    );
    expect(wrong).toEqual([]);
  });

  it('overflows to infinity from half a unit beyond the largest value', () => {
    const largest = dtype === 'F16' ? 65504 : (values[0x7f7f] ?? NaN);
    const half = dtype === 'F16' ? 16 : 2 ** 119;
    const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80;
    expect(toBits(largest + half)).toBe(infinity);
    expect(toBits(largest + half * 0.9999999)).toBe(infinity - 1);
    expect([toBits(1e308), toBits(-1e308), toBits(Infinity)]).toEqual([infinity, infinity | 0x8000, infinity]);
    expect(toBits(1e-300)).toBe(0);
    expect(toBits(-1e-300)).toBe(0x8000);
  });
});

describe('all float dtypes', () => {
  const dtypes = fc.constantFrom<FloatDtype>('F64', 'F32', 'BF16', 'F16');
  // Uniform over bit patterns: all magnitudes come, subnormals too.
  const doubles = fc.double({ noNaN: true });
  const sized = fc
    .tuple(fc.integer({ min: -40, max: 20 }), fc.double({ min: -2, max: 2, noNaN: true }))
    .map(([e, m]) => m * 2 ** e);

  it('round as exact integer arithmetic does', () => {
    fc.assert(
      fc.property(dtypes, fc.array(fc.oneof(doubles, sized), { minLength: 1, maxLength: 8 }), (dtype, xs) => {
        const values = Float64Array.from(xs);
        roundFloats(dtype, values, xs.length);
        expect([...values]).toEqual(xs.map((x) => roundTo(dtype, x)));
      }),
      { numRuns: 500 },
    );
  });

  it('store and load what they can hold, at any alignment', () => {
    fc.assert(
      fc.property(dtypes, fc.array(sized, { minLength: 1, maxLength: 8 }), fc.nat(7), (dtype, xs, shift) => {
        const values = Float64Array.from(xs);
        roundFloats(dtype, values, xs.length);
        const width = { F64: 8, F32: 4, BF16: 2, F16: 2 }[dtype];
        const bytes = Buffer.from(new ArrayBuffer(shift + xs.length * width)).subarray(shift);
        encodeFloats(dtype, values, xs.length, bytes);
        const back = new Float64Array(xs.length);
        decodeFloats(dtype, bytes, xs.length, back);
        expect(back).toEqual(values);
      }),
    );
  });
});
