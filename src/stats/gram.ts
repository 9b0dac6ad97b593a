/** Inner products of all pairs of experts, streamed: a block of rows of every expert at a time. */
import { throwIfAborted } from '../checkpoint/errors.ts';
import type { PartRows } from './expert-parts.ts';

/** Multiply-adds that a Gram matrix may take: a few seconds. Above, evenly spaced rows stand for all. */
const BUDGET = 4e9;
/** Values of all experts in memory at once. */
const BLOCK_VALUES = 2 ** 21;
/** Above this many experts the matrix itself would be too large. */
export const MAX_GRAM_EXPERTS = 2048;

export class Gram {
  /** E×E inner products, row by row. */
  readonly products: Float64Array;
  /** Rows that were taken, of how many. */
  taken = 0;
  rows = 0;

  constructor(readonly experts: number) {
    this.products = new Float64Array(experts * experts);
  }

  get sampled(): boolean {
    return this.taken < this.rows;
  }

  add(other: Gram): void {
    for (let i = 0; i < this.products.length; i++)
      this.products[i] = (this.products[i] ?? 0) + (other.products[i] ?? 0);
    this.taken += other.taken;
    this.rows += other.rows;
  }

  /** Cosines, NaN where an expert is all zeros (or not finite). */
  cosines(): Float32Array {
    const { experts, products } = this;
    const out = new Float32Array(products.length);
    for (let i = 0; i < experts; i++) {
      for (let j = 0; j < experts; j++) {
        const size = Math.sqrt(products[i * experts + i] ?? 0) * Math.sqrt(products[j * experts + j] ?? 0);
        const cosine = (products[i * experts + j] ?? 0) / size;
        out[i * experts + j] = size > 0 ? Math.max(-1, Math.min(1, cosine)) : NaN;
      }
    }
    return out;
  }
}

/**
 * Gram matrix of one projection over all experts, which must have the same shape. `onBlock` is told how many of `rows` rows
 * are done.
 */
export async function gramOf(
  parts: readonly PartRows[],
  signal: AbortSignal | undefined,
  onBlock: (done: number, rows: number) => void = () => undefined,
): Promise<Gram> {
  const gram = new Gram(parts.length);
  const [first] = parts;
  if (first === undefined) return gram;
  const { rows, cols } = first;
  gram.rows = rows;
  const pairs = (parts.length * (parts.length + 1)) / 2;
  const most = Math.max(1, Math.min(rows, Math.floor(BUDGET / (pairs * Math.max(1, cols)))));
  const block = Math.max(1, Math.min(most, Math.floor(BLOCK_VALUES / (parts.length * Math.max(1, cols)))));
  const blocks = Math.ceil(most / block);
  for (let b = 0; b < blocks; b++) {
    throwIfAborted(signal);
    // Evenly spaced blocks; all rows one after another where everything fits.
    const begin = most === rows ? b * block : Math.floor((b * rows) / blocks);
    const end = Math.min(rows, begin + block, most === rows ? rows : begin + most - b * block);
    if (end <= begin) continue;
    const values: Float64Array[] = [];
    for (const part of parts) values.push(await part.read(begin, end));
    addProducts(gram.products, values);
    gram.taken += end - begin;
    onBlock(gram.taken, most);
  }
  return gram;
}

function addProducts(products: Float64Array, values: readonly Float64Array[]): void {
  const { length: n } = values;
  for (let i = 0; i < n; i++) {
    const a = values[i];
    if (a === undefined) continue;
    for (let j = 0; j <= i; j++) {
      const b = values[j];
      if (b === undefined) continue;
      let sum = 0;
      for (let k = 0; k < a.length; k++) sum += (a[k] ?? 0) * (b[k] ?? 0);
      products[i * n + j] = (products[i * n + j] ?? 0) + sum;
      if (i !== j) products[j * n + i] = (products[j * n + i] ?? 0) + sum;
    }
  }
}
