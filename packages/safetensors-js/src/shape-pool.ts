/** Longer shapes are no real tensor's: they are not pooled. */
const MAX_POOLED_RANK = 64;

/** Hands out one frozen array per distinct shape: half a million tensors have few. */
export class ShapePool {
  private scratch: number[] = [];
  private rank = 0;
  private hash = 0;
  private readonly known = new Map<number, (readonly number[])[]>();
  private kept = 0;

  start(): void {
    this.rank = 0;
    this.hash = 17;
  }

  push(dim: number): void {
    this.scratch[this.rank++] = dim;
    this.hash = (Math.imul(this.hash, 31) + (dim | 0)) | 0;
  }

  /** The dimensions read so far. */
  dims(): number[] {
    return this.scratch.slice(0, this.rank);
  }

  take(): readonly number[] {
    const { rank, hash } = this;
    let bucket = this.known.get(hash);
    if (bucket !== undefined) {
      for (const shape of bucket) if (this.same(shape)) return shape;
    }
    if (rank > MAX_POOLED_RANK) {
      // Absurd, but allowed: hand the scratch itself out rather than a copy of millions of numbers.
      const whole = this.scratch;
      whole.length = rank;
      this.scratch = [];
      return Object.freeze(whole);
    }
    const shape = Object.freeze(this.dims());
    // A header made to defeat the pool must not turn it into a second copy, nor a bucket into a long search.
    if (this.kept < 10_000) {
      if (bucket === undefined) this.known.set(hash, (bucket = []));
      if (bucket.length < 8) {
        bucket.push(shape);
        this.kept++;
      }
    }
    return shape;
  }

  private same(shape: readonly number[]): boolean {
    if (shape.length !== this.rank) return false;
    for (let i = 0; i < this.rank; i++) if (shape[i] !== this.scratch[i]) return false;
    return true;
  }
}
