import type { CapacityBase, CapacityConvention } from './trace-capacity.ts';

/** How router logits become probabilities. `sigmoid` (DeepSeek-V3): p is the sigmoid divided by its sum over experts. */
export type GateKind = 'softmax' | 'sigmoid';

export interface TraceConfig {
  /** Model layers that hold experts, in order; reports name them by these numbers. */
  readonly layers: readonly number[];
  readonly experts: number;
  readonly topK: number;
  readonly gate?: GateKind;
  /** Only experts of some groups may be chosen: how far another choice is cannot be told from the scores (no margins, no ties). */
  readonly grouped?: boolean;
  /** Where batches bring no weights: mixing weights are divided by their sum over the selected experts (`norm_topk_prob`; Mixtral always). */
  readonly normTopK?: boolean;
  readonly capacityFactors?: readonly number[];
  /** Tokens over which would-be drops are counted: one observed batch, or that many counted tokens regardless of batching. */
  readonly dropWindow?: 'batch' | number;
  /** `all`: all k(k−1)/2 pairs. `adjacent-rank`: only neighbours in rank, as OLMoE's analysis script does. */
  readonly pairs?: 'all' | 'adjacent-rank';
  /** Domains kept apart; further ones go to "(other)". */
  readonly maxDomains?: number;
  /** Counters of the token-id table per layer (tokens × experts); further token ids are counted but not kept. */
  readonly vocabularyCounters?: number;
}

/** State of a position. Only counted ones enter statistics; the others still occupy positions of the batch. */
export const PAD = 0;
export const COUNTED = 1;
export const PREFIX = 2;

/** What one MoE layer's router did with a batch. Arrays are row-major and only read. */
export interface RouterBatch {
  /** One of `TraceConfig.layers`. */
  readonly layer: number;
  readonly tokens: number;
  /** Router logits before any softmax, [tokens, experts]. */
  readonly logits: ArrayLike<number>;
  /** Experts the model really chose, [tokens, topK], best first; absent: the topK largest selection scores. */
  readonly selected?: ArrayLike<number>;
  /** Mixing weights of the chosen experts as the model had them, [tokens, topK]; absent: computed from the logits. */
  readonly weights?: ArrayLike<number>;
  /** Loss-free balancing bias, [experts]: added for selection only, never in the mixing weight. */
  readonly selectionBias?: ArrayLike<number>;
  /** PAD, COUNTED or PREFIX per token; absent: all counted. */
  readonly state?: ArrayLike<number>;
  /** Token ids, for vocabulary specialisation. */
  readonly tokenIds?: ArrayLike<number>;
  /** Domain of the whole batch, or of each token. */
  readonly domain?: string | readonly string[];
}

/** Would-be drops under one capacity rule. */
export interface DropCounter {
  readonly factor: number;
  readonly convention: CapacityConvention;
  readonly base: CapacityBase;
  dropped: number;
}

export interface DomainCounter {
  tokens: number;
  readonly counts: Float64Array;
}

/** Everything kept about one layer: sums, never tensors. */
export interface LayerSums {
  readonly layer: number;
  /** Counted tokens, and positions that were seen but left out. */
  tokens: number;
  pads: number;
  prefixTokens: number;
  /** Counted tokens with a logit that is not finite; they enter nothing else. */
  nonFinite: number;
  readonly counts: Float64Array;
  readonly top1: Float64Array;
  /** Σ p and Σ mixing weight per expert. */
  readonly probability: Float64Array;
  readonly gate: Float64Array;
  /** Σ over tokens of entropy/log N, logsumexp², margin p_(k) − p_(k+1). */
  entropy: number;
  lse2: number;
  margin: number;
  minMargin: number;
  marginTokens: number;
  bf16Ties: number;
  /** Upper triangle of pair counts; see `pairIndex`. */
  readonly pairs: Uint32Array;
  readonly drops: readonly DropCounter[];
  /** Windows over which drops were counted, and their counted tokens. */
  windows: number;
  batches: number;
  batchMaxVio: number;
  readonly domains: Map<string, DomainCounter>;
  /** Row of a token id in `vocabulary`. */
  readonly vocabularyRows: Map<number, number>;
  vocabulary: Uint32Array;
  untrackedTokens: number;
}
