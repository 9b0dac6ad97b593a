/** Experts of an MoE against the dense feed-forward of the same layer, neuron by neuron. */
import { throwIfAborted } from '../checkpoint/errors.ts';
import { Accumulator } from './compare.ts';
import type { ScaledDistance } from './compare.ts';
import type { Matrix } from './matrix.ts';
import { rawRows, rowsPerStep, sameBytes } from './matrix.ts';
import type { FfnParts, LayerFfns } from './model.ts';
import { GateRows } from './rows.ts';
import type { RowMap } from './rows.ts';

/** One expert of one layer against the dense feed-forward. */
export interface ExpertDistance {
  readonly layer: number;
  readonly expert: number | 'shared';
  /** Where its neurons come from. */
  readonly neurons: {
    readonly kind: RowMap['kind'];
    /** Neurons of the expert and of the dense feed-forward. */
    readonly width: number;
    readonly denseWidth: number;
    /** First dense neuron; meaningless for matched ones. */
    readonly begin: number;
    /** Neurons whose gate row was found again in the dense gate. */
    readonly found: number;
    /** Neurons that were compared: all but those of unknown origin. */
    readonly compared: number;
  };
  readonly gate: ScaledDistance | null;
  readonly up: ScaledDistance | null;
  readonly down: ScaledDistance | null;
  /** ‖expert − dense‖ / ‖dense‖ over the three matrices; null where the dense part is all zeros. */
  readonly relativeL2: number | null;
  /** up and down are the dense ones times powers of two, exactly, and gate is equal: the product of both factors. */
  readonly exactScale: number | null;
}

export interface ExpertNote {
  readonly layer: number;
  readonly expert: number | 'shared';
  readonly message: string;
}

/** Compares all experts of all layers that are dense in the one and have experts in the other. */
export async function compareExperts(
  dense: LayerFfns,
  moe: LayerFfns,
  onExpert: (layer: number, expert: number | 'shared') => void,
  signal: AbortSignal | undefined,
): Promise<{ readonly experts: ExpertDistance[]; readonly notes: ExpertNote[] }> {
  const experts: ExpertDistance[] = [];
  const notes: ExpertNote[] = [];
  for (const layer of moe.layerNumbers) {
    const base = dense.dense(layer);
    if (base?.gate === undefined) continue;
    const rows = new GateRows(base.gate);
    const squares = new Squares();
    const shared = moe.shared(layer);
    const list: readonly (readonly [number | 'shared', FfnParts])[] = [
      ...moe.experts(layer),
      ...(shared === null ? [] : [['shared', shared] as const]),
    ];
    for (const [expert, parts] of list) {
      throwIfAborted(signal);
      onExpert(layer, expert);
      const map =
        parts.gate === undefined ? null : await rows.mapOf(parts.gate, typeof expert === 'number' ? expert : 0);
      if (map === null || parts.gate === undefined) {
        const has =
          parts.gate === undefined ? 'no gate' : `a gate of [${String(parts.gate.rows)}, ${String(parts.gate.cols)}]`;
        const wants = `[${String(base.gate.rows)}, ${String(base.gate.cols)}]`;
        notes.push({ layer, expert, message: `has ${has}, which cannot be laid beside the dense gate ${wants}` });
        continue;
      }
      experts.push(await compareOne(layer, expert, base, parts, map, parts.gate.rows, squares));
    }
  }
  return { experts, notes };
}

async function compareOne(
  layer: number,
  expert: number | 'shared',
  dense: FfnParts,
  parts: FfnParts,
  map: RowMap,
  width: number,
  squares: Squares,
): Promise<ExpertDistance> {
  const gate = await rowWise(dense.gate, parts.gate, map, squares);
  const up = await rowWise(dense.up, parts.up, map, squares);
  const down = await columnWise(dense.down, parts.down, map, width, squares);
  let dd = 0;
  let aa = 0;
  for (const sums of [gate, up, down]) {
    dd += sums?.sums().dd ?? 0;
    aa += sums?.sums().aa ?? 0;
  }
  const results = { gate: gate?.scaled() ?? null, up: up?.scaled() ?? null, down: down?.scaled() ?? null };
  const relative = aa === 0 ? (dd === 0 ? 0 : null) : Math.sqrt(dd / aa);
  const compared = map.rows === null ? width : map.rows.reduce((sum, row) => sum + (row >= 0 ? 1 : 0), 0);
  return {
    layer,
    expert,
    neurons: {
      kind: map.kind,
      width,
      denseWidth: dense.gate?.rows ?? 0,
      begin: map.begin,
      found: map.found,
      compared,
    },
    ...results,
    relativeL2: relative === null || !Number.isFinite(relative) ? null : relative,
    exactScale: exactScale(results.gate, results.up, results.down),
  };
}

function exactScale(
  gate: ScaledDistance | null,
  up: ScaledDistance | null,
  down: ScaledDistance | null,
): number | null {
  if (gate?.equal !== true) return null;
  const a = up?.exactScale ?? null;
  const b = down?.exactScale ?? null;
  return a !== null && b !== null && isPowerOfTwo(a) && isPowerOfTwo(b) ? a * b : null;
}

/** Also of negative exponents. */
export function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value)) && 2 ** Math.log2(value) === value;
}

/** Sums of squares of dense rows: asked for once per expert, computed once per layer. */
class Squares {
  private readonly known = new Map<Matrix, Map<string, number>>();

  async of(matrix: Matrix, begin: number, rows: number): Promise<number> {
    const sums = this.known.get(matrix) ?? new Map<string, number>();
    this.known.set(matrix, sums);
    const key = `${String(begin)}/${String(rows)}`;
    const found = sums.get(key);
    if (found !== undefined) return found;
    let sum = 0;
    const step = rowsPerStep(matrix.cols);
    for (let from = begin; from < begin + rows; from += step) {
      for (const x of await matrix.read(from, Math.min(begin + rows, from + step))) sum += x * x;
    }
    sums.set(key, sum);
    return sum;
  }
}

/** Are the expert's rows the dense rows from `begin` on, byte for byte? NaN (whose squares have no sum) are left to the rest. */
async function copied(dense: Matrix, mine: Matrix, begin: number, squares: Squares): Promise<number | null> {
  if (dense.dtype !== mine.dtype) return null;
  const base = rawRows(dense, begin, mine.rows);
  const own = rawRows(mine, 0, mine.rows);
  if (base === null || own === null || !(await sameBytes(base, own))) return null;
  const sum = await squares.of(dense, begin, mine.rows);
  return Number.isFinite(sum) ? sum : null;
}

/** gate and up: rows of the expert against their rows of the dense matrix. */
async function rowWise(
  dense: Matrix | undefined,
  mine: Matrix | undefined,
  map: RowMap,
  squares: Squares,
): Promise<Accumulator | null> {
  if (dense === undefined || mine === undefined || dense.cols !== mine.cols) return null;
  const sums = new Accumulator();
  const same = map.rows === null ? await copied(dense, mine, map.begin, squares) : null;
  if (same !== null) {
    sums.addEqual(mine.rows * mine.cols, same);
    return sums;
  }
  const step = rowsPerStep(mine.cols);
  for (let from = 0; from < mine.rows; from += step) {
    const to = Math.min(mine.rows, from + step);
    const values = await mine.read(from, to);
    if (map.rows === null) {
      sums.add(await dense.read(map.begin + from, map.begin + to), values, values.length);
      continue;
    }
    // Runs of neighbouring rows are read at once.
    for (let row = from; row < to;) {
      const first = map.rows[row] ?? -1;
      let end = row + 1;
      while (first >= 0 && end < to && map.rows[end] === first + (end - row)) end++;
      if (first >= 0) {
        const base = await dense.read(first, first + (end - row));
        sums.add(base, values, base.length, 0, (row - from) * mine.cols);
      }
      row = end;
    }
  }
  return sums;
}

/** down: columns of the expert against their columns of the dense matrix, row by row. */
async function columnWise(
  dense: Matrix | undefined,
  mine: Matrix | undefined,
  map: RowMap,
  width: number,
  squares: Squares,
): Promise<Accumulator | null> {
  if (dense === undefined || mine === undefined || dense.rows !== mine.rows || mine.cols !== width) return null;
  const sums = new Accumulator();
  const same = map.rows === null && dense.cols === width ? await copied(dense, mine, 0, squares) : null;
  if (same !== null) {
    sums.addEqual(mine.rows * mine.cols, same);
    return sums;
  }
  const step = rowsPerStep(dense.cols);
  const line = new Float64Array(step * width);
  for (let from = 0; from < mine.rows; from += step) {
    const to = Math.min(mine.rows, from + step);
    const values = await mine.read(from, to);
    const base = await dense.read(from, to);
    if (map.rows === null) {
      for (let r = 0; r < to - from; r++) sums.add(base, values, width, r * dense.cols + map.begin, r * width);
      continue;
    }
    // Gather both sides without the columns of unknown origin.
    let n = 0;
    const mineLine = new Float64Array(line.length);
    for (let r = 0; r < to - from; r++) {
      for (let c = 0; c < width; c++) {
        const column = map.rows[c] ?? -1;
        if (column < 0) continue;
        line[n] = base[r * dense.cols + column] ?? 0;
        mineLine[n++] = values[r * width + c] ?? 0;
      }
    }
    sums.add(line, mineLine, n);
  }
  return sums;
}
