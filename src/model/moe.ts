/**
 * Mixture-of-experts block: router, dispatch by gathers, experts, combination. Cost follows top-k: tokens are put into
 * expert order once, each expert multiplies only its own rows, and an inverse gather brings them back.
 */
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import { product } from '../onnx/dims.ts';
import * as math from '../onnx/ops-math.ts';
import * as shape from '../onnx/ops-shape.ts';
import { feedForward, linear, transposedFeedForward } from './layers.ts';
import type { MoeWeights } from './naming.ts';
import { route } from './router.ts';
import type { MoeFfn, TransformerSpec } from './spec.ts';
import type { WeightBinder, WeightRef } from './weights.ts';

/** Which tokens an expert with a full queue drops. */
export interface Capacity {
  readonly factor: number;
  /** Megatron: ceil(tokens · topK / experts · factor). Seed paper (2412.09952) as printed: without topK. */
  readonly convention: 'megatron' | 'paper';
  /** Keep the first tokens in order, or those with the highest router probability. */
  readonly policy: 'position' | 'probability';
}

export interface MoeOptions {
  /**
   * `branch`: every expert in its own If, so that idle experts cost nothing, not even the cast of their weights. `flat`: all
   * experts in the graph itself, which can be differentiated.
   */
  readonly experts: 'branch' | 'flat';
  readonly capacity: Capacity | null;
}

export interface MoeResult {
  /** [N, hidden]. */
  readonly output: Value;
  /** Router logits [N, E]. */
  readonly logits: Value;
  /** Chosen experts, best first, int64 [N, K], and their mixing weights [N, K] before dropping. */
  readonly chosen: Value;
  readonly mixing: Value;
  /** What is added to the scores for the choice, [1, E]; null where nothing is. */
  readonly choiceBias: Value | null;
}

/** The MoE block over x [N, hidden]. */
export function mixture(
  g: GraphBuilder,
  spec: TransformerSpec,
  ffn: MoeFfn,
  names: MoeWeights,
  weights: WeightBinder,
  options: MoeOptions,
  x: Value,
): MoeResult {
  const { experts, topK } = ffn;
  const tokens = x.shape[0] ?? 1;
  const assigned = product([tokens, topK]);
  const logits = linear(g, x, weights, names.router, names.routerBias);
  const choiceBias =
    names.choiceBias === null ? null : shape.reshape(g, weights.float(names.choiceBias), [1, ffn.experts]);
  const { chosen, mixing } = route(g, ffn, logits, choiceBias);

  // hits[n, e] = 1 where token n chose expert e; running sums over tokens number each expert's queue.
  const ones = shape.filled(g, shape.shapeOf(g, chosen), chosen.shape, 'int64', 1);
  const zeros = shape.filled(g, shape.shapeOf(g, logits), logits.shape, 'int64', 0);
  const hits = shape.scatterElements(g, zeros, chosen, ones, 1);
  const queue = math.cumSum(g, hits, 0, true);
  const counts = math.reduceSum(g, hits, 0);
  const starts = math.cumSum(g, counts, 0, true);
  // place[n, k] = row of that assignment in expert order: a permutation, so every move below is a gather.
  const place = shape.gatherElements(g, math.add(g, queue, starts), chosen, 1);
  const flatPlace = shape.reshape(g, place, [assigned]);
  const count = shape.shapeOf(g, flatPlace);
  const empty = shape.filled(g, count, [assigned], 'int64', 0);
  const order = shape.scatterElements(g, empty, flatPlace, shape.range(g, shape.reshape(g, count, []), assigned), 0);
  const source = topK === 1 ? order : math.div(g, order, g.constant('int64', [], [topK]));
  const sorted = g.hint(shape.gather(g, x, source), { inverse: place });

  const { weighsInput } = ffn.router;
  const input = weighsInput ? math.mul(g, sorted, inOrder(g, mixing, order, place)) : sorted;
  const results = expertOutputs(g, spec, ffn, names, weights, options, input, counts);
  const byToken = g.hint(shape.gather(g, shape.reshape(g, results, [assigned, spec.hiddenSize]), place), {
    inverse: order,
  });
  const kept = options.capacity === null ? null : kept01(g, ffn, options.capacity, { logits, chosen, hits, queue });
  const factor = weighsInput ? kept : kept === null ? mixing : math.mul(g, mixing, kept);
  const weighted = factor === null ? byToken : math.mul(g, byToken, shape.reshape(g, factor, [tokens, topK, 1]));
  const routed = topK === 1 ? shape.reshape(g, weighted, [tokens, spec.hiddenSize]) : math.reduceSum(g, weighted, 1);
  if (experts < topK) throw new RangeError(`top-${topK} of ${experts} experts`);
  return { output: addShared(g, spec, names, weights, x, routed), logits, chosen, mixing, choiceBias };
}

/** Weights [N, K] of assignments in expert order, [N·K, 1]. */
function inOrder(g: GraphBuilder, mixing: Value, order: Value, place: Value): Value {
  const assigned = order.shape[0] ?? 1;
  const flat = shape.reshape(g, mixing, [assigned, 1]);
  return g.hint(shape.gather(g, flat, order), { inverse: shape.reshape(g, place, [assigned, 1]) });
}

/** Expert outputs in expert order, [N·K, hidden]. */
function expertOutputs(
  g: GraphBuilder,
  spec: TransformerSpec,
  ffn: MoeFfn,
  names: MoeWeights,
  weights: WeightBinder,
  options: MoeOptions,
  sorted: Value,
  counts: Value,
): Value {
  const dims = Array.from({ length: ffn.experts }, () => g.freshSymbol('rows'));
  const hidden = shape.withoutShape(g, sorted);
  const parts = shape.splitBy(g, hidden, counts, 0, dims);
  const multiply = (x: Value, weight: WeightRef): Value => math.matmul(g, x, weights.float(weight), { transB: true });
  const run = (part: Value, expert: number): Value => {
    const one = names.expert(expert);
    return 'gateUp' in one
      ? transposedFeedForward(g, spec, one, weights, part)
      : feedForward(g, spec, one, part, multiply);
  };
  const build = (part: Value, expert: number): Value => g.scoped(`expert${expert}`, () => run(part, expert));
  let outputs: readonly Value[];
  if (options.experts === 'flat') outputs = parts.map(build);
  else {
    const busy = shape.split(
      g,
      math.less(g, g.constant('int64', [1], [0]), counts),
      Array<number>(ffn.experts).fill(1),
      0,
    );
    outputs = parts.map((part, expert) => {
      const condition = busy[expert];
      if (condition === undefined) throw new Error('one condition per expert');
      const work = g.branch(() => build(part, expert));
      // An idle expert has no rows, and so has its result.
      const idle = g.branch(() => g.emit1('Identity', [part], { type: part.type, shape: part.shape }));
      return g.emit1(
        'If',
        [condition],
        { type: part.type, shape: part.shape },
        { attributes: { then_branch: work, else_branch: idle } },
      );
    });
  }
  const joined = shape.concat(g, outputs, 0, sorted.shape[0]);
  return g.hint(joined, { sizes: counts, shapeless: true });
}

/** 1 for assignments within their expert's capacity, 0 for dropped ones: float [N, K]. */
function kept01(
  g: GraphBuilder,
  ffn: MoeFfn,
  capacity: Capacity,
  routing: { readonly logits: Value; readonly chosen: Value; readonly hits: Value; readonly queue: Value },
): Value {
  const share = (capacity.factor / ffn.experts) * (capacity.convention === 'megatron' ? ffn.topK : 1);
  const tokens = g.emit1(
    'Shape',
    [routing.logits],
    { type: 'int64', shape: [1] },
    { attributes: { start: { kind: 'int', value: 0 }, end: { kind: 'int', value: 1 } } },
  );
  // In float64, and a hair less before rounding up: 4 · 0.25 must be 1, whatever binary fractions say.
  const exact = math.sub(
    g,
    math.mul(g, math.cast(g, tokens, 'float64'), g.constant('float64', [1], [share])),
    g.constant('float64', [1], [1e-9]),
  );
  const room = math.minimum(g, math.cast(g, math.ceil(g, exact), 'int64'), tokens);
  if (capacity.policy === 'position') {
    const place = shape.gatherElements(g, routing.queue, routing.chosen, 1);
    return math.cast(g, math.less(g, place, room), 'float32');
  }
  const probabilities = math.softmax(g, routing.logits);
  const candidates = shape.where(
    g,
    math.equal(g, routing.hits, g.constant('int64', [], [1])),
    probabilities,
    g.scalar(-1),
  );
  const dim = g.freshSymbol('capacity');
  const [, best] = math.topK(g, candidates, { value: room, dim }, 0);
  const one = shape.filled(g, shape.shapeOf(g, best), best.shape, 'float32', 1);
  const zero = shape.filled(g, shape.shapeOf(g, routing.logits), routing.logits.shape, 'float32', 0);
  return shape.gatherElements(g, shape.scatterElements(g, zero, best, one, 0), routing.chosen, 1);
}

function addShared(
  g: GraphBuilder,
  spec: TransformerSpec,
  names: MoeWeights,
  weights: WeightBinder,
  x: Value,
  routed: Value,
): Value {
  const shared = names.shared;
  if (shared === null) return routed;
  const output = g.scoped('shared', () =>
    feedForward(g, spec, shared.ffn, x, (value, weight, bias) => linear(g, value, weights, weight, bias)),
  );
  if (shared.gate === null) return math.add(g, routed, output);
  const gate = math.sigmoid(g, linear(g, x, weights, shared.gate, null));
  return math.add(g, routed, math.mul(g, output, gate));
}
