/** Random orders and subsets: functions of (seed, key, size) alone. */
import { fillUniform, randomStream } from './stream.ts';

/**
 * A permutation of 0 … size−1. Fisher–Yates from the end: position i swaps with floor(u·(i+1)), u being element i of the
 * uniform stream (the bias of 53-bit u is below size/2^53).
 */
export function randomPermutation(size: number, seed: number, key: string): Int32Array {
  const order = Int32Array.from({ length: size }, (_, i) => i);
  const u = new Float64Array(size);
  fillUniform(u, randomStream(seed, key), 0);
  for (let i = size - 1; i > 0; i--) {
    const j = Math.floor((u[i] ?? 0) * (i + 1));
    const kept = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = kept;
  }
  return order;
}

/** Shard `shard` of `shards` equal parts of a random permutation, ascending. Parts differ by one where size has a rest. */
export function randomShard(size: number, shards: number, shard: number, seed: number, key: string): Int32Array {
  const begin = Math.floor((size * shard) / shards);
  const end = Math.floor((size * (shard + 1)) / shards);
  return randomPermutation(size, seed, key).slice(begin, end).sort();
}

/** floor(ratio·size) of the indices 0 … size−1 without replacement, ascending. */
export function randomSubset(size: number, ratio: number, seed: number, key: string): Int32Array {
  return randomPermutation(size, seed, key)
    .slice(0, Math.floor(ratio * size))
    .sort();
}

/** The indices below `size` that an ascending set lacks, ascending. */
export function complementOf(indices: Int32Array, size: number): Int32Array {
  const absent = new Uint8Array(size).fill(1);
  for (const index of indices) absent[index] = 0;
  const rest: number[] = [];
  absent.forEach((flag, index) => {
    if (flag === 1) rest.push(index);
  });
  return Int32Array.from(rest);
}
