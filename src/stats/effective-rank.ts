/**
 * Effective rank of a matrix: the exponential of the entropy of its normalised singular values (Roy & Vetterli 2007). A
 * matrix of r equal singular values has r, one that is dominated by a few directions has few.
 */

/** Rows of the sketch, and so the largest rank that can be told. */
export const SKETCH_ROWS = 128;

/** Takes a matrix row by row and keeps a sketch of at most `SKETCH_ROWS` rows. */
export class RankSketch {
  private readonly rows: Float64Array[];
  /** The matrix has no more rows than the sketch: nothing is lost. */
  readonly exact: boolean;

  constructor(
    rows: number,
    private readonly cols: number,
  ) {
    this.exact = rows <= SKETCH_ROWS;
    this.rows = Array.from({ length: Math.min(rows, SKETCH_ROWS) }, () => new Float64Array(cols));
  }

  /** Adds rows; `first` is the number of the first one. Each goes to one row of the sketch with a sign, both by its number. */
  add(values: Float64Array, first: number): void {
    const { cols, rows } = this;
    for (let at = 0, row = first; at + cols <= values.length && cols > 0; at += cols, row++) {
      const hash = scramble(row);
      const target = this.exact ? rows[row] : rows[hash % rows.length];
      if (target === undefined) continue;
      const sign = this.exact || (hash & 0x40000000) === 0 ? 1 : -1;
      for (let c = 0; c < cols; c++) target[c] = (target[c] ?? 0) + sign * (values[at + c] ?? 0);
    }
  }

  /** Null for a matrix of zeros or one with values that are not finite. */
  effectiveRank(): number | null {
    const n = this.rows.length;
    const gram = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        const dot = dotOf(this.rows[i] ?? EMPTY, this.rows[j] ?? EMPTY);
        gram[i * n + j] = dot;
        gram[j * n + i] = dot;
      }
    }
    return rankOf(symmetricEigenvalues(gram, n));
  }
}

const EMPTY = new Float64Array(0);

/** exp(H) of the square roots of `eigenvalues`. */
function rankOf(eigenvalues: Float64Array): number | null {
  let largest = 0;
  for (const value of eigenvalues) {
    if (!Number.isFinite(value)) return null;
    largest = Math.max(largest, value);
  }
  if (largest === 0) return null;
  // Rounding leaves eigenvalues of about 1e-16 of the largest where there should be none.
  const singular = [...eigenvalues].map((value) => (value > largest * 1e-13 ? Math.sqrt(value) : 0));
  const sum = singular.reduce((a, b) => a + b, 0);
  let entropy = 0;
  for (const value of singular) if (value > 0) entropy -= (value / sum) * Math.log(value / sum);
  return Math.exp(entropy);
}

function dotOf(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** 31 scrambled bits of a number. */
function scramble(n: number): number {
  let x = Math.imul(n + 1, 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) & 0x7fffffff;
}

/** Eigenvalues of a symmetric matrix by cyclic Jacobi rotations. `a` is used up. */
export function symmetricEigenvalues(a: Float64Array, n: number): Float64Array {
  const at = (i: number, j: number): number => a[i * n + j] ?? 0;
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0;
    let diagonal = 0;
    for (let i = 0; i < n; i++) {
      diagonal += at(i, i) * at(i, i);
      for (let j = 0; j < i; j++) off += at(i, j) * at(i, j);
    }
    // Also ends where values are not finite.
    if (!(off > 1e-24 * diagonal)) break;
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotate(a, n, p, q);
  }
  return Float64Array.from({ length: n }, (_, i) => at(i, i));
}

function rotate(a: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q] ?? 0;
  if (apq === 0) return;
  const theta = ((a[q * n + q] ?? 0) - (a[p * n + p] ?? 0)) / (2 * apq);
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < n; k++) {
    const x = a[k * n + p] ?? 0;
    const y = a[k * n + q] ?? 0;
    a[k * n + p] = c * x - s * y;
    a[k * n + q] = s * x + c * y;
  }
  for (let k = 0; k < n; k++) {
    const x = a[p * n + k] ?? 0;
    const y = a[q * n + k] ?? 0;
    a[p * n + k] = c * x - s * y;
    a[q * n + k] = s * x + c * y;
  }
}
