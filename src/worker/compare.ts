/** Comparisons of the worker: the report of src/diff as pages of rows. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { diffCheckpoints } from '../diff/index.ts';
import type { DiffReport, ExpertDistance } from '../diff/index.ts';
import type { CompareExpert, CompareRow, CompareSummary } from '../protocol/comparing.ts';
import type { StepProgress } from '../protocol/wire.ts';
import { naturalCompare } from '../view/natural.ts';
import type { OpenEntry } from './checkpoints.ts';

type State = CompareRow['state'];
type Serving = { readonly signal: AbortSignal; readonly progress: (progress: StepProgress) => void };
interface RowsRequest {
  readonly filter: string;
  readonly states: readonly State[];
  readonly order: 'name' | 'distance';
  readonly start: number;
  readonly count: number;
}

const MAX_SKIPPED = 1000;

export class Comparison {
  private report: DiffReport | null = null;
  private withValues = false;
  private rows: readonly CompareRow[] = [];

  constructor(
    private readonly a: OpenEntry,
    private readonly b: OpenEntry,
  ) {}

  /** Structure alone, or (`values`) everything. */
  async run(values: boolean, { signal, progress }: Serving): Promise<CompareSummary> {
    const report = await diffCheckpoints(this.a.cp, this.b.cp, {
      values,
      signal,
      onProgress: ({ done, total, name }) => {
        progress({ done, total, what: name });
      },
    });
    this.report = report;
    this.withValues = values && !this.a.cp.planOnly && !this.b.cp.planOnly;
    this.rows = rowsOf(report, this.a.cp, this.b.cp, this.withValues);
    return this.summary();
  }

  summary(): CompareSummary {
    const report = this.known();
    const count = (state: State): number => this.rows.filter((row) => row.state === state).length;
    const skipped = report.experts?.skipped ?? [];
    return {
      a: sideOf(this.a),
      b: sideOf(this.b),
      identical: this.withValues ? report.identical : null,
      equal: count('equal'),
      changed: count('changed'),
      added: report.added.length,
      removed: report.removed.length,
      reshaped: report.reshaped.length,
      dtypeChanged: report.dtypeChanged.length,
      notCompared: report.notCompared.length,
      mode: report.experts?.mode ?? this.modeByKind(),
      dense: report.experts === undefined ? this.denseByKind() : report.experts.dense,
      config: report.config === null ? null : report.config.slice(0, 10_000),
      skipped: skipped.slice(0, MAX_SKIPPED),
      moreSkipped: Math.max(0, skipped.length - MAX_SKIPPED),
      asExperts: report.experts?.paired ?? { a: 0, b: 0 },
      notes: report.notCompared.filter(({ name }) => name === '*').map(({ reason }) => reason),
      valuesCompared: this.withValues,
    };
  }

  page({ filter, states, order, start, count }: RowsRequest): { start: number; total: number; rows: CompareRow[] } {
    const words = filter
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
    let rows = this.rows.filter(
      (row) =>
        (states.length === 0 || states.includes(row.state)) &&
        words.every((word) => row.name.toLowerCase().includes(word)),
    );
    if (order === 'distance') rows = [...rows].sort((x, y) => distanceRank(y) - distanceRank(x));
    return { start, total: rows.length, rows: rows.slice(start, start + count) };
  }

  experts(): { experts: CompareExpert[]; notes: string[] } {
    const { experts } = this.known();
    if (experts === undefined) {
      const both = this.modeByKind();
      return { experts: [], notes: both === null || this.withValues ? [] : ['Compare the values to see the experts.'] };
    }
    const noteOf = new Map(experts.notes.map((note) => [`${String(note.layer)}/${String(note.expert)}`, note.message]));
    const rows = experts.distances.map((one) =>
      expertRow(one, noteOf.get(`${String(one.layer)}/${String(one.expert)}`)),
    );
    return {
      experts: rows.length > 0 ? rows : likesOf(experts.likes),
      notes: experts.notes
        .slice(0, 1000)
        .map((note) => `Layer ${String(note.layer)}, expert ${String(note.expert)}: ${note.message}`),
    };
  }

  private known(): DiffReport {
    if (this.report === null) throw new MoeError('internal', 'not-compared', 'The comparison has not been made');
    return this.report;
  }

  private denseByKind(): 'a' | 'b' | null {
    const [a, b] = [this.a.report.kind, this.b.report.kind];
    if (a === 'dense' && b === 'moe') return 'a';
    return a === 'moe' && b === 'dense' ? 'b' : null;
  }

  private modeByKind(): CompareSummary['mode'] {
    if (this.denseByKind() !== null) return 'dense-vs-moe';
    return this.a.report.kind === 'moe' && this.b.report.kind === 'moe' ? 'moe-vs-moe' : null;
  }
}

function sideOf({ overview, report, cp }: OpenEntry): CompareSummary['a'] {
  return {
    name: overview.name,
    path: cp.path,
    modelType: report.modelType,
    kind: report.kind,
    parameters: report.parameters.total,
    bytes: report.bytes,
    tensors: report.tensorCount,
  };
}

function facts(cp: Checkpoint, name: string): { dtype: string; shape: number[] } | null {
  const physical = cp.gguf?.get(name)?.tensor ?? cp.aliases.get(name) ?? name;
  const tensor = cp.tensors.get(physical);
  return tensor === undefined ? null : { dtype: tensor.dtype, shape: tensor.shape.slice(0, 64) };
}

function rowsOf(report: DiffReport, a: Checkpoint, b: Checkpoint, withValues: boolean): CompareRow[] {
  const rows = new Map<string, CompareRow>();
  const add = (name: string, state: State, more: Partial<CompareRow> = {}): void => {
    if (rows.has(name)) return;
    const nothing = { relativeL2: null, maxAbs: null, notFinite: null, reason: null };
    rows.set(name, { name, state, a: facts(a, name), b: facts(b, name), ...nothing, ...more });
  };
  for (const name of report.added) add(name, 'added');
  for (const name of report.removed) add(name, 'removed');
  for (const { name } of report.reshaped) add(name, 'reshaped');
  for (const { name, reason } of report.notCompared) if (name !== '*') add(name, 'not-compared', { reason });
  const dtypes = new Set(report.dtypeChanged.map(({ name }) => name));
  for (const { name, equal, relativeL2, maxAbs, notFinite } of report.tensors)
    add(name, dtypes.has(name) ? 'dtype' : equal ? 'equal' : 'changed', {
      relativeL2,
      maxAbs: Number.isFinite(maxAbs) ? maxAbs : null,
      notFinite,
    });
  for (const name of dtypes) add(name, 'dtype');
  if (!withValues)
    for (const name of a.gguf?.keys() ?? a.tensors.keys())
      if (facts(b, name) !== null)
        add(name, 'not-compared', { reason: 'Same name and shape; values not compared yet' });
  return [...rows.values()].sort((x, y) => naturalCompare(x.name, y.name));
}

/** Largest difference first; what has no number before what is equal. */
function distanceRank(row: CompareRow): number {
  if (row.state === 'equal') return -2;
  return row.relativeL2 ?? (row.state === 'not-compared' ? -1 : Number.MAX_VALUE);
}

function expertRow(one: ExpertDistance, note: string | undefined): CompareExpert {
  const { neurons } = one;
  const relative = (part: ExpertDistance['gate']): number | null => part?.relativeL2 ?? null;
  return {
    layer: one.layer,
    expert: one.expert,
    relativeL2: one.relativeL2,
    exactScale: one.exactScale,
    neurons: neuronsText(neurons),
    found: neurons.found,
    width: neurons.width,
    gate: relative(one.gate),
    up: relative(one.up),
    down: relative(one.down),
    note: note ?? null,
  };
}

function neuronsText({ kind, width, denseWidth, begin, found }: ExpertDistance['neurons']): string {
  const rows = `rows ${String(begin)}–${String(begin + width - 1)} of ${String(denseWidth)}`;
  switch (kind) {
    case 'identity':
      return 'all, in order';
    case 'slice':
      return rows;
    case 'matched':
      return `${String(found)} of ${String(width)} found again, in an order of their own`;
    case 'assumed':
      return `none found again; compared with ${width === denseWidth ? 'all, in order' : rows}`;
  }
}

type Like = NonNullable<DiffReport['experts']>['likes'][number];

/** Experts against their like in another layout: one row per expert, its parts together. */
function likesOf(likes: readonly Like[]): CompareExpert[] {
  const rows = new Map<string, CompareExpert>();
  for (const like of likes) {
    const key = `${String(like.layer)}/${String(like.expert)}`;
    const known = rows.get(key);
    const worst = Math.max(known?.relativeL2 ?? 0, like.relativeL2 ?? 0);
    rows.set(key, {
      layer: like.layer,
      expert: like.expert,
      relativeL2: worst,
      exactScale: null,
      neurons: 'expert by expert',
      found: 0,
      width: 0,
      gate: null,
      up: null,
      down: null,
      note: null,
    });
  }
  return [...rows.values()];
}
