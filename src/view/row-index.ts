/** Which rows a tree shows for a given state of its groups, and which of them stand at given places. */
import type { TreeNode, TreeStructure } from './tree.ts';

/** Ids of groups, so that toggled groups are found again when the tree is built anew. */
export function groupId(node: TreeNode): string {
  return `g:${node.path}`;
}

/** A leaf of several tensors can be opened like a group. */
export function isGroup(node: TreeNode): boolean {
  return node.tensors === null || node.tensors.length > 1;
}

export interface RowState {
  readonly open: 'default' | 'all' | 'none';
  readonly toggled: ReadonlySet<string>;
  /** Whether groups are open by themselves, by node and level (1-based). */
  readonly byDefault: (node: TreeNode, level: number) => boolean;
}

/** A row: a node, or one tensor of a leaf that is open. */
export interface PlacedRow {
  readonly node: TreeNode;
  /** Number of the tensor for a row under an open leaf, or for a leaf of one; null for groups. */
  readonly tensor: number | null;
  readonly level: number;
  readonly position: number;
  readonly siblings: number;
}

export class RowIndex {
  private readonly expanded: Uint8Array;
  private readonly levels: Uint16Array;
  /** Rows of a node and all that is open below it. */
  private readonly rows: Float64Array;
  /** Rows before each child, for nodes with many children. */
  private readonly sums = new Map<readonly TreeNode[], Float64Array>();
  readonly total: number;

  constructor(
    private readonly tree: TreeStructure,
    state: RowState,
  ) {
    const { nodes, parents } = tree;
    this.expanded = new Uint8Array(nodes.length);
    this.levels = new Uint16Array(nodes.length);
    this.rows = new Float64Array(nodes.length);
    for (const [at, node] of nodes.entries()) {
      const level = Math.min(65_535, 1 + (this.levels[parents[at] ?? -1] ?? 0));
      this.levels[at] = level;
      if (isGroup(node) && isOpen(node, level, state)) this.expanded[at] = 1;
    }
    for (let at = nodes.length - 1; at >= 0; at--) {
      const node = nodes[at];
      if (node === undefined) continue;
      let rows = 1;
      if (this.expanded[at] === 1) {
        if (node.tensors !== null) rows += node.tensors.length;
        else for (const child of node.children) rows += this.rows[child.at] ?? 0;
      }
      this.rows[at] = rows;
    }
    this.total = tree.roots.reduce((sum, root) => sum + (this.rows[root.at] ?? 0), 0);
  }

  isExpanded(node: TreeNode): boolean {
    return this.expanded[node.at] === 1;
  }

  /** Rows `start` to `start + count` (exclusive), as many as there are. */
  slice(start: number, count: number): PlacedRow[] {
    const out: PlacedRow[] = [];
    this.collect(this.tree.roots, start, count, out);
    return out;
  }

  /** Rows from place `skip` on within a list of siblings and what is open below them. */
  private collect(siblings: readonly TreeNode[], skip: number, count: number, out: PlacedRow[]): void {
    const sums = this.sumsOf(siblings);
    let at = upperBound(sums, skip) - 1;
    let before = sums[at] ?? 0;
    for (; at < siblings.length && out.length < count; at++) {
      const node = siblings[at];
      if (node === undefined) break;
      const level = this.levels[node.at] ?? 1;
      const rest = Math.max(0, skip - before);
      before += this.rows[node.at] ?? 0;
      const position = at + 1;
      if (rest === 0) {
        const single = node.tensors?.length === 1 ? (node.tensors[0] ?? null) : null;
        out.push({ node, tensor: single, level, position, siblings: siblings.length });
      }
      if (this.expanded[node.at] !== 1) continue;
      const below = Math.max(0, rest - 1);
      if (node.tensors === null) this.collect(node.children, below, count, out);
      else {
        for (let k = below; k < node.tensors.length && out.length < count; k++) {
          const tensor = node.tensors[k] ?? null;
          out.push({ node, tensor, level: level + 1, position: k + 1, siblings: node.tensors.length });
        }
      }
    }
  }

  /** Place of a tensor's row, or null while a group above it is closed. */
  placeOf(tensor: number): number | null {
    const leaf = this.tree.nodes[this.tree.leafOf[tensor] ?? -1];
    if (leaf === undefined || this.closedAbove(tensor).length > 0) return null;
    let place = leaf.tensors !== null && leaf.tensors.length > 1 ? 1 + leaf.tensors.indexOf(tensor) : 0;
    for (let node: TreeNode | undefined = leaf; node !== undefined;) {
      const parent: TreeNode | undefined = this.tree.nodes[this.tree.parents[node.at] ?? -1];
      const siblings: readonly TreeNode[] = parent?.children ?? this.tree.roots;
      place += (this.sumsOf(siblings)[siblings.indexOf(node)] ?? 0) + (parent === undefined ? 0 : 1);
      node = parent;
    }
    return place;
  }

  /** Groups that must be opened for a tensor's row to show. */
  closedAbove(tensor: number): TreeNode[] {
    const closed: TreeNode[] = [];
    for (let at = this.tree.leafOf[tensor] ?? -1; at >= 0; at = this.tree.parents[at] ?? -1) {
      const node = this.tree.nodes[at];
      if (node !== undefined && isGroup(node) && this.expanded[at] !== 1) closed.push(node);
    }
    return closed;
  }

  private sumsOf(siblings: readonly TreeNode[]): Float64Array {
    let sums = this.sums.get(siblings);
    if (sums === undefined) {
      sums = new Float64Array(siblings.length);
      let sum = 0;
      for (const [i, node] of siblings.entries()) {
        sums[i] = sum;
        sum += this.rows[node.at] ?? 0;
      }
      this.sums.set(siblings, sums);
    }
    return sums;
  }
}

function isOpen(node: TreeNode, level: number, state: RowState): boolean {
  const open = state.open === 'default' ? state.byDefault(node, level) : state.open === 'all';
  return state.toggled.size > 0 && state.toggled.has(groupId(node)) ? !open : open;
}

/** First place whose value is larger than `value`. */
function upperBound(values: Float64Array, value: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
