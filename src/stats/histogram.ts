/** Histograms of values whose extremes are known: even bins, or decades of |x| with the signs apart. */
import type { Of } from '../protocol/define.ts';
import type { histogram } from '../protocol/checkpoint.ts';
import type { Moments } from './moments.ts';

export type Histogram = Of<typeof histogram>;

/** Values nearer to zero than this share of the largest one fall in the middle bin of a log histogram. */
const DEPTH = 1e-9;

export class HistogramCounter {
  readonly edges: Float64Array;
  private readonly counts: Float64Array;
  private zeros = 0;
  private outside = 0;
  /** Something that the reader should know. */
  readonly note: string | null;

  private constructor(
    private readonly scale: 'linear' | 'log',
    edges: Float64Array,
    private readonly placeOf: (x: number) => number,
    note: string | null,
  ) {
    this.edges = edges;
    this.counts = new Float64Array(edges.length - 1);
    this.note = note;
  }

  /** Null where there is nothing to put into bins, or the values span more than a float64 can hold. */
  static over(moments: Moments, scale: 'linear' | 'log', bins: number): HistogramCounter | null {
    if (moments.finite === 0) return null;
    return scale === 'linear' ? linear(moments, bins) : logarithmic(moments, bins);
  }

  static make(
    scale: 'linear' | 'log',
    edges: Float64Array,
    placeOf: (x: number) => number,
    note: string | null = null,
  ): HistogramCounter {
    return new HistogramCounter(scale, edges, placeOf, note);
  }

  add(values: Float32Array | Float64Array): void {
    for (const x of values) this.addCounted(x, 1);
  }

  /** NaN and infinities are left out: they are counted elsewhere. */
  addCounted(x: number, count: number): void {
    if (x - x !== 0) return;
    if (x === 0 && this.scale === 'log') {
      this.zeros += count;
      return;
    }
    const at = this.settle(x, this.placeOf(x));
    if (at < 0 || at >= this.counts.length) this.outside += count;
    else this.counts[at] = (this.counts[at] ?? 0) + count;
  }

  /**
   * Rounding may put a value some bins off (edges of values around 2⁵¹ are equal in part): the edges decide. Bins hold their
   * lower edge; the last one its upper one too.
   */
  private settle(x: number, guess: number): number {
    const last = this.counts.length - 1;
    let at = Math.min(last, Math.max(0, guess));
    while (at >= 0 && x < (this.edges[at] ?? 0)) at--;
    while (at >= 0 && at < last && x >= (this.edges[at + 1] ?? Infinity)) at++;
    return at === last && x > (this.edges[last + 1] ?? Infinity) ? -1 : at;
  }

  result(): Histogram {
    return {
      scale: this.scale,
      edges: [...this.edges],
      counts: [...this.counts],
      zeros: this.zeros,
      outside: this.outside,
    };
  }
}

function linear({ min, max }: Moments, bins: number): HistogramCounter | null {
  // One value alone gets a bin around it, as numpy does.
  const [from, to] = min === max ? [min - 0.5, max + 0.5] : [min, max];
  const width = (to - from) / bins;
  if (!Number.isFinite(to - from) || from === to || width === 0) return null;
  const edges = Float64Array.from({ length: bins + 1 }, (_, i) => (i === bins ? to : from + i * width));
  return HistogramCounter.make('linear', edges, (x) => Math.floor((x - from) / width));
}

function logarithmic({ min, max, least }: Moments, bins: number): HistogramCounter | null {
  const most = Math.max(Math.abs(min), Math.abs(max));
  if (most === 0) {
    return HistogramCounter.make('log', Float64Array.of(-1, 1), () => 0);
  }
  const floor = Math.max(least, most * DEPTH);
  const [low, high] = floor === most ? [most / 10, most] : [floor, most];
  const side = Math.max(1, Math.floor(bins / 2));
  const from = Math.log10(low);
  const step = (Math.log10(high) - from) / side;
  if (!Number.isFinite(step) || step <= 0) return null;
  const positive = Array.from({ length: side + 1 }, (_, i) =>
    i === 0 ? low : i === side ? high : 10 ** (from + i * step),
  );
  const edges = Float64Array.from([...positive.map((x) => -x).reverse(), ...positive]);
  const placeOf = (x: number): number => {
    const size = Math.abs(x);
    if (size < low) return side;
    const place = Math.min(side - 1, Math.floor((Math.log10(size) - from) / step));
    return x > 0 ? side + 1 + place : side - 1 - place;
  };
  const note =
    least < low
      ? `values nearer to zero than ${low.toExponential(1)} are counted in the middle bin of the histogram`
      : null;
  return HistogramCounter.make('log', edges, placeOf, note);
}
