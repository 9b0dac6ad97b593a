/**
 * Whole-matrix methods. They hold what their definition forces them to hold (an orthonormal basis, a square factor) in
 * float64 and stream everything else; `exprPeakBytes` states how much. Sums run in a fixed order, so results are the same
 * on every machine.
 */
import { MoeError } from '../common/errors.ts';
import { fillNormal, randomStream } from '../random/index.ts';
import type { RandomStream } from '../random/index.ts';
import type { FloatDtype } from './codec.ts';
import type { Value } from './value.ts';
import { symmetricEigen } from './eigen.ts';
import { BLOCK_ELEMENTS, ComputedValue, floatPool } from './value.ts';

/** Directions beyond the wanted rank that every Krylov block carries. */
export const OVERSAMPLING = 8;
/** Krylov blocks: enough for the top directions of weight matrices, whose spectra fall slowly. */
export const KRYLOV_STEPS = 8;

/**
 * Makes rows [from, count) of `rows` [count, length] orthonormal in place, to each other and to those before, which are so
 * already: Gram–Schmidt, each row twice ("twice is enough"). A row that vanishes is left zero.
 */
export function orthonormalise(rows: Float64Array, count: number, length: number, from = 0): void {
  for (let i = from; i < count; i++) {
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

/** Sum of products in four interleaved sums: fixed, and not limited by the delay of one addition after the other. */
function dot(a: Float64Array, b: Float64Array): number {
  const { length } = a;
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let k = 0;
  for (; k + 3 < length; k += 4) {
    s0 += (a[k] ?? 0) * (b[k] ?? 0);
    s1 += (a[k + 1] ?? 0) * (b[k + 1] ?? 0);
    s2 += (a[k + 2] ?? 0) * (b[k + 2] ?? 0);
    s3 += (a[k + 3] ?? 0) * (b[k + 3] ?? 0);
  }
  for (; k < length; k++) s0 += (a[k] ?? 0) * (b[k] ?? 0);
  return s0 + s1 + (s2 + s3);
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

  protected override compute(begin: number, end: number, out: Float64Array): void {
    const [rows, columns] = this.matrix;
    const basis = this.basis();
    const { gain } = this;
    for (let i = begin; i < end; i++) {
      // The basis is stored by its vectors; for a tall matrix those are the columns.
      const at = rows <= columns ? i : (i % columns) * rows + Math.floor(i / columns);
      out[i - begin] = gain * (basis[at] ?? 0);
    }
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

/** Calls `visit` with each row of a matrix. */
function forRows(of: Value, visit: (row: number, values: Float64Array) => void): void {
  const columns = of.shape[1] ?? 0;
  const rows = of.shape[0] ?? 0;
  // Whole rows per read; a row longer than a block is put together.
  const group = Math.max(1, Math.floor(BLOCK_ELEMENTS / Math.max(1, columns)));
  const lines = floatPool.take(group * columns);
  for (let row = 0; row < rows; row += group) {
    const count = Math.min(group, rows - row) * columns;
    for (let at = 0; at < count; at += BLOCK_ELEMENTS) {
      const end = Math.min(count, at + BLOCK_ELEMENTS);
      of.numbers(row * columns + at, row * columns + end, lines.subarray(at, end));
    }
    for (let r = 0; r * columns < count; r++) visit(row + r, lines.subarray(r * columns, (r + 1) * columns));
  }
  floatPool.give(lines);
}

/** What `svd-noise` needs of a matrix [m,n]: the top left singular vectors and the size of the rest. */
export interface SvdBasis {
  /** rank vectors of length m, one after the other. */
  readonly u: Float64Array;
  readonly rank: number;
  /** Root mean square of W − U·Uᵀ·W. */
  readonly residual: number;
  /** Krylov blocks used. */
  readonly steps: number;
}

/** Shape of the Krylov basis for a rank: rows per block, and blocks. */
export function krylovShape(m: number, n: number, rank: number): { readonly width: number; readonly steps: number } {
  const least = Math.min(m, n);
  const width = Math.min(Math.min(rank, least) + OVERSAMPLING, least);
  return { width, steps: Math.max(1, Math.min(KRYLOV_STEPS, Math.ceil(least / Math.max(1, width)))) };
}

/**
 * Top `rank` left singular vectors by a block Krylov method with full orthogonalisation and Rayleigh–Ritz, started from the
 * normal stream of the key. W is streamed by rows, once per block and once for the residual. Throws `source-not-finite`.
 */
export function svdBasis(of: Value, rank: number, seed: number, key: string): SvdBasis {
  const m = of.shape[0] ?? 0;
  const n = of.shape[1] ?? 0;
  const wanted = Math.min(rank, m, n);
  const { width, steps } = krylovShape(m, n, rank);
  const most = Math.min(width * steps, n);
  /** Orthonormal rows of length n, and W times each of them, of length m. */
  const q = new Float64Array(most * n);
  const b = new Float64Array(most * m);
  fillNormal(q, randomStream(seed, `${key}#svd`), 0, Math.min(width, most) * n);
  let total = 0;
  let done = 0;
  while (done < most) {
    const end = Math.min(done + width, most);
    orthonormalise(q, end, n, done);
    // In one pass: B = W·Q of this block, and Wᵀ·B, from which the next block begins.
    const next = q.subarray(end * n, Math.min(end + width, most) * n);
    const first = done;
    total = 0;
    forRows(of, (row, line) => {
      total += dot(line, line);
      for (let k = first; k < end; k++) {
        const y = dot(q.subarray(k * n, (k + 1) * n), line);
        b[k * m + row] = y;
        const at = (k - first) * n;
        if (at < next.length) addScaled(next.subarray(at, at + n), y, line);
      }
    });
    if (!Number.isFinite(total)) {
      throw new MoeError(
        'input',
        'source-not-finite',
        'expert_init svd needs finite weights; a source matrix has NaN or infinite values.',
        {
          hint: 'Run doctor on the source to find them.',
        },
      );
    }
    done = end;
  }
  const u = topDirections(b, m, most, wanted);
  const projected = new Float64Array(wanted * n);
  forRows(of, (row, line) => {
    for (let k = 0; k < wanted; k++) addScaled(projected.subarray(k * n, (k + 1) * n), u[k * m + row] ?? 0, line);
  });
  const kept = dot(projected, projected);
  return { u, rank: wanted, residual: Math.sqrt(Math.max(0, total - kept) / Math.max(1, m * n)), steps };
}

/** The `wanted` directions in which the rows of `b` [count, m] are longest, orthonormal: eigenvectors of B·Bᵀ put to use. */
function topDirections(b: Float64Array, m: number, count: number, wanted: number): Float64Array {
  const row = (k: number): Float64Array => b.subarray(k * m, (k + 1) * m);
  const gram = new Float64Array(count * count);
  for (let i = 0; i < count; i++) for (let j = 0; j <= i; j++) gram[i * count + j] = dot(row(i), row(j));
  const { vectors } = symmetricEigen(gram, count);
  const u = new Float64Array(wanted * m);
  for (let k = 0; k < wanted; k++) {
    const target = u.subarray(k * m, (k + 1) * m);
    // Eigenvalues ascend: the largest comes last.
    for (let j = 0; j < count; j++) addScaled(target, vectors[j * count + count - 1 - k] ?? 0, row(j));
  }
  orthonormalise(u, wanted, m);
  return u;
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

  protected override compute(begin: number, end: number, out: Float64Array): void {
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
  }
}
