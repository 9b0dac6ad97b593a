import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dequantise, unsupportedType } from '../../src/gguf/dequant.ts';
import { GGML_TYPES, ggmlTypeByName } from '../../src/gguf/ggml-types.ts';
import { halfToFloat } from '../../src/gguf/half.ts';
import { storedRow, storedRows } from '../../src/gguf/transform.ts';
import { caught } from './build.ts';

interface Golden {
  readonly gguf: string;
  readonly types: Readonly<Record<string, { readonly blocks: string; readonly values: string }>>;
}
const golden = JSON.parse(readFileSync(new URL('./fixtures/quants.json', import.meta.url), 'utf8')) as Golden;
const decoded = [...GGML_TYPES.values()].filter((type) => type.decoded);

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(Buffer.from(base64, 'base64'));
}

describe('dequantise', () => {
  it('has a golden for every type that it decodes', () => {
    expect(Object.keys(golden.types).sort()).toEqual(decoded.map((type) => type.name).sort());
  });

  it.each(Object.keys(golden.types))('%s is bit-identical to the gguf package', (name) => {
    const type = ggmlTypeByName(name);
    const entry = golden.types[name];
    if (type === undefined || entry === undefined) throw new Error('unknown type');
    const blocks = bytesOf(entry.blocks);
    const out = new Float32Array((blocks.length / type.blockBytes) * type.blockElements);
    dequantise(type, blocks, out);
    expect(Buffer.from(out.buffer).equals(Buffer.from(entry.values, 'base64'))).toBe(true);
  });

  it('makes any run of blocks alone, at any byte offset of the buffer', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...decoded),
        fc.integer({ min: 2, max: 6 }),
        fc.nat(7),
        fc.infiniteStream(fc.nat(255)),
        (type, count, shift, stream) => {
          const values = stream[Symbol.iterator]();
          const all = Uint8Array.from({ length: count * type.blockBytes }, () => (values.next().value ?? 0) & 0x3b);
          const whole = new Float32Array(count * type.blockElements);
          dequantise(type, all, whole);
          const shifted = new Uint8Array(all.length + shift);
          shifted.set(all, shift);
          const part = new Float32Array((count - 1) * type.blockElements);
          dequantise(type, shifted.subarray(shift + type.blockBytes), part);
          expect(part).toEqual(whole.subarray(type.blockElements));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('refuses a type that is known by name only, and says what to use', () => {
    const type = ggmlTypeByName('IQ2_XXS');
    if (type === undefined) throw new Error('unknown type');
    const error = caught(() => {
      dequantise(type, new Uint8Array(66), new Float32Array(256));
    });
    expect(error).toMatchObject({ kind: 'input', code: 'gguf-type-unsupported' });
    expect(unsupportedType(type, 'm.gguf', 'blk.0.x').message).toBe(
      'm.gguf: tensor "blk.0.x" is stored as IQ2_XXS, which is not turned into floating point here',
    );
  });

  it('refuses lengths that do not fit', () => {
    const type = ggmlTypeByName('Q8_0');
    if (type === undefined) throw new Error('unknown type');
    for (const [bytes, values] of [
      [33, 32],
      [34, 31],
      [34, 64],
    ] as const) {
      expect(
        caught(() => {
          dequantise(type, new Uint8Array(bytes), new Float32Array(values));
        }),
      ).toMatchObject({ code: 'gguf-block-length' });
    }
  });
});

describe('half precision', () => {
  it('widens exactly', () => {
    const table = halfToFloat();
    // Values by IEEE 754: 1, −2, largest, smallest normal, smallest subnormal, largest subnormal, infinities, signed zero.
    for (const [bits, value] of [
      [0x3c00, 1],
      [0xc000, -2],
      [0x7bff, 65504],
      [0x0400, 2 ** -14],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x7c00, Number.POSITIVE_INFINITY],
      [0xfc00, Number.NEGATIVE_INFINITY],
      [0x0000, 0],
      [0x8000, -0],
    ] as const) {
      expect(table[bits]).toBe(value);
    }
    expect(table[0x7e00]).toBeNaN();
  });
});

describe('row order of q and k', () => {
  it('is [head, half, j] from [head, j, half]', () => {
    // Two heads of four rows: the first halves are stored at even places.
    expect([...storedRows(8, 2)]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  });

  it('is a permutation within each head', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 33 }), (heads, half) => {
        const rows = heads * half * 2;
        const order = storedRows(rows, heads);
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, i) => i));
        for (let row = 0; row < rows; row++) {
          const stored = storedRow(row, rows, heads);
          expect(Math.floor(stored / (2 * half))).toBe(Math.floor(row / (2 * half)));
          // The converter's own direction: stored [head, j, half] = HF [head, half, j].
          const within = row % (2 * half);
          expect(stored % (2 * half)).toBe((within % half) * 2 + Math.floor(within / half));
        }
      }),
      { numRuns: 40 },
    );
  });
});
