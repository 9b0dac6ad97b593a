/** Shape and dtype of an expression, from the sources' headers alone. */
import type { Dtype } from 'safetensors-js';
import { DTYPE_BITS, isDtype } from 'safetensors-js';
import type { StorageDtype } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import type { Expr, IndexSet } from './expr.ts';

/** Looks a source tensor up. Throws when there is none. */
export type SourceLookup = (
  from: number,
  tensor: string,
) => { readonly dtype: StorageDtype; readonly shape: readonly number[] };

/** How many indices a set picks, from a dimension of `size`. */
export function indexCount(index: IndexSet, size: number): number {
  switch (index.kind) {
    case 'unpermute-rope':
      return size;
    case 'repeat':
      return size * index.times;
    case 'permutation':
      return index.size;
    case 'random-shard':
    case 'norm-shard':
      return index.size / index.shards;
    case 'random-subset':
      return Math.floor(index.ratio * index.size);
  }
}

function fail(message: string): never {
  throw new MoeError('internal', 'plan-expression', `The plan has an impossible expression: ${message}`);
}

function at(shape: readonly number[], dim: number): number {
  return shape[dim] ?? fail(`dimension ${String(dim)} of shape [${shape.join(', ')}]`);
}

/** Number of elements of a shape (1 for a scalar). */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Row-major shape of the expression's value. */
export function inferShape(expr: Expr, lookup: SourceLookup): readonly number[] {
  switch (expr.op) {
    case 'source':
      return lookup(expr.from, expr.tensor).shape;
    case 'slice': {
      const shape = inferShape(expr.of, lookup);
      if (expr.begin < 0 || expr.end > at(shape, expr.dim) || expr.begin > expr.end) {
        fail(`slice ${String(expr.begin)}:${String(expr.end)} of [${shape.join(', ')}] dim ${String(expr.dim)}`);
      }
      return shape.with(expr.dim, expr.end - expr.begin);
    }
    case 'concat': {
      const shapes = expr.of.map((part) => inferShape(part, lookup));
      const first = shapes[0] ?? fail('concat of nothing');
      return first.with(
        expr.dim,
        shapes.reduce((sum, shape) => sum + at(shape, expr.dim), 0),
      );
    }
    case 'reshape':
      if (elementCount(expr.shape) !== elementCount(inferShape(expr.of, lookup))) fail('reshape changes the size');
      return expr.shape;
    case 'take': {
      const shape = inferShape(expr.of, lookup);
      return shape.with(expr.dim, indexCount(expr.index, at(shape, expr.dim)));
    }
    case 'average':
      return inferShape(expr.of[0] ?? fail('average of nothing'), lookup);
    case 'random':
    case 'orthogonal':
    case 'prompt-gate':
    case 'fill':
      return expr.shape;
    default:
      return inferShape(expr.of, lookup);
  }
}

/** Element type of the expression's value. */
export function inferDtype(expr: Expr, lookup: SourceLookup): Dtype {
  switch (expr.op) {
    case 'source': {
      const { dtype } = lookup(expr.from, expr.tensor);
      return isDtype(dtype) ? dtype : fail(`${expr.tensor} is ${dtype} and must be dequantised first`);
    }
    case 'dequantise':
      return 'F32';
    case 'cast':
    case 'random':
    case 'orthogonal':
    case 'prompt-gate':
    case 'fill':
      return expr.dtype;
    case 'concat':
    case 'average':
      return inferDtype(expr.of[0] ?? fail(`${expr.op} of nothing`), lookup);
    default:
      return inferDtype(expr.of, lookup);
  }
}

/** Bytes of a tensor of whole-byte elements. */
export function bytesOf(dtype: Dtype, shape: readonly number[]): number {
  return (elementCount(shape) * DTYPE_BITS[dtype]) / 8;
}

/** Calls `visit` on the expression and everything inside it. */
export function walkExpr(expr: Expr, visit: (expr: Expr) => void): void {
  visit(expr);
  switch (expr.op) {
    case 'source':
    case 'random':
    case 'orthogonal':
    case 'prompt-gate':
    case 'fill':
      return;
    case 'concat':
    case 'average':
      for (const part of expr.of) walkExpr(part, visit);
      return;
    case 'take':
    case 'redraw':
      if (expr.index.kind === 'norm-shard') for (const part of expr.index.of) walkExpr(part, visit);
      walkExpr(expr.of, visit);
      return;
    default:
      walkExpr(expr.of, visit);
  }
}
