/** Which row (neuron) of a dense projection each row of an expert comes from. */
import { createHash } from 'node:crypto';
import { f32ToBf16 } from 'safetensors-js';
import type { Matrix } from './matrix.ts';
import { rowsPerStep } from './matrix.ts';

export interface RowMap {
  /**
   * identity: row i is row i. slice: rows from `begin` on, one after the other. matched: each row found by its values.
   * assumed: no row was found again; identity or the expert's slice is taken for granted.
   */
  readonly kind: 'identity' | 'slice' | 'matched' | 'assumed';
  /** First dense row (identity, slice, assumed). */
  readonly begin: number;
  /** Dense row of each expert row; −1 where unknown. null: begin, begin + 1, … */
  readonly rows: Int32Array | null;
  /** Rows whose values were found again in the dense gate (all of them, where only samples were compared). */
  readonly found: number;
}

/** The gate's rows under keys, to look experts' rows up. Keys are of values rounded to bf16, so that dtypes may differ. */
export class GateRows {
  private keys: ReadonlyMap<string, number> | undefined;
  readonly gate: Matrix;

  constructor(gate: Matrix) {
    this.gate = gate;
  }

  /** The map for expert `index`; null where the widths cannot belong together. */
  async mapOf(expertGate: Matrix, index: number): Promise<RowMap | null> {
    const { gate } = this;
    const width = expertGate.rows;
    if (expertGate.cols !== gate.cols || width > gate.rows || width === 0) return null;
    const slices = gate.rows % width === 0 ? gate.rows / width : 0;
    const begin = slices > 0 ? (index % slices) * width : 0;
    const kind = width === gate.rows ? 'identity' : 'slice';
    if (slices > 0 && (await this.sampleFits(expertGate, begin))) return { kind, begin, rows: null, found: width };
    const rows = await this.lookUp(expertGate);
    const found = rows.reduce((sum, row) => sum + (row >= 0 ? 1 : 0), 0);
    if (found === 0) return slices > 0 ? { kind: 'assumed', begin, rows: null, found } : null;
    const shift = constantShift(rows);
    if (shift !== null && shift >= 0 && shift + width <= gate.rows) {
      return { kind: width === gate.rows ? 'identity' : 'slice', begin: shift, rows: null, found };
    }
    return { kind: 'matched', begin: 0, rows, found };
  }

  private async sampleFits(expertGate: Matrix, begin: number): Promise<boolean> {
    for (const row of new Set([0, expertGate.rows >> 1, expertGate.rows - 1])) {
      const [mine] = keysOf(await expertGate.read(row, row + 1), expertGate.cols);
      const [theirs] = keysOf(await this.gate.read(begin + row, begin + row + 1), this.gate.cols);
      if (mine !== theirs) return false;
    }
    return true;
  }

  private async lookUp(expertGate: Matrix): Promise<Int32Array> {
    this.keys ??= await indexRows(this.gate);
    const rows = new Int32Array(expertGate.rows).fill(-1);
    const step = rowsPerStep(expertGate.cols);
    for (let from = 0; from < expertGate.rows; from += step) {
      const to = Math.min(expertGate.rows, from + step);
      const keys = keysOf(await expertGate.read(from, to), expertGate.cols);
      for (const [i, key] of keys.entries()) rows[from + i] = this.keys.get(key) ?? -1;
    }
    return rows;
  }
}

async function indexRows(gate: Matrix): Promise<ReadonlyMap<string, number>> {
  const index = new Map<string, number>();
  const step = rowsPerStep(gate.cols);
  for (let from = 0; from < gate.rows; from += step) {
    const to = Math.min(gate.rows, from + step);
    for (const [i, key] of keysOf(await gate.read(from, to), gate.cols).entries()) {
      if (!index.has(key)) index.set(key, from + i);
    }
  }
  return index;
}

function keysOf(values: Float64Array, cols: number): string[] {
  const keys: string[] = [];
  const row = new Float32Array(cols);
  const rounded = new Uint16Array(cols);
  const bytes = new Uint8Array(rounded.buffer);
  for (let from = 0; from + cols <= values.length && cols > 0; from += cols) {
    row.set(values.subarray(from, from + cols));
    f32ToBf16(row, rounded);
    keys.push(createHash('sha256').update(bytes).digest('base64').slice(0, 24));
  }
  return keys;
}

/** The one number by which all rows that were found are shifted, or null. */
function constantShift(rows: Int32Array): number | null {
  let shift: number | null = null;
  for (const [i, row] of rows.entries()) {
    if (row < 0) continue;
    if (shift === null) shift = row - i;
    else if (row - i !== shift) return null;
  }
  return shift;
}
