/** The factor that keeps the function, and where it is put: upcycling.md §3.1 points 3, 4 and §7.2. */
import type { Recipe, SharedPlan } from '../recipe/types.ts';

export interface Scaling {
  /** Factor on up × down (1: nothing to do). */
  readonly factor: number;
  readonly gate: number;
  readonly up: number;
  readonly down: number;
  /** Powers of two only: lossless in bf16 and f16, and invertible. */
  readonly lossless: boolean;
  readonly cubeRoot: boolean;
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value)) && 2 ** Math.log2(value) === value;
}

/**
 * topk-softmax: the selected weights sum to 1, so a slice of G needs G. softmax-topk: E·G²/T = N·G/T. Shared plan b halves
 * what the routed experts give. Exact: powers of two split between up and down, else √ on both; megatron: cube root on
 * gate, up and down.
 */
export function scalingOf(recipe: Recipe, shared: SharedPlan): Scaling {
  const { experts, granularity, top_k: topK } = recipe;
  const base =
    recipe.scale === 'none' ? 1 : recipe.router.order === 'softmax-topk' ? (experts * granularity) / topK : granularity;
  // Silent routed experts (plan c) have nothing to scale.
  if (shared === 'c') return { factor: 1, gate: 1, up: 1, down: 1, lossless: true, cubeRoot: false };
  const half = shared === 'b' ? 0.5 : 1;
  const factor = base * half;
  if (recipe.scale === 'megatron') {
    const root = Math.cbrt(base);
    return { factor, gate: root, up: root, down: root * half, lossless: base === 1, cubeRoot: true };
  }
  if (isPowerOfTwo(factor)) {
    const exponent = Math.log2(factor);
    const up = exponent > 0 ? Math.ceil(exponent / 2) : 0;
    return { factor, gate: 1, up: 2 ** up, down: 2 ** (exponent - up), lossless: true, cubeRoot: false };
  }
  const root = Math.sqrt(base);
  return { factor, gate: 1, up: root, down: root * half, lossless: false, cubeRoot: false };
}
