/** Operators that move data: reshape, transpose, gather, scatter, split, concat, where. */
import { dimOf, requireSame, requireType } from './builder.ts';
import type { GraphBuilder, Value } from './builder.ts';
import { broadcast, product, sameDim, shapeText } from './dims.ts';
import type { Attribute, Dim } from './types.ts';

const int = (value: number): Attribute => ({ kind: 'int', value });

/** A shape as a run-time int64 vector; a product such as `B*T` may stand at one place only and becomes -1. */
function shapeVector(g: GraphBuilder, from: Value, dims: readonly Dim[]): Value {
  const symbolic = dims.flatMap((dim, axis) => (typeof dim === 'string' ? [axis] : []));
  if (symbolic.length <= 1)
    return g.constant(
      'int64',
      [dims.length],
      dims.map((dim) => (typeof dim === 'number' ? dim : -1)),
    );
  // 0 copies the dimension at the same place; one more may be inferred.
  const copied = dims.map(
    (dim, axis) => typeof dim === 'string' && axis < from.shape.length && sameDim(dim, from.shape[axis] ?? 0),
  );
  if (symbolic.filter((axis) => copied[axis] !== true).length <= 1) {
    return g.constant(
      'int64',
      [dims.length],
      dims.map((dim, axis) => (typeof dim === 'number' ? dim : copied[axis] === true ? 0 : -1)),
    );
  }
  const inferred = symbolic.find((axis) => String(dims[axis]).includes('*')) ?? symbolic.at(-1);
  const parts = dims.map((dim, axis) =>
    typeof dim === 'number'
      ? g.constant('int64', [1], [dim])
      : axis === inferred
        ? g.constant('int64', [1], [-1])
        : g.symbol(dim),
  );
  return concat(g, parts, 0);
}

/** Same elements, other shape. Throws where the element counts surely differ. */
export function reshape(g: GraphBuilder, x: Value, dims: readonly Dim[]): Value {
  if (!sameDim(product(x.shape), product(dims)))
    throw new RangeError(`cannot reshape ${x.name} ${shapeText(x.shape)} to ${shapeText(dims)}`);
  return g.emit1('Reshape', [x, shapeVector(g, x, dims)], { type: x.type, shape: dims });
}

export function transpose(g: GraphBuilder, x: Value, order: readonly number[]): Value {
  if (order.length !== x.shape.length || new Set(order).size !== order.length)
    throw new RangeError(`transpose of ${shapeText(x.shape)} by [${order.join(', ')}]`);
  return g.emit1(
    'Transpose',
    [x],
    { type: x.type, shape: order.map((axis) => dimOf(x, axis)) },
    { attributes: { perm: { kind: 'ints', value: order } } },
  );
}

export function concat(g: GraphBuilder, parts: readonly Value[], axis: number, dim?: Dim): Value {
  const [first] = parts;
  if (first === undefined) throw new RangeError('concat of nothing');
  const at = axis < 0 ? axis + first.shape.length : axis;
  for (const part of parts) {
    requireType('Concat', part, first.type);
    part.shape.forEach((size, i) => {
      if (i !== at) requireSame(`Concat axis ${i}`, size, dimOf(first, i));
    });
  }
  const sizes = parts.map((part) => dimOf(part, at));
  const total = sizes.every((size) => typeof size === 'number')
    ? sizes.reduce((sum: number, size) => sum + Number(size), 0)
    : dim;
  if (total === undefined) throw new RangeError(`concat of ${sizes.join(' + ')}: name the resulting dimension`);
  return g.emit1(
    'Concat',
    parts,
    { type: first.type, shape: first.shape.map((size, i) => (i === at ? total : size)) },
    { attributes: { axis: int(axis) } },
  );
}

/** Rows of `x` along `axis`, picked by int64 `indices`: the picked shape replaces the axis. */
export function gather(g: GraphBuilder, x: Value, indices: Value, axis = 0): Value {
  requireType('Gather', indices, 'int64', 'int32');
  const at = axis < 0 ? axis + x.shape.length : axis;
  const shape = [...x.shape.slice(0, at), ...indices.shape, ...x.shape.slice(at + 1)];
  return g.emit1('Gather', [x, indices], { type: x.type, shape }, { attributes: { axis: int(axis) } });
}

/** out[i][j] = x[i][indices[i][j]] for axis 1, and so on. */
export function gatherElements(g: GraphBuilder, x: Value, indices: Value, axis: number): Value {
  requireType('GatherElements', indices, 'int64');
  return g.emit1(
    'GatherElements',
    [x, indices],
    { type: x.type, shape: indices.shape },
    { attributes: { axis: int(axis) } },
  );
}

/** `x` with x[indices[i]] = updates[i] along `axis`. Indices must be unique: duplicates would race. */
export function scatterElements(g: GraphBuilder, x: Value, indices: Value, updates: Value, axis: number): Value {
  requireType('ScatterElements', indices, 'int64');
  requireType('ScatterElements', updates, x.type);
  return g.emit1(
    'ScatterElements',
    [x, indices, updates],
    { type: x.type, shape: x.shape },
    { attributes: { axis: int(axis) } },
  );
}

/** Cuts `x` along `axis` into parts whose sizes are a run-time int64 vector; `dims` names their sizes. */
export function splitBy(g: GraphBuilder, x: Value, sizes: Value, axis: number, dims: readonly Dim[]): readonly Value[] {
  requireType('Split', sizes, 'int64');
  const at = axis < 0 ? axis + x.shape.length : axis;
  const outputs = dims.map((dim) => ({ type: x.type, shape: x.shape.map((old, i) => (i === at ? dim : old)) }));
  return g.emit('Split', [x, sizes], outputs, { attributes: { axis: int(axis) } });
}

/** Cuts `x` along `axis` into parts of known sizes. */
export function split(g: GraphBuilder, x: Value, sizes: readonly number[], axis: number): readonly Value[] {
  const dim = dimOf(x, axis);
  const sum = sizes.reduce((a, b) => a + b, 0);
  if (typeof dim === 'number' && dim !== sum) throw new RangeError(`split of ${dim} into ${sizes.join(' + ')}`);
  return splitBy(g, x, g.constant('int64', [sizes.length], sizes), axis, sizes);
}

/** Cuts `x` along `axis` into two parts of known sizes. */
export function splitInTwo(
  g: GraphBuilder,
  x: Value,
  sizes: readonly [number, number],
  axis: number,
): readonly [Value, Value] {
  const [first, second] = split(g, x, sizes, axis);
  if (first === undefined || second === undefined) throw new Error('a split in two has two parts');
  return [first, second];
}

/** condition ? a : b, broadcast. */
export function where(g: GraphBuilder, condition: Value, a: Value, b: Value): Value {
  requireType('Where', condition, 'bool');
  requireType('Where', b, a.type);
  return g.emit1('Where', [condition, a, b], {
    type: a.type,
    shape: broadcast(condition.shape, broadcast(a.shape, b.shape)),
  });
}

/** A float32 or int64 tensor of one value, of run-time shape `like` (an int64 vector). */
export function filled(
  g: GraphBuilder,
  like: Value,
  shape: readonly Dim[],
  type: 'float32' | 'int64',
  value: number,
): Value {
  const bytes = new Uint8Array(type === 'float32' ? 4 : 8);
  const view = new DataView(bytes.buffer);
  if (type === 'float32') view.setFloat32(0, value, true);
  else view.setBigInt64(0, BigInt(value), true);
  return g.emit1(
    'ConstantOfShape',
    [like],
    { type, shape },
    {
      attributes: { value: { kind: 'tensor', value: { name: '', type, dims: [1], data: { kind: 'inline', bytes } } } },
    },
  );
}

/** 0, 1, …, count-1 as int64, for a run-time scalar `count` (int64 []). */
export function range(g: GraphBuilder, count: Value, dim: Dim): Value {
  return g.emit1('Range', [g.constant('int64', [], [0]), count, g.constant('int64', [], [1])], {
    type: 'int64',
    shape: [dim],
  });
}

/** The run-time size of one axis, int64 [1]. */
export function sizeOf(g: GraphBuilder, x: Value, axis: number): Value {
  return g.emit1('Shape', [x], { type: 'int64', shape: [1] }, { attributes: { start: int(axis), end: int(axis + 1) } });
}

/**
 * The same value with a shape that ONNX Runtime cannot know ahead. Its memory planner compares every buffer of known rank
 * with all freed ones, which is quadratic in the number of expert nodes: 14 s of session creation for 16 layers of 64
 * experts, 0.6 s without shapes.
 */
export function withoutShape(g: GraphBuilder, x: Value): Value {
  const all = g.constant(
    'bool',
    [x.shape.length],
    x.shape.map(() => 1),
  );
  const rank = { type: 'int64', shape: [x.shape.length] } as const;
  const opaque = g.emit1('Compress', [shapeOf(g, x), all], rank, { shapeless: true });
  return g.emit1('Reshape', [x, opaque], { type: x.type, shape: x.shape }, { shapeless: true });
}

/** The run-time shape of a value as an int64 vector. */
export function shapeOf(g: GraphBuilder, x: Value): Value {
  return g.emit1('Shape', [x], { type: 'int64', shape: [x.shape.length] });
}
