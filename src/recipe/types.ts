/** The recipe: what the user asks for, every default filled in. Names are the contract of `*.moe.yaml`. */
import type { JsonObject } from '../common/json.ts';

export const TARGETS = ['mixtral', 'qwen2_moe', 'qwen3_moe', 'flex_olmo', 'granitemoe'] as const;
export type TargetType = (typeof TARGETS)[number];

/** How router rows begin: numbers, or (the last three, mergekit's prompt gates) what the base model makes of prompts. */
export const ROUTER_INITS = ['normal', 'uniform', 'zero', 'orthogonal', 'hidden', 'hidden_avg', 'cheap_embed'] as const;
export type RouterInit = (typeof ROUTER_INITS)[number];
export const PROMPT_INITS = ['hidden', 'hidden_avg', 'cheap_embed'] as const;
export type PromptInit = (typeof PROMPT_INITS)[number];

/** Texts that an expert shall answer, and texts that it shall not. */
export interface ExpertPrompts {
  readonly positive_prompts: readonly string[];
  readonly negative_prompts: readonly string[];
}

/** Whether router rows come from prompts, so that the base model must be run to get them. */
export function isPromptInit(init: RouterInit): init is PromptInit {
  return PROMPT_INITS.some((known) => known === init);
}

export type ExpertInit =
  | { readonly method: 'copy' }
  /** N(0, std) on a random share `ratio` of every expert element. */
  | { readonly method: 'noise'; readonly std: number; readonly ratio: number }
  /** Each expert's neurons in an order of their own (function kept). */
  | { readonly method: 'permute' }
  /** Drop-Upcycling; paper: one index set for gate, up and down; official: three independent ones. */
  | { readonly method: 'drop'; readonly ratio: number; readonly variant: 'paper' | 'official' }
  /** How neurons are dealt to the `granularity` slices (LLaMA-MoE). */
  | { readonly method: 'split'; readonly by: 'sequential' | 'random' | 'norm' }
  /** Noise outside the top `rank` singular directions, `scale` times the residual's size. */
  | { readonly method: 'svd'; readonly rank: number; readonly scale: number };

export type SharedPlan = 'none' | 'a' | 'b' | 'c';

export interface Recipe {
  /** As written by the user; relative to the recipe file; null when SRC must be given. */
  readonly base: string | null;
  readonly parents: readonly { readonly path: string; readonly experts: number }[];
  /** Where everything that is not an expert comes from when there are parents. */
  readonly rest: 'base' | 'average';
  readonly target: 'auto' | TargetType;
  /** Routed experts written (N). */
  readonly experts: number;
  readonly top_k: number;
  /** Experts per dense FFN (G). */
  readonly granularity: number;
  /** 'all', 'every:k' (layers with (i+1) % k = 0) or 0-based indices. */
  readonly layers: 'all' | `every:${number}` | readonly number[];
  readonly expert_init: ExpertInit;
  readonly router: {
    readonly init: RouterInit;
    /** Standard deviation of the entries (uniform: on ±std·√3; orthogonal: rows scaled so that entries have it). */
    readonly std: number;
    readonly order: 'topk-softmax' | 'softmax-topk';
    /** For prompt gates: one entry per expert of full width (experts / granularity). */
    readonly prompts?: readonly ExpertPrompts[] | undefined;
  };
  readonly scale: 'auto' | 'none' | 'exact' | 'megatron';
  readonly shared_expert: 'auto' | SharedPlan | { readonly plan: SharedPlan; readonly width: number };
  readonly tie: 'auto' | boolean;
  readonly output: {
    readonly dtype: 'same' | 'float32' | 'bfloat16' | 'float16';
    /** Bytes. */
    readonly shard_size: number;
    readonly clone: 'auto' | boolean;
  };
  /** Extra config.json fields. */
  readonly config: JsonObject;
  readonly seed: number;
  /** Name of the preset it began from, if any. */
  readonly preset?: string;
}

/** The router's start in a few words. */
export function routerInWords({ router }: Pick<Recipe, 'router'>): string {
  if (isPromptInit(router.init))
    return `${router.init} (rows from the prompts of ${router.prompts?.length ?? 0} experts)`;
  return router.init === 'zero' ? 'zero' : `${router.init}, std ${String(router.std)}`;
}
