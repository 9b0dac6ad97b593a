/** Which bytes of which source tensor an output tensor is made of: for people, for reading ahead, for cutting per rank. */
import { DTYPE_BITS, isDtype } from 'safetensors-js';
import type { SourceTensor } from '../checkpoint/types.ts';
import type { Expr } from './expr.ts';
import type { SourceLookup } from './infer.ts';
import { inferShape } from './infer.ts';

export interface SourceSlice {
  /** Index of the parent in Plan.sources (0: base). */
  readonly from: number;
  readonly file: string;
  readonly tensor: string;
  readonly dtype: string;
  /** [begin, end) per dimension. */
  readonly slice: readonly (readonly [number, number])[];
  /**
   * [begin, end) in the file, absolute: the smallest range that holds the slice (columns of a matrix are strided). Null
   * where only config and index are at hand and offsets are unknown.
   */
  readonly bytes: readonly [number, number] | null;
}

type Box = readonly (readonly [number, number])[];

function wholeBox(shape: readonly number[]): Box {
  return shape.map((size) => [0, size] as const);
}

function isWhole(box: Box, shape: readonly number[]): boolean {
  return box.every(([begin, end], dim) => begin === 0 && end === shape[dim]);
}

function byteRange(tensor: Omit<SourceTensor, 'name'>, box: Box): readonly [number, number] | null {
  if (tensor.begin < 0) return null;
  const { shape } = tensor;
  const rows = shape[0];
  if (rows === undefined || isWhole(box, shape)) return [tensor.begin, tensor.begin + tensor.bytes];
  if (box.some(([begin, end]) => begin >= end)) return [tensor.begin, tensor.begin];
  const innerWhole = isWhole(box.slice(1), shape.slice(1));
  const [firstRow, endRow] = box[0] ?? [0, rows];
  if (innerWhole || !isDtype(tensor.dtype)) {
    const rowBytes = tensor.bytes / rows;
    return [tensor.begin + firstRow * rowBytes, tensor.begin + endRow * rowBytes];
  }
  let first = 0;
  let last = 0;
  shape.forEach((size, dim) => {
    const [begin, end] = box[dim] ?? [0, size];
    first = first * size + begin;
    last = last * size + (end - 1);
  });
  const width = DTYPE_BITS[tensor.dtype] / 8;
  return [tensor.begin + Math.floor(first * width), tensor.begin + Math.ceil((last + 1) * width)];
}

/** The source slices that an expression reads, in order of appearance. Random tensors and fills read none. */
export function traceSources(
  expr: Expr,
  sourceOf: (from: number, tensor: string) => Omit<SourceTensor, 'name'>,
): SourceSlice[] {
  const lookup: SourceLookup = sourceOf;
  const found: SourceSlice[] = [];
  const visit = (node: Expr, box: Box): void => {
    switch (node.op) {
      case 'random':
      case 'orthogonal':
      case 'prompt-gate':
      case 'fill':
        return;
      case 'source': {
        const tensor = sourceOf(node.from, node.tensor);
        found.push({
          from: node.from,
          file: tensor.file,
          tensor: node.tensor,
          dtype: tensor.dtype,
          slice: box,
          bytes: byteRange(tensor, box),
        });
        return;
      }
      case 'slice': {
        const [begin, end] = box[node.dim] ?? [0, 0];
        visit(node.of, box.with(node.dim, [begin + node.begin, end + node.begin]));
        return;
      }
      case 'concat': {
        const [begin, end] = box[node.dim] ?? [0, 0];
        let offset = 0;
        for (const part of node.of) {
          const size = inferShape(part, lookup)[node.dim] ?? 0;
          const from = Math.max(begin - offset, 0);
          const to = Math.min(end - offset, size);
          if (from < to) visit(part, box.with(node.dim, [from, to]));
          offset += size;
        }
        return;
      }
      case 'reshape':
        visit(node.of, wholeBox(inferShape(node.of, lookup)));
        return;
      case 'take':
        visit(node.of, box.with(node.dim, [0, inferShape(node.of, lookup)[node.dim] ?? 0]));
        return;
      case 'average':
        for (const part of node.of) visit(part, box);
        return;
      default:
        visit(node.of, box);
    }
  };
  // The common case, a plain copy, needs no inference.
  if (expr.op === 'source') visit(expr, wholeBox(sourceOf(expr.from, expr.tensor).shape));
  else visit(expr, wholeBox(inferShape(expr, lookup)));
  return found;
}
