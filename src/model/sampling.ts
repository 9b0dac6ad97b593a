/** Choosing the next token from logits: greedy, temperature, top-k, top-p; seeded, so that a run can be repeated. Pure. */
import { MoeError } from '../common/errors.ts';

export interface SamplingOptions {
  /** 0 = greedy. */
  readonly temperature: number;
  /** Nucleus: the fewest most likely tokens whose probabilities reach this sum; 1 = all. */
  readonly topP: number;
  /** Only so many most likely tokens; 0 = all. */
  readonly topK: number;
}

export const GREEDY: SamplingOptions = { temperature: 0, topP: 1, topK: 0 };

/** Throws a MoeError for values outside their range. */
export function checkSampling(options: SamplingOptions): void {
  const bad = (field: string, value: number, expected: string): MoeError =>
    new MoeError('usage', 'bad-sampling-option', `${field} is ${value}, expected ${expected}.`, { field });
  if (!(options.temperature >= 0 && Number.isFinite(options.temperature)))
    throw bad('temperature', options.temperature, 'a number from 0 on');
  if (!(options.topP > 0 && options.topP <= 1)) throw bad('top-p', options.topP, 'a number above 0 and up to 1');
  if (!(Number.isSafeInteger(options.topK) && options.topK >= 0))
    throw bad('top-k', options.topK, 'a whole number from 0 on');
}

/** Index of the first largest value; NaN counts as smallest. */
export function argMax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    const [value, top] = [values[i] ?? Number.NaN, values[best] ?? Number.NaN];
    if (value > top || (Number.isNaN(top) && !Number.isNaN(value))) best = i;
  }
  return best;
}

/** log(sum(exp(values))), computed in float64. */
export function logSumExp(values: Float32Array): number {
  const top = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (!Number.isFinite(top)) return top;
  return top + Math.log(values.reduce((sum, value) => sum + Math.exp(value - top), 0));
}

/** Up to so many, the largest are kept sorted while passing over the values once; beyond, everything is sorted. */
const FEW = 64;

/** Indices of the `count` largest values, largest first, ties by lower index. */
export function topIndices(values: Float32Array, count: number): number[] {
  const before = (a: number, b: number): number => (values[b] ?? 0) - (values[a] ?? 0) || a - b;
  if (count > FEW) {
    return Array.from(values, (_, i) => i)
      .sort(before)
      .slice(0, count);
  }
  const best: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  values.forEach((value, index) => {
    // Later equals come after: only a larger value can push one out.
    if (best.length === count && !(value > least)) return;
    let at = best.length;
    while (at > 0 && value > (values[best[at - 1] ?? 0] ?? 0)) at--;
    best.splice(at, 0, index);
    if (best.length > count) best.pop();
    least = values[best.at(-1) ?? 0] ?? least;
  });
  return best;
}

/** Draws a token. `random` gives uniform numbers in [0, 1). */
export function sample(logits: Float32Array, options: SamplingOptions, random: () => number): number {
  if (options.temperature === 0 || options.topK === 1) return argMax(logits);
  const order = topIndices(logits, options.topK === 0 ? logits.length : options.topK);
  const top = logits[order[0] ?? 0] ?? 0;
  const weights = order.map((id) => Math.exp(((logits[id] ?? 0) - top) / options.temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  // The nucleus ends with the token that makes the sum reach top-p; there is always one.
  let kept = 0;
  let mass = 0;
  while (kept < weights.length && (kept === 0 || mass < options.topP * total)) mass += weights[kept++] ?? 0;
  let point = random() * mass;
  for (let i = 0; i < kept; i++) {
    point -= weights[i] ?? 0;
    if (point < 0) return order[i] ?? 0;
  }
  return order[kept - 1] ?? 0;
}

/** A seeded generator of uniform numbers in [0, 1): sfc32, 128 bits of state, 32-bit output. */
export function seededRandom(seed: number): () => number {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new MoeError('usage', 'bad-seed', `The seed is ${seed}, expected a whole number from 0 on.`, {
      field: 'seed',
    });
  let a = seed >>> 0;
  let b = Math.floor(seed / 2 ** 32) >>> 0;
  let c = 0x9e3779b9;
  let counter = 1;
  const next = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  // The first numbers still show the seed.
  for (let i = 0; i < 16; i++) next();
  return () => next() / 2 ** 32;
}
