/**
 * Whole-matrix methods. They hold what their definition forces them to hold (an orthonormal basis, a square factor) in
 * float64 and stream everything else; `exprPeakBytes` states how much. Sums run in a fixed order, so results are the same
 * on every machine.
 */
import { fillNormal, randomStream } from '../random/index.ts';
import type { RandomStream } from '../random/index.ts';
import { roundFloats } from './codec.ts';
import type { FloatDtype } from './codec.ts';
import type { Value } from './value.ts';
import { BLOCK_ELEMENTS, ComputedValue, floatPool } from './value.ts';

/** Extra directions of the subspace iteration, so that the wanted ones converge fast. */
const OVERSAMPLING = 8;
const MAX_ITERATIONS = 60;
/** Iteration ends when the wanted squared singular values move by less than this, relative to the largest. */
const TOLERANCE = 1e-12;

/**
 * Makes the first rows of `rows` [count, length] orthonormal in place: Gram–Schmidt, each row twice ("twice is enough").
 * A row that vanishes is left zero.
 */
export function orthonormalise(rows: Float64Array, count: number, length: number): void {
  for (let i = 0; i < count; i++) {
    const row = rows.subarray(i * length, (i + 1) * length);
    const before = Math.sqrt(dot(row, row));
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = rows.subarray(j * length, (j + 1) * length);
        addScaled(row, -dot(row, other), other);
      }
    }
    const norm = Math.sqrt(dot(row, row));
    const factor = norm > before * 1e-13 ? 1 / norm : 0;
    for (let k = 0; k < length; k++) row[k] = (row[k] ?? 0) * factor;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] ?? 0) * (b[k] ?? 0);
  return sum;
}

function addScaled(target: Float64Array, factor: number, other: Float64Array): void {
  for (let k = 0; k < target.length; k++) target[k] = (target[k] ?? 0) + factor * (other[k] ?? 0);
}

/** gain · an orthonormal set from normal(seed, key): rows, or columns where there are more rows than columns. */
export class OrthogonalValue extends ComputedValue {
  constructor(
    float: FloatDtype,
    private readonly matrix: readonly [number, number],
    private readonly gain: number,
    private readonly basis: () => Float64Array,
  ) {
    super(float, matrix);
  }

  override numbers(begin: number, end: number, out: Float64Array): void {
    const [rows, columns] = this.matrix;
    const basis = this.basis();
    const { gain } = this;
    for (let i = begin; i < end; i++) {
      // The basis is stored by its vectors; for a tall matrix those are the columns.
      const at = rows <= columns ? i : (i % columns) * rows + Math.floor(i / columns);
      out[i - begin] = gain * (basis[at] ?? 0);
    }
    roundFloats(this.float, out, end - begin);
  }
}

/** min(rows, columns) orthonormal vectors of length max(rows, columns). */
export function orthogonalBasis(rows: number, columns: number, seed: number, key: string): Float64Array {
  const count = Math.min(rows, columns);
  const length = Math.max(rows, columns);
  const basis = new Float64Array(count * length);
  fillNormal(basis, randomStream(seed, key), 0);
  orthonormalise(basis, count, length);
  return basis;
}

/** Calls `visit` with blocks of whole rows of a matrix (or one row at a time, where a row exceeds a block). */
function forRows(of: Value, visit: (row: number, values: Float64Array) => void): void {
  const columns = of.shape[1] ?? 0;
  const rows = of.shape[0] ?? 0;
  const line = floatPool.take(columns);
  const block = floatPool.take(BLOCK_ELEMENTS);
  for (let row = 0; row < rows; row++) {
    const first = row * columns;
    for (let at = 0; at < columns; at += BLOCK_ELEMENTS) {
      const end = Math.min(columns, at + BLOCK_ELEMENTS);
      of.numbers(first + at, first + end, block);
      line.set(block.subarray(0, end - at), at);
    }
    visit(row, line);
  }
  floatPool.give(block);
  floatPool.give(line);
}

/** What `svd-noise` needs of a matrix [m,n]: the top left singular vectors and the size of the rest. */
export interface SvdBasis {
  /** rank vectors of length m, one after the other. */
  readonly u: Float64Array;
  readonly rank: number;
  /** Root mean square of W − U·Uᵀ·W. */
  readonly residual: number;
  /** Iterations used; MAX_ITERATIONS means that the last directions are not separated to full precision. */
  readonly iterations: number;
}

/**
 * Top `rank` left singular vectors by subspace iteration (start: normal stream of the key) with Rayleigh–Ritz. W is
 * streamed by rows, twice per iteration.
 */
export function svdBasis(of: Value, rank: number, seed: number, key: string): SvdBasis {
  const m = of.shape[0] ?? 0;
  const n = of.shape[1] ?? 0;
  const wanted = Math.min(rank, m, n);
  const width = Math.min(wanted + OVERSAMPLING, m, n);
  const u = new Float64Array(width * m);
  const v = new Float64Array(width * n);
  fillNormal(v, randomStream(seed, `${key}#svd`), 0);
  let total = 0;
  let previous: number[] = [];
  let iterations = 0;
  while (iterations < MAX_ITERATIONS) {
    iterations += 1;
    orthonormalise(v, width, n);
    // U = W·V, then an orthonormal basis of it.
    total = 0;
    forRows(of, (row, line) => {
      total += dot(line.subarray(0, n), line.subarray(0, n));
      for (let k = 0; k < width; k++) u[k * m + row] = dot(v.subarray(k * n, (k + 1) * n), line.subarray(0, n));
    });
    orthonormalise(u, width, m);
    // V = Wᵀ·U.
    v.fill(0);
    forRows(of, (row, line) => {
      for (let k = 0; k < width; k++)
        addScaled(v.subarray(k * n, (k + 1) * n), u[k * m + row] ?? 0, line.subarray(0, n));
    });
    // Rayleigh–Ritz: rotate both so that the rows of V are orthogonal; their squared lengths are σ².
    const sigma = diagonalise(v, n, u, m, width);
    const top = sigma[0] ?? 0;
    const moved = sigma.slice(0, wanted).every((s, k) => Math.abs(s - (previous[k] ?? Infinity)) <= TOLERANCE * top);
    previous = sigma;
    if (moved) break;
  }
  const kept = previous.slice(0, wanted).reduce((sum, s) => sum + s, 0);
  return {
    u: u.slice(0, wanted * m),
    rank: wanted,
    residual: Math.sqrt(Math.max(0, total - kept) / (m * n)),
    iterations,
  };
}

/** One-sided Jacobi: rotates pairs of rows of `v` (and `u` alike) until v's rows are orthogonal, sorted by length. */
function diagonalise(v: Float64Array, n: number, u: Float64Array, m: number, count: number): number[] {
  const rowV = (k: number): Float64Array => v.subarray(k * n, (k + 1) * n);
  const rowU = (k: number): Float64Array => u.subarray(k * m, (k + 1) * m);
  for (let sweep = 0; sweep < 30; sweep++) {
    let rotated = false;
    for (let i = 0; i < count; i++) {
      for (let j = i + 1; j < count; j++) {
        const a = dot(rowV(i), rowV(i));
        const b = dot(rowV(j), rowV(j));
        const c = dot(rowV(i), rowV(j));
        if (Math.abs(c) <= 1e-15 * Math.sqrt(a * b)) continue;
        rotated = true;
        const zeta = (b - a) / (2 * c);
        const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cosine = 1 / Math.sqrt(1 + t * t);
        rotate(rowV(i), rowV(j), cosine, cosine * t);
        rotate(rowU(i), rowU(j), cosine, cosine * t);
      }
    }
    if (!rotated) break;
  }
  const sigma = Array.from({ length: count }, (_, k) => dot(rowV(k), rowV(k)));
  const order = sigma.map((_, k) => k).sort((a, b) => (sigma[b] ?? 0) - (sigma[a] ?? 0) || a - b);
  const oldV = v.slice(0, count * n);
  const oldU = u.slice(0, count * m);
  order.forEach((from, to) => {
    v.set(oldV.subarray(from * n, (from + 1) * n), to * n);
    u.set(oldU.subarray(from * m, (from + 1) * m), to * m);
  });
  return order.map((k) => sigma[k] ?? 0);
}

function rotate(a: Float64Array, b: Float64Array, cosine: number, sine: number): void {
  for (let k = 0; k < a.length; k++) {
    const x = a[k] ?? 0;
    const y = b[k] ?? 0;
    a[k] = cosine * x - sine * y;
    b[k] = sine * x + cosine * y;
  }
}

/** Uᵀ·Z [rank, n] of the noise matrix: made once per expert, streaming Z. */
export function projectNoise(basis: SvdBasis, m: number, n: number, stream: RandomStream): Float64Array {
  const projected = new Float64Array(basis.rank * n);
  const line = new Float64Array(n);
  for (let row = 0; row < m; row++) {
    fillNormal(line, stream, row * n);
    for (let k = 0; k < basis.rank; k++) {
      addScaled(projected.subarray(k * n, (k + 1) * n), basis.u[k * m + row] ?? 0, line);
    }
  }
  return projected;
}

/** W + scale·s·(I − U·Uᵀ)·Z. */
export class SvdNoiseValue extends ComputedValue {
  constructor(
    private readonly of: Value,
    float: FloatDtype,
    private readonly scale: number,
    private readonly stream: RandomStream,
    private readonly basis: () => SvdBasis,
    private readonly projected: () => Float64Array,
  ) {
    super(float, of.shape);
  }

  override numbers(begin: number, end: number, out: Float64Array): void {
    const count = end - begin;
    const m = this.shape[0] ?? 0;
    const n = this.shape[1] ?? 0;
    const { u, rank, residual } = this.basis();
    const projected = this.projected();
    this.of.numbers(begin, end, out);
    const z = floatPool.take(count);
    fillNormal(z, this.stream, begin, count);
    const factor = this.scale * residual;
    for (let k = 0; k < rank; k++) {
      for (let i = begin; i < end;) {
        const row = Math.floor(i / n);
        const stop = Math.min(end, (row + 1) * n);
        const weight = u[k * m + row] ?? 0;
        const shift = k * n - row * n;
        for (; i < stop; i++) z[i - begin] = (z[i - begin] ?? 0) - weight * (projected[shift + i] ?? 0);
      }
    }
    for (let i = 0; i < count; i++) out[i] = (out[i] ?? 0) + factor * (z[i] ?? 0);
    floatPool.give(z);
    roundFloats(this.float, out, count);
  }
}
