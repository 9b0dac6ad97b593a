/**
 * Folders of PyTorch DCP shards in safetensors form: a file's `__metadata__` says at which offsets of the whole tensor its
 * boxes lie (reference: sharding.md §5.1). The format does not store the whole shape, so a lost last shard can only be
 * seen against the config (field case G7-05).
 */
import { grouped } from '../common/errors.ts';
import type { JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import type { Problem, SourceTensor, TensorPiece } from './types.ts';
import type { WeightFile } from './weight-file.ts';
import { counted } from '../common/words.ts';

const KEY = 'DCP_SHARDING_INFO';

/** Does any file say that it is a DCP shard? */
export function isDcp(files: readonly WeightFile[]): boolean {
  return files.some((file) => file.metadata.has(KEY));
}

export interface DcpContents {
  /** Tensors that lie whole in one piece. */
  readonly tensors: Map<string, SourceTensor>;
  /** The others. */
  readonly pieces: Map<string, readonly TensorPiece[]>;
  readonly problems: readonly Problem[];
}

/** A range of indices of a tensor, one `[begin, end)` per dimension. */
export type Box = readonly (readonly [number, number])[];

/** `shapeOf`: the shape that the config wants, or null where it does not say. */
export function assembleDcp(
  files: readonly WeightFile[],
  shapeOf: (name: string) => readonly number[] | null,
): DcpContents {
  const pieces = new Map<string, TensorPiece[]>();
  const whole = new Map<string, SourceTensor>();
  const problems: Problem[] = [];
  for (const file of files) {
    const offsets = readOffsets(file, problems);
    for (const tensor of file.tensors) {
      const at = offsets.get(tensor.name) ?? tensor.shape.map(() => 0);
      const { dtype, shape, begin, bytes } = tensor;
      const list = pieces.get(tensor.name) ?? [];
      if (list.length === 0) pieces.set(tensor.name, list);
      list.push({ file: tensor.file, dtype, offsets: at, shape, begin, bytes });
      if (list.length === 1) whole.set(tensor.name, tensor);
    }
  }
  for (const [name, list] of pieces) {
    const { wanted, covered } = coverage(name, list, shapeOf(name), problems);
    if (covered && list.length === 1 && wanted.every((dim, d) => dim === list[0]?.shape[d])) pieces.delete(name);
    else whole.delete(name);
  }
  if (pieces.size > 0) {
    problems.unshift({
      severity: 'info',
      code: 'dcp-shards',
      message: `The folder holds DCP shards: ${counted(pieces.size, 'tensor lies', 'tensors lie')} in pieces over ${counted(files.length, 'file', 'files')}`,
      hint: 'Consolidate them into whole tensors before using them as a source.',
    });
  }
  return { tensors: whole, pieces, problems };
}

/** Offsets per tensor of one file; what is not of the form is reported and read as offset 0, as torch's reader does. */
function readOffsets(file: WeightFile, problems: Problem[]): Map<string, readonly number[]> {
  const offsets = new Map<string, readonly number[]>();
  const text = file.metadata.get(KEY);
  if (text === undefined) return offsets;
  let info: JsonValue = null;
  try {
    info = JSON.parse(text) as JsonValue;
  } catch {
    // Reported below: it is no object either.
  }
  const entries = isJsonObject(info) ? Object.entries(info) : [];
  const byName = new Map(entries);
  for (const tensor of file.tensors) {
    const entry = byName.get(tensor.name);
    const saved = isJsonObject(entry) ? entry['saved_offsets'] : undefined;
    const list = Array.isArray(saved) ? (saved as readonly JsonValue[]) : [];
    const numbers = list.filter((n): n is number => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0);
    if (numbers.length === tensor.shape.length && numbers.length === list.length) offsets.set(tensor.name, numbers);
    else {
      problems.push({
        severity: 'error',
        code: 'dcp-offsets',
        file: file.file.name,
        tensor: tensor.name,
        message: `${file.file.name}: ${KEY} gives no usable saved_offsets for ${tensor.name}; offset 0 is assumed`,
        hint: 'Save the shard again.',
      });
    }
  }
  return offsets;
}

function coverage(
  name: string,
  list: readonly TensorPiece[],
  fromConfig: readonly number[] | null,
  problems: Problem[],
): { readonly wanted: readonly number[]; readonly covered: boolean } {
  const rank = list[0]?.shape.length ?? 0;
  const reach = Array.from({ length: rank }, (_, d) =>
    list.reduce((most, piece) => Math.max(most, (piece.offsets[d] ?? 0) + (piece.shape[d] ?? 0)), 0),
  );
  const wanted = fromConfig?.length === rank ? fromConfig : reach;
  const by = wanted === fromConfig ? `config wants [${wanted.join(',')}]` : `the pieces reach [${wanted.join(',')}]`;
  const boxes = list.map((piece) =>
    piece.shape.map((size, d) => [piece.offsets[d] ?? 0, (piece.offsets[d] ?? 0) + size] as const),
  );
  const gaps = uncovered(wanted, boxes);
  if (gaps === null) {
    problems.push({
      severity: 'warning',
      code: 'dcp-not-checked',
      tensor: name,
      message: `${name} lies in ${grouped(list.length)} pieces that overlap too much to check whether they cover it`,
    });
    return { wanted, covered: false };
  }
  for (const gap of gaps.slice(0, 20)) {
    problems.push({
      severity: 'error',
      code: 'dcp-rows-missing',
      tensor: name,
      message: `${boxText(gap, wanted)} of ${name} are in no shard (${by})`,
      hint: 'A shard is missing: fetch it, or save the checkpoint again.',
      details: { ranges: gap, shape: wanted },
    });
  }
  return { wanted, covered: gaps.length === 0 };
}

function boxText(box: Box, shape: readonly number[]): string {
  const partial = box
    .map(([begin, end], d) => ({ begin, end, d }))
    .filter(({ begin, end, d }) => begin > 0 || end < (shape[d] ?? 0));
  const words = ['rows', 'columns'];
  const text = (partial.length === 0 ? box.map(([begin, end], d) => ({ begin, end, d })).slice(0, 1) : partial)
    .map(({ begin, end, d }) => `${words[d] ?? `dimension ${String(d)} indices`} ${String(begin)}..${String(end - 1)}`)
    .join(', ');
  return text === '' ? 'elements' : text;
}

/** Boxes looked at before the check gives up: sane layouts need a few per piece, hostile ones could ask for the cube. */
const BUDGET = 2_000_000;

/**
 * Boxes of a tensor of `shape` that none of `boxes` covers, adjoining equal ones merged along each dimension; null where
 * finding them out would take too long.
 */
export function uncovered(shape: readonly number[], boxes: readonly Box[]): Box[] | null {
  return sweep(shape, boxes, 0, { left: BUDGET });
}

/** Dimensions from `d` on; `boxes` all cover the point that the dimensions before were fixed to. */
function sweep(shape: readonly number[], boxes: readonly Box[], d: number, budget: { left: number }): Box[] | null {
  const size = shape[d];
  if (size === undefined) return boxes.length > 0 ? [] : [[]];
  const first = (box: Box | undefined): number => box?.[d]?.[0] ?? 0;
  const last = (box: Box | undefined): number => box?.[d]?.[1] ?? 0;
  const cuts = new Set([0, size]);
  for (const box of boxes) {
    if (first(box) < size) cuts.add(first(box));
    if (last(box) < size) cuts.add(last(box));
  }
  const sorted = [...cuts].sort((a, b) => a - b);
  const gaps: Box[] = [];
  // Only boxes that reach into the current slab are looked at.
  const pending = [...boxes].sort((a, b) => first(a) - first(b));
  let next = 0;
  let active: Box[] = [];
  for (let i = 0; i + 1 < sorted.length; i++) {
    const begin = sorted[i] ?? 0;
    const end = sorted[i + 1] ?? 0;
    active = active.filter((box) => last(box) > begin);
    for (; next < pending.length && first(pending[next]) <= begin; next++) {
      const box = pending[next];
      if (box !== undefined && last(box) > begin) active.push(box);
    }
    budget.left -= active.length + 1;
    if (budget.left < 0) return null;
    const inner = sweep(shape, active, d + 1, budget);
    if (inner === null) return null;
    for (const gap of inner) {
      const before = gaps.at(-1);
      if (before?.[0]?.[1] === begin && sameBox(before.slice(1), gap))
        gaps[gaps.length - 1] = [[before[0][0], end], ...gap];
      else gaps.push([[begin, end], ...gap]);
    }
  }
  return gaps;
}

function sameBox(a: Box, b: Box): boolean {
  return a.length === b.length && a.every(([begin, end], d) => begin === b[d]?.[0] && end === b[d][1]);
}
