/** Memory that an expression needs beyond the constant stream buffers, for planning. */
import { krylovShape } from './matrix.ts';
import type { Expr } from '../plan/expr.ts';
import { elementCount, inferShape, walkExpr } from '../plan/infer.ts';
import type { SourceLookup } from '../plan/infer.ts';

const FLOAT64 = 8;

/** Bytes held at once by the most demanding node of the expression; 0 where everything streams. */
export function exprPeakBytes(expr: Expr, sourceShapes: SourceLookup): number {
  let peak = 0;
  walkExpr(expr, (node) => {
    peak = Math.max(peak, nodePeakBytes(node, sourceShapes));
  });
  return peak;
}

function nodePeakBytes(node: Expr, sourceShapes: SourceLookup): number {
  switch (node.op) {
    case 'svd-noise': {
      const [m = 0, n = 0] = inferShape(node.of, sourceShapes);
      const { width, steps } = krylovShape(m, n, node.rank);
      const rank = Math.min(node.rank, m, n);
      // The Krylov basis and W times it; then the singular vectors and two projections of noise.
      return FLOAT64 * (Math.min(width * steps, n) * (m + n) + rank * (m + 3 * n));
    }
    case 'orthogonal':
      return FLOAT64 * elementCount(node.shape) * 2;
    case 'take':
    case 'redraw': {
      const { index } = node;
      // Indices, the uniform numbers that shuffle them, and for norms one sum and one place per neuron.
      return 'size' in index ? index.size * (index.kind === 'norm-shard' ? 32 : 16) : 0;
    }
    default:
      return 0;
  }
}
