/**
 * Conversions against slow, exact arithmetic: every code of every small float, every midpoint between neighbours, and
 * random values by big integers.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bf16ToF32,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  f32ToF8,
  f8ToF32,
  fromFloat32,
  toFloat32,
  toFloat64,
} from '../src/index.ts';
import type { Dtype } from '../src/index.ts';
import { errorOf, pythonWith, runPython } from './helpers.ts';

interface Format {
  readonly dtype: Dtype;
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /** Largest finite code. */
  readonly max: number;
  /** Code that overflow gives. */
  readonly overflow: number;
  readonly fnuz?: true;
}

/** From the formats' definitions (IEEE 754, OCP FP8, FNUZ), not from the code under test. */
const FORMATS: readonly Format[] = [
  { dtype: 'F16', exponentBits: 5, mantissaBits: 10, bias: 15, max: 0x7bff, overflow: 0x7c00 },
  { dtype: 'BF16', exponentBits: 8, mantissaBits: 7, bias: 127, max: 0x7f7f, overflow: 0x7f80 },
  { dtype: 'F8_E5M2', exponentBits: 5, mantissaBits: 2, bias: 15, max: 0x7b, overflow: 0x7c },
  { dtype: 'F8_E4M3', exponentBits: 4, mantissaBits: 3, bias: 7, max: 0x7e, overflow: 0x7e },
  { dtype: 'F8_E4M3FNUZ', exponentBits: 4, mantissaBits: 3, bias: 8, max: 0x7f, overflow: 0x80, fnuz: true },
  { dtype: 'F8_E5M2FNUZ', exponentBits: 5, mantissaBits: 2, bias: 16, max: 0x7f, overflow: 0x80, fnuz: true },
];

const widthOf = (format: Format): 8 | 16 => (format.exponentBits + format.mantissaBits === 15 ? 16 : 8);

function encode(format: Format, values: Float32Array): Uint16Array | Uint8Array {
  const bytes = fromFloat32(format.dtype, values);
  return widthOf(format) === 16 ? new Uint16Array(bytes.buffer, bytes.byteOffset, values.length) : bytes;
}

function encodeOne(format: Format, value: number): number {
  return encode(format, Float32Array.of(value))[0] as number;
}

function decodeAll(format: Format): Float32Array {
  const codes = Array.from({ length: 2 ** widthOf(format) }, (_, i) => i);
  const bytes = widthOf(format) === 16 ? new Uint8Array(Uint16Array.from(codes).buffer) : Uint8Array.from(codes);
  return toFloat32(format.dtype, bytes);
}

/** A finite code's value by the definition: (-1)^s × 2^e × m, in exact double arithmetic. */
function valueOf(format: Format, code: number): number {
  const { exponentBits, mantissaBits, bias } = format;
  const sign = code >> (exponentBits + mantissaBits) === 0 ? 1 : -1;
  const exponent = (code >> mantissaBits) & (2 ** exponentBits - 1);
  const mantissa = code % 2 ** mantissaBits;
  const scale = Math.max(exponent, 1) - bias - mantissaBits;
  return sign * (mantissa + (exponent > 0 ? 2 ** mantissaBits : 0)) * 2 ** scale;
}

/** f32 neighbours of a positive value, by its bits. */
function nudge(value: number, by: 1 | -1): number {
  const f = Float32Array.of(value);
  const bits = new Uint32Array(f.buffer);
  bits[0] = (bits[0] as number) + by;
  return f[0] as number;
}

/** A finite f32 in units of 2^-149, exactly. */
function fixed(value: number): bigint {
  const bits = new Uint32Array(Float32Array.of(Math.abs(value)).buffer)[0] as number;
  const exponent = bits >>> 23;
  return exponent === 0 ? BigInt(bits) : BigInt((bits & 0x7fffff) | 0x800000) << BigInt(exponent - 1);
}

/** Nearest code by big integers: the slow truth that the bit tricks must meet. */
function nearest(format: Format, value: number, grid: readonly bigint[]): number {
  const signBit = 1 << (format.exponentBits + format.mantissaBits);
  const sign = value < 0 || Object.is(value, -0) ? signBit : 0;
  const x = fixed(value);
  let low = 0;
  let high = format.max + 1;
  // Invariant: grid[low] <= x < grid[high], with the first value beyond the range as the last grid point.
  if (x >= (grid[high] as bigint)) return format.overflow | sign;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((grid[middle] as bigint) <= x) low = middle;
    else high = middle;
  }
  const below = x - (grid[low] as bigint);
  const above = (grid[high] as bigint) - x;
  const code = below < above || (below === above && low % 2 === 0) ? low : high;
  if (code > format.max) return format.overflow | sign;
  return format.fnuz === true && code === 0 ? 0 : code | sign;
}

function gridOf(format: Format): readonly bigint[] {
  // One step beyond the largest finite code continues the pattern; its value may exceed f32's (2^128 for bf16).
  return Array.from({ length: format.max + 2 }, (_, code) => {
    const exponent = (code >> format.mantissaBits) & (2 ** (format.exponentBits + 1) - 1);
    const mantissa = code % 2 ** format.mantissaBits;
    const significand = BigInt(mantissa + (exponent > 0 ? 2 ** format.mantissaBits : 0));
    return significand << BigInt(Math.max(exponent, 1) - format.bias - format.mantissaBits + 149);
  });
}

const anyF32 = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }).map((bits) => new Float32Array(Uint32Array.of(bits).buffer)[0] as number),
  fc.float(),
  fc.float({ min: -1, max: 1 }),
);

describe.each(FORMATS)('$dtype', (format) => {
  const signBit = 1 << (format.exponentBits + format.mantissaBits);
  const all = decodeAll(format);

  test('every code decodes to its value', () => {
    let finite = 0;
    for (let code = 0; code < all.length; code++) {
      const magnitude = code & (signBit - 1);
      const value = all[code] as number;
      if (format.fnuz === true ? code === signBit : magnitude > format.max) {
        const infinite = format.fnuz !== true && magnitude === format.overflow;
        expect(infinite ? value : Number.isNaN(value)).toBe(infinite ? (code < signBit ? Infinity : -Infinity) : true);
      } else {
        if (!Object.is(value, valueOf(format, code))) expect([code, value]).toEqual([code, valueOf(format, code)]);
        finite++;
      }
    }
    expect(finite).toBe(format.fnuz === true ? 2 * signBit - 1 : 2 * (format.max + 1));
  });

  test('every code survives the way there and back; NaN stays NaN', () => {
    const back = encode(format, all);
    for (let code = 0; code < all.length; code++) {
      const again = back[code] as number;
      if (Number.isNaN(all[code])) {
        if (!Number.isNaN(all[again])) expect([code, all[again]]).toEqual([code, NaN]);
      } else if (again !== code) expect(again).toBe(code);
    }
  });

  test('every midpoint goes to the even code, its neighbours to theirs', () => {
    for (let code = 0; code <= format.max; code++) {
      const low = valueOf(format, code);
      // Beyond the largest finite value the pattern goes on by one step.
      const high = code < format.max ? valueOf(format, code + 1) : 2 * low - valueOf(format, code - 1);
      const middle = (low + high) / 2;
      const up = code < format.max ? code + 1 : format.overflow;
      const even = code % 2 === 0 ? code : up;
      const got = encode(format, Float32Array.of(middle, nudge(middle, -1), nudge(middle, 1), -middle));
      const sign = (c: number): number => (format.fnuz === true && c === 0 ? 0 : c | signBit);
      const wanted = [even, code, up, sign(even)];
      if (got.some((c, i) => c !== wanted[i])) expect([code, ...got]).toEqual([code, ...wanted]);
    }
  });

  test('specials', () => {
    const at = (value: number): number => encodeOne(format, value);
    expect(at(0)).toBe(0);
    expect(at(-0)).toBe(format.fnuz === true ? 0 : signBit);
    expect(at(Infinity)).toBe(format.overflow);
    expect(at(-Infinity)).toBe(format.overflow | signBit);
    // The largest f32 and the smallest.
    expect(at(3.4028234663852886e38)).toBe(format.overflow);
    expect(at(2 ** -149)).toBe(0);
    for (const bits of [0x7fc00000, 0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff]) {
      const nan = new Float32Array(Uint32Array.of(bits).buffer);
      expect(all[encode(format, nan)[0] as number]).toBeNaN();
    }
  });

  test('random values round as big integers say', () => {
    const grid = gridOf(format);
    fc.assert(
      fc.property(anyF32, (value) => {
        fc.pre(Number.isFinite(value));
        expect(encodeOne(format, value)).toBe(nearest(format, value, grid));
      }),
      { numRuns: 1500 },
    );
  });
});

describe('F8_E8M0', () => {
  const encode8 = (value: number): number => f32ToF8('F8_E8M0', Float32Array.of(value))[0] as number;

  test('every code is a power of two, 255 is NaN', () => {
    const all = f8ToF32(
      'F8_E8M0',
      Uint8Array.from({ length: 256 }, (_, i) => i),
    );
    for (let code = 0; code < 255; code++) {
      expect(all[code]).toBe(2 ** (code - 127));
      expect(encode8(all[code] as number)).toBe(code);
    }
    expect(all[255]).toBeNaN();
  });

  test('rounding: from 1.5 × 2^n on it goes up; beyond 2^127 there is only NaN', () => {
    for (let n = -126; n < 127; n++) {
      expect(encode8(1.5 * 2 ** n)).toBe(n + 128);
      expect(encode8(nudge(1.5 * 2 ** n, -1))).toBe(n + 127);
    }
    expect(encode8(1.5 * 2 ** 127)).toBe(255);
    expect([NaN, Infinity, -Infinity].map(encode8)).toEqual([255, 255, 255]);
    expect(encode8(0)).toBe(0);
    expect(encode8(-4)).toBe(encode8(4));
    // Subnormal f32: exactly half of 2^-126 is 2^-127, which code 0 holds.
    expect(encode8(2 ** -127)).toBe(0);
    expect(encode8(nudge(2 ** -127, 1))).toBe(1);
  });
});

describe('toFloat32, toFloat64, fromFloat32', () => {
  const le = (write: (view: DataView) => void, bytes: number): Uint8Array => {
    const buffer = new Uint8Array(bytes);
    write(new DataView(buffer.buffer));
    return buffer;
  };

  test('F32 and F64 keep their bits', () => {
    const source = Uint32Array.of(0x7fc12345, 0x80000000, 1, 0x3f800000, 0x7f800000);
    const out = toFloat32('F32', new Uint8Array(source.buffer));
    expect([...new Uint32Array(out.buffer)]).toEqual([...source]);
    expect([...fromFloat32('F32', out)]).toEqual([...new Uint8Array(source.buffer)]);
    const doubles = Float64Array.of(0.1, -0, Infinity, 5e-324, 1 + 2 ** -24, 3.5e38);
    expect([...toFloat64('F64', new Uint8Array(doubles.buffer))]).toEqual([...doubles]);
    expect([...toFloat32('F64', new Uint8Array(doubles.buffer))]).toEqual([
      Math.fround(0.1),
      -0,
      Infinity,
      0,
      1,
      Infinity,
    ]);
    expect([...toFloat64('F64', fromFloat32('F64', Float32Array.of(0.1)))]).toEqual([Math.fround(0.1)]);
  });

  test('integers and booleans', () => {
    expect([...toFloat32('I8', Uint8Array.of(127, 128, 255))]).toEqual([127, -128, -1]);
    expect([...toFloat32('U8', Uint8Array.of(127, 128, 255))]).toEqual([127, 128, 255]);
    expect([...toFloat32('BOOL', Uint8Array.of(0, 1, 7))]).toEqual([0, 1, 1]);
    expect([
      ...toFloat32(
        'I16',
        le((v) => v.setInt16(0, -2, true), 2),
      ),
    ]).toEqual([-2]);
    expect([
      ...toFloat32(
        'U16',
        le((v) => v.setInt16(0, -2, true), 2),
      ),
    ]).toEqual([65534]);
    expect([
      ...toFloat64(
        'I32',
        le((v) => v.setInt32(0, -3, true), 4),
      ),
    ]).toEqual([-3]);
    expect([
      ...toFloat64(
        'U32',
        le((v) => v.setInt32(0, -3, true), 4),
      ),
    ]).toEqual([4294967293]);
    expect([
      ...toFloat32(
        'U32',
        le((v) => v.setUint32(0, 16777217, true), 4),
      ),
    ]).toEqual([16777216]);
  });

  test('64-bit integers round once', () => {
    const of = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, value)).buffer);
    // Rounded to 53 bits first, this would become a tie and go to the even neighbour below.
    const tricky = (1n << 62n) + (1n << 38n) + 1n;
    expect([...toFloat32('I64', of(tricky))]).toEqual([2 ** 62 + 2 ** 39]);
    expect([...toFloat32('I64', of(-tricky))]).toEqual([-(2 ** 62) - 2 ** 39]);
    const grid = (value: bigint): number => {
      // Nearest f32 by trying the three f32 values around.
      const start = Math.fround(Number(value));
      const f = Float32Array.of(Math.abs(start));
      const bits = new Uint32Array(f.buffer);
      const magnitude = value < 0n ? -value : value;
      let best = f[0] as number;
      for (const by of [-1, 0, 1]) {
        const g = new Float32Array(Uint32Array.of((bits[0] as number) + by).buffer);
        const candidate = g[0] as number;
        const off = (x: number): bigint => (BigInt(x) > magnitude ? BigInt(x) - magnitude : magnitude - BigInt(x));
        const even = (new Uint32Array(g.buffer)[0] as number) % 2 === 0;
        if (off(candidate) < off(best) || (off(candidate) === off(best) && even)) best = candidate;
      }
      return value < 0n ? -best : best;
    };
    const big = fc
      .oneof(
        fc.bigInt({ min: 1n << 24n, max: (1n << 63n) - 1n }),
        fc
          .tuple(fc.integer({ min: 25, max: 62 }), fc.nat(2 ** 23), fc.integer({ min: -2, max: 2 }))
          .map(([e, m, d]) => {
            // Near the midpoint between two f32 values.
            const ulp = 1n << BigInt(e - 23);
            return (1n << BigInt(e)) + BigInt(m) * ulp + ulp / 2n + BigInt(d);
          }),
      )
      .filter((value) => value < 1n << 63n);
    fc.assert(
      fc.property(big, fc.boolean(), (value, negative) => {
        const v = negative ? -value : value;
        expect(toFloat32('I64', of(v))[0]).toBe(grid(v));
        expect(toFloat64('I64', of(v))[0]).toBe(Number(v));
        if (!negative) expect(toFloat32('U64', of(v))[0]).toBe(grid(v));
      }),
      { numRuns: 1000 },
    );
    expect(toFloat64('U64', of(2n ** 64n - 1n))[0]).toBe(2 ** 64);
  });

  test('F4 unpacks two per byte, the low nibble first', () => {
    expect([...toFloat32('F4', Uint8Array.of(0x10, 0x72, 0xf8))]).toEqual([0, 0.5, 1, 6, -0, -6]);
    expect([...toFloat64('F4', Uint8Array.of(0x9a))]).toEqual([-1, -0.5]);
  });

  test('any alignment, and an output of the caller’s', () => {
    const room = new Uint8Array(16);
    const odd = room.subarray(1, 9);
    odd.set(fromFloat32('F32', Float32Array.of(1.5, -2)));
    const out = new Float32Array(4).fill(9);
    expect(toFloat32('F32', odd, out)).toBe(out);
    expect([...out]).toEqual([1.5, -2, 9, 9]);
    expect([
      ...toFloat32('F64', Buffer.concat([Buffer.alloc(3), Buffer.from(Float64Array.of(7).buffer)]).subarray(3)),
    ]).toEqual([7]);
    const target = new Uint8Array(7).fill(255);
    const written = fromFloat32('BF16', Float32Array.of(1, 2), target.subarray(1));
    expect([...target]).toEqual([255, 0x80, 0x3f, 0, 0x40, 255, 255]);
    expect(written.byteLength).toBe(4);
  });

  test('the bulk functions take an output too', () => {
    const f = Float32Array.of(1, 2);
    const half = new Uint16Array(3);
    expect(f32ToF16(f, half)).toBe(half);
    expect([...f16ToF32(half)]).toEqual([1, 2, 0]);
    expect([...bf16ToF32(f32ToBf16(f, half))]).toEqual([1, 2, 0]);
    const eight = new Uint8Array(2);
    expect(f32ToF8('F8_E5M2', f, eight)).toBe(eight);
    expect([...f8ToF32('F8_E5M2', eight, new Float32Array(2))]).toEqual([1, 2]);
    expect(errorOf(() => f32ToBf16(f, new Uint16Array(1))).code).toBe('invalid-argument');
  });

  test('refusals', () => {
    expect(errorOf(() => toFloat32('C64', new Uint8Array(8))).code).toBe('unsupported-dtype');
    expect(errorOf(() => toFloat32('F6_E2M3', new Uint8Array(3))).code).toBe('unsupported-dtype');
    expect(errorOf(() => fromFloat32('I32', new Float32Array(1))).code).toBe('unsupported-dtype');
    expect(errorOf(() => fromFloat32('F4', new Float32Array(2))).code).toBe('unsupported-dtype');
    expect(errorOf(() => toFloat32('F32', new Uint8Array(5))).code).toBe('invalid-argument');
    expect(errorOf(() => toFloat32('I64', new Uint8Array(12))).code).toBe('invalid-argument');
    expect(errorOf(() => toFloat32('F16', new Uint8Array(4), new Float32Array(1))).code).toBe('invalid-argument');
    expect(errorOf(() => fromFloat32('F16', new Float32Array(2), new Uint8Array(3))).code).toBe('invalid-argument');
  });
});

describe('torch', () => {
  const TORCH: readonly (readonly [Dtype, string])[] = [
    ['F16', 'float16'],
    ['BF16', 'bfloat16'],
    ['F8_E5M2', 'float8_e5m2'],
    ['F8_E4M3', 'float8_e4m3fn'],
    ['F8_E4M3FNUZ', 'float8_e4m3fnuz'],
    ['F8_E5M2FNUZ', 'float8_e5m2fnuz'],
    ['F8_E8M0', 'float8_e8m0fnu'],
  ];

  test('rounds alike, both ways', { timeout: 120_000 }, (context) => {
    const python = pythonWith(['torch']);
    if (python === undefined) return context.skip();
    // Random bits, every exponent with interesting mantissas, and the neighbourhood of every 16-bit boundary.
    const bits: number[] = [];
    let state = 12345;
    for (let i = 0; i < 100_000; i++) bits.push((state = (Math.imul(state, 1664525) + 1013904223) >>> 0));
    for (let high = 0; high < 65536; high++)
      for (const low of [0, 1, 0x7fff, 0x8000, 0x8001]) bits.push(((high << 16) | low) >>> 0);
    for (let high = 0; high < 4096; high++)
      for (const low of [0x7ffff, 0x80000, 0x80001]) bits.push(((high << 20) | low) >>> 0);
    const values = new Float32Array(Uint32Array.from(bits).buffer);
    const script = `
import sys, torch
data = bytearray(sys.stdin.buffer.read())
x = torch.frombuffer(data, dtype=torch.float32)
for name in ${JSON.stringify(TORCH.map(([, name]) => name))}:
    y = x.to(getattr(torch, name))
    print(y.view(torch.uint8).numpy().tobytes().hex())
    codes = torch.arange(65536, dtype=torch.int32).to(torch.uint16) if y.element_size() == 2 else torch.arange(256, dtype=torch.uint8)
    print(codes.view(getattr(torch, name)).to(torch.float32).view(torch.uint8).numpy().tobytes().hex())
`;
    const lines = runPython(python, script, Buffer.from(values.buffer)).trimEnd().split('\n');
    TORCH.forEach(([dtype], i) => {
      const theirs = Uint8Array.from(Buffer.from(lines[2 * i] as string, 'hex'));
      const ours = fromFloat32(dtype, values);
      // NaN has many codes; it must be NaN on both sides, and everything else must be equal.
      const theirValues = toFloat32(dtype, theirs);
      const ourValues = toFloat32(dtype, ours);
      let different = 0;
      for (let k = 0; k < values.length; k++) {
        if (Object.is(theirValues[k], ourValues[k])) continue;
        // Before it saturated, torch turned e4m3fn's overflow into NaN.
        const older = dtype === 'F8_E4M3' && Number.isNaN(theirValues[k]) && Math.abs(ourValues[k] as number) === 448;
        if (!older) different++;
      }
      expect([dtype, different]).toEqual([dtype, 0]);
      const decodedThere = Uint8Array.from(Buffer.from(lines[2 * i + 1] as string, 'hex'));
      const there = toFloat32('F32', decodedThere);
      const width = theirs.length / values.length;
      const codes =
        width === 2
          ? new Uint8Array(Uint16Array.from({ length: 65536 }, (_, c) => c).buffer)
          : Uint8Array.from({ length: 256 }, (_, c) => c);
      const here = toFloat32(dtype, codes);
      expect([...here].findIndex((value, c) => !Object.is(value, there[c]))).toBe(-1);
    });
  });
});
