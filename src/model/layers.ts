/** Building blocks of one layer: linear maps, norms, activations, the gated feed-forward. */
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import * as math from '../onnx/ops-math.ts';
import * as shape from '../onnx/ops-shape.ts';
import type { FfnWeights, TransposedFfnWeights } from './naming.ts';
import type { Activation, TransformerSpec } from './spec.ts';
import type { WeightBinder, WeightRef } from './weights.ts';

/** x · Wᵀ + b for W [out, in]. */
export function linear(
  g: GraphBuilder,
  x: Value,
  weights: WeightBinder,
  weight: WeightRef,
  bias: WeightRef | null,
): Value {
  return math.gemm(g, x, weights.float(weight), {
    transB: true,
    ...(bias === null ? {} : { bias: weights.float(bias) }),
  });
}

/** The family's norm: RMS norm with its offset (gemma applies 1 + w), or LayerNorm, whose bias stands beside its weight. */
export function norm(
  g: GraphBuilder,
  spec: TransformerSpec,
  weights: WeightBinder,
  weight: WeightRef,
  x: Value,
  eps = spec.norm.eps,
): Value {
  const stored = weights.float(weight);
  const w = spec.norm.unitOffset ? math.add(g, stored, g.scalar(1), { prologue: true }) : stored;
  if (spec.norm.kind === 'rms') return math.rmsNorm(g, x, w, eps);
  // LayerNorm is the RMS norm of what is left without the mean.
  const mean = math.mul(g, math.reduceSum(g, x, -1, true), g.scalar(1 / spec.hiddenSize));
  const bias = weights.float({ ...weight, tensor: weight.tensor.replace(/weight$/, 'bias') });
  return math.add(g, math.rmsNorm(g, math.sub(g, x, mean), w, eps), bias);
}

export function activate(g: GraphBuilder, x: Value, activation: Activation): Value {
  switch (activation) {
    case 'silu':
      return math.silu(g, x);
    case 'gelu':
      return math.gelu(g, x, 'none');
    case 'gelu_tanh':
      return math.gelu(g, x, 'tanh');
    case 'relu':
      return math.relu(g, x);
    case 'relu2': {
      const positive = math.relu(g, x);
      return math.mul(g, positive, positive);
    }
    case 'sigmoid':
      return math.sigmoid(g, x);
    case 'tanh':
      return math.tanh(g, x);
  }
}

/** How a matrix product is emitted: Gemm, or FusedMatMul where shapes are to stay unknown. */
export type Multiply = (x: Value, weight: WeightRef, bias: WeightRef | null) => Value;

/** act(gate) · up, or gpt-oss's clamped form. */
function gated(g: GraphBuilder, spec: TransformerSpec, gate: Value, up: Value): Value {
  if (spec.clampedGlu === null) return math.mul(g, activate(g, gate, spec.activation), up);
  const { alpha, limit } = spec.clampedGlu;
  const swish = math.swish(g, math.clamp(g, gate, limit, -3e38), alpha);
  return math.mul(g, math.add(g, math.clamp(g, up, limit), g.scalar(1)), swish);
}

/** down(act(gate(x)) · up(x)). */
export function feedForward(
  g: GraphBuilder,
  spec: TransformerSpec,
  names: FfnWeights,
  x: Value,
  multiply: Multiply,
): Value {
  const gate = multiply(x, names.gate, names.bias?.gate ?? null);
  const up = multiply(x, names.up, names.bias?.up ?? null);
  return multiply(gated(g, spec, gate, up), names.down, names.bias?.down ?? null);
}

/** The same for matrices stored [in, out] with gate and up in one: side by side (Llama 4), or their columns in turns (gpt-oss). */
export function transposedFeedForward(
  g: GraphBuilder,
  spec: TransformerSpec,
  names: TransposedFfnWeights,
  weights: WeightBinder,
  x: Value,
): Value {
  const { width, bias, inTurns } = names;
  const plus = (value: Value, one: WeightRef | undefined): Value =>
    one === undefined ? value : math.add(g, value, weights.float(one));
  const both = plus(math.matmul(g, x, weights.float(names.gateUp)), bias?.gateUp);
  const rows = x.shape[0] ?? 1;
  const pairs = shape.reshape(g, both, inTurns ? [rows, width, 2] : [rows, 2, width]);
  const halves = shape.splitInTwo(g, pairs, [1, 1], inTurns ? 2 : 1);
  const [gate, up] = [shape.reshape(g, halves[0], [rows, width]), shape.reshape(g, halves[1], [rows, width])];
  return plus(math.matmul(g, gated(g, spec, gate, up), weights.float(names.down)), bias?.down);
}
