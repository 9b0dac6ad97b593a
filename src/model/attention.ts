/** Self-attention: projections, q/k norm, rotary embedding, grouped-query scores without repeating keys, optional cache. */
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import { product } from '../onnx/dims.ts';
import type { Dim } from '../onnx/types.ts';
import * as math from '../onnx/ops-math.ts';
import * as shape from '../onnx/ops-shape.ts';
import { linear, norm } from './layers.ts';
import type { AttentionWeights } from './naming.ts';
import type { LayerSpec, TransformerSpec } from './spec.ts';
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

/** Attention of one layer over x [B·T, hidden]. */
export function attention(
  g: GraphBuilder,
  spec: TransformerSpec,
  layer: LayerSpec,
  names: AttentionWeights,
  weights: WeightBinder,
  inputs: AttentionInputs,
  x: Value,
): AttentionResult {
  const { heads, kvHeads, headDim } = spec;
  const { batch, length } = inputs;
  const groups = heads / kvHeads;
  const project = (role: 'q' | 'k' | 'v'): Value => linear(g, x, weights, names[role], names.bias[role]);
  const clip = (value: Value): Value =>
    spec.attention.clip === null ? value : math.clamp(g, value, spec.attention.clip);
  const rotate = (value: Value, count: number): Value =>
    math.rotary(
      g,
      shape.reshape(g, value, [batch, length, count * headDim]),
      inputs.positions,
      inputs.cos,
      inputs.sin,
      count,
      spec.rope.dim,
    );
  const q = rotate(clip(qkNorm(g, spec, weights, names.qNorm, project('q'), heads)), heads);
  const k = rotate(clip(qkNorm(g, spec, weights, names.kNorm, project('k'), kvHeads)), kvHeads);
  const v = clip(project('v'));
  // The query heads that share a key head stand as more rows of one matrix, so keys and values are never repeated.
  const rows = product([groups, length]);
  const queries = shape.reshape(
    g,
    shape.transpose(g, shape.reshape(g, q, [batch, length, kvHeads, groups, headDim]), [0, 2, 3, 1, 4]),
    [batch, kvHeads, rows, headDim],
  );
  const byHead = (value: Value): Value =>
    shape.transpose(g, shape.reshape(g, value, [batch, length, kvHeads, headDim]), [0, 2, 1, 3]);
  const [keys, values] = [byHead(k), byHead(v)];

  const scores = (against: Value, width: Dim, mask: Value): Value => {
    const raw = math.matmul(g, queries, against, { transB: true, alpha: spec.attention.scale });
    const capped = softcap(g, raw, spec.attention.softcap);
    const split = shape.reshape(g, capped, [batch, kvHeads, groups, length, width]);
    return math.add(g, split, shape.reshape(g, mask, [mask.shape[0] ?? batch, 1, 1, length, width]));
  };
  const own = scores(keys, length, inputs.mask(layer.window));
  const flat = (p: Value, width: Dim): Value => shape.reshape(g, p, [batch, kvHeads, rows, width]);
  let context: Value;
  if (inputs.past === null) {
    context = math.matmul(g, flat(math.softmax(g, own), length), values);
  } else {
    // The cache is read where it lies: scores and probabilities are joined, never keys and values.
    const { past } = inputs;
    const old = scores(past.keys(layer.index), past.length, past.mask(layer.window));
    const total = g.freshSymbol('S');
    const joined = math.softmax(g, shape.concat(g, [old, own], -1, total));
    const sizes = shape.concat(g, [g.symbol(symbolName(past.length)), g.symbol(symbolName(length))], 0);
    const [pOld, pOwn] = shape.splitBy(g, joined, sizes, -1, [past.length, length]);
    if (pOld === undefined || pOwn === undefined) throw new Error('a split in two has two parts');
    context = math.add(
      g,
      math.matmul(g, flat(pOld, past.length), past.values(layer.index)),
      math.matmul(g, flat(pOwn, length), values),
    );
  }
  const split = shape.reshape(g, context, [batch, kvHeads, groups, length, headDim]);
  const merged = shape.reshape(g, shape.transpose(g, split, [0, 3, 1, 2, 4]), [
    product([batch, length]),
    heads * headDim,
  ]);
  return { output: linear(g, merged, weights, names.o, names.bias.o), keys, values };
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
