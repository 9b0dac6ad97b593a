/** How families choose experts, as data. */

/** How logits become a choice of experts and its weights. */
export interface RouterSpec {
  /** Scores from logits. `sparsemixer` (phimoe): each of two experts weighed among those near it, see model/router.ts. */
  readonly score: 'softmax' | 'sigmoid' | 'sparsemixer';
  /** The logits have a bias (gpt-oss). */
  readonly bias: boolean;
  /** A stored bias is added to the scores for the choice, not for the weights (DeepSeek-V3, ERNIE). */
  readonly choiceBias: boolean;
  /** Only experts of the best groups may be chosen; a group counts by its best score or by the sum of its two best. */
  readonly groups: { readonly count: number; readonly kept: number; readonly by: 'best' | 'two-best' } | null;
  /** The weights are multiplied by this. */
  readonly scale: number;
  /** Experts read their input times the weight, in place of weighing what they give (Llama 4). */
  readonly weighsInput: boolean;
  /** sparsemixer: how near is near. */
  readonly jitter: number;
}

export const PLAIN_ROUTER: RouterSpec = {
  score: 'softmax',
  bias: false,
  choiceBias: false,
  groups: null,
  scale: 1,
  weighsInput: false,
  jitter: 0,
};
