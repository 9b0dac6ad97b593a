import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { Evaluator } from '../../src/evaluate/index.ts';
import { symmetricEigen } from '../../src/evaluate/eigen.ts';
import { svdBasis } from '../../src/evaluate/matrix.ts';
import type { Expr } from '../../src/plan/expr.ts';
import { fillNormal, randomStream } from '../../src/random/index.ts';
import type { Tensor } from './naive.ts';
import { checkpointOf } from './sources.ts';

const M = 30;
const N = 20;
/** W = Σ σ_k·u_k·v_kᵀ with known orthonormal u, v (columns of Hadamard-like cosines) and σ = 9, 7, 5, then 0.5 and less. */
const SIGMA = [9, 7, 5, 0.5, 0.4, 0.3, 0.2, 0.1];
const cosine = (k: number, i: number, n: number): number =>
  Math.sqrt(2 / n) * Math.cos((Math.PI * (i + 0.5) * (k + 1)) / n);
const w: Tensor = {
  dtype: 'F64',
  shape: [M, N],
  data: Array.from({ length: M * N }, (_, i) =>
    SIGMA.reduce((sum, s, k) => sum + s * cosine(k, Math.floor(i / N), M) * cosine(k, i % N, N), 0),
  ),
};
const evaluator = new Evaluator([checkpointOf(new Map([['w', w]]))], 42);
afterAll(() => {
  evaluator.sources.close();
});
const source: Expr = { op: 'source', from: 0, tensor: 'w' };

function numbers(expr: Expr): Float64Array {
  const value = evaluator.compile(expr);
  const out = new Float64Array(value.elements);
  value.numbers(0, value.elements, out);
  return out;
}

describe('svd-noise', () => {
  it('finds the singular vectors that the matrix was built from', () => {
    const basis = svdBasis(evaluator.compile(source), 3, 42, 'k');
    for (let k = 0; k < 3; k++) {
      const dot = Array.from({ length: M }, (_, i) => (basis.u[k * M + i] ?? 0) * cosine(k, i, M)).reduce(
        (a, b) => a + b,
        0,
      );
      expect(Math.abs(dot)).toBeCloseTo(1, 12);
    }
    const rest = SIGMA.slice(3).reduce((sum, s) => sum + s * s, 0);
    expect(basis.residual).toBeCloseTo(Math.sqrt(rest / (M * N)), 12);
  });

  it('adds noise of the residual’s size, outside the kept directions, exactly as its formula says', () => {
    const noisy = numbers({ op: 'svd-noise', of: source, rank: 3, scale: 2, key: 'e0' });
    const residual = Math.sqrt(SIGMA.slice(3).reduce((sum, s) => sum + s * s, 0) / (M * N));
    const z = new Float64Array(M * N);
    fillNormal(z, randomStream(42, 'e0'), 0);
    for (let j = 0; j < N; j++) {
      const projections = [0, 1, 2].map((k) =>
        Array.from({ length: M }, (_, i) => cosine(k, i, M) * (z[i * N + j] ?? 0)).reduce((a, b) => a + b, 0),
      );
      for (let i = 0; i < M; i++) {
        const outside = (z[i * N + j] ?? 0) - projections.reduce((sum, p, k) => sum + p * cosine(k, i, M), 0);
        expect(noisy[i * N + j]).toBeCloseTo((w.data[i * N + j] ?? 0) + 2 * residual * outside, 10);
      }
    }
  });

  it('is the same in any range, and another for another key', () => {
    const expr: Expr = { op: 'svd-noise', of: source, rank: 3, scale: 1, key: 'e1' };
    const whole = evaluator.readBytes(expr, 0, M * N);
    expect(evaluator.readBytes(expr, 133, 402).equals(whole.subarray(133 * 8, 402 * 8))).toBe(true);
    expect(evaluator.readBytes({ ...expr, key: 'e2' }, 0, M * N).equals(whole)).toBe(false);
  });

  it('records one basis for all experts', () => {
    expect(evaluator.resolved.svd.size).toBe(1);
    expect([...evaluator.resolved.svd.values()][0]?.rank).toBe(3);
  });
});

describe('orthogonal', () => {
  it.each([
    [4, 12],
    [12, 4],
    [5, 5],
  ])('%i × %i: the shorter side’s vectors are orthonormal times gain', (rows, columns) => {
    const x = numbers({ op: 'orthogonal', shape: [rows, columns], dtype: 'F64', gain: 3, key: 'o' });
    const count = Math.min(rows, columns);
    const vector = (k: number): number[] =>
      rows <= columns
        ? Array.from({ length: columns }, (_, j) => x[k * columns + j] ?? 0)
        : Array.from({ length: rows }, (_, i) => x[i * columns + k] ?? 0);
    for (let a = 0; a < count; a++) {
      for (let b = 0; b <= a; b++) {
        const dot = vector(a).reduce((sum, y, i) => sum + y * (vector(b)[i] ?? 0), 0);
        expect(dot).toBeCloseTo(a === b ? 9 : 0, 12);
      }
    }
  });

  it('spans the first normals of its stream: row 0 is the normal vector itself, normalised', () => {
    const x = numbers({ op: 'orthogonal', shape: [3, 8], dtype: 'F64', gain: 1, key: 'o' });
    const z = new Float64Array(8);
    fillNormal(z, randomStream(42, 'o'), 0);
    const norm = Math.hypot(...z);
    z.forEach((value, i) => {
      expect(x[i]).toBeCloseTo(value / norm, 14);
    });
  });
});

describe('eigenvectors of symmetric matrices', () => {
  it('satisfy A·v = λ·v, are orthonormal and ascend, for random, degenerate and diagonal matrices', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.constantFrom('random', 'low rank', 'diagonal', 'equal'),
        fc.nat(),
        (n, kind, seed) => {
          const z = new Float64Array(n * n);
          fillNormal(z, randomStream(seed, 'eigen'), 0);
          const a = new Float64Array(n * n);
          for (let i = 0; i < n; i++) {
            for (let j = 0; j < n; j++) {
              const sum = (z[i * n + j] ?? 0) + (z[j * n + i] ?? 0);
              const product = (z[i] ?? 0) * (z[j] ?? 0);
              a[i * n + j] =
                kind === 'random'
                  ? sum
                  : kind === 'low rank'
                    ? product
                    : i === j
                      ? kind === 'equal'
                        ? 3
                        : (z[i] ?? 0)
                      : 0;
            }
          }
          const { values, vectors } = symmetricEigen(a, n);
          const column = (k: number): number[] => Array.from({ length: n }, (_, i) => vectors[i * n + k] ?? 0);
          for (let k = 0; k < n; k++) {
            if (k > 0) expect(values[k]).toBeGreaterThanOrEqual(values[k - 1] ?? NaN);
            const v = column(k);
            for (let i = 0; i < n; i++) {
              const image = v.reduce((sum, x, j) => sum + x * (a[i * n + j] ?? 0), 0);
              expect(Math.abs(image - (values[k] ?? NaN) * (v[i] ?? 0))).toBeLessThan(1e-12 * n);
            }
            for (let j = 0; j <= k; j++) {
              const inner = column(j).reduce((sum, x, i) => sum + x * (v[i] ?? 0), 0);
              expect(Math.abs(inner - (j === k ? 1 : 0))).toBeLessThan(1e-13 * n);
            }
          }
        },
      ),
    );
  });
});
