import type { CapacityBase, CapacityConvention } from './trace-capacity.ts';
import type { ExpertTrace, LayerSums } from './trace.ts';
import { maxViolation, pairIndex } from './trace.ts';

/** What each number means and where it comes from; shown beside it. */
export const TRACE_DEFINITIONS = {
  load: 'count_i / (tokens · k); uniform 1/N. Megatron, switch_load_balancing_loss_func',
  importance: 'mean over tokens of p_i, the gate probability before top-k. Switch Transformer, Shazeer et al.',
  importanceCv2: 'variance over experts of importance / mean² (population variance)',
  meanGate: 'mean over all tokens of the mixing weight, 0 where the expert was not chosen',
  routerEntropy: 'mean over tokens of −Σ p log p / log N; 1 = undecided, near 1 for a fresh random router',
  loadEntropy: '−Σ load log load / log N; 1 = balanced',
  maxVio:
    '(max load − mean load) / mean load over everything seen; model value = mean over layers. arXiv 2408.15664 section 4.1',
  batchMaxVio: 'the same per batch, averaged over batches',
  dead: 'experts that no token chose',
  cold: 'experts with a load below 0.1/N',
  auxSwitch: 'N Σ load_i · importance_i; minimum 1. Megatron convention (load divided by k)',
  auxHf:
    'N Σ (count_i/tokens) · importance_i, pooled over layers first; minimum k. transformers, load_balancing_loss_func',
  routerZ: 'mean over tokens of logsumexp(logits)². ST-MoE',
  coactivation: 'P(j | i) = N_ij / N_i over all pairs of chosen experts',
  domainShare:
    'tokens of the domain that chose the expert / tokens of the domain; uniform k/N. OLMoE domain specialisation',
  vocabulary:
    'share of a token id’s occurrences whose top-1 expert is its most frequent one. OLMoE vocabulary specialisation',
  drops:
    'Σ max(0, count_i − capacity) / (tokens · k) per window; pads never take capacity. Capacity ceil(T·k/N·c) (megatron) or ceil(T/N·c) (paper)',
  margin:
    'p_(k) − p_(k+1): how far the selection is from another one; with a selection bias, of the biased scores; not where a choice is limited to groups of experts',
  bf16TieRate:
    'share of tokens whose k-th and next router logits are equal in bfloat16, so that the choice is arbitrary there',
} as const;

export interface DropReport {
  readonly factor: number;
  readonly convention: CapacityConvention;
  readonly base: CapacityBase;
  readonly dropped: number;
  readonly share: number;
}

export interface VocabularyEntry {
  readonly tokenId: number;
  readonly occurrences: number;
  readonly expert: number;
  readonly share: number;
}

export interface LayerReport {
  readonly layer: number;
  readonly tokens: number;
  readonly pads: number;
  readonly prefixTokens: number;
  readonly nonFinite: number;
  readonly counts: readonly number[];
  readonly load: readonly number[];
  readonly importance: readonly number[];
  readonly meanGate: readonly number[];
  readonly top1: readonly number[];
  readonly importanceCv2: number | null;
  readonly loadEntropy: number | null;
  readonly routerEntropy: number | null;
  readonly maxVio: number | null;
  readonly batchMaxVio: number | null;
  readonly dead: readonly number[];
  readonly cold: readonly number[];
  readonly auxSwitch: number | null;
  readonly routerZ: number | null;
  readonly margin: { readonly mean: number; readonly min: number } | null;
  readonly bf16TieRate: number | null;
  /** Row i: P(j | i); the diagonal is 1 where the expert was chosen, rows of dead experts are null. */
  readonly coactivation: readonly (readonly number[] | null)[];
  readonly domains: readonly { readonly domain: string; readonly tokens: number; readonly share: readonly number[] }[];
  readonly drops: readonly DropReport[];
  readonly dropWindows: number;
  readonly vocabulary: {
    /** Weighted by occurrences; null when no token ids were given. */
    readonly specialisation: number | null;
    readonly trackedTokenIds: number;
    readonly untrackedOccurrences: number;
    /** Most specialised ids among those seen at least `minOccurrences` times. */
    readonly top: readonly VocabularyEntry[];
  };
}

export interface TraceReport {
  readonly experts: number;
  readonly topK: number;
  readonly gate: string;
  readonly pairs: string;
  readonly dropWindow: 'batch' | number;
  readonly layers: readonly LayerReport[];
  /** Mean over layers of each layer's MaxVio: never of loads averaged over layers. */
  readonly maxVio: number | null;
  readonly auxHf: number | null;
  readonly definitions: typeof TRACE_DEFINITIONS;
}

/** The report of everything observed so far. Values without data are null, never NaN. */
export function traceReport(
  trace: ExpertTrace,
  options: { readonly topTokens?: number; readonly minOccurrences?: number } = {},
): TraceReport {
  const { experts, topK, gate, pairs, dropWindow } = trace.config;
  const layers = trace.layers.map((sums) =>
    layerReport(sums, trace.drops(sums), experts, topK, options.topTokens ?? 20, options.minOccurrences ?? 8),
  );
  const violations = layers.map((l) => l.maxVio).filter((v) => v !== null);
  return {
    experts,
    topK,
    gate,
    pairs,
    dropWindow,
    layers,
    maxVio: violations.length === 0 ? null : violations.reduce((a, b) => a + b, 0) / violations.length,
    auxHf: pooledAux(trace.layers, experts),
    definitions: TRACE_DEFINITIONS,
  };
}

function pooledAux(layers: readonly LayerSums[], n: number): number | null {
  const tokens = layers.reduce((a, l) => a + l.tokens, 0);
  if (tokens === 0) return null;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const count = layers.reduce((a, l) => a + (l.counts[i] ?? 0), 0);
    const p = layers.reduce((a, l) => a + (l.probability[i] ?? 0), 0);
    sum += (count / tokens) * (p / tokens);
  }
  return n * sum;
}

function layerReport(
  sums: LayerSums,
  dropped: ReturnType<ExpertTrace['drops']>,
  n: number,
  k: number,
  topTokens: number,
  minOccurrences: number,
): LayerReport {
  const { tokens: t, counts, layer, pads, prefixTokens, nonFinite } = sums;
  const per = (values: Float64Array, by: number): number[] => Array.from(values, (v) => (by > 0 ? v / by : 0));
  const load = per(counts, t * k);
  const importance = per(sums.probability, t);
  const some = <T>(value: T): T | null => (t > 0 ? value : null);
  const indices = [...counts.keys()];
  return {
    layer,
    tokens: t,
    pads,
    prefixTokens,
    nonFinite,
    counts: Array.from(counts),
    load,
    importance,
    meanGate: per(sums.gate, t),
    top1: Array.from(sums.top1),
    importanceCv2: some(importance.reduce((a, p) => a + (p - 1 / n) ** 2, 0) / n / (1 / n) ** 2),
    loadEntropy: some(n > 1 ? load.reduce((a, f) => a - (f > 0 ? f * Math.log(f) : 0), 0) / Math.log(n) : 0),
    routerEntropy: some(sums.entropy / t),
    maxVio: some(maxViolation(counts)),
    batchMaxVio: sums.batches > 0 ? sums.batchMaxVio / sums.batches : null,
    dead: t > 0 ? indices.filter((i) => counts[i] === 0) : [],
    cold: t > 0 ? indices.filter((i) => (load[i] ?? 0) < 0.1 / n && (counts[i] ?? 0) > 0) : [],
    auxSwitch: some(n * load.reduce((a, f, i) => a + f * (importance[i] ?? 0), 0)),
    routerZ: some(sums.lse2 / t),
    margin: sums.marginTokens > 0 ? { mean: sums.margin / sums.marginTokens, min: sums.minMargin } : null,
    bf16TieRate: sums.marginTokens > 0 ? sums.bf16Ties / sums.marginTokens : null,
    coactivation: indices.map((i) => coactivationRow(sums, i, n)),
    domains: [...sums.domains].map(([domain, d]) => ({ domain, tokens: d.tokens, share: per(d.counts, d.tokens) })),
    drops: dropped.drops.map((d) => ({ ...d, share: t > 0 ? d.dropped / (t * k) : 0 })),
    dropWindows: dropped.windows,
    vocabulary: vocabularyReport(sums, n, topTokens, minOccurrences),
  };
}

function coactivationRow(sums: LayerSums, i: number, n: number): number[] | null {
  const own = sums.counts[i] ?? 0;
  if (own === 0) return null;
  return Array.from({ length: n }, (_, j) => (i === j ? 1 : (sums.pairs[pairIndex(i, j, n)] ?? 0) / own));
}

function vocabularyReport(
  sums: LayerSums,
  n: number,
  topTokens: number,
  minOccurrences: number,
): LayerReport['vocabulary'] {
  let hits = 0;
  let all = 0;
  const entries: VocabularyEntry[] = [];
  for (const [tokenId, row] of sums.vocabularyRows) {
    const counts = sums.vocabulary.subarray(row * n, (row + 1) * n);
    let expert = 0;
    let occurrences = 0;
    counts.forEach((c, i) => {
      occurrences += c;
      if (c > (counts[expert] ?? 0)) expert = i;
    });
    const most = counts[expert] ?? 0;
    hits += most;
    all += occurrences;
    if (occurrences >= minOccurrences) entries.push({ tokenId, occurrences, expert, share: most / occurrences });
  }
  entries.sort((a, b) => b.share - a.share || b.occurrences - a.occurrences || a.tokenId - b.tokenId);
  return {
    specialisation: all > 0 ? hits / all : null,
    trackedTokenIds: sums.vocabularyRows.size,
    untrackedOccurrences: sums.untrackedTokens,
    top: entries.slice(0, topTokens),
  };
}
