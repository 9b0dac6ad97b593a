/**
 * The plainest evaluator that can be: whole tensors as arrays of numbers, one operation after the other, written from the
 * comments of plan/expr.ts alone. Rounding goes through BigInt arithmetic, so that nothing is shared with the real one but
 * the random streams.
 */
import type { Expr, IndexSet } from '../../src/plan/expr.ts';
import { fillNormal, fillUniform, randomPermutation, randomStream } from '../../src/random/index.ts';

export interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

const FORMATS: Readonly<Record<string, readonly [fractionBits: number, minExponent: number, maxExponent: number]>> = {
  F64: [52, -1022, 1023],
  F32: [23, -126, 127],
  BF16: [7, -126, 127],
  F16: [10, -14, 15],
};

/** x rounded to nearest even in a binary format, by exact integer arithmetic. */
export function roundTo(dtype: string, x: number): number {
  const format = FORMATS[dtype];
  if (format === undefined) throw new Error(`no float: ${dtype}`);
  const [fraction, least, most] = format;
  if (!Number.isFinite(x) || x === 0 || dtype === 'F64') return x;
  let exponent = Math.floor(Math.log2(Math.abs(x)));
  if (2 ** exponent > Math.abs(x)) exponent -= 1;
  if (2 ** (exponent + 1) <= Math.abs(x)) exponent += 1;
  const unitExponent = Math.max(exponent, least) - fraction;
  // |x| = significand · 2^-1074, exactly; units of 2^unitExponent are wanted.
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, Math.abs(x));
  const bits = view.getBigUint64(0);
  const biased = Number(bits >> 52n);
  const significand = (bits & 0xfffffffffffffn) | (biased === 0 ? 0n : 0x10000000000000n);
  const shift = unitExponent - (Math.max(biased, 1) - 1075);
  if (shift <= 0) return x;
  const low = significand & ((1n << BigInt(shift)) - 1n);
  const half = 1n << BigInt(shift - 1);
  let kept = significand >> BigInt(shift);
  if (low > half || (low === half && (kept & 1n) === 1n)) kept += 1n;
  // Two steps: 2^unitExponent alone may be subnormal, but the product with a short integer is exact.
  const result = Number(kept) * 2 ** unitExponent;
  return Math.sign(x) * (result >= 2 ** most * 2 ? Infinity : result);
}

function strides(shape: readonly number[]): number[] {
  return shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1));
}

function countOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function coordinates(index: number, shape: readonly number[]): number[] {
  return strides(shape).map((stride, d) => Math.floor(index / stride) % (shape[d] ?? 1));
}

function flat(at: readonly number[], shape: readonly number[]): number {
  const s = strides(shape);
  return at.reduce((sum, x, d) => sum + x * (s[d] ?? 0), 0);
}

/** A tensor made element by element from its coordinates. */
function make(dtype: string, shape: readonly number[], at: (coordinates: number[]) => number): Tensor {
  return { dtype, shape, data: Array.from({ length: countOf(shape) }, (_, i) => at(coordinates(i, shape))) };
}

export function naiveIndices(index: IndexSet, size: number, seed: number, evaluate: (expr: Expr) => Tensor): number[] {
  switch (index.kind) {
    case 'unpermute-rope': {
      const d = size / index.heads;
      const found: number[] = [];
      for (let h = 0; h < index.heads; h++)
        for (let s = 0; s < 2; s++) for (let j = 0; j < d / 2; j++) found[h * d + s * (d / 2) + j] = h * d + 2 * j + s;
      return found;
    }
    case 'repeat':
      return Array.from({ length: size }, (_, i) => new Array<number>(index.times).fill(i)).flat();
    case 'permutation':
      return [...randomPermutation(size, seed, index.key)];
    case 'random-shard': {
      const each = size / index.shards;
      const order = [...randomPermutation(size, seed, index.key)];
      return order.slice(index.shard * each, (index.shard + 1) * each).sort((a, b) => a - b);
    }
    case 'random-subset': {
      const order = [...randomPermutation(size, seed, index.key)];
      return order.slice(0, Math.floor(index.ratio * size)).sort((a, b) => a - b);
    }
    case 'norm-shard': {
      const [gate, up, down] = index.of.map(evaluate);
      if (gate === undefined || up === undefined || down === undefined) throw new Error('three matrices');
      const norms = Array.from({ length: size }, (_, neuron) => {
        const row = (t: Tensor): number[] => t.data.filter((_x, i) => coordinates(i, t.shape)[0] === neuron);
        const column = down.data.filter((_x, i) => coordinates(i, down.shape)[1] === neuron);
        return [...row(gate), ...row(up), ...column].reduce((sum, x) => sum + x * x, 0);
      });
      const order = norms.map((_, i) => i).sort((a, b) => (norms[b] ?? 0) - (norms[a] ?? 0) || a - b);
      const dealt = [...Array(index.shards).keys()];
      const mine = order.filter((_, rank) => {
        const lap = Math.floor(rank / index.shards);
        const hands = lap % 2 === 0 ? dealt : [...dealt].reverse();
        return hands[rank % index.shards] === index.shard;
      });
      return mine.sort((a, b) => a - b);
    }
  }
}

/** The value of an expression over whole source tensors. */
export function naive(expr: Expr, sources: ReadonlyMap<string, Tensor>, seed: number): Tensor {
  const evaluate = (inner: Expr): Tensor => naive(inner, sources, seed);
  const mapped = (of: Tensor, dtype: string, change: (x: number, i: number) => number): Tensor => ({
    dtype,
    shape: of.shape,
    data: of.data.map((x, i) => roundTo(dtype, change(x, i))),
  });
  const normals = (key: string, count: number): Float64Array => {
    const out = new Float64Array(count);
    fillNormal(out, randomStream(seed, key), 0);
    return out;
  };
  const uniforms = (key: string, count: number): Float64Array => {
    const out = new Float64Array(count);
    fillUniform(out, randomStream(seed, key), 0);
    return out;
  };
  switch (expr.op) {
    case 'source': {
      const tensor = sources.get(expr.tensor);
      if (tensor === undefined) throw new Error(`no ${expr.tensor}`);
      return tensor;
    }
    case 'slice': {
      const of = evaluate(expr.of);
      const shape = of.shape.with(expr.dim, expr.end - expr.begin);
      return make(
        of.dtype,
        shape,
        (at) => of.data[flat(at.with(expr.dim, (at[expr.dim] ?? 0) + expr.begin), of.shape)] ?? NaN,
      );
    }
    case 'concat': {
      const parts = expr.of.map(evaluate);
      const [first] = parts;
      if (first === undefined) throw new Error('nothing');
      const total = parts.reduce((sum, part) => sum + (part.shape[expr.dim] ?? 0), 0);
      return make(first.dtype, first.shape.with(expr.dim, total), (at) => {
        let index = at[expr.dim] ?? 0;
        for (const part of parts) {
          const size = part.shape[expr.dim] ?? 0;
          if (index < size) return part.data[flat(at.with(expr.dim, index), part.shape)] ?? NaN;
          index -= size;
        }
        return NaN;
      });
    }
    case 'reshape':
      return { ...evaluate(expr.of), shape: expr.shape };
    case 'take': {
      const of = evaluate(expr.of);
      const indices = naiveIndices(expr.index, of.shape[expr.dim] ?? 0, seed, evaluate);
      return make(of.dtype, of.shape.with(expr.dim, indices.length), (at) => {
        return of.data[flat(at.with(expr.dim, indices[at[expr.dim] ?? 0] ?? 0), of.shape)] ?? NaN;
      });
    }
    case 'scale': {
      const of = evaluate(expr.of);
      return mapped(of, of.dtype, (x) => x * expr.by);
    }
    case 'offset': {
      const of = evaluate(expr.of);
      return mapped(of, of.dtype, (x) => x + expr.by);
    }
    case 'cast':
      return mapped(evaluate(expr.of), expr.dtype, (x) => x);
    case 'average': {
      const parts = expr.of.map(evaluate);
      const [first] = parts;
      if (first === undefined) throw new Error('nothing');
      return mapped(
        first,
        first.dtype,
        (_x, i) => parts.reduce((sum, part) => sum + (part.data[i] ?? NaN), 0) / parts.length,
      );
    }
    case 'noise': {
      const of = evaluate(expr.of);
      const z = normals(expr.key, of.data.length);
      const u = uniforms(`${expr.key}#mask`, of.data.length);
      return mapped(of, of.dtype, (x, i) => ((u[i] ?? 1) < expr.ratio ? x + expr.std * (z[i] ?? NaN) : x));
    }
    case 'redraw': {
      const of = evaluate(expr.of);
      const chosen = new Set(naiveIndices(expr.index, of.shape[expr.dim] ?? 0, seed, evaluate));
      const isChosen = (i: number): boolean => chosen.has(coordinates(i, of.shape)[expr.dim] ?? -1);
      const replaced = of.data.filter((_x, i) => isChosen(i));
      const mean = replaced.reduce((a, b) => a + b, 0) / replaced.length;
      const std = Math.sqrt(replaced.reduce((sum, x) => sum + (x - mean) * (x - mean), 0) / replaced.length);
      const z = normals(expr.key, of.data.length);
      return mapped(of, of.dtype, (x, i) => (isChosen(i) ? mean + std * (z[i] ?? NaN) : x));
    }
    case 'random': {
      const count = countOf(expr.shape);
      const { dist } = expr;
      const data =
        dist.kind === 'normal'
          ? [...normals(expr.key, count)].map((z) => dist.mean + dist.std * z)
          : [...uniforms(expr.key, count)].map((u) => dist.low + (dist.high - dist.low) * u);
      return { dtype: expr.dtype, shape: expr.shape, data: data.map((x) => roundTo(expr.dtype, x)) };
    }
    case 'fill':
      return make(expr.dtype, expr.shape, () => roundTo(expr.dtype, expr.value));
    default:
      throw new Error(`not here: ${expr.op}`);
  }
}

/** Storage bytes of a tensor, element by element. */
export function toBytes(tensor: Tensor): Buffer {
  const { dtype, data } = tensor;
  const width = dtype === 'F64' ? 8 : dtype === 'F32' ? 4 : 2;
  const out = Buffer.alloc(data.length * width);
  data.forEach((x, i) => {
    if (dtype === 'F64') out.writeDoubleLE(x, i * 8);
    else if (dtype === 'F32') out.writeFloatLE(x, i * 4);
    else out.writeUInt16LE(bitsOf16(dtype, x), i * 2);
  });
  return out;
}

/** Bits of a value that a 16-bit format can hold. */
function bitsOf16(dtype: string, x: number): number {
  const [fraction, least] = FORMATS[dtype] ?? [0, 0];
  const exponentBits = 15 - fraction;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(x);
  const all = (1 << exponentBits) - 1;
  if (Number.isNaN(x)) return (all << fraction) | (1 << (fraction - 1));
  if (magnitude === Infinity) return sign | (all << fraction);
  if (magnitude < 2 ** least) return sign | (magnitude / 2 ** (least - fraction));
  let exponent = Math.floor(Math.log2(magnitude));
  if (2 ** exponent > magnitude) exponent -= 1;
  return sign | ((exponent - least + 1) << fraction) | (magnitude / 2 ** (exponent - fraction) - 2 ** fraction);
}
