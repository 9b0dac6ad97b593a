/** Small arithmetic over what a run gives: [tokens, size] matrices, row-major. */

/** The last row of a matrix, or the mean or sum over its rows. */
export function pool(matrix: Float32Array, size: number, take: 'last' | 'mean' | 'sum'): Float64Array | Float32Array {
  if (take === 'last') return matrix.subarray(matrix.length - size);
  const sums = new Float64Array(size);
  for (let i = 0; i < matrix.length; i++) sums[i % size] = (sums[i % size] ?? 0) + (matrix[i] ?? 0);
  const by = take === 'mean' ? size / matrix.length : 1;
  return sums.map((sum) => sum * by);
}

/** inputs · routersᵀ per layer: `routers` holds [rows, size] of every layer. Gives [layers, tokens, rows]. */
export function routerLogits(inputs: readonly Float32Array[], routers: Float32Array, size: number): Float32Array {
  const perLayer = routers.length / inputs.length;
  const rows = perLayer / size;
  const tokens = (inputs[0]?.length ?? 0) / size;
  const logits = new Float32Array(inputs.length * tokens * rows);
  let at = 0;
  inputs.forEach((input, layer) => {
    for (let token = 0; token < tokens; token++) {
      for (let row = 0; row < rows; row++) {
        const [x, w] = [token * size, layer * perLayer + row * size];
        let sum = 0;
        for (let i = 0; i < size; i++) sum += (input[x + i] ?? 0) * (routers[w + i] ?? 0);
        logits[at++] = sum;
      }
    }
  });
  return logits;
}
