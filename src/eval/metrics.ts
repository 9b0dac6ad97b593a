import { PythonRandom } from './python/random.ts';
import { codePointLength, utf8Length } from './python/text.ts';

/** `numpy.argmax`: the first index of the largest value; a NaN wins, the first one. */
export function argmax(values: readonly number[]): number {
  let best = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] ?? NaN;
    if (Number.isNaN(v)) return i;
    if (v > (values[best] ?? NaN)) best = i;
  }
  return best;
}

/** Which choice each rule picks (reference section 3.3). */
export interface Picks {
  readonly acc: number;
  /** Divided by code points: the harness's acc_norm. */
  readonly acc_norm: number;
  /** Divided by UTF-8 bytes. */
  readonly acc_bytes: number;
}

/** Picks by raw, code-point- and byte-normalised log-likelihood. Delimiters do not count, the choice's own blanks do. */
export function pickChoices(logprobs: readonly number[], choices: readonly string[]): Picks {
  const divided = (length: (s: string) => number): number[] => logprobs.map((ll, i) => ll / length(choices[i] ?? ''));
  return { acc: argmax(logprobs), acc_norm: argmax(divided(codePointLength)), acc_bytes: argmax(divided(utf8Length)) };
}

/** Gap between the best and the second-best value; how far a question is from another answer. Infinity for one value. */
export function topMargin(values: readonly number[]): number {
  const [first, second] = [...values].sort((a, b) => b - a);
  return first === undefined || second === undefined ? Infinity : first - second;
}

export function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** Sample standard error of a mean, `sqrt(Σ(x-μ)²/(n-1))/sqrt(n)`; null when n < 2: one sample says nothing about spread. */
export function meanStderr(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  return sampleStddev(values) / Math.sqrt(values.length);
}

function sampleStddev(values: readonly number[]): number {
  const mu = mean(values);
  return Math.sqrt(values.reduce((a, x) => a + (x - mu) ** 2, 0) / (values.length - 1));
}

/** A group's score: the members' scores weighted by their number of documents. */
export function weightedMean(values: readonly number[], sizes: readonly number[]): number {
  return values.reduce((a, v, i) => a + v * (sizes[i] ?? 0), 0) / sizes.reduce((a, b) => a + b, 0);
}

/** The harness's pooled standard error of a group; null when any member's is unknown, or there is nothing to pool. */
export function pooledStderr(stderrs: readonly (number | null)[], sizes: readonly number[]): number | null {
  const total = sizes.reduce((a, b) => a + b, 0);
  let sum = 0;
  for (const [i, se] of stderrs.entries()) {
    if (se === null) return null;
    const n = sizes[i] ?? 0;
    sum += (n - 1) * se ** 2 * n;
  }
  if (total <= sizes.length) return null;
  return Math.sqrt(sum / (total - sizes.length) / total);
}

/** `exp(-mean(ll))`: LAMBADA's perplexity. */
export function perplexity(logprobs: readonly number[]): number {
  return Math.exp(-mean(logprobs));
}

/** Rolling perplexities from summed log-likelihoods and summed counts. */
export function rollingMetrics(
  pages: readonly { readonly logprob: number; readonly words: number; readonly bytes: number }[],
): {
  readonly word_perplexity: number;
  readonly byte_perplexity: number;
  readonly bits_per_byte: number;
} {
  let ll = 0;
  let words = 0;
  let bytes = 0;
  for (const page of pages) {
    ll += page.logprob;
    words += page.words;
    bytes += page.bytes;
  }
  return {
    word_perplexity: Math.exp(-(ll / words)),
    byte_perplexity: Math.exp(-(ll / bytes)),
    bits_per_byte: -(ll / bytes) / Math.LN2,
  };
}

/** The harness's default number of bootstrap resamples. */
export const BOOTSTRAP_ITERATIONS = 100_000;

/**
 * The harness's bootstrap standard error of a perplexity: chunks of 1000 resamples, chunk i drawn by `random.Random(i)`, then
 * the sample deviation of all. Null for one value or no iterations. Yields to the event loop between chunks.
 */
export async function bootstrapPerplexityStderr(
  logprobs: readonly number[],
  iterations = BOOTSTRAP_ITERATIONS,
  signal?: AbortSignal,
): Promise<number | null> {
  const n = logprobs.length;
  if (n < 2 || iterations < 2) return null;
  const chunk = Math.min(1000, iterations);
  const data = Float64Array.from(logprobs);
  const results: number[] = [];
  for (let i = 0; i < Math.floor(iterations / chunk); i++) {
    signal?.throwIfAborted();
    const random = new PythonRandom(i);
    for (let r = 0; r < chunk; r++) {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += data[Math.floor(random.random() * n)] ?? 0;
      results.push(Math.exp(-(sum / n)));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return sampleStddev(results);
}

/** 95 % Wilson score interval of a share, for live display: sensible at 0, 1 and small n. Null for n = 0. */
export function wilsonInterval(successes: number, n: number, z = 1.959963984540054): readonly [number, number] | null {
  if (n <= 0) return null;
  const p = successes / n;
  const z2 = (z * z) / n;
  const centre = (p + z2 / 2) / (1 + z2);
  const half = (z * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n))) / (1 + z2);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
