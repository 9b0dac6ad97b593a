/** Which token sees which, as the additive masks that the graph takes; plain causal rows, sliding windows, packed trees. */
import { MoeError } from '../common/errors.ts';

/** Added to a score that must not count. Finite, so that a fully masked row stays a number. */
export const HIDDEN = -3.4028234663852886e38;

/** Additive causal mask [T, T]; with a window each token sees itself and window-1 tokens before it. */
export function causalMask(length: number, window: number | null): Float32Array {
  const mask = new Float32Array(length * length).fill(HIDDEN);
  for (let query = 0; query < length; query++) {
    const first = window === null ? 0 : Math.max(0, query - window + 1);
    mask.fill(0, query * length + first, query * length + query + 1);
  }
  return mask;
}

/** Additive mask [T, P] over a cache that holds positions 0 … filled-1 of `capacity` places, for queries from `start` on. */
export function pastMask(
  length: number,
  start: number,
  filled: number,
  capacity: number,
  window: number | null,
): Float32Array {
  const mask = new Float32Array(length * capacity).fill(HIDDEN);
  for (let query = 0; query < length; query++) {
    const first = window === null ? 0 : Math.max(0, start + query - window + 1);
    if (first < filled) mask.fill(0, query * capacity + first, query * capacity + filled);
  }
  return mask;
}

/** A piece of a packed row: its tokens follow those of its ancestors, and see them and what precedes in the piece itself. */
export interface Segment {
  readonly ids: readonly number[];
  /** Index of the segment that this one continues; -1 starts a text of its own. */
  readonly parent: number;
}

export interface PackedRow {
  readonly ids: readonly number[];
  /** Position of each token in its own text. */
  readonly positions: readonly number[];
  /** Segment of each token. */
  readonly segmentOf: readonly number[];
  /** First token of each segment. */
  readonly starts: readonly number[];
  readonly parents: readonly number[];
}

/** Packs segments (parents before children) into one row: a shared prefix is computed once for all that continue it. */
export function packSegments(segments: readonly Segment[]): PackedRow {
  const ids: number[] = [];
  const positions: number[] = [];
  const segmentOf: number[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  segments.forEach((segment, index) => {
    if (!(segment.parent >= -1 && segment.parent < index)) {
      throw new MoeError(
        'internal',
        'bad-segment-parent',
        `Segment ${index} continues segment ${segment.parent}, which does not come before it.`,
      );
    }
    const from = segment.parent === -1 ? 0 : (ends[segment.parent] ?? 0);
    starts.push(ids.length);
    segment.ids.forEach((id, i) => {
      ids.push(id);
      positions.push(from + i);
      segmentOf.push(index);
    });
    ends.push(from + segment.ids.length);
  });
  return { ids, positions, segmentOf, starts, parents: segments.map((segment) => segment.parent) };
}

/** Additive mask [T, T] of a packed row. */
export function packedMask(row: PackedRow, window: number | null): Float32Array {
  const length = row.ids.length;
  const mask = new Float32Array(length * length).fill(HIDDEN);
  const lines = row.parents.map((_, index) => ancestry(row, index));
  for (let query = 0; query < length; query++) {
    const visible = lines[row.segmentOf[query] ?? 0] ?? new Set<number>();
    const here = row.positions[query] ?? 0;
    for (let key = 0; key <= query; key++) {
      const near = window === null || here - (row.positions[key] ?? 0) < window;
      if (near && visible.has(row.segmentOf[key] ?? -1)) mask[query * length + key] = 0;
    }
  }
  return mask;
}

function ancestry(row: PackedRow, index: number): ReadonlySet<number> {
  const line = new Set<number>();
  for (let at = index; at !== -1; at = row.parents[at] ?? -1) line.add(at);
  return line;
}
