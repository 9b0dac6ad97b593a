/** Building blocks of one layer: linear maps, norms, activations, the gated feed-forward. */
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import * as math from '../onnx/ops-math.ts';
import type { FfnWeights } from './naming.ts';
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

/** RMS norm with the family's offset (gemma applies 1 + w). */
export function norm(
  g: GraphBuilder,
  spec: TransformerSpec,
  weights: WeightBinder,
  weight: WeightRef,
  x: Value,
): Value {
  const stored = weights.float(weight);
  const w = spec.norm.unitOffset ? math.add(g, stored, g.scalar(1), { prologue: true }) : stored;
  return math.rmsNorm(g, x, w, spec.norm.eps);
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

/** down(act(gate(x)) · up(x)). */
export function feedForward(
  g: GraphBuilder,
  spec: TransformerSpec,
  names: FfnWeights,
  x: Value,
  multiply: Multiply,
): Value {
  const gate = activate(g, multiply(x, names.gate, names.bias?.gate ?? null), spec.activation);
  const up = multiply(x, names.up, names.bias?.up ?? null);
  return multiply(math.mul(g, gate, up), names.down, names.bias?.down ?? null);
}
