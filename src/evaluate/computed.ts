/** Element-by-element arithmetic: computed in float64 from exact operands, rounded once to the value's dtype. */
import type { Dtype } from 'safetensors-js';
import { fillNormal, fillUniform } from '../random/index.ts';
import type { RandomStream } from '../random/index.ts';
import { decodeFloats, encodeFloats, requireFloat } from './codec.ts';
import type { FloatDtype } from './codec.ts';
import { BLOCK_ELEMENTS, ComputedValue, Value, bytePool, countOf, floatPool } from './value.ts';

/** Results of a map of a 16-bit dtype, by the operand's bits: there are only 65,536 operands. */
type MapTable = Uint16Array | Uint32Array;
const tables = new Map<string, MapTable>();
const MAX_TABLES = 8;
/** Which elements of a block something is done to; filled right before use, never across a call. */
const flags = new Uint8Array(BLOCK_ELEMENTS);
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

  protected override compute(begin: number, end: number, out: Float64Array, scattered: boolean): void {
    this.of.numbers(begin, end, out, scattered);
    this.apply(out, end - begin);
  }

  private apply(values: Float64Array, count: number): void {
    const { by } = this;
    if (this.kind === 'scale') for (let i = 0; i < count; i++) values[i] = (values[i] ?? 0) * by;
    if (this.kind === 'offset') for (let i = 0; i < count; i++) values[i] = (values[i] ?? 0) + by;
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

  protected override compute(begin: number, end: number, out: Float64Array): void {
    const count = end - begin;
    const term = floatPool.take(count);
    out.fill(0, 0, count);
    for (const part of this.parts) {
      part.numbers(begin, end, term);
      for (let i = 0; i < count; i++) out[i] = (out[i] ?? 0) + (term[i] ?? 0);
    }
    floatPool.give(term);
    for (let i = 0; i < count; i++) out[i] = (out[i] ?? 0) / this.parts.length;
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

  protected override compute(begin: number, end: number, out: Float64Array, scattered: boolean): void {
    const count = end - begin;
    this.of.numbers(begin, end, out, scattered);
    const { std, ratio } = this;
    if (ratio <= 0) return;
    const z = floatPool.take(count);
    fillNormal(z, this.stream, begin, count);
    if (ratio >= 1) {
      for (let i = 0; i < count; i++) out[i] = (out[i] ?? 0) + std * (z[i] ?? 0);
    } else {
      const u = floatPool.take(count);
      fillUniform(u, this.mask, begin, count);
      for (let i = 0; i < count; i++) if ((u[i] ?? 0) < ratio) out[i] = (out[i] ?? 0) + std * (z[i] ?? 0);
      floatPool.give(u);
    }
    floatPool.give(z);
  }
}

/** Mean and population standard deviation of the values that a redraw replaces. */
export interface RedrawStatistics {
  readonly mean: number;
  readonly std: number;
}

/** Sets `out[i]` to 1 where element begin + i has a chosen index along `dim`, else to 0. */
function markChosen(
  shape: readonly number[],
  dim: number,
  chosen: Uint8Array,
  begin: number,
  end: number,
  out: Uint8Array,
): void {
  const inner = countOf(shape.slice(dim + 1));
  const size = shape[dim] ?? 0;
  let slot = Math.floor(begin / inner);
  let index = slot % size;
  for (let at = begin; at < end;) {
    slot += 1;
    const stop = Math.min(end, slot * inner);
    const flag = chosen[index] ?? 0;
    if (inner === 1) out[at - begin] = flag;
    else out.fill(flag, at - begin, stop - begin);
    at = stop;
    index = index + 1 === size ? 0 : index + 1;
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

  protected override compute(begin: number, end: number, out: Float64Array, scattered: boolean): void {
    const count = end - begin;
    const { mean, std } = this.statistics();
    this.of.numbers(begin, end, out, scattered);
    const wanted = flags.subarray(0, count);
    markChosen(this.shape, this.dim, this.chosen, begin, end, wanted);
    const z = floatPool.take(count);
    fillNormal(z, this.stream, begin, count, wanted);
    for (let i = 0; i < count; i++) if (wanted[i] !== 0) out[i] = mean + std * (z[i] ?? 0);
    floatPool.give(z);
  }
}

/** Two passes over the chosen elements, in row-major order, plain float64 sums: the same numbers on every machine. */
export function redrawStatistics(of: Value, dim: number, chosen: Uint8Array): RedrawStatistics {
  const values = floatPool.take(BLOCK_ELEMENTS);
  let count = 0;
  let sum = 0;
  let mean = 0;
  let squares = 0;
  for (const pass of [1, 2]) {
    for (let at = 0; at < of.elements; at += BLOCK_ELEMENTS) {
      const end = Math.min(of.elements, at + BLOCK_ELEMENTS);
      of.numbers(at, end, values);
      // After the operand's own values, which may use the flags themselves.
      markChosen(of.shape, dim, chosen, at, end, flags);
      for (let i = 0; i < end - at; i++) {
        if (flags[i] === 0) continue;
        const x = values[i] ?? 0;
        if (pass === 1) {
          count += 1;
          sum += x;
        } else {
          squares += (x - mean) * (x - mean);
        }
      }
    }
    mean = count === 0 ? 0 : sum / count;
  }
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

  protected override compute(begin: number, end: number, out: Float64Array): void {
    const count = end - begin;
    if (this.kind === 'normal') fillNormal(out, this.stream, begin, count);
    else fillUniform(out, this.stream, begin, count);
    const { base, factor } = this;
    for (let i = 0; i < count; i++) out[i] = base + factor * (out[i] ?? 0);
  }
}

/** Router rows that were made from prompts. */
export class GateValue extends ComputedValue {
  #memo: Float32Array | null = null;

  constructor(
    float: FloatDtype,
    shape: readonly number[],
    private readonly rows: () => Float32Array,
  ) {
    super(float, shape);
  }

  protected override compute(begin: number, end: number, out: Float64Array): void {
    const rows = (this.#memo ??= this.rows());
    for (let i = begin; i < end; i++) out[i - begin] = rows[i] ?? 0;
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
