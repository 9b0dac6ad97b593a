/**
 * Eigenvectors of small symmetric matrices: Householder reduction to tridiagonal form, then implicit QL (the EISPACK pair
 * tred2 and tql2). Only + − × ÷ and square roots, in a fixed order, so that every machine gets the same bits.
 */

/** `values` ascending; `vectors` [n,n] has eigenvector k as its column k. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Float64Array;
}

/** Eigen decomposition of the symmetric matrix `matrix` [n,n] (only its lower triangle is read). */
export function symmetricEigen(matrix: Float64Array, n: number): Eigen {
  const v = matrix.slice();
  const d = new Float64Array(n);
  const e = new Float64Array(n);
  if (n > 0) {
    tridiagonalise(v, d, e, n);
    implicitQl(v, d, e, n);
  }
  return { values: d, vectors: v };
}

function tridiagonalise(v: Float64Array, d: Float64Array, e: Float64Array, n: number): void {
  const V = (i: number, j: number): number => v[i * n + j] ?? 0;
  for (let j = 0; j < n; j++) d[j] = V(n - 1, j);
  for (let i = n - 1; i > 0; i--) {
    let scale = 0;
    let h = 0;
    for (let k = 0; k < i; k++) scale += Math.abs(d[k] ?? 0);
    if (scale === 0) {
      e[i] = d[i - 1] ?? 0;
      for (let j = 0; j < i; j++) {
        d[j] = V(i - 1, j);
        v[i * n + j] = 0;
        v[j * n + i] = 0;
      }
    } else {
      for (let k = 0; k < i; k++) {
        const x = (d[k] ?? 0) / scale;
        d[k] = x;
        h += x * x;
      }
      let f = d[i - 1] ?? 0;
      let g = Math.sqrt(h);
      if (f > 0) g = -g;
      e[i] = scale * g;
      h -= f * g;
      d[i - 1] = f - g;
      e.fill(0, 0, i);
      for (let j = 0; j < i; j++) {
        f = d[j] ?? 0;
        v[j * n + i] = f;
        g = (e[j] ?? 0) + V(j, j) * f;
        for (let k = j + 1; k < i; k++) {
          g += V(k, j) * (d[k] ?? 0);
          e[k] = (e[k] ?? 0) + V(k, j) * f;
        }
        e[j] = g;
      }
      f = 0;
      for (let j = 0; j < i; j++) {
        e[j] = (e[j] ?? 0) / h;
        f += (e[j] ?? 0) * (d[j] ?? 0);
      }
      const hh = f / (h + h);
      for (let j = 0; j < i; j++) e[j] = (e[j] ?? 0) - hh * (d[j] ?? 0);
      for (let j = 0; j < i; j++) {
        f = d[j] ?? 0;
        g = e[j] ?? 0;
        for (let k = j; k < i; k++) v[k * n + j] = V(k, j) - (f * (e[k] ?? 0) + g * (d[k] ?? 0));
        d[j] = V(i - 1, j);
        v[i * n + j] = 0;
      }
    }
    d[i] = h;
  }
  // The transformations, multiplied up.
  for (let i = 0; i < n - 1; i++) {
    v[(n - 1) * n + i] = V(i, i);
    v[i * n + i] = 1;
    const h = d[i + 1] ?? 0;
    if (h !== 0) {
      for (let k = 0; k <= i; k++) d[k] = V(k, i + 1) / h;
      for (let j = 0; j <= i; j++) {
        let g = 0;
        for (let k = 0; k <= i; k++) g += V(k, i + 1) * V(k, j);
        for (let k = 0; k <= i; k++) v[k * n + j] = V(k, j) - g * (d[k] ?? 0);
      }
    }
    for (let k = 0; k <= i; k++) v[k * n + i + 1] = 0;
  }
  for (let j = 0; j < n; j++) {
    d[j] = V(n - 1, j);
    v[(n - 1) * n + j] = 0;
  }
  v[n * n - 1] = 1;
  e[0] = 0;
}

/** √(a² + b²) without Math.hypot, whose last bit differs between engines. */
function length(a: number, b: number): number {
  return Math.sqrt(a * a + b * b);
}

function implicitQl(v: Float64Array, d: Float64Array, e: Float64Array, n: number): void {
  e.copyWithin(0, 1);
  e[n - 1] = 0;
  let f = 0;
  let largest = 0;
  for (let l = 0; l < n; l++) {
    largest = Math.max(largest, Math.abs(d[l] ?? 0) + Math.abs(e[l] ?? 0));
    let m = l;
    while (m < n - 1 && Math.abs(e[m] ?? 0) > Number.EPSILON * largest) m += 1;
    if (m > l) {
      // A few steps each; the bound only guards against a matrix that is not finite.
      for (let step = 0; step < 60; step++) {
        let g = d[l] ?? 0;
        let p = ((d[l + 1] ?? 0) - g) / (2 * (e[l] ?? 0));
        let r = length(p, 1);
        if (p < 0) r = -r;
        d[l] = (e[l] ?? 0) / (p + r);
        d[l + 1] = (e[l] ?? 0) * (p + r);
        const dl1 = d[l + 1] ?? 0;
        const shift = g - (d[l] ?? 0);
        for (let i = l + 2; i < n; i++) d[i] = (d[i] ?? 0) - shift;
        f += shift;
        p = d[m] ?? 0;
        let c = 1;
        let c2 = 1;
        let c3 = 1;
        const el1 = e[l + 1] ?? 0;
        let s = 0;
        let s2 = 0;
        for (let i = m - 1; i >= l; i--) {
          c3 = c2;
          c2 = c;
          s2 = s;
          g = c * (e[i] ?? 0);
          const h = c * p;
          r = length(p, e[i] ?? 0);
          e[i + 1] = s * r;
          s = (e[i] ?? 0) / r;
          c = p / r;
          p = c * (d[i] ?? 0) - s * g;
          d[i + 1] = h + s * (c * g + s * (d[i] ?? 0));
          for (let k = 0; k < n; k++) {
            const at = k * n + i;
            const x = v[at + 1] ?? 0;
            const y = v[at] ?? 0;
            v[at + 1] = s * y + c * x;
            v[at] = c * y - s * x;
          }
        }
        p = (-s * s2 * c3 * el1 * (e[l] ?? 0)) / dl1;
        e[l] = s * p;
        d[l] = c * p;
        if (!(Math.abs(e[l] ?? 0) > Number.EPSILON * largest)) break;
      }
    }
    d[l] = (d[l] ?? 0) + f;
    e[l] = 0;
  }
  sortAscending(v, d, n);
}

function sortAscending(v: Float64Array, d: Float64Array, n: number): void {
  const order = Array.from({ length: n }, (_, k) => k).sort((a, b) => (d[a] ?? 0) - (d[b] ?? 0) || a - b);
  const values = d.slice();
  const vectors = v.slice();
  order.forEach((from, to) => {
    d[to] = values[from] ?? 0;
    for (let k = 0; k < n; k++) v[k * n + to] = vectors[k * n + from] ?? 0;
  });
}
