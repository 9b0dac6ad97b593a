/**
 * How the values of a GGUF tensor differ from those of the Hugging Face tensor, and how to undo it. Three things happen when a
 * checkpoint is converted to GGUF: q/k rows of the llama family are interleaved for ggml's pairwise rotary embedding; Gemma's
 * norm weights get 1 added (Hugging Face computes `1 + w`); and experts are stacked (see names.ts).
 */

export type GgufTransform =
  | { readonly kind: 'none' }
  /** Rows (weights) or elements (biases) of each of `heads` heads are interleaved: HF [head, half, j] = GGUF [head, j, half]. */
  | { readonly kind: 'unpermute'; readonly heads: number }
  /** The converter added 1 in float32: subtract it, in float32. Weights below about 2^-16 in size lost low bits on the way. */
  | { readonly kind: 'subtractOne' };

/**
 * Which stored row holds Hugging Face row `row` of an interleaved q or k tensor.
 * @param rows all rows of the tensor: heads × head_dim
 */
export function storedRow(row: number, rows: number, heads: number): number {
  const headRows = rows / heads;
  const half = headRows / 2;
  const within = row % headRows;
  const first = row - within;
  return within < half ? first + 2 * within : first + 2 * (within - half) + 1;
}

/** `storedRow` for all rows at once: a permutation of 0 … rows − 1. */
export function storedRows(rows: number, heads: number): Uint32Array {
  const order = new Uint32Array(rows);
  for (let row = 0; row < rows; row++) order[row] = storedRow(row, rows, heads);
  return order;
}
