/** Text forms of recipe values: sizes (`5GB`) and layer lists (`every:2`, `0-15,24-31`). */

const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['B', 1],
  ['KB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['TB', 1e12],
  ['KIB', 2 ** 10],
  ['MIB', 2 ** 20],
  ['GIB', 2 ** 30],
  ['TIB', 2 ** 40],
]);

/** Bytes of `5GB` (decimal, as Hugging Face counts), `512MiB` (binary) or a number; null when it is neither. */
export function parseSize(value: string | number): number | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 1 ? value : null;
  const match = /^\s*(\d{1,16}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*$/.exec(value);
  const unit = UNITS.get((match?.[2] ?? '?').toUpperCase());
  if (match === null || unit === undefined) return null;
  const bytes = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(bytes) && bytes >= 1 ? bytes : null;
}

export type Layers = 'all' | `every:${number}` | readonly number[];

/** Highest layer number accepted: bounds the list that a range expands to. */
export const MAX_LAYER = 99_999;

export type LayersResult =
  | { readonly ok: true; readonly layers: Layers; readonly repeated: readonly number[] }
  | { readonly ok: false; readonly why: string };

/** Layers from any form of the recipe; lists come back sorted and without repeats (which are named). */
export function parseLayers(value: string | number | readonly (string | number)[]): LayersResult {
  if (typeof value === 'string') {
    const text = value.trim();
    if (text === 'all') return { ok: true, layers: 'all', repeated: [] };
    const every = /^every\s*:\s*(\d{1,6})$/.exec(text);
    if (every !== null) {
      const step = Number(every[1]);
      if (step < 1) return { ok: false, why: 'every:k needs k of 1 or more' };
      return { ok: true, layers: `every:${step}`, repeated: [] };
    }
    return collect(text.split(','));
  }
  return collect(typeof value === 'number' ? [value] : value);
}

function collect(items: readonly (string | number)[]): LayersResult {
  const seen = new Set<number>();
  const repeated = new Set<number>();
  for (const item of items) {
    const range = typeof item === 'number' ? [item, item] : bounds(item.trim());
    if (range === null) return { ok: false, why: `"${String(item)}" is neither a layer number nor a range` };
    const [first = NaN, last = NaN] = range;
    if (!Number.isInteger(first) || first < 0 || !Number.isInteger(last) || last > MAX_LAYER)
      return { ok: false, why: `${String(item)} is not a layer number from 0 to ${MAX_LAYER}` };
    if (last < first) return { ok: false, why: `the range ${String(item)} ends before it begins` };
    for (let layer = first; layer <= last; layer++) {
      if (seen.has(layer)) repeated.add(layer);
      seen.add(layer);
    }
  }
  if (seen.size === 0) return { ok: false, why: 'the list names no layer' };
  return { ok: true, layers: [...seen].sort((a, b) => a - b), repeated: [...repeated] };
}

function bounds(text: string): [number, number] | null {
  const match = /^(\d{1,7})(?:\s*-\s*(\d{1,7}))?$/.exec(text);
  if (match === null) return null;
  return [Number(match[1]), Number(match[2] ?? match[1])];
}

/** Layers as short text: `all`, `every:2`, `0-15,24-31`. */
export function layersText(layers: Layers): string {
  if (typeof layers === 'string') return layers;
  const runs: string[] = [];
  for (let i = 0; i < layers.length;) {
    let j = i;
    while (j + 1 < layers.length && layers[j + 1] === (layers[j] ?? 0) + 1) j++;
    runs.push(i === j ? `${layers[i]}` : `${layers[i]}-${layers[j]}`);
    i = j + 1;
  }
  return runs.join(',');
}
