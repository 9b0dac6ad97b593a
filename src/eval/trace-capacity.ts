import { MoeError } from '../common/errors.ts';

/**
 * Whether top-k is inside the capacity formula. `megatron`: `ceil(T·k/N · c)` (Megatron's get_capacity). `paper`:
 * `ceil(T/N · c)` (Switch and ST-MoE, whose k is 1 or whose factor already covers it).
 */
export type CapacityConvention = 'megatron' | 'paper';
/** Which tokens T counts: every position of the batch, pads included, or only those that statistics count. */
export type CapacityBase = 'all-positions' | 'valid-tokens';

export const CAPACITY_CONVENTIONS: readonly CapacityConvention[] = ['megatron', 'paper'];
export const CAPACITY_BASES: readonly CapacityBase[] = ['all-positions', 'valid-tokens'];
export const DEFAULT_CAPACITY_FACTORS: readonly number[] = [1, 1.25, 2, 4];

/** Slots per expert: by formula, and clamped to at least 1 and at most the number of tokens (field report G5-05). */
export interface Capacity {
  readonly unclamped: number;
  readonly capacity: number;
}

/** Capacity of each expert for a batch of `tokens`. */
export function expertCapacity(
  tokens: number,
  experts: number,
  topK: number,
  factor: number,
  convention: CapacityConvention,
): Capacity {
  if (!(experts >= 1) || !(topK >= 1) || topK > experts || !(factor > 0) || !(tokens >= 0)) {
    throw new MoeError(
      'usage',
      'bad-capacity',
      `capacity of ${tokens} tokens, ${experts} experts, top-${topK}, factor ${factor} is not defined`,
      { hint: 'Give at least one expert, 1 ≤ top-k ≤ experts and a factor above 0.' },
    );
  }
  // Megatron's order of operations, so that rounding at whole numbers is the same.
  const unclamped = Math.ceil(((convention === 'megatron' ? tokens * topK : tokens) / experts) * factor);
  return { unclamped, capacity: Math.max(1, Math.min(tokens, unclamped)) };
}

/** Slots beyond capacity, `Σ max(0, count_i − capacity)`: the same whether the first or the most probable tokens stay. */
export function droppedSlots(counts: ArrayLike<number>, capacity: number): number {
  let dropped = 0;
  for (let i = 0; i < counts.length; i++) dropped += Math.max(0, (counts[i] ?? 0) - capacity);
  return dropped;
}
