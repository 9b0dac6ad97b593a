/** Gradient rules of the operators that compute (ops-math.ts). y is the output, d its gradient. */
import type { GraphBuilder, Value } from '../builder.ts';
import { lastDim } from '../builder.ts';
import * as math from '../ops-math.ts';
import * as shape from '../ops-shape.ts';
import { erf, sqrt, sumTo, times, unsqueeze, widen } from './ops.ts';
import type { Rule, RuleContext } from './rule.ts';

/** Hands on what was broadcast, summed back to the input's shape. */
function giveSummed(c: RuleContext, index: number, gradient: () => Value): void {
  c.give(index, () => sumTo(c.g, gradient(), c.output(), c.input(index)));
}

/** A rule for y = f(x) from the derivative at each element. */
function pointwise(derivative: (c: RuleContext, x: Value, y: Value) => Value): Rule {
  return (c) => {
    c.give(0, () => math.mul(c.g, c.gradient(), derivative(c, c.input(0), c.output())));
  };
}

const one = (g: GraphBuilder): Value => g.scalar(1);

/** x · Φ(x): Φ(x) + x φ(x), or the derivative of its approximation by tanh. */
const gelu = pointwise((c, x) => {
  const { g } = c;
  const kind = c.node.attributes.get('approximate');
  if (kind?.kind === 'string' && kind.value === 'tanh') {
    const scale = Math.sqrt(2 / Math.PI);
    const square = math.mul(g, x, x);
    const inner = math.mul(g, times(g, x, scale), math.add(g, one(g), times(g, square, 0.044715)));
    const t = math.tanh(g, inner);
    const slope = math.mul(
      g,
      math.sub(g, one(g), math.mul(g, t, t)),
      math.add(g, g.scalar(scale), times(g, square, 3 * 0.044715 * scale)),
    );
    return times(g, math.add(g, math.add(g, one(g), t), math.mul(g, x, slope)), 0.5);
  }
  const cumulative = times(g, math.add(g, one(g), erf(g, times(g, x, Math.SQRT1_2))), 0.5);
  const density = times(g, math.exp(g, times(g, math.mul(g, x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return math.add(g, cumulative, math.mul(g, x, density));
});

/** y = x · sigmoid(αx): s (1 + α (x − y)), times d. */
const quickGelu = pointwise((c, x, y) => {
  const { g } = c;
  const alpha = c.float('alpha', 1.702);
  const s = math.sigmoid(g, times(g, x, alpha));
  return math.mul(g, s, math.add(g, times(g, math.sub(g, x, y), alpha), one(g)));
});

const relu: Rule = (c) => {
  c.give(0, () => shape.where(c.g, math.less(c.g, c.g.scalar(0), c.output()), c.gradient(), c.g.scalar(0)));
};

/** 1 where the value was let through, ends included. */
const clip = pointwise((c, x, y) => math.cast(c.g, math.equal(c.g, x, y), 'float32'));

const div: Rule = (c) => {
  const { g } = c;
  const by = c.input(1);
  giveSummed(c, 0, () => math.div(g, c.gradient(), by));
  giveSummed(c, 1, () => times(g, math.div(g, math.mul(g, c.gradient(), c.output()), by), -1));
};

const gemm: Rule = (c) => {
  const { g } = c;
  const [a, b, d] = [c.input(0), c.input(1), c.wide()];
  const [transA, transB, alpha] = [c.int('transA') === 1, c.int('transB') === 1, c.float('alpha', 1)];
  c.give(0, () =>
    transA
      ? math.gemm(g, b, d, { transA: transB, transB: true, alpha })
      : math.gemm(g, d, b, { transB: !transB, alpha }),
  );
  c.give(1, () =>
    transB
      ? math.gemm(g, d, a, { transA: true, transB: transA, alpha })
      : math.gemm(g, a, d, { transA: !transA, alpha }),
  );
  giveSummed(c, 2, () => c.gradient());
};

const fusedMatMul: Rule = (c) => {
  const { g } = c;
  const [a, b, d] = [c.input(0), c.input(1), c.wide()];
  const [transA, transB, alpha] = [c.int('transA') === 1, c.int('transB') === 1, c.float('alpha', 1)];
  const summed = (index: number, x: Value): Value => sumTo(g, x, x, c.input(index));
  c.give(0, () =>
    summed(
      0,
      transA
        ? math.matmul(g, b, d, { transA: transB, transB: true, alpha })
        : math.matmul(g, d, b, { transB: !transB, alpha }),
    ),
  );
  c.give(1, () =>
    summed(
      1,
      transB
        ? math.matmul(g, d, a, { transA: true, transB: transA, alpha })
        : math.matmul(g, a, d, { transA: !transA, alpha }),
    ),
  );
};

/** y = x r w, r = 1/√(mean x² + ε): r (dw − x̂ mean(dw x̂)) with x̂ = x r. */
const rmsNorm: Rule = (c) => {
  const { g } = c;
  const [x, w] = [c.input(0), c.input(1)];
  const width = lastDim(w);
  if (typeof width !== 'number') throw c.fault('is a norm of unknown width');
  const mean = (v: Value): Value => times(g, math.reduceSum(g, v, -1, true), 1 / width);
  const r = math.div(g, one(g), sqrt(g, math.add(g, mean(math.mul(g, x, x)), g.scalar(c.float('epsilon', 1e-5)))));
  const normed = math.mul(g, x, r);
  c.give(0, () => {
    const dw = math.mul(g, c.wide(), w);
    return math.mul(g, r, math.sub(g, dw, math.mul(g, normed, mean(math.mul(g, dw, normed)))));
  });
  giveSummed(c, 1, () => math.mul(g, c.wide(), normed));
};

/** A rotation is undone by the opposite one. */
const rotary: Rule = (c) => {
  const { g } = c;
  if (c.needs(2) || c.needs(3)) throw c.fault('has no gradient for its tables');
  const x = c.input(0);
  const heads = c.int('num_heads');
  const back = c.once(`-${c.input(3).name}`, () => times(g, c.input(3), -1));
  c.give(0, () => {
    const width = Number(lastDim(x)) / heads;
    const [dim, interleaved] = [c.int('rotary_embedding_dim', width), c.int('interleaved', 0) === 1];
    return math.rotary(g, c.wide(), c.input(1), c.input(2), back, heads, dim, interleaved);
  });
};

/** y (d − Σ d y). */
const softmax: Rule = (c) => {
  const { g } = c;
  c.give(0, () => {
    const y = c.output();
    const weighted = math.mul(g, c.gradient(), y);
    return math.sub(g, weighted, math.mul(g, y, math.reduceSum(g, weighted, c.int('axis', -1), true)));
  });
};

/** The gradient with the axis back that was summed away: narrow there. */
function kept(c: RuleContext): Value {
  if (c.int('keepdims', 1) === 1) return c.gradient();
  const axis = c.g.hints.get(c.output())?.axis;
  if (axis === undefined) throw c.fault('does not tell its axis');
  return unsqueeze(c.g, c.gradient(), axis);
}

const reduceSum: Rule = (c) => {
  c.give(0, () => kept(c));
};

/** All elements that are the largest share the gradient evenly. */
const reduceMax: Rule = (c) => {
  const { g } = c;
  c.give(0, () => {
    const x = c.input(0);
    const axis = g.hints.get(c.output())?.axis;
    if (axis === undefined) throw c.fault('does not tell its axis');
    const top = c.int('keepdims', 1) === 1 ? c.output() : unsqueeze(g, c.output(), axis);
    const hits = math.cast(g, math.equal(g, x, widen(g, top, x)), 'float32');
    return math.mul(g, hits, math.div(g, kept(c), math.reduceSum(g, hits, axis, true)));
  });
};

const topK: Rule = (c) => {
  const { g } = c;
  c.give(0, () => {
    const x = c.input(0);
    const zeros = shape.filled(g, shape.shapeOf(g, x), x.shape, 'float32', 0);
    return shape.scatterElements(g, zeros, c.output(1), c.wide(0), c.int('axis', -1));
  });
};

export const MATH_RULES: Readonly<Record<string, Rule>> = {
  Add: (c) => {
    for (const index of [0, 1]) giveSummed(c, index, () => c.gradient());
  },
  Sub: (c) => {
    giveSummed(c, 0, () => c.gradient());
    giveSummed(c, 1, () => times(c.g, c.gradient(), -1));
  },
  Mul: (c) => {
    giveSummed(c, 0, () => math.mul(c.g, c.gradient(), c.input(1)));
    giveSummed(c, 1, () => math.mul(c.g, c.gradient(), c.input(0)));
  },
  Div: div,
  Sigmoid: pointwise((c, _, y) => math.mul(c.g, y, math.sub(c.g, one(c.g), y))),
  Tanh: pointwise((c, _, y) => math.sub(c.g, one(c.g), math.mul(c.g, y, y))),
  Exp: pointwise((_, __, y) => y),
  Log: (c) => {
    c.give(0, () => math.div(c.g, c.gradient(), c.input(0)));
  },
  Relu: relu,
  QuickGelu: quickGelu,
  Gelu: gelu,
  Clip: clip,
  Cast: (c) => {
    c.give(0, () => math.cast(c.g, c.gradient(), c.input(0).type));
  },
  Gemm: gemm,
  FusedMatMul: fusedMatMul,
  SimplifiedLayerNormalization: rmsNorm,
  RotaryEmbedding: rotary,
  Softmax: softmax,
  ReduceSum: reduceSum,
  ReduceMax: reduceMax,
  TopK: topK,
};
