/** Sums over two streams of values, in float64: what a difference comes down to. */

/** Distance between a reference `a` and `b`. */
export interface Distance {
  /** Every value equal (NaN to NaN, 0 to −0). */
  readonly equal: boolean;
  /** ‖b − a‖ / ‖a‖; null where a is all zeros and b is not, or sums overflow. */
  readonly relativeL2: number | null;
  /** Largest |b − a|. */
  readonly maxAbs: number;
  readonly elements: number;
  /** Positions left out because one side is NaN or infinite there and the other is not the same. */
  readonly notFinite: number;
}

/** A distance that also knows a common factor. */
export interface ScaledDistance extends Distance {
  /** Factor that brings a nearest to b (least squares); null where a is all zeros. */
  readonly scale: number | null;
  /** b is a times this number, exactly, in every value; null where there is no such number. */
  readonly exactScale: number | null;
  /** ‖b − scale·a‖ / ‖b‖: what is left once the factor is taken out; null where b is all zeros. */
  readonly residual: number | null;
}

/** Takes pairs of values and sums. */
export class Accumulator {
  private count = 0;
  private odd = 0;
  private same = true;
  private dd = 0;
  private aa = 0;
  private bb = 0;
  private ab = 0;
  private most = 0;
  /** undefined: no pair with a ≠ 0 yet; null: no single factor. */
  private factor: number | null | undefined = undefined;

  /** Adds `n` pairs: a[aFrom + i·1] with b[bFrom + i]. */
  add(a: Float64Array, b: Float64Array, n: number, aFrom = 0, bFrom = 0): void {
    let { dd, aa, bb, ab, most, same } = this;
    for (let i = 0; i < n; i++) {
      const x = a[aFrom + i] ?? 0;
      const y = b[bFrom + i] ?? 0;
      const d = y - x;
      if (d - d !== 0) {
        // NaN or an infinity on one side at least.
        if (!Object.is(x, y) && x !== y) {
          this.odd++;
          same = false;
        }
        continue;
      }
      if (d !== 0) {
        same = false;
        dd += d * d;
        const size = d < 0 ? -d : d;
        if (size > most) most = size;
      }
      aa += x * x;
      bb += y * y;
      ab += x * y;
    }
    this.dd = dd;
    this.aa = aa;
    this.bb = bb;
    this.ab = ab;
    this.most = most;
    this.same = same;
    this.count += n;
    if (this.factor !== null) this.trackFactor(a, b, n, aFrom, bFrom);
  }

  /** Adds one pair. */
  addOne(x: number, y: number): void {
    this.one[0] = x;
    this.other[0] = y;
    this.add(this.one, this.other, 1);
  }

  private readonly one = new Float64Array(1);
  private readonly other = new Float64Array(1);

  /** Adds `n` values that are equal on both sides, with the sum of their squares where it will be asked for. */
  addEqual(n: number, squares = 0): void {
    this.count += n;
    this.aa += squares;
    this.bb += squares;
    this.ab += squares;
    if (squares > 0 && this.factor !== null) this.factor = this.factor === undefined || this.factor === 1 ? 1 : null;
  }

  private trackFactor(a: Float64Array, b: Float64Array, n: number, aFrom: number, bFrom: number): void {
    let { factor } = this;
    for (let i = 0; i < n; i++) {
      const x = a[aFrom + i] ?? 0;
      const y = b[bFrom + i] ?? 0;
      if (factor === undefined) {
        if (x !== 0) factor = y / x;
        else if (y !== 0) factor = null;
      } else if (factor !== null && y !== x * factor) factor = null;
      if (factor === null) break;
    }
    this.factor = factor;
  }

  distance(): Distance {
    const { count, odd, same, dd, aa, most } = this;
    return {
      equal: same,
      relativeL2: finite(aa === 0 ? (dd === 0 ? 0 : null) : Math.sqrt(dd / aa)),
      maxAbs: most,
      elements: count,
      notFinite: odd,
    };
  }

  scaled(): ScaledDistance {
    const { aa, bb, ab, factor } = this;
    const scale = aa === 0 ? null : ab / aa;
    // Cauchy–Schwarz; rounding may push it a hair below zero.
    const rest = aa === 0 || bb === 0 ? null : Math.max(0, 1 - (ab * ab) / (aa * bb));
    const exact = factor === undefined || factor === null || !Number.isFinite(factor) ? null : factor;
    return {
      ...this.distance(),
      scale: finite(scale),
      exactScale: exact,
      residual: exact !== null && exact !== 0 ? 0 : finite(rest === null ? null : Math.sqrt(rest)),
    };
  }

  /** Sums of squares, for a distance over several matrices. */
  sums(): { readonly dd: number; readonly aa: number } {
    return { dd: this.dd, aa: this.aa };
  }
}

function finite(value: number | null): number | null {
  return value === null || !Number.isFinite(value) ? null : value;
}
