/** Exact quantiles: by counts of all codes, or of float32 values by their bits in two rounds (radix selection). */

/** Shown quantiles, as shares. */
export const QUANTILES = [0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999] as const;

export interface Quantile {
  readonly q: number;
  readonly value: number;
}

/** numpy's default: linear between the two nearest ranks. `at` gives the k-th smallest value. */
export function quantilesBy(count: number, at: (rank: number) => number): Quantile[] {
  if (count === 0) return [];
  return QUANTILES.map((q) => {
    const place = q * (count - 1);
    const low = at(Math.floor(place));
    const high = at(Math.ceil(place));
    return { q, value: low === high ? low : low + (high - low) * (place - Math.floor(place)) };
  });
}

/** Ranks that `quantilesBy` will ask for, ascending. */
export function wantedRanks(count: number): number[] {
  const ranks = QUANTILES.flatMap((q) => [Math.floor(q * (count - 1)), Math.ceil(q * (count - 1))]);
  return count === 0 ? [] : [...new Set(ranks)].sort((a, b) => a - b);
}

/** Sixteen bits at a time of keys that order as the floats do: first the high halves of all, then the low ones of a few. */
export class RadixSelection {
  private readonly high = new Float64Array(65_536);
  private low = new Map<number, Float64Array>();
  private finite = 0;
  private before = new Map<number, number>();

  /** First round. */
  count(values: Float32Array): void {
    const bits = bitsOf(values);
    for (const word of bits) {
      // All exponent bits set: not finite.
      if ((word & 0x7f800000) === 0x7f800000) continue;
      const at = keyOf(word) >>> 16;
      this.high[at] = (this.high[at] ?? 0) + 1;
      this.finite++;
    }
  }

  /** Between the rounds: which high halves hold a wanted rank. */
  choose(): void {
    const ranks = wantedRanks(this.finite);
    let seen = 0;
    let next = 0;
    for (let half = 0; half < 65_536 && next < ranks.length; half++) {
      const here = this.high[half] ?? 0;
      const rank = ranks[next] ?? Infinity;
      if (here > 0 && rank < seen + here) {
        this.low.set(half, new Float64Array(65_536));
        this.before.set(half, seen);
        while ((ranks[next] ?? Infinity) < seen + here) next++;
      }
      seen += here;
    }
  }

  /** Second round: the same values again. */
  refine(values: Float32Array): void {
    const chosen = new Uint8Array(65_536);
    for (const half of this.low.keys()) chosen[half] = 1;
    for (const word of bitsOf(values)) {
      const key = keyOf(word);
      if (chosen[key >>> 16] !== 1 || (word & 0x7f800000) === 0x7f800000) continue;
      const counts = this.low.get(key >>> 16);
      if (counts !== undefined) counts[key & 0xffff] = (counts[key & 0xffff] ?? 0) + 1;
    }
  }

  quantiles(): Quantile[] {
    return quantilesBy(this.finite, (rank) => this.valueAt(rank));
  }

  private valueAt(rank: number): number {
    for (const [half, counts] of this.low) {
      const before = this.before.get(half) ?? 0;
      if (rank < before || rank >= before + (this.high[half] ?? 0)) continue;
      let left = rank - before;
      for (let low = 0; low < 65_536; low++) {
        left -= counts[low] ?? 0;
        if (left < 0) return valueOf((half << 16) | low);
      }
    }
    return NaN;
  }
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Bits of a float32 as a number that orders as the values do: negative ones turned round, positive ones above them. */
function keyOf(bits: number): number {
  return (bits & 0x80000000) === 0 ? bits | 0x80000000 : ~bits;
}

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

function valueOf(key: number): number {
  word[0] = (key & 0x80000000) === 0 ? ~key : key & 0x7fffffff;
  return single[0] ?? NaN;
}
