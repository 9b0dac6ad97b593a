/** How far a router's rows are from telling nothing apart. */
import { symmetricEigen } from '../evaluate/eigen.ts';

/**
 * Condition number of a [rows, columns] matrix: its largest singular value by its smallest. `infinite` where rows depend on
 * one another as far as float64 can tell; null for a matrix of zeros, which has none.
 */
export function conditionNumber(matrix: Float32Array, rows: number, columns: number): number | 'infinite' | null {
  // The smaller of the two Gram matrices has the same singular values, squared.
  const wide = rows <= columns;
  const n = Math.min(rows, columns);
  const inner = Math.max(rows, columns);
  const value = (i: number, k: number): number => matrix[wide ? i * columns + k : k * columns + i] ?? 0;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += value(i, k) * value(j, k);
      gram[i * n + j] = sum;
      gram[j * n + i] = sum;
    }
  }
  const { values } = symmetricEigen(gram, n);
  const largest = values[n - 1] ?? 0;
  const smallest = values[0] ?? 0;
  if (!(largest > 0)) return null;
  return smallest <= largest * n * Number.EPSILON ? 'infinite' : Math.sqrt(largest / smallest);
}
