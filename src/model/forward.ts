/**
 * The forward graph of any family: token ids to logits (of all or of chosen rows), to log-probabilities of given targets,
 * with optional key/value cache and optional traces. Sizes of batch and sequence stay symbolic.
 *
 * Inputs (always): `input_ids`, `position_ids` int64 [B, T]; `rope_cos`, `rope_sin` float32 [R, rot/2]; `attention_mask`
 * float32 [B, 1, T, T], additive (0 = sees, very negative = does not), and `attention_mask_w<window>` for each sliding
 * window. A mask may have batch 1. With `cache`: `past_mask` [B, 1, T, P] (and `past_mask_w<window>`), `past_key.<layer>`,
 * `past_value.<layer>` [b, KV, P, hd]. With chosen rows: `rows` int64 [M], indices into B·T. With targets: `targets`
 * int64 [M].
 */
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import * as math from '../onnx/ops-math.ts';
import * as shape from '../onnx/ops-shape.ts';
import { logSumExp } from '../onnx/ops-sum.ts';
import { attention, softcap } from './attention.ts';
import type { AttentionInputs, PastInputs } from './attention.ts';
import { feedForward, linear, norm } from './layers.ts';
import { mixture } from './moe.ts';
import type { Capacity, MoeOptions } from './moe.ts';
import { WeightNames } from './naming.ts';
import type { WeightRef } from './weights.ts';
import { slidingWindows } from './spec.ts';
import type { LayerSpec, TransformerSpec } from './spec.ts';
import type { WeightBinder, WeightSource } from './weights.ts';
import { largest } from '../common/lists.ts';

export interface ForwardOptions {
  /** Rows of B·T that get an output: all, or those listed in the input `rows`. */
  readonly rows: 'all' | 'chosen';
  /**
   * `logits`: output `logits` [rows, V]. `targets`: outputs `logprob` [rows] (log-probability of the input `targets`) and
   * `greedy` int64 [rows] (the most likely token). `none`: no head at all.
   */
  readonly head: 'logits' | 'targets' | 'none';
  /** Key/value cache in and out (`present_key.<layer>`, `present_value.<layer>` [B, KV, T, hd], this run's tokens only). */
  readonly cache: boolean;
  /**
   * Outputs `router_logits.<layer>` [N, E], `router_chosen.<layer>` int64 and `router_weights.<layer>` [N, K], and
   * `router_choice_bias.<layer>` [1, E] where there is one.
   */
  readonly traces: boolean;
  /** Output `hidden.<layer>` [N, hidden]: what enters each listed layer; layer count = what leaves the last one. */
  readonly hidden: readonly number[];
  /** Output `ffn_input.<layer>` [N, hidden] of each listed layer: what its feed-forward network reads, a router's input. */
  readonly ffnInputs: readonly number[];
  /** See MoeOptions. */
  readonly experts: MoeOptions['experts'];
  readonly capacity: Capacity | null;
}

export const FORWARD_DEFAULTS: ForwardOptions = {
  rows: 'all',
  head: 'logits',
  cache: false,
  traces: false,
  hidden: [],
  ffnInputs: [],
  experts: 'branch',
  capacity: null,
};

/** Name of the mask input of a window. */
export function maskName(window: number | null, past = false): string {
  const stem = past ? 'past_mask' : 'attention_mask';
  return window === null ? stem : `${stem}_w${window}`;
}

/** Masks that a model needs: full attention where any layer has it, and each window. */
export function maskWindows(spec: TransformerSpec): readonly (number | null)[] {
  const full = spec.layers.some((layer) => layer.window === null);
  return [...(full ? [null] : []), ...slidingWindows(spec)];
}

/** Emits the whole forward graph into `g`; inputs and outputs are as this file's head says. */
export function buildForward(
  g: GraphBuilder,
  spec: TransformerSpec,
  source: WeightSource,
  weights: WeightBinder,
  options: ForwardOptions,
): void {
  const names = new WeightNames(spec, source);
  const ids = g.input('input_ids', 'int64', ['B', 'T']);
  const inputs = sharedInputs(g, spec, options.cache);
  let x = embed(g, spec, names, weights, ids);
  // Without a head nothing above the last wanted layer is needed.
  const bare = options.head === 'none' && !options.traces && !options.cache;
  const stop = bare ? largest([...options.hidden, ...options.ffnInputs.map((layer) => layer + 1)], 0) : Infinity;
  for (const layer of spec.layers) {
    if (options.hidden.includes(layer.index)) g.output(`hidden.${layer.index}`, x);
    if (layer.index >= stop) return;
    const before = x;
    x = g.scoped(`layer${layer.index}`, () => decoderLayer(g, spec, layer, names, weights, inputs, options, before));
  }
  if (options.hidden.includes(spec.layers.length)) g.output(`hidden.${spec.layers.length}`, x);
  if (options.head !== 'none') g.scoped('head', () => head(g, spec, names, weights, options, x));
}

function sharedInputs(g: GraphBuilder, spec: TransformerSpec, cache: boolean): AttentionInputs {
  const positions = g.input('position_ids', 'int64', ['B', 'T']);
  const cos = g.input('rope_cos', 'float32', ['R', spec.rope.dim / 2]);
  const sin = g.input('rope_sin', 'float32', ['R', spec.rope.dim / 2]);
  const masks = new Map(
    maskWindows(spec).map((window) => [window, g.input(maskName(window), 'float32', ['B', 1, 'T', 'T'])]),
  );
  const shared = {
    batch: 'B',
    length: 'T',
    positions,
    cos,
    sin,
    mask: (window: number | null) => known(masks, window),
  };
  if (!cache) return { ...shared, past: null };
  const pastMasks = new Map(
    maskWindows(spec).map((window) => [window, g.input(maskName(window, true), 'float32', ['B', 1, 'T', 'P'])]),
  );
  // A prefix that all rows share has batch 1, which broadcasts; the nominal batch is B.
  const slot = (stem: string, width: number): readonly Value[] =>
    spec.layers.map((_, layer) => g.input(`${stem}.${layer}`, 'float32', ['B', spec.kvHeads, 'P', width]));
  const [keys, values] = [slot('past_key', spec.headDim), slot('past_value', spec.valueDim)];
  const past: PastInputs = {
    length: 'P',
    mask: (window) => known(pastMasks, window),
    keys: (layer) => at(keys, layer),
    values: (layer) => at(values, layer),
  };
  return { ...shared, past };
}

function known(masks: ReadonlyMap<number | null, Value>, window: number | null): Value {
  const mask = masks.get(window);
  if (mask === undefined) throw new Error(`no mask for window ${String(window)}`);
  return mask;
}

function at(values: readonly Value[], index: number): Value {
  const value = values[index];
  if (value === undefined) throw new Error(`no cache for layer ${index}`);
  return value;
}

function embed(g: GraphBuilder, spec: TransformerSpec, names: WeightNames, weights: WeightBinder, ids: Value): Value {
  // Rows are picked before the cast, so that only they are converted.
  const rows = shape.gather(g, weights.raw(names.embedding()), shape.reshape(g, ids, ['B*T']));
  const x = math.cast(g, rows, 'float32');
  return spec.embeddingScale === 1 ? x : math.mul(g, x, g.scalar(spec.embeddingScale));
}

function decoderLayer(
  g: GraphBuilder,
  spec: TransformerSpec,
  layer: LayerSpec,
  names: WeightNames,
  weights: WeightBinder,
  inputs: AttentionInputs,
  options: ForwardOptions,
  x: Value,
): Value {
  const norms = names.norms(layer);
  const optional = (ref: WeightRef | null, value: Value): Value =>
    ref === null ? value : norm(g, spec, weights, ref, value);
  const residual = (into: Value, block: Value): Value =>
    math.add(g, into, spec.residualScale === 1 ? block : math.mul(g, block, g.scalar(spec.residualScale)));
  const attended = g.scoped('attention', () =>
    attention(g, spec, layer, names, weights, inputs, optional(norms.beforeAttention, x)),
  );
  if (options.cache) {
    g.output(`present_key.${layer.index}`, attended.keys);
    g.output(`present_value.${layer.index}`, attended.values);
  }
  const middle = residual(x, optional(norms.afterAttention, attended.output));
  const input = optional(norms.beforeFfn, middle);
  if (options.ffnInputs.includes(layer.index)) g.output(`ffn_input.${layer.index}`, input);
  const block = g.scoped('ffn', () => ffn(g, spec, layer, names, weights, options, input));
  return residual(middle, optional(norms.afterFfn, block));
}

function ffn(
  g: GraphBuilder,
  spec: TransformerSpec,
  layer: LayerSpec,
  names: WeightNames,
  weights: WeightBinder,
  options: ForwardOptions,
  x: Value,
): Value {
  if (layer.ffn.kind === 'dense') {
    return feedForward(g, spec, names.dense(layer, layer.ffn.width), x, (value, weight, bias) =>
      linear(g, value, weights, weight, bias),
    );
  }
  const result = mixture(
    g,
    spec,
    layer.ffn,
    names.moe(layer, layer.ffn),
    weights,
    { experts: options.experts, capacity: options.capacity },
    x,
  );
  if (options.traces) {
    g.output(`router_logits.${layer.index}`, result.logits);
    g.output(`router_chosen.${layer.index}`, result.chosen);
    g.output(`router_weights.${layer.index}`, result.mixing);
    if (result.choiceBias !== null) g.output(`router_choice_bias.${layer.index}`, result.choiceBias);
  }
  return result.output;
}

function head(
  g: GraphBuilder,
  spec: TransformerSpec,
  names: WeightNames,
  weights: WeightBinder,
  options: ForwardOptions,
  x: Value,
): void {
  const picked = options.rows === 'all' ? x : shape.gather(g, x, g.input('rows', 'int64', ['M']));
  const normed = norm(g, spec, weights, names.finalNorm(), picked);
  const raw = linear(g, normed, weights, names.head(), names.headBias());
  const scaled = spec.logitsDivisor === 1 ? raw : math.div(g, raw, g.scalar(spec.logitsDivisor));
  const logits = softcap(g, scaled, spec.finalSoftcap);
  if (options.head === 'logits') {
    g.output('logits', logits);
    return;
  }
  const rows = logits.shape[0] ?? 1;
  const targets = g.input('targets', 'int64', [rows]);
  const chosen = g.hint(shape.gatherElements(g, logits, shape.reshape(g, targets, [rows, 1]), 1), { unique: true });
  const logprob = math.sub(g, chosen, logSumExp(g, logits));
  g.output('logprob', shape.reshape(g, logprob, [rows]));
  g.output('greedy', math.argMax(g, logits));
}
