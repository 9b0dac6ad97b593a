import { MoeError } from '../common/errors.ts';
import {
  CAPACITY_BASES,
  CAPACITY_CONVENTIONS,
  DEFAULT_CAPACITY_FACTORS,
  droppedSlots,
  expertCapacity,
} from './trace-capacity.ts';
import type { DomainCounter, DropCounter, LayerSums, RouterBatch, TraceConfig } from './trace-types.ts';
import { COUNTED, PAD, PREFIX } from './trace-types.ts';

export type * from './trace-types.ts';
export { COUNTED, PAD, PREFIX } from './trace-types.ts';

/** Index of the pair {i, j}, i ≠ j, in the upper triangle of an N × N matrix. */
export function pairIndex(i: number, j: number, n: number): number {
  const [a, b] = i < j ? [i, j] : [j, i];
  return a * n - (a * (a + 1)) / 2 + (b - a - 1);
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** A number rounded to bfloat16, to nearest, ties to even. */
export function roundToBf16(x: number): number {
  scratch[0] = x;
  const bits = scratchBits[0] ?? 0;
  if (!Number.isFinite(x)) return x;
  scratchBits[0] = ((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000) >>> 0;
  return scratch[0];
}

/** The tokens over which would-be drops are being counted. */
export interface TraceWindow {
  readonly counts: Float64Array;
  tokens: number;
  positions: number;
}

/** (max − mean)/mean of loads, the batch form of MaxVio (arXiv 2408.15664 section 4.1). 0 for no load. */
export function maxViolation(counts: ArrayLike<number>): number {
  let sum = 0;
  let max = 0;
  for (let i = 0; i < counts.length; i++) {
    sum += counts[i] ?? 0;
    max = Math.max(max, counts[i] ?? 0);
  }
  return sum === 0 ? 0 : (max * counts.length) / sum - 1;
}

/**
 * Accumulates router statistics of any number of batches in bounded memory: per layer O(N²) pairs, at most `maxDomains` domains and
 * `vocabularyCounters` counters. Definitions: reference section 7.2, repeated in `TRACE_DEFINITIONS`.
 */
export class ExpertTrace {
  readonly layers: readonly LayerSums[];
  readonly config: Required<TraceConfig>;
  readonly #byLayer = new Map<number, LayerSums>();
  readonly #windows = new Map<number, TraceWindow>();
  readonly #order: Int32Array;
  readonly #scores: Float64Array;
  readonly #p: Float64Array;

  constructor(config: TraceConfig) {
    const { experts, topK } = config;
    if (
      !Number.isInteger(experts) ||
      experts < 1 ||
      experts > 4096 ||
      !Number.isInteger(topK) ||
      topK < 1 ||
      topK > experts
    ) {
      throw new MoeError(
        'usage',
        'bad-trace-config',
        `a trace needs 1 to 4096 experts and 1 ≤ top-k ≤ experts, got ${experts} and ${topK}`,
      );
    }
    this.config = {
      gate: 'softmax',
      grouped: false,
      normTopK: true,
      capacityFactors: DEFAULT_CAPACITY_FACTORS,
      dropWindow: 'batch',
      pairs: 'all',
      maxDomains: 256,
      vocabularyCounters: 2 ** 18,
      ...config,
    };
    this.layers = config.layers.map((layer) => this.#empty(layer));
    for (const sums of this.layers) this.#byLayer.set(sums.layer, sums);
    this.#order = new Int32Array(Math.min(experts, topK + 1));
    this.#scores = new Float64Array(experts);
    this.#p = new Float64Array(experts);
  }

  #empty(layer: number): LayerSums {
    const { experts: n, capacityFactors } = this.config;
    return {
      layer,
      tokens: 0,
      pads: 0,
      prefixTokens: 0,
      nonFinite: 0,
      counts: new Float64Array(n),
      top1: new Float64Array(n),
      probability: new Float64Array(n),
      gate: new Float64Array(n),
      entropy: 0,
      lse2: 0,
      margin: 0,
      minMargin: Infinity,
      marginTokens: 0,
      bf16Ties: 0,
      pairs: new Uint32Array((n * (n - 1)) / 2),
      drops: capacityFactors.flatMap((factor) =>
        CAPACITY_CONVENTIONS.flatMap((convention) =>
          CAPACITY_BASES.map((base) => ({ factor, convention, base, dropped: 0 })),
        ),
      ),
      windows: 0,
      batches: 0,
      batchMaxVio: 0,
      domains: new Map(),
      vocabularyRows: new Map(),
      vocabulary: new Uint32Array(0),
      untrackedTokens: 0,
    };
  }

  /** Adds one layer's routing of a batch. */
  observe(batch: RouterBatch): void {
    const sums = this.#byLayer.get(batch.layer);
    const { experts: n, topK: k, dropWindow } = this.config;
    const { tokens, logits, selected, weights, state, tokenIds, domain } = batch;
    if (sums === undefined) throw this.#mismatch(`layer ${batch.layer}`, `one of ${this.config.layers.join(', ')}`);
    if (logits.length !== tokens * n) throw this.#mismatch(`${logits.length} logits`, `${tokens} × ${n}`);
    if (selected !== undefined && selected.length !== tokens * k)
      throw this.#mismatch(`${selected.length} selected experts`, `${tokens} × ${k}`);
    if (weights !== undefined && weights.length !== tokens * k)
      throw this.#mismatch(`${weights.length} mixing weights`, `${tokens} × ${k}`);
    for (const [name, array] of [
      ['states', state],
      ['token ids', tokenIds],
      ['domains', typeof domain === 'string' ? undefined : domain],
    ] as const) {
      if (array !== undefined && array.length !== tokens)
        throw this.#mismatch(`${array.length} ${name}`, String(tokens));
    }
    const window = this.window(sums.layer);
    const load = new Float64Array(n);
    for (let t = 0; t < tokens; t++) {
      window.positions++;
      const kind = state === undefined ? COUNTED : (state[t] ?? PAD);
      if (kind === PAD) sums.pads++;
      else if (kind === PREFIX) sums.prefixTokens++;
      else if (this.#token(sums, batch, t)) {
        const name = typeof domain === 'string' ? domain : domain?.[t];
        const counter = name === undefined ? undefined : this.#domain(sums, name);
        if (counter !== undefined) counter.tokens++;
        for (let r = 0; r < k; r++) {
          const e = this.#order[r] ?? 0;
          load[e] = (load[e] ?? 0) + 1;
          window.counts[e] = (window.counts[e] ?? 0) + 1;
          if (counter !== undefined) counter.counts[e] = (counter.counts[e] ?? 0) + 1;
        }
        window.tokens++;
        if (typeof dropWindow === 'number' && window.tokens >= dropWindow) this.#closeWindow(sums, window);
      }
    }
    if (load.some((c) => c > 0)) {
      sums.batches++;
      sums.batchMaxVio += maxViolation(load);
    }
    if (dropWindow === 'batch') this.#closeWindow(sums, window);
  }

  #mismatch(found: string, expected: string): MoeError {
    return new MoeError('internal', 'bad-router-batch', `router trace: found ${found}, expected ${expected}`);
  }

  /** The unfinished window of a layer. */
  window(layer: number): TraceWindow {
    let window = this.#windows.get(layer);
    if (window === undefined) {
      window = { counts: new Float64Array(this.config.experts), tokens: 0, positions: 0 };
      this.#windows.set(layer, window);
    }
    return window;
  }

  #closeWindow(sums: LayerSums, window: TraceWindow): void {
    const { drops, windows } = this.drops(sums);
    drops.forEach((d, i) => {
      const counter = sums.drops[i];
      if (counter !== undefined) counter.dropped = d.dropped;
    });
    sums.windows = windows;
    window.counts.fill(0);
    window.tokens = 0;
    window.positions = 0;
  }

  /** Would-be drops so far, the unfinished window included as if it ended here. Changes nothing. */
  drops(sums: LayerSums): { readonly drops: readonly DropCounter[]; readonly windows: number } {
    const window = this.window(sums.layer);
    if (window.tokens === 0) return { drops: sums.drops, windows: sums.windows };
    const { experts, topK } = this.config;
    const drops = sums.drops.map((drop) => {
      const base = drop.base === 'all-positions' ? window.positions : window.tokens;
      const { capacity } = expertCapacity(base, experts, topK, drop.factor, drop.convention);
      return { ...drop, dropped: drop.dropped + droppedSlots(window.counts, capacity) };
    });
    return { drops, windows: sums.windows + 1 };
  }

  /** One counted token. Leaves the chosen experts in `#order`; false when its logits are not finite. */
  #token(sums: LayerSums, batch: RouterBatch, t: number): boolean {
    const { experts: n, topK: k, normTopK } = this.config;
    const lse = this.#probabilities(batch.logits, t * n);
    if (lse === undefined) {
      sums.nonFinite++;
      return false;
    }
    const p = this.#p;
    let entropy = 0;
    for (let i = 0; i < n; i++) {
      const q = p[i] ?? 0;
      sums.probability[i] = (sums.probability[i] ?? 0) + q;
      if (q > 0) entropy -= q * Math.log(q);
    }
    sums.tokens++;
    sums.entropy += n > 1 ? entropy / Math.log(n) : 0;
    sums.lse2 += lse * lse;
    this.#rank(batch.selectionBias);
    if (k < n && !this.config.grouped) this.#margin(sums, batch, t);
    for (let r = 0; batch.selected !== undefined && r < k; r++) {
      const chosen = batch.selected[t * k + r] ?? -1;
      if (!Number.isInteger(chosen) || chosen < 0 || chosen >= n)
        throw this.#mismatch(`expert ${chosen}`, `0 to ${n - 1}`);
      this.#order[r] = chosen;
    }
    const order = this.#order;
    let total = 0;
    for (let r = 0; r < k; r++) total += p[order[r] ?? 0] ?? 0;
    for (let r = 0; r < k; r++) {
      const e = order[r] ?? 0;
      sums.counts[e] = (sums.counts[e] ?? 0) + 1;
      const implied = normTopK ? (total > 0 ? (p[e] ?? 0) / total : 0) : (p[e] ?? 0);
      sums.gate[e] = (sums.gate[e] ?? 0) + (batch.weights?.[t * k + r] ?? implied);
      const last = this.config.pairs === 'all' ? k : Math.min(k, r + 2);
      for (let s = r + 1; s < last; s++) {
        const at = pairIndex(e, order[s] ?? 0, n);
        sums.pairs[at] = (sums.pairs[at] ?? 0) + 1;
      }
    }
    const best = order[0] ?? 0;
    sums.top1[best] = (sums.top1[best] ?? 0) + 1;
    const id = batch.tokenIds?.[t];
    if (id !== undefined) this.#vocabulary(sums, id, best);
    return true;
  }

  /** Fills `#p` (sums to 1) and `#scores` (selection without bias); returns logsumexp, or undefined when not finite. */
  #probabilities(logits: ArrayLike<number>, from: number): number | undefined {
    const n = this.config.experts;
    const sigmoid = this.config.gate === 'sigmoid';
    let max = -Infinity;
    for (let i = 0; i < n; i++) {
      const x = logits[from + i] ?? NaN;
      if (!Number.isFinite(x)) return undefined;
      max = Math.max(max, x);
    }
    let sum = 0;
    let scoreSum = 0;
    for (let i = 0; i < n; i++) {
      const x = logits[from + i] ?? 0;
      const e = Math.exp(x - max);
      sum += e;
      const score = sigmoid ? 1 / (1 + Math.exp(-x)) : e;
      this.#scores[i] = score;
      scoreSum += score;
    }
    for (let i = 0; i < n; i++) {
      const p = scoreSum > 0 ? (this.#scores[i] ?? 0) / scoreSum : 1 / n;
      this.#p[i] = p;
      if (!sigmoid) this.#scores[i] = p;
    }
    return max + Math.log(sum);
  }

  /** Fills `#order` with the k+1 best experts by selection score, lower index first on ties. */
  #rank(bias: ArrayLike<number> | undefined): void {
    const { experts: n } = this.config;
    const scores = this.#scores;
    if (bias !== undefined) for (let i = 0; i < n; i++) scores[i] = (scores[i] ?? 0) + (bias[i] ?? 0);
    const order = this.#order;
    let filled = 0;
    for (let i = 0; i < n; i++) {
      const score = scores[i] ?? 0;
      let at = filled;
      while (at > 0 && (scores[order[at - 1] ?? 0] ?? 0) < score) at--;
      if (at >= order.length) continue;
      for (let m = Math.min(filled, order.length - 1); m > at; m--) order[m] = order[m - 1] ?? 0;
      order[at] = i;
      filled = Math.min(filled + 1, order.length);
    }
  }

  #margin(sums: LayerSums, batch: RouterBatch, t: number): void {
    const { experts: n, topK: k } = this.config;
    const inside = this.#order[k - 1] ?? 0;
    const outside = this.#order[k] ?? 0;
    const margin = (this.#scores[inside] ?? 0) - (this.#scores[outside] ?? 0);
    sums.margin += margin;
    sums.minMargin = Math.min(sums.minMargin, margin);
    sums.marginTokens++;
    // Without a bias the order of scores is the order of logits, and these are what a bf16 router rounds.
    const value = (e: number): number =>
      batch.selectionBias === undefined ? (batch.logits[t * n + e] ?? 0) : (this.#scores[e] ?? 0);
    if (roundToBf16(value(inside)) === roundToBf16(value(outside))) sums.bf16Ties++;
  }

  #domain(sums: LayerSums, name: string): DomainCounter {
    const known = sums.domains.get(name);
    if (known !== undefined) return known;
    const key = sums.domains.size >= this.config.maxDomains - 1 ? '(other)' : name;
    const counter = sums.domains.get(key) ?? { tokens: 0, counts: new Float64Array(this.config.experts) };
    sums.domains.set(key, counter);
    return counter;
  }

  #vocabulary(sums: LayerSums, id: number, expert: number): void {
    const n = this.config.experts;
    let row = sums.vocabularyRows.get(id);
    if (row === undefined) {
      row = sums.vocabularyRows.size;
      if ((row + 1) * n > this.config.vocabularyCounters) {
        sums.untrackedTokens++;
        return;
      }
      if ((row + 1) * n > sums.vocabulary.length) {
        const grown = new Uint32Array(
          Math.min(this.config.vocabularyCounters, Math.max(64 * n, sums.vocabulary.length * 2)),
        );
        grown.set(sums.vocabulary);
        sums.vocabulary = grown;
      }
      sums.vocabularyRows.set(id, row);
    }
    const at = row * n + expert;
    sums.vocabulary[at] = (sums.vocabulary[at] ?? 0) + 1;
  }
}
