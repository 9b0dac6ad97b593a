import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { Evaluator } from '../../src/evaluate/index.ts';
import type { Expr, IndexSet } from '../../src/plan/expr.ts';
import { naive, toBytes } from './naive.ts';
import type { Tensor } from './naive.ts';
import { checkpointOf, randomTensor } from './sources.ts';

const DTYPES = ['F32', 'BF16', 'F16', 'F64'] as const;
type FloatName = (typeof DTYPES)[number];

const tensors = new Map<string, Tensor>();
for (const dtype of DTYPES) {
  tensors.set(`${dtype}.a`, randomTensor(dtype, [12, 8], 1));
  tensors.set(`${dtype}.b`, randomTensor(dtype, [12, 8], 2, 1e-3));
  tensors.set(`${dtype}.t`, randomTensor(dtype, [8, 12], 3));
  tensors.set(`${dtype}.cube`, randomTensor(dtype, [4, 6, 8], 4));
  tensors.set(`${dtype}.v`, randomTensor(dtype, [24], 5));
}
const evaluator = new Evaluator([checkpointOf(tensors)], 42);
afterAll(() => {
  evaluator.sources.close();
});

/** An expression with its shape and dtype, for generators. */
interface Typed {
  readonly expr: Expr;
  readonly shape: readonly number[];
  readonly dtype: FloatName;
}

const leaf: fc.Arbitrary<Typed> = fc
  .tuple(fc.constantFrom(...DTYPES), fc.constantFrom('a', 'b', 't', 'cube', 'v', 'random', 'uniform', 'fill'))
  .map(([dtype, name]): Typed => {
    const shape = [12, 8];
    if (name === 'random') {
      return {
        expr: { op: 'random', shape, dtype, dist: { kind: 'normal', mean: 0.5, std: 2 }, key: 'r' },
        shape,
        dtype,
      };
    }
    if (name === 'uniform') {
      return {
        expr: { op: 'random', shape, dtype, dist: { kind: 'uniform', low: -1, high: 3 }, key: 'u' },
        shape,
        dtype,
      };
    }
    if (name === 'fill') return { expr: { op: 'fill', shape, dtype, value: 0.3 }, shape, dtype };
    const tensor = `${dtype}.${name}`;
    return { expr: { op: 'source', from: 0, tensor }, shape: tensors.get(tensor)?.shape ?? [], dtype };
  });

function indexFor(size: number): fc.Arbitrary<{ index: IndexSet; count: number }> {
  const divisors = [1, 2, 3, 4, 6].filter((n) => size % n === 0);
  return fc.oneof(
    fc
      .integer({ min: 1, max: 3 })
      .map((times) => ({ index: { kind: 'repeat', times } as IndexSet, count: size * times })),
    fc.constantFrom('p', 'q').map((key) => ({ index: { kind: 'permutation', key, size } as IndexSet, count: size })),
    fc.constantFrom(...divisors).chain((shards) =>
      fc.nat(shards - 1).map((shard) => ({
        index: { kind: 'random-shard', key: 's', size, shards, shard } as IndexSet,
        count: size / shards,
      })),
    ),
    fc.double({ min: 0.3, max: 1, noNaN: true }).map((ratio) => ({
      index: { kind: 'random-subset', key: 'x', size, ratio } as IndexSet,
      count: Math.floor(ratio * size),
    })),
    ...(size % 4 === 0
      ? [fc.constantFrom(1, 2).map((heads) => ({ index: { kind: 'unpermute-rope', heads } as IndexSet, count: size }))]
      : []),
  );
}

/** One operation on top. */
function grow(of: Typed): fc.Arbitrary<Typed> {
  const { expr, shape, dtype } = of;
  const dims = shape.map((_, dim) => dim);
  const key = fc.constantFrom('k1', 'k2');
  return fc.oneof(
    fc.constantFrom(...dims).chain((dim) => {
      const size = shape[dim] ?? 0;
      return fc
        .tuple(fc.nat(size), fc.nat(size))
        .map(([x, y]) => [Math.min(x, y), Math.max(x, y)] as const)
        .map(([begin, end]): Typed => ({
          expr: { op: 'slice', of: expr, dim, begin, end },
          shape: shape.with(dim, end - begin),
          dtype,
        }));
    }),
    fc.constantFrom(...dims).map((dim): Typed => ({
      expr: { op: 'concat', dim, of: [expr, { op: 'scale', of: expr, by: 2 }, expr] },
      shape: shape.with(dim, 3 * (shape[dim] ?? 0)),
      dtype,
    })),
    fc.constant({
      expr: { op: 'reshape', of: expr, shape: [shape.reduce((a, b) => a * b, 1)] } as Expr,
      shape: [shape.reduce((a, b) => a * b, 1)],
      dtype,
    }),
    fc.constantFrom(...dims).chain((dim) =>
      indexFor(shape[dim] ?? 0).map(({ index, count }): Typed => ({
        expr: { op: 'take', of: expr, dim, index },
        shape: shape.with(dim, count),
        dtype,
      })),
    ),
    fc.constantFrom(2, 0.5, 1, 1 / 3, -Math.SQRT2).map((by): Typed => ({ ...of, expr: { op: 'scale', of: expr, by } })),
    fc.constantFrom(1, -0.1).map((by): Typed => ({ ...of, expr: { op: 'offset', of: expr, by } })),
    fc.constantFrom(...DTYPES).map((to): Typed => ({ shape, dtype: to, expr: { op: 'cast', of: expr, dtype: to } })),
    fc.constant({ ...of, expr: { op: 'average', of: [expr, { op: 'scale', of: expr, by: 3 }, expr] } as Expr }),
    fc
      .tuple(fc.constantFrom(0, 0.4, 1), key)
      .map(([ratio, k]): Typed => ({ ...of, expr: { op: 'noise', of: expr, std: 0.1, ratio, key: k } })),
    fc.tuple(fc.constantFrom(...dims), key).chain(([dim, k]) =>
      fc.constantFrom(0.5, 0.75).map((ratio): Typed => {
        const index: IndexSet = { kind: 'random-subset', key: 'd', size: shape[dim] ?? 0, ratio };
        return { ...of, expr: { op: 'redraw', of: expr, dim, index, key: k } };
      }),
    ),
  );
}

const anyExpr: fc.Arbitrary<Typed> = fc.nat(4).chain((depth) => {
  let made = leaf;
  for (let i = 0; i < depth; i++)
    made = made.chain((of) => (of.shape.some((n) => n === 0) ? fc.constant(of) : grow(of)));
  return made;
});

describe('any expression', () => {
  it('has the value of the plain evaluator, whole and in any pieces', () => {
    fc.assert(
      fc.property(
        anyExpr,
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 }),
        ({ expr, shape, dtype }, cuts) => {
          const value = evaluator.compile(expr);
          expect(value.shape).toEqual(shape);
          expect(value.dtype).toBe(dtype);
          // A redraw of nothing has no statistics; the plain evaluator says NaN and no element shows it.
          const expected = toBytes(naive(expr, tensors, 42));
          const whole = evaluator.readBytes(expr, 0, value.elements);
          expect(whole.equals(expected)).toBe(true);
          const places = [0, ...cuts.map((cut) => Math.floor(cut * value.elements)), value.elements].sort(
            (a, b) => a - b,
          );
          const pieces = places.slice(1).map((end, i) => evaluator.readBytes(expr, places[i] ?? 0, end));
          expect(Buffer.concat(pieces).equals(expected)).toBe(true);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('states where its bytes lie in the source whenever it only moves them', () => {
    fc.assert(
      fc.property(anyExpr, ({ expr }) => {
        const value = evaluator.compile(expr);
        const layout = value.layout();
        if (layout === null || value.elements === 0) return;
        const source = toBytes(tensors.get(layout.tensor) ?? { dtype: 'F32', shape: [], data: [] });
        const rows = Array.from({ length: layout.rows }, (_, row) => {
          const begin = layout.begin + row * layout.rowBytes;
          return source.subarray(begin, begin + layout.columnBytes);
        });
        expect(Buffer.concat(rows).equals(evaluator.readBytes(expr, 0, value.elements))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('norm-shard', () => {
  const of: readonly [Expr, Expr, Expr] = [
    { op: 'source', from: 0, tensor: 'BF16.a' },
    { op: 'source', from: 0, tensor: 'BF16.b' },
    { op: 'source', from: 0, tensor: 'BF16.t' },
  ];

  it.each([1, 2, 3, 4])('deals neurons in snake order to %i shards', (shards) => {
    const all: number[] = [];
    for (let shard = 0; shard < shards; shard++) {
      const index: IndexSet = { kind: 'norm-shard', key: 'n', size: 12, shards, shard, of };
      const expr: Expr = { op: 'take', of: of[0], dim: 0, index };
      expect(evaluator.readBytes(expr, 0, (12 / shards) * 8).equals(toBytes(naive(expr, tensors, 42)))).toBe(true);
      all.push(...evaluator.indices(index, 12));
    }
    expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i));
  });
});
