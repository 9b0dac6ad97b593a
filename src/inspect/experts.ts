/** The experts of a checkpoint in one summary: how many, where, how wide and in which layout. */
import type { JsonObject } from '../common/json.ts';
import type { Facts, LayerFacts } from './facts.ts';
import type { MoeConfig } from './moe-config.ts';
import { expertParallelSizes } from './moe-config.ts';
import { moeLayerIndices } from './moe-layers.ts';

/**
 * How the experts lie on disk. `per-expert`: one tensor per expert and projection. `packed`: [experts, out, in], gate and up
 * in one tensor. `packed-transposed` (llama4) and `packed-interleaved` (gpt_oss, gate and up row by row): [experts, in, out].
 * `granitemoe`: input_linear/output_linear. `stacked`: [experts, out, in] per projection. `mixed`: more than one of these.
 */
export type ExpertLayout =
  | 'per-expert'
  | 'packed'
  | 'packed-transposed'
  | 'packed-interleaved'
  | 'granitemoe'
  | 'MLX switch_mlp'
  | 'GGUF'
  | 'dbrx'
  | 'stacked'
  | 'mixed';

export interface ExpertSummary {
  /** Number of MoE layers. */
  readonly layers: number;
  /** Their 0-based numbers. */
  readonly layerIndices: readonly number[];
  /** Routed experts per layer (the most, where layers differ). */
  readonly perLayer: number;
  /** Experts that a token uses; null where no config says so. */
  readonly topK: number | null;
  /** Shared experts per layer. */
  readonly shared: number;
  /** Width of one routed expert; null where neither shapes nor config tell. */
  readonly width: number | null;
  /** Width of the shared experts together; null where there are none. */
  readonly sharedWidth: number | null;
  readonly layout: ExpertLayout | null;
  /** Sizes of an expert-parallel group that divide the experts evenly. */
  readonly parallelSizes: readonly number[];
}

/** Does the layer hold routed experts (or the shell of them: a router)? */
export function isMoeLayer(facts: LayerFacts): boolean {
  return facts.firstExpert !== null || facts.router !== null;
}

/** Experts of one layer, by its tensors; null where they do not tell. */
export function expertCount(facts: LayerFacts): number | null {
  if (facts.experts.size > 0) return facts.experts.size;
  for (const packed of facts.packed.values()) {
    // dbrx flattens experts and width into one dimension; the router has one row per expert.
    if (packed.style !== 'dbrx') return packed.shape[0] ?? null;
  }
  return facts.router?.[0] ?? null;
}

/** Summary over the MoE layers of the language model; config fills in what tensors cannot tell. */
export function summariseExperts(facts: Facts, moe: MoeConfig | null, config: JsonObject | null): ExpertSummary | null {
  const layers = [...facts.layers.values()].filter((layer) => layer.tower === 'text' && isMoeLayer(layer));
  const withExperts = layers.filter((layer) => layer.firstExpert !== null);
  // A router alone is believed only beside experts or a config that has them.
  if (withExperts.length === 0 && moe === null) return null;
  const counts = layers.map((layer) => expertCount(layer) ?? 0);
  const perLayer = withExperts.length === 0 ? (moe?.experts ?? 0) : counts.reduce((a, b) => Math.max(a, b), 0);
  const first = withExperts[0];
  const sharedLayer = layers.find((layer) => layer.shared > 0);
  // Tensors decide whether there is a shared expert, the config how many are fused in it.
  const shared =
    sharedLayer !== undefined ? Math.max(1, moe?.shared ?? 1) : withExperts.length > 0 ? 0 : (moe?.shared ?? 0);
  const sharedWidth = sharedLayer?.sharedWidth ?? moe?.sharedWidth ?? null;
  const indices = withExperts.length === 0 ? moeLayersByConfig(config, layers) : layers.map((layer) => layer.layer);
  return {
    layers: indices.length,
    layerIndices: indices,
    perLayer,
    topK: moe?.topK ?? null,
    shared,
    width: (first === undefined ? null : widthOf(first)) ?? moe?.width ?? null,
    sharedWidth: shared > 0 ? sharedWidth : null,
    layout: first === undefined ? null : layoutOf(withExperts, config),
    parallelSizes: expertParallelSizes(perLayer),
  };
}

/** Without expert tensors only the config can say which layers should have them. */
function moeLayersByConfig(config: JsonObject | null, seen: readonly LayerFacts[]): number[] {
  const indices = config === null ? [] : moeLayerIndices(config);
  return indices.length > 0 ? indices : seen.map((layer) => layer.layer);
}

function widthOf(facts: LayerFacts): number | null {
  if (facts.width !== null) return facts.width;
  const down = facts.packed.get('down');
  const gateUp = facts.packed.get('gate_up');
  if (gateUp !== undefined && down !== undefined && !down.quantised && down.style !== 'dbrx') {
    return isTransposed(facts) ? (down.shape[1] ?? null) : (down.shape[2] ?? null);
  }
  const one = facts.packed.get('gate') ?? facts.packed.get('up');
  if (one?.style === 'dbrx') {
    const experts = facts.router?.[0];
    const rows = one.shape[0];
    return experts === undefined || rows === undefined || experts === 0 ? null : rows / experts;
  }
  if (one !== undefined) return one.shape.length === 3 && !one.quantised ? (one.shape[1] ?? null) : null;
  // MXFP4 blocks: [experts, 2·width, groups, bytes].
  if (gateUp?.shape.length === 4) return gateUp.shape[1] === undefined ? null : gateUp.shape[1] / 2;
  return null;
}

/** gate_up is [experts, hidden, 2·width] and down [experts, width, hidden]. Decided by the shapes of both. */
function isTransposed(facts: LayerFacts): boolean {
  const gateUp = facts.packed.get('gate_up')?.shape;
  const down = facts.packed.get('down')?.shape;
  if (gateUp?.length !== 3 || down?.length !== 3) return false;
  const usual = gateUp[1] === 2 * (down[2] ?? 0) && gateUp[2] === down[1];
  return !usual && gateUp[2] === 2 * (down[1] ?? 0) && gateUp[1] === down[2];
}

function layoutOf(layers: readonly LayerFacts[], config: JsonObject | null): ExpertLayout {
  const found = new Set(layers.map((layer) => layoutOfLayer(layer, config)));
  const [only] = found;
  return found.size === 1 && only !== undefined ? only : 'mixed';
}

function layoutOfLayer(facts: LayerFacts, config: JsonObject | null): ExpertLayout {
  const [style] = facts.styles;
  // `experts.up_proj` beside `experts.down_proj`: one stack per projection, of which only the first shows it by its name.
  const stacks =
    [...facts.styles].every((one) => one === 'stacked' || one === 'packed') && !facts.packed.has('gate_up');
  if (stacks && facts.styles.size > 0) return 'stacked';
  if (facts.styles.size !== 1) return 'mixed';
  switch (style) {
    case 'mlx':
      return 'MLX switch_mlp';
    case 'gguf':
      return 'GGUF';
    case 'packed': {
      const interleaved = String(config?.['model_type'] ?? '').startsWith('gpt_oss');
      if (interleaved) return 'packed-interleaved';
      return isTransposed(facts) ? 'packed-transposed' : 'packed';
    }
    case 'per-expert':
    case 'granitemoe':
    case 'dbrx':
    case 'stacked':
      return style;
    default:
      return 'mixed';
  }
}
