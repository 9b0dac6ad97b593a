import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  complementOf,
  fillNormal,
  fillUniform,
  naturalLog,
  normalQuantile,
  philoxBlock,
  randomPermutation,
  randomShard,
  randomStream,
  randomSubset,
} from '../../src/random/index.ts';
import { plainPhilox, wasmPhilox } from '../../src/random/philox-wasm.ts';

describe('Philox4x32-10', () => {
  // kat_vectors of Random123 1.14.
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])('counter %j, key %j', ([c0 = 0, c1 = 0, c2 = 0, c3 = 0], [k0 = 0, k1 = 0], words) => {
    const out = new Uint32Array(4);
    philoxBlock(c0, c1, c2, c3, k0, k1, out);
    expect([...out]).toEqual(words);
  });
});

describe('Philox in bulk', () => {
  const word = fc.integer({ min: 0, max: 0xffffffff });

  it('gives the words of single blocks, with and without WebAssembly, across the carry of the counter', () => {
    const wasm = wasmPhilox();
    const plain = plainPhilox();
    if (wasm === null) throw new Error('WebAssembly is missing in this Node');
    const counters = fc.oneof(word, fc.integer({ min: 0xfffffff0, max: 0xffffffff }));
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.tuple(counters, counters, word, word, word, word),
        (blocks, values) => {
          const [c0, c1, c2, c3, k0, k1] = values;
          const expected = new Uint32Array(blocks * 4);
          for (let n = 0; n < blocks; n++) {
            const carry = c0 + n > 0xffffffff ? 1 : 0;
            philoxBlock((c0 + n) | 0, (c1 + carry) | 0, c2, c3, k0, k1, expected.subarray(n * 4, n * 4 + 4));
          }
          expect(wasm(blocks, ...values).slice(0, blocks * 4)).toEqual(expected);
          expect(plain(blocks, ...values).slice(0, blocks * 4)).toEqual(expected);
        },
      ),
    );
  });
});

/** Difference in units of the last place of `exact`. */
function ulps(found: number, exact: number): number {
  const scale = 2 ** (Math.floor(Math.log2(Math.abs(exact))) - 52);
  return Math.abs(found - exact) / scale;
}

// Expected values: mpmath at 50 digits, of the exact double given.
describe('normal quantile', () => {
  it.each([
    [0.25, -0.6744897501960817432],
    [0.075, -1.4395314709384559349],
    [0.0749999, -1.4395321773759005864],
    [0.925, 1.4395314709384562291],
    [0.001, -3.0902323061678135354],
    [1e-10, -6.3613409024040561991],
    [2.220446049250313e-16, -8.1258906647019068585],
    [1.1102230246251565e-16, -8.2095361516013868556],
    [0.9999999, 5.1993375822906610937],
    [0.4250001, -0.18911817108707484647],
    [0.123456789, -1.1578786091502084582],
    [1e-5, -4.2648907939228246102],
    [0.99, 2.3263478740408407676],
  ])('p = %f', (p, z) => {
    // 1 − p is rounded for p near 1, which the tail magnifies: 6 units there, 4 elsewhere.
    expect(ulps(normalQuantile(p), z)).toBeLessThan(6);
  });

  it('is 0 at ½ and odd where 1 − p is exact', () => {
    expect(normalQuantile(0.5)).toBe(0);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 52 - 1 }), (k) => {
        const p = k / 2 ** 52;
        return normalQuantile(p) === -normalQuantile(1 - p);
      }),
    );
  });

  it('never falls as p grows', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-16, max: 0.999, noNaN: true }),
        (p) => normalQuantile(p) <= normalQuantile(p * 1.0001),
      ),
    );
  });
});

describe('own logarithm', () => {
  it.each([
    [1.5, 0.40546510810816438198],
    [0.1, -2.3025850929940456285],
    [2.220446049250313e-16, -36.04365338911715609],
    [0.5, -0.69314718055994530942],
    [0.7071067811865476, -0.34657359027997258635],
    [0.7071067811865475, -0.34657359027997274336],
    [1.0000000000000002, 2.2204460492503128343e-16],
    [1e-300, -690.77552789821370518],
    [123456.789, 11.723646487185881016],
    [0.99999999, -1.0000000100247593589e-8],
  ])('of %f', (x, log) => {
    expect(ulps(naturalLog(x), log)).toBeLessThan(1);
  });
});

describe('streams', () => {
  const whole = (fill: typeof fillNormal, key: string, count: number): Float64Array => {
    const out = new Float64Array(count);
    fill(out, randomStream(42, key), 0);
    return out;
  };

  it('give element i whatever range is asked for', () => {
    const normals = whole(fillNormal, 'k', 999);
    const uniforms = whole(fillUniform, 'k', 999);
    fc.assert(
      fc.property(fc.nat(998), fc.nat(998), (a, b) => {
        const [begin, end] = [Math.min(a, b), Math.max(a, b) + 1];
        const n = new Float64Array(end - begin);
        fillNormal(n, randomStream(42, 'k'), begin);
        const u = new Float64Array(end - begin);
        fillUniform(u, randomStream(42, 'k'), begin);
        expect(n).toEqual(normals.slice(begin, end));
        expect(u).toEqual(uniforms.slice(begin, end));
      }),
    );
  });

  it('are the documented function of sha256 and Philox', () => {
    const digest = createHash('sha256').update('moe-workbench/random@1\n7\nrouter').digest();
    const words = new Uint32Array(4);
    // Element 2^34 + 1: the second half of block 2^33, whose counter has a 2 in its upper word.
    philoxBlock(
      0,
      2,
      digest.readUInt32LE(8),
      digest.readUInt32LE(12),
      digest.readUInt32LE(0),
      digest.readUInt32LE(4),
      words,
    );
    const [, , w2 = 0, w3 = 0] = words;
    const u = new Float64Array(1);
    fillUniform(u, randomStream(7, 'router'), 2 ** 34 + 1);
    expect(u[0]).toBe(((w2 >>> 5) * 2 ** 26 + (w3 >>> 6)) / 2 ** 53);
    const z = new Float64Array(1);
    fillNormal(z, randomStream(7, 'router'), 2 ** 34 + 1);
    expect(z[0]).toBe(normalQuantile((w2 * 2 ** 20 + (w3 >>> 12) + 0.5) / 2 ** 52));
  });

  it('are the same numbers for ever: a change would break every manifest in the world', () => {
    const digest = (values: Float64Array): string =>
      createHash('sha256').update(Buffer.from(values.buffer)).digest('hex').slice(0, 16);
    // From an independent implementation in Python (hashlib, integers, the documented formulas).
    expect(digest(whole(fillUniform, 'golden', 4096))).toBe('618a5e83bf0e945f');
    expect([...randomPermutation(8, 42, 'golden')]).toEqual([4, 5, 2, 6, 0, 1, 7, 3]);
    // Ours; that implementation (statistics.NormalDist, the same AS 241 over libm's log) differs in the tails alone, by one or
    // two units of the last place.
    expect(digest(whole(fillNormal, 'golden', 4096))).toBe('00c14efed5b1f13b');
  });

  it('differ by seed and key, and have the moments of their distribution', () => {
    const n = 200_000;
    const z = new Float64Array(n);
    fillNormal(z, randomStream(1, 'a'), 0);
    const moment = (k: number): number => z.reduce((sum, x) => sum + x ** k, 0) / n;
    // Five standard errors.
    expect(Math.abs(moment(1))).toBeLessThan(5 / Math.sqrt(n));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(5 * Math.sqrt(96 / n));
    for (const [seed, key] of [
      [2, 'a'],
      [1, 'b'],
    ] as const) {
      const other = new Float64Array(n);
      fillNormal(other, randomStream(seed, key), 0);
      const correlation = z.reduce((sum, x, i) => sum + x * (other[i] ?? 0), 0) / n;
      expect(Math.abs(correlation)).toBeLessThan(5 / Math.sqrt(n));
    }
  });

  it('stay within [0, 1) and hit every tenth about equally', () => {
    const u = whole(fillUniform, 'u', 100_000);
    const bins = new Array<number>(10).fill(0);
    expect(Math.min(...u.subarray(0, 50_000), ...u.subarray(50_000))).toBeGreaterThanOrEqual(0);
    expect(u.every((x) => x < 1)).toBe(true);
    for (const x of u) {
      bins[Math.floor(x * 10)] = (bins[Math.floor(x * 10)] ?? 0) + 1;
    }
    const chi2 = bins.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chi2).toBeLessThan(40);
  });
});

describe('choices', () => {
  const sizes = fc.integer({ min: 0, max: 300 });

  it('permutations hold every index once', () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.string(), (size, seed, key) => {
        const order = randomPermutation(size, seed, key);
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
      }),
    );
  });

  it('permutations of three come equally often', () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed++) {
      const order = randomPermutation(3, seed, 'p').join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    const chi2 = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chi2).toBeLessThan(30);
  });

  it('shards are disjoint, ascending and cover everything', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 9 }), fc.nat(), (size, shards, seed) => {
        const all = Array.from({ length: shards }, (_, s) => randomShard(size, shards, s, seed, 'k'));
        for (const shard of all) expect([...shard]).toEqual([...shard].sort((a, b) => a - b));
        expect(all.flatMap((shard) => [...shard]).sort((a, b) => a - b)).toEqual(
          Array.from({ length: size }, (_, i) => i),
        );
      }),
    );
  });

  it('subsets have floor(ratio·size) members; the complement has the others', () => {
    fc.assert(
      fc.property(sizes, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(), (size, ratio, seed) => {
        const subset = randomSubset(size, ratio, seed, 'k');
        expect(subset.length).toBe(Math.floor(ratio * size));
        expect([...subset]).toEqual([...new Set(subset)].sort((a, b) => a - b));
        const rest = complementOf(subset, size);
        expect([...subset, ...rest].sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
      }),
    );
  });
});
