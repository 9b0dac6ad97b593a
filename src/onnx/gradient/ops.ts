/** Operators that only gradients need. They have no gradient themselves: nothing here is differentiated twice. */
import type { GraphBuilder, Value } from '../builder.ts';
import { sameDim } from '../dims.ts';
import * as math from '../ops-math.ts';
import * as shape from '../ops-shape.ts';
import type { Dim } from '../types.ts';

const elementwise = (g: GraphBuilder, op: string, x: Value): Value =>
  g.emit1(op, [x], { type: x.type, shape: x.shape });
export const sqrt = (g: GraphBuilder, x: Value): Value => elementwise(g, 'Sqrt', x);
export const erf = (g: GraphBuilder, x: Value): Value => elementwise(g, 'Erf', x);

/** x · factor. */
export const times = (g: GraphBuilder, x: Value, factor: number): Value =>
  factor === 1 ? x : math.mul(g, x, g.scalar(factor));

/** Zeros with the run-time shape of `like`. */
export function zerosLike(g: GraphBuilder, like: Value): Value {
  return shape.filled(g, shape.shapeOf(g, like), like.shape, 'float32', 0);
}

/** A 1 put in as axis `axis`. */
export function unsqueeze(g: GraphBuilder, x: Value, axis: number): Value {
  return g.emit1('Unsqueeze', [x, g.constant('int64', [1], [axis])], {
    type: x.type,
    shape: [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)],
  });
}

/** The same elements in the shape of `like`, whatever is known of it. */
export function reshapeLike(g: GraphBuilder, x: Value, like: Value): Value {
  if (sameShape(x.shape, like.shape)) return x;
  if (like.shape.filter((dim) => typeof dim === 'string').length <= 1) return shape.reshape(g, x, like.shape);
  return g.emit1('Reshape', [x, shape.shapeOf(g, like)], { type: x.type, shape: like.shape });
}

/**
 * Gradients are kept as small as they are: one that is the same along an axis has a 1 there ("narrow"). `widen` gives it the
 * whole shape of the value that it belongs to.
 */
export function widen(g: GraphBuilder, gradient: Value, of: Value): Value {
  if (sameShape(gradient.shape, of.shape)) return gradient;
  return g.emit1('Expand', [gradient, shape.shapeOf(g, of)], { type: gradient.type, shape: of.shape });
}

/**
 * Undoes a broadcast: the gradient of an operand `to`, from that of the result `of` it was broadcast into. What was repeated
 * is summed; an axis along which the operand has its size stays narrow if it is.
 */
export function sumTo(g: GraphBuilder, gradient: Value, of: Value, to: Value): Value {
  const missing = of.shape.length - to.shape.length;
  const repeated = of.shape.flatMap((dim, axis) => {
    const own = axis < missing ? 1 : (to.shape[axis - missing] ?? 1);
    return own === 1 && dim !== 1 ? [axis] : [];
  });
  const narrow = repeated.some((axis) => gradient.shape[axis] === 1);
  const whole = narrow ? widen(g, gradient, of) : gradient;
  const summed = repeated.length === 0 ? whole : sumAxes(g, whole, repeated);
  if (missing === 0) return summed;
  const dims = summed.shape.slice(missing);
  if (dims.filter((dim) => typeof dim === 'string').length <= 1) return shape.reshape(g, summed, dims);
  return g.emit1('Squeeze', [summed, axesOf(g, [...Array(missing).keys()])], { type: summed.type, shape: dims });
}

function axesOf(g: GraphBuilder, axes: readonly number[]): Value {
  return g.constant('int64', [axes.length], axes);
}

/** Sum over several axes, which stay as 1. */
export function sumAxes(g: GraphBuilder, x: Value, axes: readonly number[]): Value {
  return g.emit1(
    'ReduceSum',
    [x, axesOf(g, axes)],
    { type: x.type, shape: x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim)) },
    { attributes: { keepdims: { kind: 'int', value: 1 } } },
  );
}

export function sameShape(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((dim, axis) => sameDim(dim, b[axis] ?? -1));
}
