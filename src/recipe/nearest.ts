/** Spelling help: the known name nearest to an unknown one. */

/** Optimal string alignment distance (a swap of neighbours counts 1), stopping early above `limit`. */
export function editDistance(a: string, b: string, limit = Infinity): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      row.push(best);
      least = Math.min(least, best);
    }
    if (least > limit) return limit + 1;
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** The known name that `name` was probably meant to be, or undefined. `synonyms` maps other tools' names to ours. */
export function nearestName(
  name: string,
  known: Iterable<string>,
  synonyms: ReadonlyMap<string, string> = new Map(),
): string | undefined {
  const wanted = normal(name);
  const synonym = synonyms.get(wanted);
  if (synonym !== undefined) return synonym;
  if (wanted.length === 0 || wanted.length > 60) return undefined;
  const limit = Math.max(1, Math.min(3, Math.floor(wanted.length / 3)));
  let best: string | undefined;
  let least = limit + 1;
  for (const candidate of known) {
    const distance = editDistance(wanted, normal(candidate), limit);
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

function normal(name: string): string {
  return name.toLowerCase().replaceAll('-', '_').replaceAll(' ', '_');
}
