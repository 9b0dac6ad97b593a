/** Values that only move bytes: source, slice, concat, reshape, take. No conversion ever happens here. */
import type { Dtype } from 'safetensors-js';
import type { SourceTensor } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import type { SourceSet } from './sources.ts';
import type { SourceLayout } from './value.ts';
import { Value, bytePool, countOf } from './value.ts';

/** Pieces at least this long are read one by one; shorter ones are cut out of a read of everything between them. */
const DIRECT_BYTES = 32 << 10;
/** Upper bound of a temporary that holds whole rows of an operand. */
const GROUP_BYTES = 2 << 20;

function impossible(what: string): never {
  throw new MoeError('input', 'plan-expression', `The plan has an impossible expression: ${what}.`);
}

/** Sizes before, at and after dimension `dim`. */
function split(shape: readonly number[], dim: number): { outer: number; size: number; inner: number } {
  const size = shape[dim];
  if (size === undefined) impossible(`dimension ${String(dim)} of a tensor of shape [${shape.join(', ')}]`);
  return { outer: countOf(shape.slice(0, dim)), size, inner: countOf(shape.slice(dim + 1)) };
}

/** A whole tensor as it lies in a source file. */
export class SourceValue extends Value {
  constructor(
    private readonly sources: SourceSet,
    readonly from: number,
    readonly tensor: SourceTensor,
    dtype: Dtype,
  ) {
    super(dtype, tensor.shape);
    if (this.byteCount(0, this.elements) !== tensor.bytes) {
      impossible(
        `${tensor.name} has ${String(tensor.bytes)} bytes, not those of ${dtype} [${tensor.shape.join(', ')}]`,
      );
    }
  }

  override read(begin: number, end: number, out: Buffer, scattered = false): void {
    this.byteCount(begin, end);
    if (scattered) this.sources.readDirect(this.from, this.tensor, begin * this.width, out);
    else this.sources.readCached(this.from, this.tensor, begin * this.width, out);
  }

  override layout(): SourceLayout {
    const { bytes, name } = this.tensor;
    return { from: this.from, tensor: name, begin: 0, rows: 1, rowBytes: bytes, columnBytes: bytes };
  }
}

class SliceValue extends Value {
  private readonly outer: number;
  private readonly size: number;
  private readonly inner: number;

  constructor(
    readonly of: Value,
    readonly dim: number,
    readonly from: number,
    readonly to: number,
  ) {
    super(of.dtype, of.shape.with(dim, to - from));
    ({ outer: this.outer, size: this.size, inner: this.inner } = split(of.shape, dim));
  }

  override read(begin: number, end: number, out: Buffer, scattered = false): void {
    const run = (this.to - this.from) * this.inner;
    const row = this.size * this.inner;
    const shift = this.from * this.inner;
    if (this.outer === 1) {
      this.of.read(begin + shift, end + shift, out, scattered);
      return;
    }
    const direct = run * this.width >= DIRECT_BYTES || row * this.width > GROUP_BYTES;
    const group = direct ? 1 : Math.max(1, Math.floor(GROUP_BYTES / (row * this.width)));
    for (let at = begin, done = 0; at < end;) {
      const outer = Math.floor(at / run);
      const inRun = at - outer * run;
      if (direct || inRun !== 0 || end - at < run) {
        // One piece, possibly cut by the range that was asked for.
        const length = Math.min(run - inRun, end - at);
        const base = outer * row + shift + inRun;
        const next = done + this.byteCount(at, at + length);
        this.of.read(base, base + length, out.subarray(done, next), scattered);
        done = next;
        at += length;
        continue;
      }
      const rows = Math.min(group, Math.floor((end - at) / run));
      const first = outer * row + shift;
      const last = first + (rows - 1) * row + run;
      const cover = bytePool.take(this.byteCount(first, last));
      this.of.read(first, last, cover, scattered);
      const runBytes = run * this.width;
      for (let r = 0; r < rows; r++) {
        const begins = r * row * this.width;
        cover.copy(out, done, begins, begins + runBytes);
        done += runBytes;
      }
      bytePool.give(cover);
      at += rows * run;
    }
  }

  override layout(): SourceLayout | null {
    const layout = this.of.layout();
    if (layout === null) return null;
    const run = this.byteCount(0, (this.to - this.from) * this.inner);
    const row = this.byteCount(0, this.size * this.inner);
    const shift = this.byteCount(0, this.from * this.inner);
    const contiguous = layout.rows === 1 || layout.columnBytes === layout.rowBytes;
    if (contiguous) {
      return { ...layout, begin: layout.begin + shift, rows: this.outer, rowBytes: row, columnBytes: run };
    }
    // A slice of columns again, when the rows of both agree.
    if (this.outer !== layout.rows || row !== layout.columnBytes) return null;
    return { ...layout, begin: layout.begin + shift, columnBytes: run };
  }
}

class ReshapeValue extends Value {
  constructor(
    readonly of: Value,
    shape: readonly number[],
  ) {
    super(of.dtype, shape);
  }

  override read(begin: number, end: number, out: Buffer, scattered = false): void {
    this.of.read(begin, end, out, scattered);
  }

  override numbers(begin: number, end: number, out: Float64Array, scattered = false): void {
    this.of.numbers(begin, end, out, scattered);
  }

  override layout(): SourceLayout | null {
    return this.of.layout();
  }
}

export class ConcatValue extends Value {
  private readonly outer: number;
  private readonly inner: number;
  /** Where each part begins along the dimension. */
  private readonly offsets: readonly number[];

  constructor(
    readonly dim: number,
    readonly parts: readonly Value[],
    dtype: Dtype,
    shape: readonly number[],
  ) {
    super(dtype, shape);
    ({ outer: this.outer, inner: this.inner } = split(shape, dim));
    let offset = 0;
    this.offsets = parts.map((part) => {
      const begin = offset;
      offset += part.shape[dim] ?? 0;
      return begin;
    });
  }

  override read(begin: number, end: number, out: Buffer, scattered = false): void {
    const size = this.shape[this.dim] ?? 0;
    const row = size * this.inner;
    if (row === 0) return;
    const group = Math.max(1, Math.floor(GROUP_BYTES / (row * this.width)));
    for (let at = begin; at < end;) {
      const outer = Math.floor(at / row);
      const inRow = at - outer * row;
      const whole = inRow === 0 && this.outer > 1 ? Math.min(group, Math.floor((end - at) / row)) : 0;
      if (whole > 1) {
        this.readRows(outer, whole, row, out, (at - begin) * this.width, scattered);
        at += whole * row;
        continue;
      }
      const stop = Math.min(row, inRow + end - at);
      this.readWithinRow(outer, inRow, stop, out.subarray(this.byteCount(begin, at)), scattered);
      at += stop - inRow;
    }
  }

  private readWithinRow(outer: number, from: number, to: number, out: Buffer, scattered: boolean): void {
    this.parts.forEach((part, k) => {
      const first = (this.offsets[k] ?? 0) * this.inner;
      const length = (part.shape[this.dim] ?? 0) * this.inner;
      const begin = Math.max(from, first);
      const end = Math.min(to, first + length);
      if (begin >= end) return;
      const base = outer * length - first;
      const target = out.subarray(this.byteCount(from, begin), this.byteCount(from, end));
      part.read(base + begin, base + end, target, scattered);
    });
  }

  private readRows(outer: number, rows: number, row: number, out: Buffer, offset: number, scattered: boolean): void {
    const { width } = this;
    this.parts.forEach((part, k) => {
      const length = (part.shape[this.dim] ?? 0) * this.inner;
      if (length === 0) return;
      const first = (this.offsets[k] ?? 0) * this.inner;
      const piece = bytePool.take(rows * length * width);
      part.read(outer * length, (outer + rows) * length, piece, scattered);
      for (let r = 0; r < rows; r++) {
        piece.copy(out, offset + (r * row + first) * width, r * length * width, (r + 1) * length * width);
      }
      bytePool.give(piece);
    });
  }
}

class TakeValue extends Value {
  private readonly size: number;
  private readonly inner: number;

  constructor(
    readonly of: Value,
    readonly dim: number,
    private readonly indices: Int32Array,
  ) {
    super(of.dtype, of.shape.with(dim, indices.length));
    ({ size: this.size, inner: this.inner } = split(of.shape, dim));
    for (const index of indices) {
      if (index < 0 || index >= this.size) impossible(`index ${String(index)} of a dimension of ${String(this.size)}`);
    }
  }

  override read(begin: number, end: number, out: Buffer): void {
    const row = this.indices.length * this.inner;
    if (row === 0) return;
    const ofRow = this.size * this.inner;
    const fits = ofRow * this.width <= GROUP_BYTES;
    for (let at = begin; at < end;) {
      const outer = Math.floor(at / row);
      const inRow = at - outer * row;
      if (fits && this.inner * this.width < DIRECT_BYTES) {
        // Whole rows of the operand at once, then pick from memory.
        const rows = Math.max(
          1,
          Math.min(Math.floor(GROUP_BYTES / (ofRow * this.width)), Math.floor((end - at) / row)),
        );
        const cover = bytePool.take(this.byteCount(0, rows * ofRow));
        this.of.read(outer * ofRow, (outer + rows) * ofRow, cover);
        for (let r = 0; r < rows; r++) {
          const from = r === 0 ? inRow : 0;
          const to = Math.min(row, from + end - at);
          const target = out.subarray(this.byteCount(begin, at), this.byteCount(begin, at + to - from));
          this.pick(cover, r * ofRow, from, to, target);
          at += to - from;
        }
        bytePool.give(cover);
        continue;
      }
      const to = Math.min(row, inRow + end - at);
      const target = out.subarray(this.byteCount(begin, at), this.byteCount(begin, at + to - inRow));
      this.gather(outer * ofRow, inRow, to, target);
      at += to - inRow;
    }
  }

  /** Picks elements [from, to) of one output row out of `cover`, whose element `base` is the operand row's first. */
  private pick(cover: Buffer, base: number, from: number, to: number, out: Buffer): void {
    const { inner, width, indices } = this;
    if (inner === 1 && width === 2 && out.byteOffset % 2 === 0) {
      const words = new Uint16Array(cover.buffer, cover.byteOffset, cover.length / 2);
      const target = new Uint16Array(out.buffer, out.byteOffset, to - from);
      for (let i = from; i < to; i++) target[i - from] = words[base + (indices[i] ?? 0)] ?? 0;
      return;
    }
    this.pieces(from, to, (index, begin, end, done) => {
      const first = base + index * inner;
      cover.copy(out, done * width, (first + begin) * width, (first + end) * width);
    });
  }

  /** Reads elements [from, to) of one output row piece by piece, in the order in which they lie in the source. */
  private gather(base: number, from: number, to: number, out: Buffer): void {
    const { inner, width } = this;
    const wanted: { first: number; length: number; done: number }[] = [];
    this.pieces(from, to, (index, begin, end, done) => {
      wanted.push({ first: base + index * inner + begin, length: end - begin, done });
    });
    wanted.sort((a, b) => a.first - b.first);
    for (const { first, length, done } of wanted) {
      this.of.read(first, first + length, out.subarray(done * width, (done + length) * width), true);
    }
  }

  private pieces(
    from: number,
    to: number,
    visit: (index: number, begin: number, end: number, done: number) => void,
  ): void {
    const { inner, indices } = this;
    for (let at = from; at < to;) {
      const slot = Math.floor(at / inner);
      const begin = at - slot * inner;
      const end = Math.min(inner, begin + to - at);
      visit(indices[slot] ?? 0, begin, end, at - from);
      at += end - begin;
    }
  }
}

/** Elements [from, to) of `of` along `dim`. A slice of everything is the operand itself; slices of slices fold. */
export function sliceOf(of: Value, dim: number, from: number, to: number): Value {
  const { size } = split(of.shape, dim);
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to > size || from > to) {
    impossible(`slice ${String(from)}:${String(to)} of a dimension of ${String(size)}`);
  }
  if (from === 0 && to === size) return of;
  if (of instanceof SliceValue && of.dim === dim) return new SliceValue(of.of, dim, of.from + from, of.from + to);
  return new SliceValue(of, dim, from, to);
}

/** The same elements in another shape. */
export function reshapeOf(of: Value, shape: readonly number[]): Value {
  if (countOf(shape) !== of.elements) {
    impossible(`reshape of [${of.shape.join(', ')}] to [${shape.join(', ')}], another number of elements`);
  }
  if (shape.length === of.shape.length && shape.every((size, dim) => size === of.shape[dim])) return of;
  return new ReshapeValue(of instanceof ReshapeValue ? of.of : of, shape);
}

/** Parts one after the other along `dim`. Nested concats along the same dimension become one. */
export function concatOf(dim: number, parts: readonly Value[]): Value {
  const flat = parts.flatMap((part) => (part instanceof ConcatValue && part.dim === dim ? part.parts : [part]));
  const first = flat[0] ?? impossible('concat of nothing');
  let total = 0;
  for (const part of flat) {
    if (part.dtype !== first.dtype) impossible(`concat of ${first.dtype} and ${part.dtype}`);
    const agrees =
      part.shape.length === first.shape.length && part.shape.every((n, d) => d === dim || n === first.shape[d]);
    if (!agrees) impossible(`concat of shapes [${first.shape.join(', ')}] and [${part.shape.join(', ')}]`);
    total += split(part.shape, dim).size;
  }
  return flat.length === 1 ? first : new ConcatValue(dim, flat, first.dtype, first.shape.with(dim, total));
}

/** Element j along `dim` is element indices[j] of `of`. */
export function takeOf(of: Value, dim: number, indices: Int32Array): Value {
  return new TakeValue(of, dim, indices);
}
