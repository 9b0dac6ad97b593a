/** Arithmetic of dimensions: numbers, symbols and products of them, written canonically (`2*B*T`: number first, names sorted). */
import type { Dim } from './types.ts';
import { append } from '../common/lists.ts';

/** Splits a dimension into its numeric factor and its sorted symbols. */
function factors(dim: Dim): { readonly count: number; readonly symbols: readonly string[] } {
  if (typeof dim === 'number') return { count: dim, symbols: [] };
  let count = 1;
  const symbols: string[] = [];
  for (const part of dim.split('*')) {
    if (/^\d+$/.test(part)) count *= Number(part);
    else symbols.push(part);
  }
  return { count, symbols: symbols.sort() };
}

/** Product of dimensions, canonical. */
export function product(dims: readonly Dim[]): Dim {
  let count = 1;
  const symbols: string[] = [];
  for (const dim of dims) {
    const part = factors(dim);
    count *= part.count;
    append(symbols, part.symbols);
  }
  if (symbols.length === 0 || count === 0) return count;
  symbols.sort();
  return (count === 1 ? symbols : [String(count), ...symbols]).join('*');
}

/** True when both are surely the same at run time. */
export function sameDim(a: Dim, b: Dim): boolean {
  return a === b || product([a]) === product([b]);
}

/** `[B, T, 64]` for messages. */
export function shapeText(shape: readonly Dim[]): string {
  return `[${shape.join(', ')}]`;
}

/** Broadcast of two shapes as numpy and ONNX do it; throws a RangeError where they cannot be broadcast. */
export function broadcast(a: readonly Dim[], b: readonly Dim[]): Dim[] {
  const rank = Math.max(a.length, b.length);
  const result: Dim[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left === 1) result.push(right);
    else if (right === 1 || sameDim(left, right)) result.push(left);
    else
      throw new RangeError(`shapes ${shapeText(a)} and ${shapeText(b)} cannot be broadcast: ${left} against ${right}`);
  }
  return result;
}
