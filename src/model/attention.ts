/** Self-attention: projections, q/k norm, rotary embedding, grouped-query scores without repeating keys, optional cache. */
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import { product } from '../onnx/dims.ts';
import type { Dim } from '../onnx/types.ts';
import * as math from '../onnx/ops-math.ts';
import * as shape from '../onnx/ops-shape.ts';
import { linear, norm } from './layers.ts';
import type { AttentionWeights, LatentWeights, WeightNames } from './naming.ts';
import type { LatentAttention, LayerSpec, TransformerSpec } from './spec.ts';
import type { WeightBinder } from './weights.ts';

/** Inputs that all layers share. */
export interface AttentionInputs {
  readonly batch: Dim;
  readonly length: Dim;
  /** int64 [B, T]: rows of the rotary tables. */
  readonly positions: Value;
  readonly cos: Value;
  readonly sin: Value;
  /** Additive mask [B, 1, T, T] for a window (null = full attention). */
  readonly mask: (window: number | null) => Value;
  readonly past: PastInputs | null;
}

export interface PastInputs {
  /** Capacity of the cache, which may be more than what is filled: the mask hides the rest. */
  readonly length: Dim;
  /** Additive mask [B, 1, T, P] over the cache. */
  readonly mask: (window: number | null) => Value;
  /** Keys (rotated) and values of a layer, [b, KV, P, hd]; b may be 1 for a prefix that all rows share. */
  readonly keys: (layer: number) => Value;
  readonly values: (layer: number) => Value;
}

export interface AttentionResult {
  /** [B·T, hidden]. */
  readonly output: Value;
  /** Rotated keys and values of these tokens, [B, KV, T, hd]. */
  readonly keys: Value;
  readonly values: Value;
}

/** What a layer's tokens ask with and offer: queries, keys (both rotated) and values, [B·T, heads · width] each. */
interface Projections {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
}

/** Attention of one layer over x [B·T, hidden]. */
export function attention(
  g: GraphBuilder,
  spec: TransformerSpec,
  layer: LayerSpec,
  names: WeightNames,
  weights: WeightBinder,
  inputs: AttentionInputs,
  x: Value,
): AttentionResult {
  const { latent } = spec.attention;
  if (latent === null) {
    const own = names.attention(layer);
    const projected = plainProjections(g, spec, layer, own, weights, inputs, x);
    const sinks = spec.attention.sinks ? weights.float(names.sinks(layer)) : null;
    const { context, ...cached } = attend(g, spec, layer, inputs, projected, sinks);
    return { output: linear(g, context, weights, own.o, own.bias.o), ...cached };
  }
  const own = names.latent(layer, latent);
  const projected = latentProjections(g, spec, latent, own, weights, inputs, x);
  const { context, ...cached } = attend(g, spec, layer, inputs, projected, null);
  return { output: linear(g, context, weights, own.o, own.oBias), ...cached };
}

function plainProjections(
  g: GraphBuilder,
  spec: TransformerSpec,
  layer: LayerSpec,
  names: AttentionWeights,
  weights: WeightBinder,
  inputs: AttentionInputs,
  x: Value,
): Projections {
  const { heads, kvHeads, headDim } = spec;
  const project = (role: 'q' | 'k' | 'v'): Value => linear(g, x, weights, names[role], names.bias[role]);
  const clip = (value: Value): Value =>
    spec.attention.clip === null ? value : math.clamp(g, value, spec.attention.clip);
  const place = (value: Value, count: number): Value =>
    layer.rotated ? normed(g, spec, rotate(g, spec, inputs, value, count, headDim), count) : value;
  return {
    q: place(clip(qkNorm(g, spec, weights, names.qNorm, project('q'), heads)), heads),
    k: place(clip(qkNorm(g, spec, weights, names.kNorm, project('k'), kvHeads)), kvHeads),
    v: clip(project('v')),
  };
}

/** Llama 4's norm of rotated heads, which has no weight. */
function normed(g: GraphBuilder, spec: TransformerSpec, x: Value, heads: number): Value {
  if (spec.attention.qkNorm !== 'rotated') return x;
  const ones = g.constant('float32', [spec.headDim], Array<number>(spec.headDim).fill(1));
  const perHead = shape.reshape(g, x, [...x.shape.slice(0, 2), heads, spec.headDim]);
  return shape.reshape(g, math.rmsNorm(g, perHead, ones, spec.norm.eps), x.shape);
}

/** RMS norms inside latent attention have their class's default, whatever the config says (transformers, modeling_deepseek_v3). */
const LATENT_EPS = 1e-6;

/**
 * Multi-head latent attention, expanded to ordinary heads (DeepSeek-V2, arXiv 2405.04434 §2.1): each head of queries and keys has a
 * part without positions and a rotated part, the latter the same for all heads of keys.
 */
function latentProjections(
  g: GraphBuilder,
  spec: TransformerSpec,
  { keyValueRank, plainDim }: LatentAttention,
  names: LatentWeights,
  weights: WeightBinder,
  inputs: AttentionInputs,
  x: Value,
): Projections {
  const { heads, headDim, valueDim } = spec;
  const tokens = x.shape[0] ?? 1;
  const turned = spec.rope.dim;
  const { query } = names;
  const q =
    'full' in query
      ? linear(g, x, weights, query.full, null)
      : linear(
          g,
          norm(g, spec, weights, query.norm, linear(g, x, weights, query.down, names.queryBias), LATENT_EPS),
          weights,
          query.up,
          null,
        );
  const [qPlain, qTurned] = shape.splitInTwo(g, shape.reshape(g, q, [tokens, heads, headDim]), [plainDim, turned], 2);
  const narrow = linear(g, x, weights, names.keyValueDown, names.keyValueBias);
  const [compressed, kTurned] = shape.splitInTwo(g, narrow, [keyValueRank, turned], 1);
  const wide = linear(
    g,
    norm(g, spec, weights, names.keyValueNorm, compressed, LATENT_EPS),
    weights,
    names.keyValueUp,
    null,
  );
  const [kPlain, v] = shape.splitInTwo(
    g,
    shape.reshape(g, wide, [tokens, heads, plainDim + valueDim]),
    [plainDim, valueDim],
    2,
  );
  const around = (value: Value, count: number): Value =>
    shape.reshape(g, rotate(g, spec, inputs, shape.reshape(g, value, [tokens, count * turned]), count, turned), [
      tokens,
      count,
      turned,
    ]);
  // A product with ones repeats the one rotated part for every head.
  const forAll = math.mul(g, around(kTurned, 1), g.constant('float32', [1, heads, 1], Array<number>(heads).fill(1)));
  const flat = (value: Value, width: number): Value => shape.reshape(g, value, [tokens, heads * width]);
  return {
    q: flat(shape.concat(g, [qPlain, around(qTurned, heads)], 2, headDim), headDim),
    k: flat(shape.concat(g, [kPlain, forAll], 2, headDim), headDim),
    v: flat(v, valueDim),
  };
}

/** Rotates the first `spec.rope.dim` of each head's `width` elements; [B·T, count · width] becomes [B, T, count · width]. */
function rotate(
  g: GraphBuilder,
  spec: TransformerSpec,
  { batch, length, positions, cos, sin }: AttentionInputs,
  value: Value,
  count: number,
  width: number,
): Value {
  const rows = shape.reshape(g, value, [batch, length, count * width]);
  return math.rotary(g, rows, positions, cos, sin, count, spec.rope.dim, spec.attention.interleavedRope);
}

/** Scores, softmax and weighted values: [B·T, heads · value width], and what a cache keeps. */
function attend(
  g: GraphBuilder,
  spec: TransformerSpec,
  layer: LayerSpec,
  inputs: AttentionInputs,
  { q, k, v }: Projections,
  sinks: Value | null,
): { readonly context: Value; readonly keys: Value; readonly values: Value } {
  const { heads, kvHeads, headDim, valueDim } = spec;
  const { batch, length } = inputs;
  const groups = heads / kvHeads;
  // The query heads that share a key head stand as more rows of one matrix, so keys and values are never repeated.
  const rows = product([groups, length]);
  const queries = shape.reshape(
    g,
    shape.transpose(g, shape.reshape(g, q, [batch, length, kvHeads, groups, headDim]), [0, 2, 3, 1, 4]),
    [batch, kvHeads, rows, headDim],
  );
  const byHead = (value: Value, width: number): Value =>
    shape.transpose(g, shape.reshape(g, value, [batch, length, kvHeads, width]), [0, 2, 1, 3]);
  const [keys, values] = [byHead(k, headDim), byHead(v, valueDim)];

  const scores = (against: Value, width: Dim, mask: Value): Value => {
    const raw = math.matmul(g, queries, against, { transB: true, alpha: spec.attention.scale });
    const capped = softcap(g, raw, spec.attention.softcap);
    const split = shape.reshape(g, capped, [batch, kvHeads, groups, length, width]);
    return math.add(g, split, shape.reshape(g, mask, [mask.shape[0] ?? batch, 1, 1, length, width]));
  };
  // The cache is read where it lies: scores and probabilities are joined, never keys and values.
  const { past } = inputs;
  const parts: Part[] = [{ scores: scores(keys, length, inputs.mask(layer.window)), width: length, values }];
  if (past !== null)
    parts.unshift({
      scores: scores(past.keys(layer.index), past.length, past.mask(layer.window)),
      width: past.length,
      values: past.values(layer.index),
    });
  if (sinks !== null) parts.push({ scores: sinkScores(g, spec, inputs, sinks), width: 1, values: null });
  const weighted = probabilities(g, parts).flatMap((p, i) => {
    const part = parts[i];
    if (part === undefined || part.values === null) return [];
    return [math.matmul(g, shape.reshape(g, p, [batch, kvHeads, rows, part.width]), part.values)];
  });
  const context = weighted.reduce((sum, one) => math.add(g, sum, one));
  const split = shape.reshape(g, context, [batch, kvHeads, groups, length, valueDim]);
  const merged = shape.reshape(g, shape.transpose(g, split, [0, 3, 1, 2, 4]), [
    product([batch, length]),
    heads * valueDim,
  ]);
  return { context: merged, keys, values };
}

/** Scores [B, KV, G, T, width] over some places, and the values that lie there; null: nothing lies there. */
interface Part {
  readonly scores: Value;
  readonly width: Dim;
  readonly values: Value | null;
}

/** One softmax over all parts, in their parts. */
function probabilities(g: GraphBuilder, parts: readonly Part[]): readonly Value[] {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return [math.softmax(g, only.scores)];
  const all = shape.concat(
    g,
    parts.map(({ scores }) => scores),
    -1,
    g.freshSymbol('S'),
  );
  const widths = parts.map(({ width }) => (width === 1 ? g.constant('int64', [1], [1]) : g.symbol(symbolName(width))));
  return shape.splitBy(
    g,
    math.softmax(g, all),
    shape.concat(g, widths, 0),
    -1,
    parts.map(({ width }) => width),
  );
}

/** One more column of scores, the same for every token of a head. */
function sinkScores(g: GraphBuilder, spec: TransformerSpec, { batch, length }: AttentionInputs, sinks: Value): Value {
  const groups = spec.heads / spec.kvHeads;
  const sizes = [g.symbol(symbolName(batch)), g.constant('int64', [2], [spec.kvHeads, groups])];
  const like = shape.concat(g, [...sizes, g.symbol(symbolName(length)), g.constant('int64', [1], [1])], 0);
  const zeros = shape.filled(g, like, [batch, spec.kvHeads, groups, length, 1], 'float32', 0);
  return math.add(g, zeros, shape.reshape(g, sinks, [1, spec.kvHeads, groups, 1, 1]));
}

function symbolName(dim: Dim): string {
  if (typeof dim === 'string') return dim;
  throw new RangeError('a cached graph needs a symbolic length');
}

function qkNorm(
  g: GraphBuilder,
  spec: TransformerSpec,
  weights: WeightBinder,
  name: AttentionWeights['qNorm'],
  x: Value,
  heads: number,
): Value {
  if (name === null) return x;
  if (spec.attention.qkNorm === 'full') return norm(g, spec, weights, name, x);
  const tokens = x.shape[0] ?? 1;
  const perHead = shape.reshape(g, x, [product([tokens, heads]), spec.headDim]);
  return shape.reshape(g, norm(g, spec, weights, name, perHead), x.shape);
}

/** cap · tanh(x / cap), or x where there is no cap. */
export function softcap(g: GraphBuilder, x: Value, cap: number | null): Value {
  return cap === null ? x : math.mul(g, math.tanh(g, math.div(g, x, g.scalar(cap))), g.scalar(cap));
}
