/** The projections of every expert of a layer as rows of numbers, whatever the layout on disk. */
import type { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint, SourceTensor } from '../checkpoint/types.ts';
import { isDecodable, storedMatrix } from '../diff/matrix.ts';
import type { Matrix } from '../diff/matrix.ts';
import { summariseExperts } from '../inspect/experts.ts';
import type { ExpertLayout } from '../inspect/experts.ts';
import { gatherFacts } from '../inspect/facts.ts';
import { parseTensorName, readMoeConfig } from '../inspect/index.ts';

export type Part = 'gate' | 'up' | 'down';
export const PARTS: readonly Part[] = ['gate', 'up', 'down'];

/** Columns of a stored matrix that belong to the part: all, a half, or every other one (gpt_oss). */
type Columns = 'all' | 'first' | 'second' | 'even' | 'odd';

export interface PartRows {
  readonly rows: number;
  readonly cols: number;
  /** Values of rows `begin` to `end`. In the stored orientation, which all experts of a layer share. */
  read(begin: number, end: number): Promise<Float64Array>;
}

export interface LayerParts {
  readonly layer: number;
  /** By expert number. */
  readonly routed: ReadonlyMap<number, ReadonlyMap<Part, PartRows>>;
  readonly shared: ReadonlyMap<Part, PartRows> | null;
  readonly router: SourceTensor | null;
  /** Tensors of the layer's feed-forwards, for comparisons. */
  readonly tensors: readonly SourceTensor[];
  /** Rows of the stacks are not rows of projections. */
  readonly transposed: boolean;
  /** What could not be read, and why. */
  readonly notes: readonly string[];
}

/** Which tensors make up each MoE layer of the language model. */
export interface ExpertMap {
  readonly layout: ExpertLayout | null;
  readonly layers: ReadonlyMap<number, LayerTensors>;
}

export interface LayerTensors {
  readonly experts: SourceTensor[];
  readonly shared: SourceTensor[];
  router: SourceTensor | null;
  /** Numbers of the experts that have tensors of their own. */
  readonly numbers: Set<number>;
  /** Expert tensors of any kind. */
  seen: number;
  /** Scales, zero points and packed blocks of them: the weights beside them are codes. */
  quantised: number;
}

/** Finds the expert tensors by layer. Names and shapes only. */
export function mapExperts(cp: Checkpoint): ExpertMap {
  const layers = new Map<number, LayerTensors>();
  for (const tensor of cp.tensors.values()) {
    const { role, layer, expert, suffix, tower } = parseTensorName(tensor.name);
    if (layer === null || tower !== 'text') continue;
    if (role !== 'expert' && role !== 'shared' && role !== 'router') continue;
    let found = layers.get(layer);
    if (found === undefined)
      layers.set(layer, (found = { experts: [], shared: [], router: null, numbers: new Set(), seen: 0, quantised: 0 }));
    if (role === 'expert' && typeof expert === 'number') found.numbers.add(expert);
    if (role === 'expert') found.seen++;
    if (role === 'expert' && suffix === 'quantisation') found.quantised++;
    if (suffix !== 'weight') continue;
    if (role === 'router') {
      if (tensor.shape.length === 2) found.router ??= tensor;
    } else found[role === 'expert' ? 'experts' : 'shared'].push(tensor);
  }
  // A router alone (or what looks like one) makes no MoE layer.
  for (const [layer, found] of layers) if (found.seen === 0) layers.delete(layer);
  const moe = cp.config === null ? null : readMoeConfig(cp.config);
  const layout = summariseExperts(gatherFacts(cp), moe, cp.config)?.layout ?? null;
  return { layout, layers: new Map([...layers].sort(([a], [b]) => a - b)) };
}

/** No layer has nearly as many experts. */
const MAX_EXPERTS = 65_536;

/** The parts of one layer's experts. */
export function layerParts(map: ExpertMap, layer: number, reader: RangeReader): LayerParts | null {
  const found = map.layers.get(layer);
  if (found === undefined) return null;
  const routed = new Map<number, Map<Part, PartRows>>();
  const shared = new Map<Part, PartRows>();
  const notes: string[] = [];
  const put = (expert: number | 'shared', part: Part, rows: PartRows): void => {
    if (expert === 'shared') {
      shared.set(part, rows);
      return;
    }
    let parts = routed.get(expert);
    if (parts === undefined) routed.set(expert, (parts = new Map()));
    parts.set(part, rows);
  };
  if (found.quantised > 0) {
    notes.push(
      `the weights of layer ${String(layer)} are quantised, with scales in tensors of their own, which are not put together here`,
    );
  } else {
    for (const tensor of [...found.experts, ...found.shared]) {
      const why = splitTensor(tensor, map.layout, reader, found.router?.shape[0] ?? null, put);
      if (why !== null && notes.length < 20) notes.push(`${tensor.name}: ${why}`);
    }
  }
  return {
    layer,
    routed: new Map([...routed].sort(([a], [b]) => a - b)),
    shared: shared.size === 0 ? null : shared,
    router: found.router,
    tensors: found.quantised > 0 ? [] : [...found.experts, ...found.shared],
    transposed: map.layout === 'packed-transposed' || map.layout === 'packed-interleaved',
    notes,
  };
}

type Put = (expert: number | 'shared', part: Part, rows: PartRows) => void;

/** Hands out the parts that lie in a tensor; tells why where it cannot. */
function splitTensor(
  tensor: SourceTensor,
  layout: ExpertLayout | null,
  reader: RangeReader,
  routerRows: number | null,
  put: Put,
): string | null {
  const { role, part, expert, style } = parseTensorName(tensor.name);
  const { shape } = tensor;
  if (part === null) return 'which projection it is cannot be told from its name';
  if (!isDecodable(tensor.dtype)) return `values of ${tensor.dtype} are not decoded here`;
  if (/^[IU]\d/.test(tensor.dtype)) return `its values are stored as ${tensor.dtype}: codes of a quantised weight`;
  const transposed = layout === 'packed-transposed' || layout === 'packed-interleaved';
  const place = (
    to: number | 'shared',
    first: number,
    rows: number,
    halves: 'rows' | 'columns' | 'interleaved',
  ): void => {
    if (part !== 'gate_up') {
      put(to, part, partOf(reader, tensor, first, rows, 'all'));
    } else if (halves === 'rows') {
      put(to, 'gate', partOf(reader, tensor, first, rows / 2, 'all'));
      put(to, 'up', partOf(reader, tensor, first + rows / 2, rows / 2, 'all'));
    } else {
      const [gate, up]: [Columns, Columns] = halves === 'interleaved' ? ['even', 'odd'] : ['first', 'second'];
      put(to, 'gate', partOf(reader, tensor, first, rows, gate));
      put(to, 'up', partOf(reader, tensor, first, rows, up));
    }
  };
  if (expert === 'packed') {
    // dbrx flattens experts and width into one dimension; the router tells how many there are.
    const flat = style === 'dbrx' || shape.length === 2;
    const experts = flat ? routerRows : (shape[0] ?? null);
    if (experts === null || experts < 1 || experts > MAX_EXPERTS) return 'how many experts it holds cannot be told';
    const all = shape.slice(0, -1).reduce((a, b) => a * b, 1);
    if ((!flat && shape.length !== 3) || all % experts !== 0)
      return `its shape [${shape.join(', ')}] is none that experts have`;
    const rows = all / experts;
    const halves = transposed ? (layout === 'packed-interleaved' ? 'interleaved' : 'columns') : 'rows';
    const split = halves === 'rows' ? rows : (shape.at(-1) ?? 0);
    if (part === 'gate_up' && split % 2 !== 0) return 'gate and up cannot be told apart: their common size is odd';
    for (let e = 0; e < experts; e++) place(e, e * rows, rows, halves);
    return null;
  }
  if (shape.length !== 2) return `its shape [${shape.join(', ')}] is none that a projection has`;
  const rows = shape[0] ?? 0;
  if (part === 'gate_up' && rows % 2 !== 0) return 'gate and up cannot be told apart: their common size is odd';
  place(role === 'shared' ? 'shared' : (expert ?? 0), 0, rows, 'rows');
  return null;
}

function partOf(reader: RangeReader, tensor: SourceTensor, first: number, rows: number, columns: Columns): PartRows {
  const stored = storedMatrix(reader, tensor, { first, rows });
  if (columns === 'all') return stored;
  return { rows: stored.rows, cols: stored.cols / 2, read: (begin, end) => readColumns(stored, columns, begin, end) };
}

async function readColumns(stored: Matrix, columns: Columns, begin: number, end: number): Promise<Float64Array> {
  const all = await stored.read(begin, end);
  const half = stored.cols / 2;
  const out = new Float64Array((end - begin) * half);
  const step = columns === 'even' || columns === 'odd' ? 2 : 1;
  const from = columns === 'second' ? half : columns === 'odd' ? 1 : 0;
  for (let row = 0; row < end - begin; row++) {
    for (let c = 0; c < half; c++) out[row * half + c] = all[row * stored.cols + from + c * step] ?? 0;
  }
  return out;
}
