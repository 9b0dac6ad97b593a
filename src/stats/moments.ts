/** Running sums over values, in float64, that stay accurate over billions of elements. */

/** What is known of all values seen. Over the finite ones: extremes, mean, deviation, norm. */
export class Moments {
  elements = 0;
  finite = 0;
  nan = 0;
  positiveInfinite = 0;
  negativeInfinite = 0;
  zeros = 0;
  min = Infinity;
  max = -Infinity;
  /** Smallest |x| that is not 0. */
  least = Infinity;
  private mean = 0;
  /** Sum of squared deviations from the mean. */
  private deviations = 0;
  private absolute = 0;
  private squares = 0;

  /** Adds values one by one. */
  add(values: Float32Array | Float64Array): void {
    let [n, sum, absolute, squares, zeros] = [0, 0, 0, 0, 0];
    let { min, max, least } = this;
    for (const x of values) {
      // False for NaN and infinities.
      if (x - x !== 0) {
        this.addOdd(x, 1);
        continue;
      }
      n++;
      sum += x;
      const size = x < 0 ? -x : x;
      absolute += size;
      squares += x * x;
      if (x < min) min = x;
      if (x > max) max = x;
      if (size === 0) zeros++;
      else if (size < least) least = size;
    }
    Object.assign(this, { min, max, least });
    this.zeros += zeros;
    this.elements += n;
    if (n === 0) return;
    const mean = sum / n;
    let deviations = 0;
    for (const x of values) if (x - x === 0) deviations += (x - mean) * (x - mean);
    this.merge(n, mean, deviations, absolute, squares);
  }

  /** Adds a value `count` times. */
  addCounted(x: number, count: number): void {
    if (count === 0) return;
    if (x - x !== 0) {
      this.addOdd(x, count);
      return;
    }
    const size = Math.abs(x);
    this.min = Math.min(this.min, x);
    this.max = Math.max(this.max, x);
    this.elements += count;
    if (size === 0) this.zeros += count;
    else this.least = Math.min(this.least, size);
    this.merge(count, x, 0, size * count, x * x * count);
  }

  private addOdd(x: number, count: number): void {
    this.elements += count;
    if (Number.isNaN(x)) this.nan += count;
    else if (x > 0) this.positiveInfinite += count;
    else this.negativeInfinite += count;
  }

  /** Chan's formula for the union of two samples. */
  private merge(n: number, mean: number, deviations: number, absolute: number, squares: number): void {
    const all = this.finite + n;
    const shift = mean - this.mean;
    this.mean += (shift * n) / all;
    this.deviations += deviations + ((shift * shift * this.finite) / all) * n;
    this.finite = all;
    this.absolute += absolute;
    this.squares += squares;
  }

  /** Null where there is no finite value, or sums overflow. */
  summary(): Record<'min' | 'max' | 'mean' | 'std' | 'absMean' | 'norm', number | null> {
    const known = (value: number): number | null => (this.finite > 0 && Number.isFinite(value) ? value : null);
    return {
      min: known(this.min),
      max: known(this.max),
      mean: known(this.mean),
      std: known(Math.sqrt(this.deviations / this.finite)),
      absMean: known(this.absolute / this.finite),
      norm: known(Math.sqrt(this.squares)),
    };
  }
}
