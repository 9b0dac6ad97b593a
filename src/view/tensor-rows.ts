/** The tensor list of a checkpoint: any page of any view (filter, order, tree or flat, groups open or closed). */
import type { Checkpoint, Problem } from '../checkpoint/types.ts';
import type { Located, LocateRequest, RowsPage, RowsRequest, RowView, TensorFacts, TreeRow } from './wire-types.ts';
import { filterTensors, hitsIn } from './filter.ts';
import type { Filtered } from './filter.ts';
import { pythonFor } from './python.ts';
import { RowIndex, groupId, isGroup } from './row-index.ts';
import type { PlacedRow } from './row-index.ts';
import { TensorTable, severityOf } from './tensor-table.ts';
import { buildTree, roleOfNode, sortTensors } from './tree.ts';
import type { TreeNode, TreeStructure } from './tree.ts';
import { wireProblem } from './wire-problem.ts';

/** Filters up to this many hits show them all at once. */
const OPEN_HITS = 300;
/** Trees up to this many nodes are shown whole (but for the tensors of collapsed layers). */
const ONE_SCREEN = 48;
/** Views remembered: what one page scrolls through and what it was before. */
const KEPT_VIEWS = 3;

interface View extends Filtered {
  readonly matched: number;
  readonly matchedBytes: number;
  readonly tree: TreeStructure | null;
  readonly flat: Int32Array | null;
}

export class TensorRows {
  readonly table: TensorTable;
  private readonly views = new Map<string, View>();
  private readonly indexes = new Map<string, RowIndex>();
  private readonly problemsOf = new Map<string, Problem[]>();

  /** `problems`: those of the inspection, which hold the checkpoint's own. */
  constructor(
    private readonly cp: Checkpoint,
    problems: readonly Problem[] = cp.problems,
  ) {
    this.table = new TensorTable(cp, problems);
    for (const problem of problems) {
      if (problem.tensor === undefined || problem.tensor === '') continue;
      const list = this.problemsOf.get(problem.tensor);
      if (list === undefined) this.problemsOf.set(problem.tensor, [problem]);
      else list.push(problem);
    }
  }

  /** Rows `start` to `start + count` of a view. */
  page({ view, start, count }: RowsRequest): RowsPage {
    const made = this.viewOf(view);
    const { matched, matchedBytes, problem, terms, flat, tree } = made;
    const common = { start, matched, matchedBytes, tensors: this.table.count, filterProblem: problem };
    if (flat !== null) {
      const rows: TreeRow[] = [];
      for (let at = start; at < Math.min(flat.length, start + count); at++) {
        const i = flat[at] ?? 0;
        rows.push(this.tensorRow(i, this.table.tensor(i).name, 1, at + 1, flat.length, terms));
      }
      return { ...common, rows, total: flat.length };
    }
    if (tree === null) return { ...common, rows: [], total: 0 };
    const index = this.indexOf(view, made, tree);
    const rows = index.slice(start, count).map((row) => this.rowOf(row, index, made, tree));
    return { ...common, rows, total: index.total };
  }

  /** The view with the tensor's groups opened, and where its row stands there; null where the filter leaves it out. */
  locate({ view, tensor }: LocateRequest): Located {
    const number = this.table.find(tensor);
    const made = this.viewOf(view);
    if (number === null) return { view, index: null };
    if (made.flat !== null) {
      const at = made.flat.indexOf(number);
      return { view, index: at < 0 ? null : at };
    }
    if (made.tree === null || (made.tree.leafOf[number] ?? -1) < 0) return { view, index: null };
    const closed = this.indexOf(view, made, made.tree).closedAbove(number);
    if (closed.length === 0) return { view, index: this.indexOf(view, made, made.tree).placeOf(number) };
    const toggled = new Set(view.toggled);
    for (const node of closed) {
      const id = groupId(node);
      if (!toggled.delete(id)) toggled.add(id);
    }
    const opened: RowView = { ...view, toggled: [...toggled] };
    return { view: opened, index: this.indexOf(opened, made, made.tree).placeOf(number) };
  }

  /** What the inspector shows of a tensor before its data is read; null where there is none of that name. */
  facts(name: string): TensorFacts | null {
    const i = this.table.find(name);
    if (i === null) return null;
    const tensor = this.table.tensor(i);
    const file = this.cp.files.find((candidate) => candidate.name === tensor.file);
    return {
      name,
      dtype: tensor.dtype,
      shape: [...tensor.shape],
      elements: this.table.elements[i] ?? 0,
      bytes: tensor.bytes,
      file: tensor.file,
      path: file?.path ?? tensor.file,
      begin: tensor.begin < 0 ? null : tensor.begin,
      role: this.table.role(i),
      layer: this.table.layer(i),
      expert: this.table.expert(i),
      alias: aliasOf(this.cp, name),
      problems: (this.problemsOf.get(name) ?? []).slice(0, 100).map(wireProblem),
      statsUnavailable: this.unreadable(name),
      python: pythonFor(tensor, this.cp),
    };
  }

  /** Why a tensor's data cannot be read, or null. */
  private unreadable(name: string): string | null {
    if (this.cp.planOnly) return 'Only config and index are at hand: there is no data to read.';
    if (this.table.inPieces.has(name)) return 'It lies in pieces over several files, which are not put together here.';
    const tensor = this.cp.tensors.get(name);
    if (tensor === undefined || tensor.begin < 0) return 'Its data is not at hand.';
    const state = this.cp.files.find((file) => file.name === tensor.file)?.state;
    return state === 'missing' ? `${tensor.file} is missing.` : null;
  }

  private viewOf(view: RowView): View {
    const key = JSON.stringify([view.filter.trim(), view.order, view.descending, view.shape]);
    const known = this.views.get(key);
    if (known !== undefined) {
      this.views.delete(key);
      this.views.set(key, known);
      return known;
    }
    const { table } = this;
    const filtered = filterTensors(table, view.filter);
    const { ids } = filtered;
    const flat = view.shape === 'flat' ? this.flatOrder(ids, view) : null;
    const tree = view.shape === 'tree' ? buildTree(table, ids, view.order, view.descending) : null;
    const matchedBytes = ids === null ? table.bytes : ids.reduce((sum, i) => sum + table.tensor(i).bytes, 0);
    const made: View = { ...filtered, matched: ids?.length ?? table.count, matchedBytes, tree, flat };
    this.views.set(key, made);
    forgetOldest(this.views);
    return made;
  }

  private flatOrder(ids: Int32Array | null, { order, descending }: RowView): Int32Array {
    const { table } = this;
    if (order !== 'name') return sortTensors(table, ids ?? Int32Array.from(table.tensors.keys()), order, descending);
    let sorted = table.byName;
    if (ids !== null) {
      const passes = new Uint8Array(table.count);
      for (const i of ids) passes[i] = 1;
      sorted = sorted.filter((i) => passes[i] === 1);
    }
    return descending ? sorted.slice().reverse() : sorted;
  }

  private indexOf(view: RowView, made: View, tree: TreeStructure): RowIndex {
    const key = JSON.stringify([view.filter.trim(), view.order, view.descending, view.open, view.toggled]);
    const known = this.indexes.get(key);
    if (known !== undefined) {
      this.indexes.delete(key);
      this.indexes.set(key, known);
      return known;
    }
    const openAll = made.terms.length > 0 && made.matched <= OPEN_HITS;
    const most = made.terms.length > 0 ? 5000 : ONE_SCREEN;
    const index = new RowIndex(tree, {
      open: view.open,
      toggled: new Set(view.toggled),
      // All modules where that is about one screen, else the outermost; filtered, all of them, and few hits themselves.
      byDefault: (node, level) => openAll || (node.tensors === null && (level === 1 || tree.nodes.length <= most)),
    });
    this.indexes.set(key, index);
    forgetOldest(this.indexes);
    return index;
  }

  private rowOf(placed: PlacedRow, index: RowIndex, view: View, tree: TreeStructure): TreeRow {
    const { node, tensor, level, position, siblings } = placed;
    if (tensor !== null) {
      // Alone it stands under its module, so that the last part tells it; beside like ones only the whole name does.
      const label = node.tensors?.length === 1 ? node.label : this.table.tensor(tensor).name;
      return this.tensorRow(tensor, label, level, position, siblings, view.terms);
    }
    return {
      kind: 'group',
      id: groupId(node),
      level,
      position,
      siblings,
      label: node.label,
      hits: hitsIn(node.label, view.terms),
      bytes: node.bytes,
      elements: node.elements,
      severity: severityOf(node.severity),
      expanded: isGroup(node) && index.isExpanded(node),
      tensors: node.count,
      dtypes: dtypesOf(node, tree),
      shape: node.shape === null || node.shape.length > 64 ? null : [...node.shape],
      repeats: node.values?.length ?? (node.tensors === null ? null : node.tensors.length),
      role: roleOfNode(node, this.table),
    };
  }

  private tensorRow(
    i: number,
    label: string,
    level: number,
    position: number,
    siblings: number,
    terms: View['terms'],
  ): TreeRow {
    const { table } = this;
    const tensor = table.tensor(i);
    return {
      kind: 'tensor',
      id: `t:${tensor.name}`,
      level,
      position,
      siblings,
      label,
      hits: hitsIn(label, terms),
      bytes: tensor.bytes,
      elements: table.elements[i] ?? 0,
      severity: severityOf(table.severity[i] ?? 0),
      name: tensor.name,
      dtype: tensor.dtype,
      shape: tensor.shape.slice(0, 64),
      file: tensor.file,
      role: table.role(i),
      layer: table.layer(i),
      expert: table.expert(i),
    };
  }
}

function dtypesOf(node: TreeNode, tree: TreeStructure): string[] {
  return tree.dtypes.filter((_, bit) => (node.dtypes & (1n << BigInt(bit))) !== 0n).slice(0, 50);
}

function forgetOldest(kept: Map<string, unknown>): void {
  const [oldest] = kept.keys();
  if (kept.size > KEPT_VIEWS && oldest !== undefined) kept.delete(oldest);
}

function aliasOf(cp: Checkpoint, name: string): string | null {
  for (const [alias, { tensor }] of cp.gguf ?? []) if (tensor === name) return alias === name ? null : alias;
  for (const [alias, tensor] of cp.aliases) if (tensor === name) return alias;
  return null;
}
