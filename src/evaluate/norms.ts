/** Neurons dealt to shards by importance (LLaMA-MoE): see `norm-shard` in plan/expr.ts. */
import { MoeError } from '../common/errors.ts';
import { BLOCK_ELEMENTS, floatPool } from './value.ts';
import type { Value } from './value.ts';

function addSquares(of: Value, add: (element: number, square: number) => void): void {
  const values = floatPool.take(BLOCK_ELEMENTS);
  for (let at = 0; at < of.elements; at += BLOCK_ELEMENTS) {
    const end = Math.min(of.elements, at + BLOCK_ELEMENTS);
    of.numbers(at, end, values);
    for (let i = at; i < end; i++) {
      const x = values[i - at] ?? 0;
      add(i, x * x);
    }
  }
  floatPool.give(values);
}

/**
 * Shard of each of `size` neurons: sorted by descending squared norm over (gate row, up row, down column), ties by index,
 * dealt in snake order 0…S−1, S−1…0, … `gate` and `up` are [I,H], `down` is [H,I].
 */
export function dealByNorm(gate: Value, up: Value, down: Value, size: number, shards: number): Uint16Array {
  if (gate.shape[0] !== size || up.shape[0] !== size || down.shape.at(-1) !== size || size === 0) {
    throw new MoeError('input', 'plan-expression', `norm-shard of ${String(size)} neurons over other shapes.`);
  }
  const squares = new Float64Array(size);
  for (const matrix of [gate, up]) {
    const width = matrix.elements / size;
    addSquares(matrix, (element, square) => {
      const neuron = Math.floor(element / width);
      squares[neuron] = (squares[neuron] ?? 0) + square;
    });
  }
  addSquares(down, (element, square) => {
    const neuron = element % size;
    squares[neuron] = (squares[neuron] ?? 0) + square;
  });
  const order = Array.from({ length: size }, (_, i) => i);
  order.sort((a, b) => (squares[b] ?? 0) - (squares[a] ?? 0) || a - b);
  const owners = new Uint16Array(size);
  order.forEach((neuron, rank) => {
    const lap = Math.floor(rank / shards);
    const place = rank % shards;
    owners[neuron] = lap % 2 === 0 ? place : shards - 1 - place;
  });
  return owners;
}
