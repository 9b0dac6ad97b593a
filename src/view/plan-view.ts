/** A plan as the plan editor shows it: totals, pattern rows that open to their tensors, output files by content. */
import type { Expr } from '../plan/expr.ts';
import type { Plan, PlanSource, PlanTensor } from '../plan/types.ts';
import type { PlanRow, PlanSummary, ShardBar, WirePlanTensor } from '../protocol/planning.ts';
import type { planRowPage } from '../protocol/planning.ts';
import type { Of } from '../protocol/define.ts';
import { howText, patternRows } from '../report/patterns.ts';
import type { PatternRow } from '../report/patterns.ts';
import { plural, rangesText } from '../report/text.ts';
import { NameReader } from './name-reader.ts';

export type PlanRowPage = Of<typeof planRowPage>;

export interface PlanFacts {
  /** An output folder was named, so that cloning was judged for its file system. */
  readonly physicalKnown: boolean;
  /** Free bytes where the output would go; null: unknown. */
  readonly freeBytes: number | null;
  /** Why the plan cannot be run (config and index only), or null. */
  readonly planOnly: string | null;
  readonly seconds: number;
}

const MAX_ROWS = 10_000;
const MAX_SHARDS = 2000;
const MAX_SLICES = 200;

/** Totals, rows and files of a plan. */
export function planSummaryOf(plan: Plan, facts: PlanFacts): PlanSummary {
  const rows = patternRows(plan);
  const { flopsPerToken: flops } = plan;
  const cut =
    rows.length > MAX_ROWS
      ? [{ code: 'rows-cut', message: `${String(rows.length - MAX_ROWS)} more kinds of tensors are not listed` }]
      : [];
  return {
    hash: plan.hash,
    sources: plan.sources.map(({ path, format, modelType, tensors }, from) => ({
      path,
      format,
      modelType,
      parameters: from === 0 ? plan.source.parameters : null,
      bytes: from === 0 ? plan.source.bytes : [...tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0),
    })),
    targetType: plan.target.modelType,
    headline: headlineOf(plan),
    total: plan.target.parameters.total,
    active: plan.target.parameters.active,
    dense: plan.source.parameters,
    bytes: plan.target.fileBytes,
    physicalBytes: plan.physicalBytes,
    physicalKnown: facts.physicalKnown,
    freeBytes: facts.freeBytes,
    sourceBytes: plan.source.bytes,
    peakMemoryBytes: plan.peakMemoryBytes,
    peakMemoryReason: plan.peakMemoryReason,
    flops: { ...flops },
    moeLayers: plan.layers.filter(({ kind }) => kind === 'moe').map(({ layer }) => layer),
    layers: plan.layers.length,
    tensors: plan.tensors.length,
    files: plan.files.length,
    exactness: { ...plan.exactness },
    warnings: [...plan.warnings.map(({ code, message }) => ({ code, message })), ...cut],
    assumptions: [...plan.assumptions],
    rows: rows.slice(0, MAX_ROWS).map(rowOf),
    shards: shardsOf(plan),
    moreShards: Math.max(0, plan.files.length - MAX_SHARDS),
    planOnly: facts.planOnly,
    config: plan.target.config,
    seconds: facts.seconds,
  };
}

/** `64 experts (8 replicas of 8 slices), top-8`. */
function headlineOf({ recipe }: Plan): string {
  const { experts, granularity, top_k: topK } = recipe;
  const slices =
    granularity === 1 ? '' : ` (${plural(experts / granularity, 'replica')} of ${String(granularity)} slices)`;
  return `${plural(experts, 'expert')}${slices}, top-${String(topK)}`;
}

/** Names a row by what makes it one, so that it is found again in an equal plan. */
function idOf({ layers, source, target, how }: PatternRow): string {
  return JSON.stringify([target, source, how, layers !== null]);
}

function rowOf(row: PatternRow): PlanRow {
  return {
    id: idOf(row),
    layers: row.layers === null ? '' : rangesText(row.layers),
    source: row.source,
    target: row.target,
    experts: row.experts === null ? '' : rangesText(row.experts),
    how: row.how,
    tensors: row.tensors,
    bytes: row.bytes,
    copied: row.how === 'copy',
  };
}

/** The tensors of each row of a plan; made at the first question. */
export class PlanRows {
  private members: ReadonlyMap<string, readonly PlanTensor[]> | undefined;

  constructor(private readonly plan: Plan) {}

  /** Tensors `start` to `start + count` of a row; none for a row that the plan does not have. */
  page(row: string, start: number, count: number): PlanRowPage {
    this.members ??= membersOf(this.plan);
    const all = this.members.get(row) ?? [];
    const tensors = all.slice(start, start + count).map((tensor) => wireTensor(tensor, this.plan));
    return { row, start, total: all.length, tensors };
  }
}

function membersOf(plan: Plan): ReadonlyMap<string, readonly PlanTensor[]> {
  const members = new Map<string, PlanTensor[]>();
  for (const tensor of plan.tensors) {
    // The row of a plan of this tensor alone is the row that it has in the whole.
    const [row] = patternRows({ ...plan, tensors: [tensor] });
    if (row === undefined) continue;
    const id = idOf(row);
    const list = members.get(id);
    if (list === undefined) members.set(id, [tensor]);
    else list.push(tensor);
  }
  return members;
}

function wireTensor(tensor: PlanTensor, plan: Plan): WirePlanTensor {
  const sources: WirePlanTensor['sources'][number][] = [];
  slices(tensor.expr, plan.sources, sources, '', 1);
  return {
    name: tensor.name,
    dtype: tensor.dtype,
    shape: [...tensor.shape],
    bytes: tensor.bytes,
    file: tensor.file,
    how: howText(tensor.expr, plan),
    sources,
  };
}

/** Source tensors of an expression, with the slice that is cut from each. `share`: how much of it is used. */
function slices(
  expr: Expr,
  sources: readonly PlanSource[],
  into: WirePlanTensor['sources'][number][],
  slice: string,
  share: number,
): void {
  if (into.length >= MAX_SLICES) return;
  if (expr.op === 'source') {
    const tensor = sources[expr.from]?.tensors.get(expr.tensor);
    into.push({ source: expr.tensor, from: expr.from, slice, bytes: Math.round((tensor?.bytes ?? 0) * share) });
    return;
  }
  if (expr.op === 'slice') {
    const size = sizeOf(expr.of, expr.dim, sources);
    const length = expr.end - expr.begin;
    const word = expr.dim === 0 ? 'rows' : expr.dim === 1 ? 'columns' : `dimension ${String(expr.dim)},`;
    const own = `${word} ${String(expr.begin)}–${String(expr.end - 1)}${size === null ? '' : ` of ${String(size)}`}`;
    slices(
      expr.of,
      sources,
      into,
      slice === '' ? own : `${own}, ${slice}`,
      size === null || size === 0 ? share : (share * length) / size,
    );
    return;
  }
  if (expr.op === 'take' && 'shards' in expr.index) {
    const { shard, shards } = expr.index;
    const own = `share ${String(shard + 1)} of ${String(shards)} of the ${expr.dim === 0 ? 'rows' : 'columns'}`;
    slices(expr.of, sources, into, slice === '' ? own : `${own}, ${slice}`, share / shards);
    return;
  }
  if (!('of' in expr)) return;
  for (const inner of isList(expr.of) ? expr.of : [expr.of]) slices(inner, sources, into, slice, share);
}

function isList(of: Expr | readonly Expr[]): of is readonly Expr[] {
  return Array.isArray(of);
}

/** Size of a dimension, where it can be told without evaluating. */
function sizeOf(expr: Expr, dim: number, sources: readonly PlanSource[]): number | null {
  if (expr.op === 'source') return sources[expr.from]?.tensors.get(expr.tensor)?.shape[dim] ?? null;
  if (expr.op === 'reshape' || expr.op === 'fill' || expr.op === 'random') return expr.shape[dim] ?? null;
  if (expr.op === 'slice') return expr.dim === dim ? expr.end - expr.begin : sizeOf(expr.of, dim, sources);
  if (expr.op === 'dequantise' || expr.op === 'cast' || expr.op === 'scale' || expr.op === 'offset')
    return sizeOf(expr.of, dim, sources);
  return null;
}

type PartKind = ShardBar['parts'][number]['kind'];
const LABELS: Readonly<Record<PartKind, string>> = {
  expert: 'experts',
  router: 'routers',
  shared: 'shared experts',
  attention: 'attention',
  norm: 'norms',
  embed: 'embeddings',
  head: 'output head',
  other: 'dense feed-forward and others',
};

function shardsOf(plan: Plan): ShardBar[] {
  const byFile = new Map<string, PlanTensor[]>(plan.files.map(({ name }) => [name, []]));
  for (const tensor of plan.tensors) byFile.get(tensor.file)?.push(tensor);
  const names = new NameReader();
  return plan.files.slice(0, MAX_SHARDS).map((file) => {
    const tensors = byFile.get(file.name) ?? [];
    const bytes = new Map<PartKind, number>();
    const experts = new Set<number>();
    for (const tensor of tensors) {
      const { role, expert } = names.read(tensor.name);
      const kind = role === 'shared_gate' ? 'shared' : role === 'ffn' ? 'other' : role;
      bytes.set(kind, (bytes.get(kind) ?? 0) + tensor.bytes);
      if (typeof expert === 'number') experts.add(expert);
    }
    const label = (kind: PartKind): string =>
      kind !== 'expert' || experts.size === 0
        ? LABELS[kind]
        : `${experts.size === 1 ? 'expert' : 'experts'} ${rangesText(experts)}`;
    return {
      name: file.name,
      bytes: 8 + file.headerBytes + file.dataBytes,
      tensors: file.tensors.length,
      cloneOf: file.cloneOf ?? null,
      parts: [...bytes]
        .map(([kind, size]) => ({ label: label(kind), kind, bytes: size }))
        .sort((a, b) => b.bytes - a.bytes),
    };
  });
}
