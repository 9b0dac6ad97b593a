/** Sums of long rows that lose nothing. */
import type { GraphBuilder, Value } from './builder.ts';
import * as math from './ops-math.ts';
import * as shape from './ops-shape.ts';

/** Longest run of numbers that is summed in one go. */
const RUN = 512;

/**
 * Row sums [M, 1] of [M, V]. ONNX Runtime adds the numbers of a row one after another in float32: of a vocabulary's tens of
 * thousands, the small ones would be lost in the sum. So rows are cut into runs, whose sums are summed.
 */
export function rowSum(g: GraphBuilder, x: Value): Value {
  const [rows = 1, length] = x.shape;
  if (typeof length !== 'number' || length <= RUN) return math.reduceSum(g, x, 1, true);
  for (let run = RUN; run >= 64; run--) {
    if (length % run !== 0) continue;
    const runs = shape.reshape(g, x, [rows, length / run, run]);
    return rowSum(g, math.reduceSum(g, runs, 2));
  }
  const [whole, rest] = shape.split(g, x, [length - (length % RUN), length % RUN], 1);
  if (whole === undefined || rest === undefined) throw new Error('a split gave nothing');
  return math.add(g, rowSum(g, whole), rowSum(g, rest));
}

/** log Σ exp over each row of [M, V], as [M, 1]. */
export function logSumExp(g: GraphBuilder, x: Value): Value {
  // What is taken off and put back again changes nothing: its gradient is zero.
  const top = g.hint(math.reduceMax(g, x, 1, true), { constant: true });
  return math.add(g, math.log(g, rowSum(g, math.exp(g, math.sub(g, x, top)))), top);
}
