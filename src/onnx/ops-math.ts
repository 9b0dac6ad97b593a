/**
 * Operators that compute: elementwise, matrix products, norms, rotary embedding, softmax, reductions. Together with
 * ops-shape.ts this is the whole set that model graphs use; each has (or gets) one gradient rule, so keep it small.
 */
import { dimOf, lastDim, MICROSOFT, requireSame, requireType } from './builder.ts';
import type { EmitOptions, GraphBuilder, Value } from './builder.ts';
import { broadcast, product, shapeText } from './dims.ts';
import { ELEMENT_CODES } from './types.ts';
import type { Attribute, Dim, ElementType } from './types.ts';

const int = (value: number): Attribute => ({ kind: 'int', value });
const float = (value: number): Attribute => ({ kind: 'float', value });

function binary(g: GraphBuilder, op: string, a: Value, b: Value, options?: EmitOptions, type?: ElementType): Value {
  requireType(op, b, a.type);
  return g.emit1(op, [a, b], { type: type ?? a.type, shape: broadcast(a.shape, b.shape) }, options);
}

function unary(g: GraphBuilder, op: string, x: Value, options?: EmitOptions): Value {
  return g.emit1(op, [x], { type: x.type, shape: x.shape }, options);
}

export const add = (g: GraphBuilder, a: Value, b: Value, options?: EmitOptions): Value =>
  binary(g, 'Add', a, b, options);
export const sub = (g: GraphBuilder, a: Value, b: Value): Value => binary(g, 'Sub', a, b);
export const mul = (g: GraphBuilder, a: Value, b: Value): Value => binary(g, 'Mul', a, b);
export const div = (g: GraphBuilder, a: Value, b: Value): Value => binary(g, 'Div', a, b);
export const minimum = (g: GraphBuilder, a: Value, b: Value): Value => binary(g, 'Min', a, b);
export const equal = (g: GraphBuilder, a: Value, b: Value): Value => binary(g, 'Equal', a, b, undefined, 'bool');
export const less = (g: GraphBuilder, a: Value, b: Value): Value => binary(g, 'Less', a, b, undefined, 'bool');

export const sigmoid = (g: GraphBuilder, x: Value): Value => unary(g, 'Sigmoid', x);
export const tanh = (g: GraphBuilder, x: Value): Value => unary(g, 'Tanh', x);
export const exp = (g: GraphBuilder, x: Value): Value => unary(g, 'Exp', x);
export const log = (g: GraphBuilder, x: Value): Value => unary(g, 'Log', x);
export const relu = (g: GraphBuilder, x: Value): Value => unary(g, 'Relu', x);
export const ceil = (g: GraphBuilder, x: Value): Value => unary(g, 'Ceil', x);

/** x · sigmoid(alpha · x), as one fused node. */
export function swish(g: GraphBuilder, x: Value, alpha: number): Value {
  return unary(g, 'QuickGelu', x, { domain: MICROSOFT, attributes: { alpha: float(alpha) } });
}

/** x · sigmoid(x). */
export function silu(g: GraphBuilder, x: Value): Value {
  return swish(g, x, 1);
}

/** GELU, exact (erf) or by tanh. */
export function gelu(g: GraphBuilder, x: Value, approximate: 'none' | 'tanh'): Value {
  return unary(g, 'Gelu', x, { attributes: { approximate: { kind: 'string', value: approximate } } });
}

/** x clamped to [least, limit]. */
export function clamp(g: GraphBuilder, x: Value, limit: number, least = -limit): Value {
  return g.emit1('Clip', [x, g.scalar(least), g.scalar(limit)], { type: x.type, shape: x.shape });
}

export function cast(g: GraphBuilder, x: Value, type: ElementType, options?: EmitOptions): Value {
  if (x.type === type) return x;
  return g.emit1('Cast', [x], { type, shape: x.shape }, { ...options, attributes: { to: int(ELEMENT_CODES[type]) } });
}

export interface GemmOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
  /** Added to the product; broadcast to it. */
  readonly bias?: Value;
}

/** 2-D product `alpha · A' · B' + bias`. */
export function gemm(g: GraphBuilder, a: Value, b: Value, options: GemmOptions = {}): Value {
  if (a.shape.length !== 2 || b.shape.length !== 2)
    throw new RangeError(`Gemm takes matrices, not ${shapeText(a.shape)} and ${shapeText(b.shape)}`);
  requireType('Gemm', b, a.type);
  const [rows, innerA] = options.transA === true ? [dimOf(a, 1), dimOf(a, 0)] : [dimOf(a, 0), dimOf(a, 1)];
  const [innerB, columns] = options.transB === true ? [dimOf(b, 1), dimOf(b, 0)] : [dimOf(b, 0), dimOf(b, 1)];
  requireSame(`Gemm ${shapeText(a.shape)} × ${shapeText(b.shape)}`, innerA, innerB);
  const shape = [rows, columns];
  if (options.bias !== undefined) broadcast(options.bias.shape, shape);
  return g.emit1(
    'Gemm',
    options.bias === undefined ? [a, b] : [a, b, options.bias],
    { type: a.type, shape },
    {
      attributes: {
        transA: int(options.transA === true ? 1 : 0),
        transB: int(options.transB === true ? 1 : 0),
        alpha: float(options.alpha ?? 1),
      },
    },
  );
}

export interface MatMulOptions {
  /** Swap the last two axes first. */
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
}

/** Batched product `alpha · A' · B'` over the last two axes; leading axes broadcast. */
export function matmul(g: GraphBuilder, a: Value, b: Value, options: MatMulOptions = {}): Value {
  requireType('MatMul', b, a.type);
  const [rows, innerA] = options.transA === true ? [dimOf(a, -1), dimOf(a, -2)] : [dimOf(a, -2), dimOf(a, -1)];
  const [innerB, columns] = options.transB === true ? [dimOf(b, -1), dimOf(b, -2)] : [dimOf(b, -2), dimOf(b, -1)];
  requireSame(`MatMul ${shapeText(a.shape)} × ${shapeText(b.shape)}`, innerA, innerB);
  const shape = [...broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2)), rows, columns];
  return g.emit1(
    'FusedMatMul',
    [a, b],
    { type: a.type, shape },
    {
      domain: MICROSOFT,
      attributes: {
        transA: int(options.transA === true ? 1 : 0),
        transB: int(options.transB === true ? 1 : 0),
        alpha: float(options.alpha ?? 1),
      },
    },
  );
}

/** RMS norm over the last axis: x / sqrt(mean(x²) + eps) · weight. */
export function rmsNorm(g: GraphBuilder, x: Value, weight: Value, eps: number): Value {
  requireSame(`RMS norm of ${x.name} ${shapeText(x.shape)} by ${weight.name}`, lastDim(x), lastDim(weight));
  return g.emit1(
    'SimplifiedLayerNormalization',
    [x, weight],
    { type: x.type, shape: x.shape },
    {
      attributes: { axis: int(-1), epsilon: float(eps) },
    },
  );
}

/**
 * Rotary embedding of `heads` heads laid side by side: x [B, T, heads·hd], positions int64 [B, T] into the rows of the tables
 * [P, rotary/2]. Halves are rotated against each other (the Hugging Face order), or `interleaved` each even element against the
 * next one; what lies beyond `rotary` passes through.
 */
export function rotary(
  g: GraphBuilder,
  x: Value,
  positions: Value,
  cos: Value,
  sin: Value,
  heads: number,
  rotaryDim: number,
  interleaved = false,
): Value {
  requireType('rotary embedding', positions, 'int64');
  const width = lastDim(x);
  if (typeof width !== 'number' || x.shape.length !== 3 || width % heads !== 0)
    throw new RangeError(`rotary embedding of ${shapeText(x.shape)} with ${heads} heads`);
  const partial = rotaryDim !== width / heads;
  return g.emit1(
    'RotaryEmbedding',
    [x, positions, cos, sin],
    { type: x.type, shape: x.shape },
    {
      domain: MICROSOFT,
      attributes: {
        num_heads: int(heads),
        ...(partial ? { rotary_embedding_dim: int(rotaryDim) } : {}),
        ...(interleaved ? { interleaved: int(1) } : {}),
      },
    },
  );
}

/** Softmax over one axis (the last by default). */
export function softmax(g: GraphBuilder, x: Value, axis = -1): Value {
  return unary(g, 'Softmax', x, { attributes: { axis: int(axis) } });
}

function reduced(shape: readonly Dim[], axis: number, keep: boolean): Dim[] {
  const at = axis < 0 ? axis + shape.length : axis;
  return keep ? shape.map((dim, i) => (i === at ? 1 : dim)) : shape.filter((_, i) => i !== at);
}

function reduce(g: GraphBuilder, op: string, x: Value, axis: number, keep: boolean): Value {
  const made = g.emit1(
    op,
    [x, g.constant('int64', [1], [axis])],
    { type: x.type, shape: reduced(x.shape, axis, keep) },
    {
      attributes: { keepdims: int(keep ? 1 : 0) },
    },
  );
  return g.hint(made, { axis: axis < 0 ? axis + x.shape.length : axis });
}

export const reduceSum = (g: GraphBuilder, x: Value, axis: number, keep = false): Value =>
  reduce(g, 'ReduceSum', x, axis, keep);
export const reduceMax = (g: GraphBuilder, x: Value, axis: number, keep = false): Value =>
  reduce(g, 'ReduceMax', x, axis, keep);

/** Index of the first largest element along the last axis, int64. */
export function argMax(g: GraphBuilder, x: Value): Value {
  return g.emit1(
    'ArgMax',
    [x],
    { type: 'int64', shape: x.shape.slice(0, -1) },
    {
      attributes: { axis: int(-1), keepdims: int(0), select_last_index: int(0) },
    },
  );
}

/** Running sum along `axis`; `exclusive` leaves out the element itself. */
export function cumSum(g: GraphBuilder, x: Value, axis: number, exclusive = false): Value {
  return g.emit1(
    'CumSum',
    [x, g.constant('int64', [], [axis])],
    { type: x.type, shape: x.shape },
    { attributes: { exclusive: int(exclusive ? 1 : 0) } },
  );
}

/** The `k` largest along `axis`, sorted, ties by lower index: [values, int64 indices]. `k` may be a run-time int64 [1]. */
export function topK(
  g: GraphBuilder,
  x: Value,
  k: number | { readonly value: Value; readonly dim: Dim },
  axis = -1,
): readonly [Value, Value] {
  const [count, dim] = typeof k === 'number' ? [g.constant('int64', [1], [k]), k] : [k.value, k.dim];
  const at = axis < 0 ? axis + x.shape.length : axis;
  const shape = x.shape.map((old, i) => (i === at ? dim : old));
  const [values, indices] = g.emit(
    'TopK',
    [x, count],
    [
      { type: x.type, shape },
      { type: 'int64', shape },
    ],
    {
      attributes: { axis: int(axis), largest: int(1), sorted: int(1) },
    },
  );
  if (values === undefined || indices === undefined) throw new Error('TopK has two outputs');
  return [values, indices];
}

/** Elements in a shape, canonical (for checks). */
export const elements = (x: Value): Dim => product(x.shape);
