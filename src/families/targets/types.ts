/** What a planner must know of an MoE family that it can write. */
import type { JsonObject } from '../../common/json.ts';
import type { TargetType } from '../../recipe/types.ts';
import type { DenseSpec } from '../spec.ts';

export type Part = 'gate' | 'up' | 'down';

/** The MoE's own numbers, as planned. */
export interface MoeShape {
  /** Routed experts N, and how many answer each token. */
  readonly experts: number;
  readonly topK: number;
  /** Width of one routed expert, I / granularity. */
  readonly width: number;
  /** Which layers are MoE. */
  readonly sparse: readonly boolean[];
  readonly order: 'topk-softmax' | 'softmax-topk';
  /** Width of the shared expert; null where there is none. */
  readonly sharedWidth: number | null;
}

export interface Target {
  readonly modelType: TargetType;
  readonly architecture: string;
  /** Can some layers stay dense? */
  readonly keepsDenseLayers: boolean;
  /** Has the module a shared expert behind a sigmoid gate (always, for this family)? */
  readonly sharedExpert: boolean;
  /** Can it compute softmax before top-k (norm_topk_prob: false)? */
  readonly softmaxFirst: boolean;
  router(layer: number): string;
  /** Experts: one tensor each, or all of a layer stacked in two tensors [N, 2·I, H] and [N, H, I]. */
  readonly experts:
    | { readonly layout: 'per-expert'; name(layer: number, expert: number, part: Part): string }
    | { readonly layout: 'stacked'; input(layer: number): string; output(layer: number): string };
  /** config.json fields of this family; source fields not named in `drop` are kept. */
  config(spec: DenseSpec, moe: MoeShape): JsonObject;
  /** Source config fields that mean nothing, or something else, in the target. */
  readonly drop: readonly string[];
}

/** `model.layers.N.` */
export function layerPrefix(layer: number): string {
  return `model.layers.${String(layer)}.`;
}

/** Layers that stay dense, as `mlp_only_layers` lists them. */
export function denseLayers(moe: MoeShape): number[] {
  return moe.sparse.flatMap((sparse, layer) => (sparse ? [] : [layer]));
}

/** Names of the qwen2_moe kind, shared by qwen3_moe and flex_olmo. */
export function mlpExpert(layer: number, expert: number, part: Part): string {
  return `${layerPrefix(layer)}mlp.experts.${String(expert)}.${part}_proj.weight`;
}

/** Router of the same kind. */
export function mlpRouter(layer: number): string {
  return `${layerPrefix(layer)}mlp.gate.weight`;
}
