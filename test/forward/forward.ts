/**
 * A small float64 forward of the dense and MoE families, for tests only: plain loops, one sequence, no cache. Written from the model
 * definitions; independent of the product's code.
 */
import type { GatedFfn, Linear, MoeBlock, TestLayer, TestModel } from './model.ts';
import type { RopeTables } from './rope.ts';
import { ropeTables, rotate } from './rope.ts';

export { buildModel, loadModel } from './model.ts';
export type { TestModel } from './model.ts';
export type { TestTensor } from './reader.ts';

function at(values: ArrayLike<number>, index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError(`index ${index} is outside ${values.length}`);
  return value;
}

function apply(linear: Linear, x: Float64Array): Float64Array {
  if (x.length !== linear.cols) throw new RangeError(`vector of ${x.length} for a matrix with ${linear.cols} columns`);
  const out = new Float64Array(linear.rows);
  for (let row = 0; row < linear.rows; row++) {
    let sum = linear.bias === null ? 0 : at(linear.bias, row);
    const base = row * linear.cols;
    for (let col = 0; col < linear.cols; col++) sum += (linear.weight[base + col] ?? NaN) * (x[col] ?? NaN);
    out[row] = sum;
  }
  return out;
}

/** RMS norm of x[offset .. offset + weight.length), in place. */
function rmsNormInPlace(x: Float64Array, offset: number, weight: Float64Array, eps: number, add: number): void {
  let squares = 0;
  for (let i = 0; i < weight.length; i++) squares += at(x, offset + i) ** 2;
  const scale = 1 / Math.sqrt(squares / weight.length + eps);
  for (let i = 0; i < weight.length; i++) x[offset + i] = at(x, offset + i) * scale * (add + at(weight, i));
}

function rmsNorm(x: Float64Array, weight: Float64Array, eps: number, add: number): Float64Array {
  const out = x.slice();
  rmsNormInPlace(out, 0, weight, eps, add);
  return out;
}

function activate(kind: string, x: number): number {
  if (kind === 'silu') return x / (1 + Math.exp(-x));
  if (kind === 'gelu_pytorch_tanh' || kind === 'gelu_new') {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }
  throw new Error(`the test forward does not know activation ${kind}`);
}

function softmax(scores: Float64Array): Float64Array {
  const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const out = scores.map((s) => Math.exp(s - top));
  const sum = out.reduce((a, b) => a + b, 0);
  return out.map((value) => value / sum);
}

function gatedFfn(ffn: GatedFfn, activation: string, x: Float64Array): Float64Array {
  const up = apply(ffn.up, x);
  const inner = apply(ffn.gate, x).map((g, i) => activate(activation, g) * at(up, i));
  return apply(ffn.down, inner);
}

/** Indices of the k largest scores, largest first; equal scores go to the lower index. */
export function topK(scores: Float64Array, k: number): number[] {
  const order = Array.from(scores.keys());
  order.sort((a, b) => at(scores, b) - at(scores, a) || a - b);
  return order.slice(0, k);
}

function moe(model: TestModel, block: MoeBlock, x: Float64Array): Float64Array {
  const { moe: settings, activation } = model.config;
  if (settings === null) throw new Error('an MoE block without MoE settings');
  // Softmax over all, top-k, then division by the sum is the same function as softmax over the top-k logits (granitemoe).
  const probabilities = softmax(apply(block.router, x));
  const chosen = topK(probabilities, settings.topK);
  const sum = settings.normalise ? chosen.reduce((total, e) => total + at(probabilities, e), 0) : 1;
  const out = new Float64Array(x.length);
  for (const e of chosen) {
    const expert = block.experts[e];
    if (expert === undefined) throw new RangeError(`no expert ${e}`);
    const weight = at(probabilities, e) / sum;
    gatedFfn(expert, activation, x).forEach((value, i) => (out[i] = at(out, i) + weight * value));
  }
  if (block.shared !== null) {
    const gate = 1 / (1 + Math.exp(-at(apply(block.shared.gate, x), 0)));
    gatedFfn(block.shared.ffn, activation, x).forEach((value, i) => (out[i] = at(out, i) + gate * value));
  }
  return out;
}

function normHeads(model: TestModel, x: Float64Array, weight: Float64Array | null): void {
  if (weight === null) return;
  for (let offset = 0; offset < x.length; offset += weight.length)
    rmsNormInPlace(x, offset, weight, model.config.eps, 0);
}

interface Projected {
  readonly query: Float64Array;
  readonly key: Float64Array;
  readonly value: Float64Array;
}

function project(model: TestModel, layer: TestLayer, rope: RopeTables, x: Float64Array, position: number): Projected {
  const { headDim, clipQkv } = model.config;
  const query = apply(layer.query, x);
  const key = apply(layer.key, x);
  const value = apply(layer.value, x);
  // One norm per head, or one over the whole projection: told by the weight's length.
  normHeads(model, query, layer.queryNorm);
  normHeads(model, key, layer.keyNorm);
  if (clipQkv !== null) {
    for (const vector of [query, key, value])
      vector.forEach((v, i) => (vector[i] = Math.min(clipQkv, Math.max(-clipQkv, v))));
  }
  for (let offset = 0; offset < query.length; offset += headDim) rotate(rope, query, offset, position);
  for (let offset = 0; offset < key.length; offset += headDim) rotate(rope, key, offset, position);
  return { query, key, value };
}

/** Causal attention output of one position, before the output projection. `past` holds positions 0..position. */
function attend(
  model: TestModel,
  past: readonly Projected[],
  query: Float64Array,
  window: number | null,
): Float64Array {
  const { heads, kvHeads, headDim, attentionScale } = model.config;
  const out = new Float64Array(heads * headDim);
  const position = past.length - 1;
  // A window of w sees the position itself and the w - 1 before it.
  const first = window === null ? 0 : Math.max(0, position - window + 1);
  const visible = past.slice(first);
  for (let head = 0; head < heads; head++) {
    const q = head * headDim;
    const kv = Math.floor((head * kvHeads) / heads) * headDim;
    const scores = Float64Array.from(visible, ({ key }) => {
      let dot = 0;
      for (let i = 0; i < headDim; i++) dot += at(query, q + i) * at(key, kv + i);
      return dot * attentionScale;
    });
    softmax(scores).forEach((weight, j) => {
      const value = visible[j]?.value ?? new Float64Array();
      for (let i = 0; i < headDim; i++) out[q + i] = at(out, q + i) + weight * at(value, kv + i);
    });
  }
  return out;
}

function runLayer(
  model: TestModel,
  index: number,
  layer: TestLayer,
  rope: RopeTables,
  hidden: readonly Float64Array[],
): Float64Array[] {
  const { eps, normOffset, residualScale, activation } = model.config;
  const normed = (x: Float64Array, weight: Float64Array | null): Float64Array =>
    weight === null ? x : rmsNorm(x, weight, eps, normOffset);
  const plus = (x: Float64Array, y: Float64Array): Float64Array =>
    x.map((value, i) => value + residualScale * at(y, i));
  const past: Projected[] = [];
  return hidden.map((x, position) => {
    const projected = project(model, layer, rope, normed(x, layer.attentionNorm), position);
    past.push(projected);
    const attended = apply(layer.output, attend(model, past, projected.query, model.config.windows[index] ?? null));
    const middle = plus(x, normed(attended, layer.postAttentionNorm));
    const input = normed(middle, layer.ffnNorm);
    const ffn = 'router' in layer.ffn ? moe(model, layer.ffn, input) : gatedFfn(layer.ffn, activation, input);
    return plus(middle, normed(ffn, layer.postFfnNorm));
  });
}

/** Logits [vocab] of every position of one token sequence. */
export function forward(model: TestModel, ids: readonly number[]): Float64Array[] {
  const { hidden, vocab, eps, normOffset, embeddingScale, logitsDivisor } = model.config;
  const rope = ropeTables(model.config.rope, ids.length);
  let states: Float64Array[] = ids.map((id) => {
    if (!Number.isInteger(id) || id < 0 || id >= vocab)
      throw new RangeError(`token id ${id} is outside 0..${vocab - 1}`);
    return model.embedding.slice(id * hidden, (id + 1) * hidden).map((value) => value * embeddingScale);
  });
  model.layers.forEach((layer, index) => (states = runLayer(model, index, layer, rope, states)));
  const head: Linear = { rows: vocab, cols: hidden, weight: model.head, bias: null };
  return states.map((x) => apply(head, rmsNorm(x, model.norm, eps, normOffset)).map((logit) => logit / logitsDivisor));
}

/** ‖a − b‖ / ‖b‖ over all positions: the `rel` of the reference's tables. NaN where either holds a NaN. */
export function relativeDifference(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  if (a.length !== b.length) throw new RangeError(`${a.length} positions against ${b.length}`);
  let difference = 0;
  let reference = 0;
  a.forEach((row, position) => {
    const other = b[position] ?? [];
    if (row.length !== other.length)
      throw new RangeError(`position ${position}: ${row.length} logits against ${other.length}`);
    for (let i = 0; i < row.length; i++) {
      difference += (at(row, i) - at(other, i)) ** 2;
      reference += at(other, i) ** 2;
    }
  });
  return difference === 0 ? 0 : Math.sqrt(difference / reference);
}
