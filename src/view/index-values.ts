/** Index values of names as places in arrays, and the hashes by which equal contents are told. */
import type { TensorTable } from './tensor-table.ts';

/** A place in arrays for each index value: the value itself, unless values are spread far apart. */
export interface Places {
  readonly count: number;
  of(value: number): number;
  /** Ascending; may hold values that do not occur. */
  values(): Iterable<number>;
}

/** Places for the indices in slot `slot` of some tensors. */
export function placesOf(table: TensorTable, branches: readonly { readonly ids: Int32Array }[], slot: number): Places {
  let most = 0;
  let tensors = 0;
  for (const { ids } of branches) {
    tensors += ids.length;
    for (const i of ids) most = Math.max(most, table.index(i, slot));
  }
  if (most < 4 * tensors + 1024) {
    return {
      count: most + 1,
      of: (value) => value,
      values: () => Array.from({ length: most + 1 }, (_, value) => value),
    };
  }
  const known = new Map<number, number>();
  for (const { ids } of branches) {
    for (const i of ids) {
      const value = table.index(i, slot);
      if (!known.has(value)) known.set(value, known.size);
    }
  }
  return {
    count: known.size,
    of: (value) => known.get(value) ?? 0,
    values: () => [...known.keys()].sort((a, b) => a - b),
  };
}

/** FNV-1a. */
export function textHash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h;
}

/** One round of murmur3's finaliser over both numbers. */
export function mix(h: number, value: number): number {
  let x = Math.imul(h ^ Math.imul(value + 0x9e3779b9, 0x85ebca6b), 0xc2b2ae35);
  x ^= x >>> 15;
  x = Math.imul(x, 0x2c1b3c6d);
  return x ^ (x >>> 13);
}
