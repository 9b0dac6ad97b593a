/** The largest of many numbers, without sorting them all. Pure. */

/** Indices of the `count` largest values, largest first, the lower index first on ties; NaN counts as smallest. */
export function largest(values: Float32Array, count: number): number[] {
  const kept: number[] = [];
  const size = Math.min(count, values.length);
  if (size <= 0) return kept;
  const value = (index: number): number => {
    const found = values[index] ?? Number.NEGATIVE_INFINITY;
    return Number.isNaN(found) ? Number.NEGATIVE_INFINITY : found;
  };
  let least = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const here = value(i);
    if (kept.length === size && !(here > least)) continue;
    let at = kept.length;
    while (at > 0 && here > value(kept[at - 1] ?? 0)) at--;
    kept.splice(at, 0, i);
    if (kept.length > size) kept.pop();
    least = value(kept[kept.length - 1] ?? 0);
  }
  return kept;
}
