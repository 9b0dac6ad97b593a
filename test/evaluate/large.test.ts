/** Tensors larger than every block, group and table threshold: the seams between them must not show. */
import { createHash } from 'node:crypto';
import { readFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { Evaluator, SourceSet, exprPeakBytes } from '../../src/evaluate/index.ts';
import { dequantise } from '../../src/gguf/dequant.ts';
import { ggmlTypeByName } from '../../src/gguf/ggml-types.ts';
import type { Expr } from '../../src/plan/expr.ts';
import { naive, toBytes } from './naive.ts';
import type { Tensor } from './naive.ts';
import { checkpointOf, randomTensor, rawCheckpoint } from './sources.ts';

const tensors = new Map<string, Tensor>([
  // 300 × 700 elements of 2 bytes: more than a block of 65,536 elements; rows that no power of two divides.
  ['m', randomTensor('BF16', [300, 700], 1)],
  ['h', randomTensor('F16', [300, 700], 2)],
  // Rows of 40,000 × 4 bytes: pieces long enough to be read one by one.
  ['wide', randomTensor('F32', [9, 40_000], 3)],
]);
const checkpoint = checkpointOf(tensors);
// Cache of three blocks only: it must evict.
const evaluator = new Evaluator([checkpoint], 42, undefined, new SourceSet([checkpoint], 3 << 20));
afterAll(() => {
  evaluator.sources.close();
});
const source = (tensor: string): Expr => ({ op: 'source', from: 0, tensor });

describe('large tensors', () => {
  const cases: [string, Expr][] = [
    ['columns', { op: 'slice', of: source('m'), dim: 1, begin: 13, end: 451 }],
    ['long columns', { op: 'slice', of: source('wide'), dim: 1, begin: 7, end: 30_000 }],
    ['rows', { op: 'slice', of: source('m'), dim: 0, begin: 5, end: 299 }],
    ['concat of columns', { op: 'concat', dim: 1, of: [source('m'), source('m')] }],
    ['concat of long rows', { op: 'concat', dim: 1, of: [source('wide'), source('wide')] }],
    ['permuted rows', { op: 'take', of: source('m'), dim: 0, index: { kind: 'permutation', key: 'r', size: 300 } }],
    ['permuted columns', { op: 'take', of: source('m'), dim: 1, index: { kind: 'permutation', key: 'c', size: 700 } }],
    [
      'permuted long rows',
      { op: 'take', of: source('wide'), dim: 0, index: { kind: 'permutation', key: 'w', size: 9 } },
    ],
    [
      'permuted long columns',
      { op: 'take', of: source('wide'), dim: 1, index: { kind: 'permutation', key: 'w', size: 40_000 } },
    ],
    ['scaled by table', { op: 'scale', of: source('m'), by: 1 / 3 }],
    ['cast by table', { op: 'cast', of: source('h'), dtype: 'BF16' }],
    ['widened by table', { op: 'cast', of: source('h'), dtype: 'F32' }],
    ['widened to F64', { op: 'cast', of: source('m'), dtype: 'F64' }],
    ['noise', { op: 'noise', of: source('m'), std: 0.1, ratio: 0.3, key: 'n' }],
    [
      'redrawn rows',
      {
        op: 'redraw',
        of: source('m'),
        dim: 0,
        index: { kind: 'random-subset', key: 'd', size: 300, ratio: 0.5 },
        key: 'z',
      },
    ],
    [
      'redrawn columns',
      {
        op: 'redraw',
        of: source('m'),
        dim: 1,
        index: { kind: 'random-subset', key: 'd', size: 700, ratio: 0.25 },
        key: 'z',
      },
    ],
  ];
  it.each(cases)('%s', (_name, expr) => {
    const value = evaluator.compile(expr);
    const expected = toBytes(naive(expr, tensors, 42));
    expect(evaluator.readBytes(expr, 0, value.elements).equals(expected)).toBe(true);
    // From the middle of a row, over a block's seam.
    const { width } = value;
    const [begin, end] = [Math.floor(value.elements / 3), Math.floor(value.elements * 0.9)];
    expect(evaluator.readBytes(expr, begin, end).equals(expected.subarray(begin * width, end * width))).toBe(true);
  });
});

describe('dequantise', () => {
  it.each(['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'] as const)(
    '%s: any range equals the whole',
    (name) => {
      const type = ggmlTypeByName(name);
      if (type === undefined) throw new Error(name);
      const shape = [5, 512];
      const bytes = Buffer.alloc((5 * 512 * type.blockBytes) / type.blockElements);
      for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7919) % 59;
      const floats = new Float32Array(5 * 512);
      dequantise(type, bytes, floats);
      const whole = Buffer.from(floats.buffer);
      const gguf = rawCheckpoint([{ name: 'q', dtype: name, shape, bytes }]);
      const own = new Evaluator([gguf], 1);
      const expr: Expr = { op: 'dequantise', of: source('q') };
      expect(own.readBytes(expr, 0, 2560).equals(whole)).toBe(true);
      expect(own.readBytes(expr, 77, 1901).equals(whole.subarray(77 * 4, 1901 * 4))).toBe(true);
      const rows: Expr = { op: 'take', of: expr, dim: 0, index: { kind: 'permutation', key: 'p', size: 5 } };
      const order = own.indices({ kind: 'permutation', key: 'p', size: 5 }, 5);
      const expected = Buffer.concat([...order].map((row) => whole.subarray(row * 2048, (row + 1) * 2048)));
      expect(own.readBytes(rows, 0, 2560).equals(expected)).toBe(true);
      own.sources.close();
    },
  );
});

describe('sources', () => {
  const fresh = (): { set: SourceSet; path: string } => {
    const one = rawCheckpoint([{ name: 'x', dtype: 'U8', shape: [3_000_000], bytes: Buffer.alloc(3_000_000, 5) }]);
    return { set: new SourceSet([one]), path: one.files[0]?.path ?? '' };
  };
  const read = (set: SourceSet, begin: number, length: number): void => {
    set.readCached(0, set.tensor(0, 'x'), begin, Buffer.alloc(length));
  };

  it('hash a tensor while it passes by in order, and read only the rest otherwise', async () => {
    const { set, path } = fresh();
    const expected = createHash('sha256').update(readFileSync(path).subarray(13)).digest('hex');
    read(set, 0, 3_000_000);
    expect(set.knownDigest(0, 'x')).toBe(expected);
    const before = set.bytesRead;
    expect(await set.digest(0, 'x')).toBe(expected);
    expect(set.bytesRead).toBe(before);
    set.close();

    const other = fresh();
    read(other.set, 2_500_000, 10);
    read(other.set, 0, 10);
    expect(other.set.knownDigest(0, 'x')).toBeUndefined();
    expect(await other.set.digest(0, 'x')).toBe(expected);
    other.set.close();
  });

  it('notice that a file was changed, replaced by a shorter one, or taken away', () => {
    const { set, path } = fresh();
    read(set, 0, 10);
    expect(() => {
      set.checkUnchanged();
    }).not.toThrow();
    utimesSync(path, new Date(), new Date(Date.now() + 5000));
    expect(() => {
      set.checkUnchanged();
    }).toThrow(/changed during the run/);
    truncateSync(path, 100);
    expect(() => {
      read(set, 2_000_000, 10);
    }).toThrow(MoeError);
    set.close();

    const grown = fresh();
    writeFileSync(grown.path, Buffer.alloc(3_000_100));
    expect(() => {
      read(grown.set, 0, 10);
    }).toThrow(/3,000,013 bytes when opened, 3,000,100 now/);
    grown.set.close();
  });
});

describe('refusals', () => {
  const code = (expr: Expr): unknown => {
    try {
      evaluator.compile(expr);
    } catch (error) {
      return error instanceof MoeError ? error.code : error;
    }
    return undefined;
  };
  it('names what cannot be', () => {
    const u8 = new Evaluator(
      [rawCheckpoint([{ name: 'f8', dtype: 'F8_E4M3', shape: [4], bytes: Buffer.alloc(4) }])],
      1,
    );
    expect(() => u8.compile({ op: 'scale', of: source('f8'), by: 2 })).toThrow(
      /"scale" is defined on F64, F32, BF16 and F16, not on F8_E4M3/,
    );
    // Copied whole, it is fine.
    expect(u8.readBytes(source('f8'), 0, 4).length).toBe(4);
    u8.sources.close();
    expect(code({ op: 'slice', of: source('m'), dim: 0, begin: 0, end: 301 })).toBe('plan-expression');
    expect(code({ op: 'slice', of: source('m'), dim: 2, begin: 0, end: 1 })).toBe('plan-expression');
    expect(code({ op: 'reshape', of: source('m'), shape: [1] })).toBe('plan-expression');
    expect(code({ op: 'concat', dim: 0, of: [source('m'), source('h')] })).toBe('plan-expression');
    expect(code({ op: 'take', of: source('m'), dim: 0, index: { kind: 'permutation', key: 'k', size: 299 } })).toBe(
      'plan-expression',
    );
    expect(code({ op: 'dequantise', of: { op: 'fill', shape: [1], dtype: 'F32', value: 0 } })).toBe('plan-expression');
    expect(code(source('absent'))).toBe('source-tensor-missing');
  });
});

describe('peak memory', () => {
  const lookup = (): { dtype: 'BF16'; shape: number[] } => ({ dtype: 'BF16', shape: [14336, 4096] });
  it('is nothing for streams, the basis for SVD, the matrix for orthogonal', () => {
    expect(exprPeakBytes({ op: 'scale', of: source('w'), by: 3 }, lookup)).toBe(0);
    expect(exprPeakBytes({ op: 'svd-noise', of: source('w'), rank: 32, scale: 1, key: 'k' }, lookup)).toBe(
      // 8 blocks of 40 vectors of both lengths, then 32 of one and thrice 32 of the other.
      8 * (320 * (14336 + 4096) + 32 * (14336 + 3 * 4096)),
    );
    expect(exprPeakBytes({ op: 'orthogonal', shape: [8, 4096], dtype: 'BF16', gain: 1, key: 'k' }, lookup)).toBe(
      8 * 8 * 4096 * 2,
    );
  });
});
