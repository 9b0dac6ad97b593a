/** From router logits to chosen experts and their mixing weights, in the ways of all families. */
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import * as math from '../onnx/ops-math.ts';
import * as shape from '../onnx/ops-shape.ts';
import type { RouterSpec } from './router-spec.ts';
import type { MoeFfn } from './spec.ts';

/** Stands for minus infinity where a difference of two must stay a number. */
const NEVER = -1e30;
/** DeepSeek's and ERNIE's smallest sum to divide by; far below what scores of float32 add up to. */
const LEAST_SUM = 1e-12;

/** Chosen experts, best first, int64 [N, K], and their mixing weights [N, K]. */
export interface Routing {
  readonly chosen: Value;
  readonly mixing: Value;
}

/** Router decision from logits [N, E]; `choiceBias` [E] where the family has one. */
export function route(g: GraphBuilder, ffn: MoeFfn, logits: Value, choiceBias: Value | null): Routing {
  const { router, topK } = ffn;
  if (router.score === 'sparsemixer') return sparsemixer(g, router, logits);
  const plain = router.score === 'softmax' && choiceBias === null && router.groups === null;
  if (plain && ffn.normalise) {
    // softmax → top-k → divide by the sum is the same function as top-k → softmax.
    const [best, chosen] = math.topK(g, logits, topK);
    return { chosen, mixing: scaled(g, math.softmax(g, best), router.scale) };
  }
  const scores = router.score === 'sigmoid' ? math.sigmoid(g, logits) : math.softmax(g, logits);
  const eligible = choiceBias === null ? scores : math.add(g, scores, choiceBias);
  const candidates = router.groups === null ? eligible : withinGroups(g, ffn, router.groups, eligible);
  const [best, chosen] = math.topK(g, candidates, topK);
  // Without a bias the candidates' scores are the scores themselves.
  const weights = candidates === scores ? best : pick(g, scores, chosen);
  if (!ffn.normalise) return { chosen, mixing: scaled(g, weights, router.scale) };
  const sum = math.add(g, math.reduceSum(g, weights, 1, true), g.scalar(LEAST_SUM));
  return { chosen, mixing: scaled(g, math.div(g, weights, sum), router.scale) };
}

function scaled(g: GraphBuilder, weights: Value, scale: number): Value {
  return scale === 1 ? weights : math.mul(g, weights, g.scalar(scale));
}

/** Scores of experts outside the best groups become `NEVER`. */
function withinGroups(g: GraphBuilder, ffn: MoeFfn, groups: NonNullable<RouterSpec['groups']>, scores: Value): Value {
  const tokens = scores.shape[0] ?? 1;
  const size = ffn.experts / groups.count;
  const grouped = shape.reshape(g, scores, [tokens, groups.count, size]);
  const strength =
    groups.by === 'best'
      ? math.reduceMax(g, grouped, 2)
      : math.reduceSum(g, math.topK(g, grouped, Math.min(size, 2))[0], 2);
  const [, best] = math.topK(g, strength, groups.kept);
  const zeros = shape.filled(g, shape.shapeOf(g, strength), strength.shape, 'int64', 0);
  const ones = shape.filled(g, shape.shapeOf(g, best), best.shape, 'int64', 1);
  const kept = shape.reshape(g, shape.scatterElements(g, zeros, best, ones, 1), [tokens, groups.count, 1]);
  const open = math.equal(g, kept, g.constant('int64', [], [1]));
  return shape.reshape(g, shape.where(g, open, grouped, g.scalar(NEVER)), scores.shape);
}

/**
 * SparseMixer's decision at evaluation (arXiv 2409.12136; transformers, modeling_phimoe.sparsemixer): the best expert and the best
 * of the rest, each weighed by a softmax over those whose logits are near its own, the first one left out for the second.
 */
function sparsemixer(g: GraphBuilder, router: RouterSpec, logits: Value): Routing {
  const [tops, chosen] = math.topK(g, logits, 2);
  const [first, second] = shape.splitInTwo(g, tops, [1, 1], 1);
  const [firstIndex, secondIndex] = shape.splitInTwo(g, chosen, [1, 1], 1);
  const never = shape.filled(g, shape.shapeOf(g, firstIndex), firstIndex.shape, 'float32', NEVER);
  const rest = shape.scatterElements(g, logits, firstIndex, never, 1);
  const negative = math.sub(g, g.scalar(0), logits);
  const weigh = (from: Value, top: Value, index: Value): Value => {
    // max(|s|, top), by way of the minimum: -min(min(s, -s), -top).
    const size = math.minimum(g, math.minimum(g, logits, negative), math.sub(g, g.scalar(0), top));
    const far = math.less(g, math.mul(g, size, g.scalar(-2 * router.jitter)), math.sub(g, top, logits));
    return pick(g, math.softmax(g, shape.where(g, far, g.scalar(NEVER), from)), index);
  };
  const weights = [weigh(logits, first, firstIndex), weigh(rest, second, secondIndex)];
  return { chosen, mixing: shape.concat(g, weights, 1, 2) };
}

/** Elements of each row at `indices`, of which no two are equal. */
function pick(g: GraphBuilder, rows: Value, indices: Value): Value {
  return g.hint(shape.gatherElements(g, rows, indices, 1), { unique: true });
}
