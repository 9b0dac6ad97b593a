/**
 * A plan's tensors as a few rows: "layers 0–31 mlp.up_proj → experts 0–7 w3, copy". Tensors whose names differ only in
 * layer and expert, that come from like-named sources in the same way, make one row.
 */
import type { Expr, IndexSet } from '../plan/expr.ts';
import type { Plan } from '../plan/types.ts';

export interface PatternRow {
  /** 0-based layers; null for tensors outside layers. */
  readonly layers: readonly number[] | null;
  /** Source names without layer, `–` where there is none. */
  readonly source: string;
  readonly target: string;
  /** Routed experts of the target; null where the target is none. */
  readonly experts: readonly number[] | null;
  /** How the values are made. */
  readonly how: string;
  readonly tensors: number;
  readonly bytes: number;
}

interface Group {
  readonly layers: Set<number>;
  readonly experts: Set<number>;
  readonly first: { source: string; target: string; how: string };
  tensors: number;
  bytes: number;
}

/** The rows of a plan, in the order in which they first appear. */
export function patternRows(plan: Plan): PatternRow[] {
  const groups = new Map<string, Group>();
  // Replicas share expression objects, so each is described once.
  const described = new Map<Expr, { source: string; how: string }>();
  const many = plan.sources.length > 1;
  for (const tensor of plan.tensors) {
    const { layer, expert, name } = nameParts(tensor.name);
    let words = described.get(tensor.expr);
    if (words === undefined)
      described.set(tensor.expr, (words = { source: sourceText(tensor.expr, many), how: howText(tensor.expr, plan) }));
    const key = `${name}\n${words.source}\n${words.how}\n${layer === null ? '' : 'L'}`;
    let group = groups.get(key);
    if (group === undefined)
      groups.set(
        key,
        (group = { layers: new Set(), experts: new Set(), first: { ...words, target: name }, tensors: 0, bytes: 0 }),
      );
    if (layer !== null) group.layers.add(layer);
    if (expert !== null) group.experts.add(expert);
    group.tensors++;
    group.bytes += tensor.bytes;
  }
  return [...groups.values()].map(({ layers, experts, first, tensors, bytes }) => ({
    ...first,
    layers: layers.size === 0 ? null : [...layers].sort((a, b) => a - b),
    experts: experts.size === 0 ? null : [...experts].sort((a, b) => a - b),
    tensors,
    bytes,
  }));
}

/** `model.layers.3.mlp.experts.5.w1.weight` → layer 3, expert 5, name `w1`. */
export function nameParts(full: string): { layer: number | null; expert: number | null; name: string } {
  const layerAt = /^(.*?\b(?:layers|h|blocks?|blk)\.)(\d+)\.(.+)$/.exec(full);
  const inside = layerAt?.[3] ?? full;
  const expertAt = /^(.*?\bexperts\.)(\d+)\.(.+)$/.exec(inside);
  return {
    layer: layerAt === null ? null : Number(layerAt[2]),
    expert: expertAt === null ? null : Number(expertAt[2]),
    name: (expertAt?.[3] ?? inside).replace(/\.weight$/, ''),
  };
}

/** Names of the sources that an expression reads, without layer, each once. */
function sourceText(expr: Expr, many: boolean): string {
  const names = new Set<string>();
  visitSources(expr, (from, tensor) => {
    const { expert, name } = nameParts(tensor);
    names.add(`${expert === null ? '' : `expert ${expert} `}${name}${many ? ` of source ${from}` : ''}`);
  });
  const list = [...names];
  return list.length === 0
    ? '–'
    : list.length > 4
      ? `${list.slice(0, 3).join(' + ')} + ${list.length - 3} more`
      : list.join(' + ');
}

function visitSources(expr: Expr, visit: (from: number, tensor: string) => void): void {
  if (expr.op === 'source') visit(expr.from, expr.tensor);
  else if ('of' in expr) for (const inner of isList(expr.of) ? expr.of : [expr.of]) visitSources(inner, visit);
}

function isList(of: Expr | readonly Expr[]): of is readonly Expr[] {
  return Array.isArray(of);
}

/** How a value is made, in a few words, from the inside out. */
export function howText(expr: Expr, plan?: Plan): string {
  const steps = howSteps(expr, plan);
  return steps.length === 0 ? 'copy' : steps.join(', ');
}

function howSteps(expr: Expr, plan: Plan | undefined): string[] {
  switch (expr.op) {
    case 'source':
      return [];
    case 'dequantise':
      return [...howSteps(expr.of, plan), 'dequantised'];
    case 'slice':
      return [...howSteps(expr.of, plan), sliceText(expr, plan)];
    case 'concat': {
      const parts = new Set(expr.of.map((part) => howText(part, plan)));
      const inner = [...parts].filter((part) => part !== 'copy');
      return [...inner, `joined along ${dimText(expr.dim)}`];
    }
    case 'reshape':
      return howSteps(expr.of, plan);
    case 'take':
      return [...howSteps(expr.of, plan), takeText(expr.index, expr.dim)];
    case 'scale':
      return [...howSteps(expr.of, plan), expr.by === 0 ? 'zeroed' : `× ${numberText(expr.by)}`];
    case 'offset':
      return [...howSteps(expr.of, plan), `${expr.by < 0 ? '−' : '+'} ${numberText(Math.abs(expr.by))}`];
    case 'cast':
      return [...howSteps(expr.of, plan), `as ${expr.dtype}`];
    case 'average':
      return [`average of ${expr.of.length}`, ...(expr.of[0] === undefined ? [] : howSteps(expr.of[0], plan))];
    case 'noise':
      return [
        ...howSteps(expr.of, plan),
        `+ noise N(0, ${numberText(expr.std)}²) on ${numberText(expr.ratio * 100)} %`,
      ];
    case 'redraw':
      return [
        ...howSteps(expr.of, plan),
        `${expr.index.kind === 'random-subset' ? `${numberText(expr.index.ratio * 100)} % of ` : ''}${dimText(expr.dim)} re-drawn`,
      ];
    case 'svd-noise':
      return [...howSteps(expr.of, plan), `+ noise outside the top ${expr.rank} singular directions`];
    case 'random':
      return [
        expr.dist.kind === 'normal'
          ? `random N(${numberText(expr.dist.mean)}, ${numberText(expr.dist.std)}²)`
          : `random uniform ${numberText(expr.dist.low)} to ${numberText(expr.dist.high)}`,
      ];
    case 'orthogonal':
      return [`random orthogonal × ${numberText(expr.gain)}`];
    case 'prompt-gate':
      return [`rows from prompts (${expr.mode})`];
    case 'fill':
      return [expr.value === 0 ? 'zeros' : `all ${numberText(expr.value)}`];
  }
}

function sliceText(expr: Extract<Expr, { op: 'slice' }>, plan: Plan | undefined): string {
  const size = plan === undefined ? null : sizeAlong(expr.of, expr.dim, plan);
  const length = expr.end - expr.begin;
  if (size !== null && length > 0 && size % length === 0 && expr.begin % length === 0)
    return `1/${size / length} of ${dimText(expr.dim)}`;
  return `${dimText(expr.dim)} ${expr.begin}–${expr.end - 1}`;
}

/** Size of a dimension where it can be told without evaluating: plain sources and what keeps their shape. */
function sizeAlong(expr: Expr, dim: number, plan: Plan): number | null {
  if (expr.op === 'source') return plan.sources[expr.from]?.tensors.get(expr.tensor)?.shape[dim] ?? null;
  if (expr.op === 'slice') return expr.dim === dim ? expr.end - expr.begin : sizeAlong(expr.of, dim, plan);
  if (expr.op === 'reshape') return expr.shape[dim] ?? null;
  if (
    expr.op === 'take' &&
    expr.dim === dim &&
    expr.index.kind !== 'permutation' &&
    expr.index.kind !== 'unpermute-rope'
  )
    return null;
  return 'of' in expr && !isList(expr.of) ? sizeAlong(expr.of, dim, plan) : null;
}

function takeText(index: IndexSet, dim: number): string {
  switch (index.kind) {
    case 'unpermute-rope':
      return 'rotary order undone';
    case 'repeat':
      return `${dimText(dim)} repeated × ${index.times}`;
    case 'permutation':
      return `${dimText(dim)} permuted`;
    case 'random-shard':
      return `random 1/${index.shards} of ${dimText(dim)}`;
    case 'norm-shard':
      return `1/${index.shards} of ${dimText(dim)} by importance`;
    case 'random-subset':
      return `random ${numberText(index.ratio * 100)} % of ${dimText(dim)}`;
  }
}

function dimText(dim: number): string {
  return dim === 0 ? 'rows' : dim === 1 ? 'columns' : `dimension ${dim}`;
}

function numberText(value: number): string {
  return String(Number(value.toPrecision(6)));
}
