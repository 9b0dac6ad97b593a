/** Pages of a long list, fetched as they are seen, the least recently used ones dropped. No DOM. */

export interface Page<T> {
  readonly start: number;
  readonly rows: readonly T[];
}

export interface PagesOptions<T, P extends Page<T>> {
  readonly size: number;
  /** Pages kept. */
  readonly keep: number;
  readonly fetch: (start: number, count: number, signal: AbortSignal) => Promise<P>;
  /** A page came: totals may have changed, rows can be drawn. */
  readonly arrived: (page: P) => void;
  readonly failed: (error: unknown) => void;
}

/** Rows by index. `want` asks for what is missing; everything asked for under an older `reset` is cancelled and dropped. */
export class Pages<T, P extends Page<T>> {
  private readonly pages = new Map<number, P>();
  private readonly open = new Set<number>();
  private aborter = new AbortController();

  constructor(private readonly options: PagesOptions<T, P>) {}

  /** The row, or null while it is not there. */
  at(index: number): T | null {
    const number = Math.floor(index / this.options.size);
    const page = this.pages.get(number);
    return page?.rows[index - number * this.options.size] ?? null;
  }

  /** Asks for the pages of rows `first` to `end`. */
  want(first: number, end: number): void {
    const last = Math.floor(Math.max(first, end - 1) / this.options.size);
    for (let number = Math.floor(first / this.options.size); number <= last; number++) {
      const page = this.pages.get(number);
      if (page !== undefined) {
        // Used: to the end of the order.
        this.pages.delete(number);
        this.pages.set(number, page);
      } else if (!this.open.has(number)) void this.load(number);
    }
  }

  /** Forgets everything: another filter, another generation. */
  reset(): void {
    this.aborter.abort();
    this.aborter = new AbortController();
    this.pages.clear();
    this.open.clear();
  }

  /** Indices of rows that are there, from `from` on and around, in order of nearness after it. */
  *loadedAfter(from: number, total: number): Generator<readonly [number, T]> {
    const numbers = [...this.pages.keys()].sort((a, b) => a - b);
    for (const wrapped of [false, true])
      for (const number of numbers) {
        const start = number * this.options.size;
        const rows = this.pages.get(number)?.rows ?? [];
        for (const [at, row] of rows.entries()) {
          const index = start + at;
          if (index < total && (wrapped ? index <= from : index > from)) yield [index, row];
        }
      }
  }

  private async load(number: number): Promise<void> {
    this.open.add(number);
    const { signal } = this.aborter;
    try {
      const page = await this.options.fetch(number * this.options.size, this.options.size, signal);
      if (signal.aborted) return;
      this.pages.set(number, page);
      for (const old of this.pages.keys()) {
        if (this.pages.size <= this.options.keep) break;
        this.pages.delete(old);
      }
      this.options.arrived(page);
    } catch (error) {
      if (!signal.aborted) this.options.failed(error);
    } finally {
      if (!signal.aborted) this.open.delete(number);
    }
  }
}
