/**
 * A tensor that can be read in any range without being held: what expressions compile to. `read` gives storage bytes,
 * `numbers` the same elements as float64.
 */
import type { Dtype } from 'safetensors-js';
import { DTYPE_BITS } from 'safetensors-js';
import { MoeError } from '../common/errors.ts';
import { decodeFloats, encodeFloats, requireFloat, roundFloats } from './codec.ts';
import type { FloatDtype } from './codec.ts';

/** Elements handled at once by arithmetic: 512 KiB of float64. */
export const BLOCK_ELEMENTS = 1 << 16;

/**
 * Where a value's bytes lie in one source tensor, when they lie there unchanged: `rows` pieces of `columnBytes`, one every
 * `rowBytes`, from `begin` (all relative to the tensor). One row, or full-width rows, is a contiguous range.
 */
export interface SourceLayout {
  readonly from: number;
  readonly tensor: string;
  readonly begin: number;
  readonly rows: number;
  readonly rowBytes: number;
  readonly columnBytes: number;
}

export function isContiguous(layout: SourceLayout): boolean {
  return layout.rows === 1 || layout.columnBytes === layout.rowBytes;
}

/** Number of elements of a shape. */
export function countOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

export abstract class Value {
  readonly elements: number;

  constructor(
    readonly dtype: Dtype,
    readonly shape: readonly number[],
  ) {
    this.elements = countOf(shape);
  }

  /**
   * Fills `out` with elements [begin, end) in storage form; `out.length` is exactly their size. `scattered` says that
   * neighbouring ranges will not be asked for soon: the source is then read past its block cache.
   */
  abstract read(begin: number, end: number, out: Buffer, scattered?: boolean): void;

  /** Elements [begin, end), at most BLOCK_ELEMENTS of them, as float64 into `out` from its start. */
  numbers(begin: number, end: number, out: Float64Array, scattered = false): void {
    const dtype = requireFloat(this.dtype, 'arithmetic');
    const bytes = bytePool.take((end - begin) * this.width);
    this.read(begin, end, bytes, scattered);
    decodeFloats(dtype, bytes, end - begin, out);
    bytePool.give(bytes);
  }

  /** Where the bytes lie in a source tensor, if this is a pure move out of one. */
  layout(): SourceLayout | null {
    return null;
  }

  /** Bytes per element; a fraction for packed dtypes. */
  get width(): number {
    return DTYPE_BITS[this.dtype] / 8;
  }

  /** Size of elements [begin, end). Throws for a range of a packed dtype that cuts a byte. */
  byteCount(begin: number, end: number): number {
    const bytes = (end - begin) * this.width;
    if (!Number.isInteger(bytes) || !Number.isInteger(begin * this.width)) {
      throw new MoeError(
        'input',
        'unsupported-dtype',
        `A part of a ${this.dtype} tensor does not begin at a whole byte.`,
      );
    }
    return bytes;
  }
}

/** A value computed in float64 and rounded once: subclasses give the unrounded numbers. */
export abstract class ComputedValue extends Value {
  constructor(
    readonly float: FloatDtype,
    shape: readonly number[],
  ) {
    super(float, shape);
  }

  /** Computes elements [begin, end) (at most BLOCK_ELEMENTS) without rounding them to `float`. */
  protected abstract compute(begin: number, end: number, out: Float64Array, scattered: boolean): void;

  override numbers(begin: number, end: number, out: Float64Array, scattered = false): void {
    this.compute(begin, end, out, scattered);
    roundFloats(this.float, out, end - begin);
  }

  override read(begin: number, end: number, out: Buffer, scattered = false): void {
    const values = floatPool.take(Math.min(BLOCK_ELEMENTS, end - begin));
    for (let at = begin; at < end; at += BLOCK_ELEMENTS) {
      const stop = Math.min(end, at + BLOCK_ELEMENTS);
      this.compute(at, stop, values, scattered);
      encodeFloats(this.float, values, stop - at, out.subarray((at - begin) * this.width, (stop - begin) * this.width));
    }
    floatPool.give(values);
  }
}

/** Reuses big temporaries: allocating half a megabyte per block would keep the collector busy and the resident size up. */
class Pool<T extends { readonly length: number }> {
  private readonly free: T[] = [];

  constructor(
    private readonly make: (length: number) => T,
    private readonly cut: (item: T, length: number) => T,
    private readonly whole: (item: T) => T,
  ) {}

  take(length: number): T {
    const at = this.free.findIndex((item) => item.length >= length);
    const found = at < 0 ? undefined : this.free.splice(at, 1)[0];
    return this.cut(found ?? this.make(length), length);
  }

  give(item: T): void {
    if (this.free.length < 16) this.free.push(this.whole(item));
  }
}

export const floatPool = new Pool<Float64Array>(
  (length) => new Float64Array(Math.max(length, 1024)),
  (item, length) => item.subarray(0, length),
  (item) => new Float64Array(item.buffer),
);

export const bytePool = new Pool<Buffer>(
  (length) => Buffer.from(new ArrayBuffer(Math.max(length, 4096))),
  (item, length) => item.subarray(0, length),
  (item) => Buffer.from(item.buffer),
);
