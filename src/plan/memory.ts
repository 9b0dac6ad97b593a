/** Upper bound of the writer's memory: a constant for streaming, more only where a recipe needs whole matrices. */
import type { Expr } from './expr.ts';
import type { SourceLookup } from './infer.ts';
import { elementCount, inferShape, walkExpr } from './infer.ts';
import type { PlanTensor } from './types.ts';

/** Node itself, the plan, and the stream buffers. */
const STREAMING_BYTES = 150_000_000;

/** Bound in bytes, and what dominates it. */
export function peakMemory(tensors: readonly PlanTensor[], lookup: SourceLookup): { bytes: number; reason: string } {
  let extra = 0;
  let reason = 'bounded stream buffers, whatever the model’s size';
  const seen = new Set<Expr>();
  const consider = (bytes: number, why: string): void => {
    if (bytes > extra) {
      extra = bytes;
      reason = why;
    }
  };
  for (const tensor of tensors) {
    if (tensor.expr.op === 'source' || seen.has(tensor.expr)) continue;
    seen.add(tensor.expr);
    walkExpr(tensor.expr, (node) => {
      if (node.op === 'svd-noise') {
        const [rows = 0, columns = 0] = inferShape(node.of, lookup);
        consider(
          4 * rows * columns + 8 * rows * Math.min(node.rank, rows, columns) * 2,
          `expert_init svd holds one whole matrix in float32 and its basis (${tensor.name})`,
        );
      } else if (node.op === 'orthogonal') {
        consider(8 * elementCount(node.shape), `router.init orthogonal holds one router in float64 (${tensor.name})`);
      } else if (node.op === 'take' && node.index.kind === 'norm-shard') {
        consider(16 * node.index.size, 'expert_init split by norm holds one number per neuron');
      }
    });
  }
  return { bytes: STREAMING_BYTES + extra, reason };
}
