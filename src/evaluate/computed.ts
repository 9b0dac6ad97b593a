/** Element-by-element arithmetic: computed in float64 from exact operands, rounded once to the value's dtype. */
import type { Dtype } from 'safetensors-js';
import { fillNormal, fillUniform } from '../random/index.ts';
import type { RandomStream } from '../random/index.ts';
import { decodeFloats, encodeFloats, requireFloat, roundFloats } from './codec.ts';
import type { FloatDtype } from './codec.ts';
import { BLOCK_ELEMENTS, ComputedValue, Value, bytePool, countOf, floatPool } from './value.ts';

/** Results of a map of a 16-bit dtype, by the operand's bits: there are only 65,536 operands. */
type MapTable = Uint16Array | Uint32Array;
const tables = new Map<string, MapTable>();
const MAX_TABLES = 8;
/** From here on making the table costs less than computing every element. */
const TABLE_ELEMENTS = 1 << 15;

/** x·by, x + by, or x in another dtype. */
export class MapValue extends ComputedValue {
  constructor(
    private readonly of: Value,
    float: FloatDtype,
    private readonly kind: 'scale' | 'offset' | 'cast',
    private readonly by: number,
  ) {
    super(float, of.shape);
    requireFloat(of.dtype, kind);
  }

  override numbers(begin: number, end: number, out: Float64Array, scattered = false): void {
    this.of.numbers(begin, end, out, scattered);
    this.apply(out, end - begin);
  }

  private apply(values: Float64Array, count: number): void {
    const { by } = this;
    if (this.kind === 'scale') for (let i = 0; i < count; i++) values[i] = (values[i] ?? 0) * by;
    if (this.kind === 'offset') for (let i = 0; i < count; i++) values[i] = (values[i] ?? 0) + by;
    roundFloats(this.float, values, count);
  }

  override read(begin: number, end: number, out: Buffer, scattered = false): void {
    const table = this.elements >= TABLE_ELEMENTS && out.byteOffset % this.width === 0 ? this.table() : null;
    if (table === null) {
      super.read(begin, end, out, scattered);
      return;
    }
    const words = bytePool.take(Math.min(BLOCK_ELEMENTS, end - begin) * 2);
    for (let at = begin; at < end; at += BLOCK_ELEMENTS) {
      const count = Math.min(BLOCK_ELEMENTS, end - at);
      this.of.read(at, at + count, words.subarray(0, count * 2), scattered);
      const from = new Uint16Array(words.buffer, words.byteOffset, count);
      const offset = out.byteOffset + (at - begin) * this.width;
      const to =
        this.width === 2 ? new Uint16Array(out.buffer, offset, count) : new Uint32Array(out.buffer, offset, count);
      for (let i = 0; i < count; i++) to[i] = table[from[i] ?? 0] ?? 0;
    }
    bytePool.give(words);
  }

  /** Null where the operand or the result is too wide. */
  private table(): MapTable | null {
    const { dtype } = this.of;
    if ((dtype !== 'BF16' && dtype !== 'F16') || this.width > 4) return null;
    const key = `${dtype} ${this.kind} ${String(this.by)} ${this.float}`;
    const known = tables.get(key);
    if (known !== undefined) return known;
    if (tables.size >= MAX_TABLES) tables.clear();
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = new Float64Array(65536);
    decodeFloats(dtype, Buffer.from(bits.buffer), bits.length, values);
    this.apply(values, values.length);
    const made = this.width === 2 ? new Uint16Array(65536) : new Uint32Array(65536);
    encodeFloats(this.float, values, values.length, Buffer.from(made.buffer));
    tables.set(key, made);
    return made;
  }
}

/** Mean of tensors: summed in order, divided once. */
export class AverageValue extends ComputedValue {
  constructor(
    private readonly parts: readonly Value[],
    float: FloatDtype,
    shape: readonly number[],
  ) {
    super(float, shape);
  }

  override numbers(begin: number, end: number, out: Float64Array): void {
    const count = end - begin;
    const term = floatPool.take(count);
    out.fill(0, 0, count);
    for (const part of this.parts) {
      part.numbers(begin, end, term);
      for (let i = 0; i < count; i++) out[i] = (out[i] ?? 0) + (term[i] ?? 0);
    }
    floatPool.give(term);
    for (let i = 0; i < count; i++) out[i] = (out[i] ?? 0) / this.parts.length;
    roundFloats(this.float, out, count);
  }
}

/** of + std·normal where the mask stream is below ratio. */
export class NoiseValue extends ComputedValue {
  constructor(
    private readonly of: Value,
    float: FloatDtype,
    private readonly std: number,
    private readonly ratio: number,
    private readonly stream: RandomStream,
    private readonly mask: RandomStream,
  ) {
    super(float, of.shape);
  }

  override numbers(begin: number, end: number, out: Float64Array, scattered = false): void {
    const count = end - begin;
    this.of.numbers(begin, end, out, scattered);
    if (this.ratio <= 0) return;
    const { std, ratio } = this;
    const z = floatPool.take(count);
    fillNormal(z, this.stream, begin, count);
    if (ratio < 1) {
      const u = floatPool.take(count);
      fillUniform(u, this.mask, begin, count);
      for (let i = 0; i < count; i++) if ((u[i] ?? 0) < ratio) out[i] = (out[i] ?? 0) + std * (z[i] ?? 0);
      floatPool.give(u);
    } else {
      for (let i = 0; i < count; i++) out[i] = (out[i] ?? 0) + std * (z[i] ?? 0);
    }
    floatPool.give(z);
    roundFloats(this.float, out, count);
  }
}

/** Mean and population standard deviation of the values that a redraw replaces. */
export interface RedrawStatistics {
  readonly mean: number;
  readonly std: number;
}

/** For each element range, calls `visit` with runs [begin, end) of the elements whose index along `dim` is chosen. */
function chosenRuns(
  shape: readonly number[],
  dim: number,
  chosen: Uint8Array,
  begin: number,
  end: number,
  visit: (begin: number, end: number) => void,
): void {
  const inner = countOf(shape.slice(dim + 1));
  const size = shape[dim] ?? 0;
  let at = begin;
  while (at < end) {
    const slot = Math.floor(at / inner);
    const slotEnd = Math.min(end, (slot + 1) * inner);
    if (chosen[slot % size] === 1) visit(at, slotEnd);
    at = slotEnd;
  }
}

/** Drop-Upcycling's redraw: chosen slices become mean + std·normal. */
export class RedrawValue extends ComputedValue {
  constructor(
    private readonly of: Value,
    float: FloatDtype,
    private readonly dim: number,
    private readonly chosen: Uint8Array,
    private readonly stream: RandomStream,
    private readonly statistics: () => RedrawStatistics,
  ) {
    super(float, of.shape);
  }

  override numbers(begin: number, end: number, out: Float64Array, scattered = false): void {
    const count = end - begin;
    this.of.numbers(begin, end, out, scattered);
    const { mean, std } = this.statistics();
    const z = floatPool.take(count);
    let made = -1;
    chosenRuns(this.shape, this.dim, this.chosen, begin, end, (from, to) => {
      // Long runs are drawn alone; of single columns the whole block is drawn once.
      if (to - from >= 64) {
        fillNormal(z, this.stream, from, to - from);
        made = from;
      } else if (made !== begin) {
        fillNormal(z, this.stream, begin, count);
        made = begin;
      }
      for (let i = from; i < to; i++) out[i - begin] = mean + std * (z[i - made] ?? 0);
    });
    floatPool.give(z);
    roundFloats(this.float, out, count);
  }
}

/** Two passes over the chosen elements, in row-major order, plain float64 sums: the same numbers on every machine. */
export function redrawStatistics(of: Value, dim: number, chosen: Uint8Array): RedrawStatistics {
  const values = floatPool.take(BLOCK_ELEMENTS);
  const pass = (add: (x: number) => void): void => {
    for (let at = 0; at < of.elements; at += BLOCK_ELEMENTS) {
      const end = Math.min(of.elements, at + BLOCK_ELEMENTS);
      of.numbers(at, end, values);
      chosenRuns(of.shape, dim, chosen, at, end, (from, to) => {
        for (let i = from; i < to; i++) add(values[i - at] ?? 0);
      });
    }
  };
  let count = 0;
  let sum = 0;
  pass((x) => {
    count += 1;
    sum += x;
  });
  const mean = count === 0 ? 0 : sum / count;
  let squares = 0;
  pass((x) => {
    squares += (x - mean) * (x - mean);
  });
  floatPool.give(values);
  return { mean, std: count === 0 ? 0 : Math.sqrt(squares / count) };
}

/** mean + std·normal, or low + (high − low)·uniform. */
export class RandomValue extends ComputedValue {
  constructor(
    float: FloatDtype,
    shape: readonly number[],
    private readonly kind: 'normal' | 'uniform',
    private readonly base: number,
    private readonly factor: number,
    private readonly stream: RandomStream,
  ) {
    super(float, shape);
  }

  override numbers(begin: number, end: number, out: Float64Array): void {
    const count = end - begin;
    if (this.kind === 'normal') fillNormal(out, this.stream, begin, count);
    else fillUniform(out, this.stream, begin, count);
    const { base, factor } = this;
    for (let i = 0; i < count; i++) out[i] = base + factor * (out[i] ?? 0);
    roundFloats(this.float, out, count);
  }
}

/** A constant. Zero can be stored in any dtype, other values in float dtypes. */
export class FillValue extends Value {
  private readonly pattern: Buffer | null;

  constructor(dtype: Dtype, shape: readonly number[], value: number) {
    super(dtype, shape);
    if (Object.is(value, 0)) {
      this.pattern = null;
      return;
    }
    const float = requireFloat(dtype, 'fill');
    this.pattern = Buffer.alloc(this.width);
    encodeFloats(float, Float64Array.of(value), 1, this.pattern);
  }

  override read(_begin: number, _end: number, out: Buffer): void {
    if (this.pattern === null) out.fill(0);
    else if (out.length > 0) out.fill(this.pattern);
  }
}
