/** The pattern rows of a plan and their opened tensors as one list of lines, by index. No DOM. */
import type { PlanRow, WirePlanTensor } from '../../src/protocol/planning.ts';

export type PlanLine =
  | { readonly kind: 'pattern'; readonly row: PlanRow; readonly open: boolean; readonly at: number }
  | { readonly kind: 'tensor'; readonly row: PlanRow; readonly tensor: WirePlanTensor | null; readonly at: number };

/** Lines before each pattern row; found by halving. */
export class PlanLines {
  private readonly starts: readonly number[];
  readonly total: number;

  /** `tensorAt`: the tensor of a row at a place, null while it is not there. */
  constructor(
    private readonly rows: readonly PlanRow[],
    private readonly open: ReadonlySet<string>,
    private readonly tensorAt: (row: PlanRow, at: number) => WirePlanTensor | null,
  ) {
    const starts: number[] = [];
    let at = 0;
    for (const row of rows) {
      starts.push(at);
      at += 1 + (open.has(row.id) ? row.tensors : 0);
    }
    this.starts = starts;
    this.total = at;
  }

  lineAt(index: number): PlanLine | null {
    if (index < 0 || index >= this.total) return null;
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.starts[middle] ?? Infinity) <= index) low = middle;
      else high = middle - 1;
    }
    const row = this.rows[low];
    const start = this.starts[low];
    if (row === undefined || start === undefined) return null;
    if (index === start) return { kind: 'pattern', row, open: this.open.has(row.id), at: low };
    const at = index - start - 1;
    return { kind: 'tensor', row, tensor: this.tensorAt(row, at), at };
  }
}
