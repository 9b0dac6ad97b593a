/**
 * Tensors as a tree by module, in which like things are one node: layers (or experts) whose tensors have the same names are
 * collapsed into `layers.0–31`, and what is below stands for all of them. The tree has as many nodes as patterns, not tensors.
 */
import { rangesText } from '../report/text.ts';
import { mix, placesOf, textHash } from './index-values.ts';
import { naturalCompare } from './natural.ts';
import type { NamePattern } from './name-pattern.ts';
import type { TensorTable } from './tensor-table.ts';
import { append } from '../common/lists.ts';

export type TreeOrder = 'name' | 'size' | 'file';

export interface TreeNode {
  /** Stable name of the node: the path of labels, a number class by its first number. */
  readonly path: string;
  label: string;
  readonly children: readonly TreeNode[];
  /** Of a leaf: its tensors, in order. A leaf of one tensor is shown as that tensor. */
  readonly tensors: Int32Array | null;
  /** Numbers that the label's index stands for, ascending; null where it has none. */
  readonly values: readonly number[] | null;
  readonly count: number;
  readonly bytes: number;
  readonly elements: number;
  /** Bits of `TreeStructure.dtypes`. */
  readonly dtypes: bigint;
  /** Common shape of all tensors, or null. */
  readonly shape: readonly number[] | null;
  readonly severity: number;
  /** Number of the first file that a tensor lies in. */
  readonly file: number;
  /** Place in `TreeStructure.nodes`. */
  at: number;
}

export interface TreeStructure {
  readonly roots: readonly TreeNode[];
  /** All nodes, parents before children. */
  readonly nodes: readonly TreeNode[];
  /** Parent of each node; −1 for roots. */
  readonly parents: Int32Array;
  readonly dtypes: readonly string[];
  /** Leaf of each tensor of the table, as its place in `nodes`; −1 for tensors that are left out. */
  readonly leafOf: Int32Array;
}

/** Leaves looked at for a common role before a group counts as mixed. */
const MAX_ROLE_LEAVES = 500;

/** The role that all tensors of a node share, or null. */
export function roleOfNode(node: TreeNode, table: TensorTable): string | null {
  let role: string | null = null;
  let seen = 0;
  const stack = [node];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (next.tensors !== null) {
      const own = table.role(next.tensors[0] ?? 0);
      if ((role !== null && own !== role) || ++seen > MAX_ROLE_LEAVES) return null;
      role = own;
    }
    if (next.children.length > MAX_ROLE_LEAVES) return null;
    append(stack, next.children);
  }
  return role;
}

/** A pattern and those of its tensors that lie in the branch being built. */
interface Branch {
  readonly pattern: NamePattern;
  readonly ids: Int32Array;
}

/** Builds the tree over `ids` (null: all tensors). */
export function buildTree(
  table: TensorTable,
  ids: Int32Array | null,
  order: TreeOrder,
  descending: boolean,
): TreeStructure {
  const builder = new Builder(table, order, descending);
  const roots = builder.level(branchesOf(table, ids), 0, 0, '').map(compress);
  const nodes: TreeNode[] = [];
  const parents: number[] = [];
  const leafOf = new Int32Array(table.count).fill(-1);
  const stack: [TreeNode, number][] = roots.map((root): [TreeNode, number] => [root, -1]).reverse();
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const [node, parent] = next;
    node.at = nodes.length;
    nodes.push(node);
    parents.push(parent);
    for (const id of node.tensors ?? []) leafOf[id] = node.at;
    for (let i = node.children.length - 1; i >= 0; i--) {
      const child = node.children[i];
      if (child !== undefined) stack.push([child, node.at]);
    }
  }
  return { roots, nodes, parents: Int32Array.from(parents), dtypes: builder.dtypeNames, leafOf };
}

function branchesOf(table: TensorTable, ids: Int32Array | null): Branch[] {
  const { patterns, pattern } = table;
  const sizes = new Int32Array(patterns.length);
  const count = ids?.length ?? table.count;
  for (let k = 0; k < count; k++) {
    const p = pattern[ids === null ? k : (ids[k] ?? 0)] ?? 0;
    sizes[p] = (sizes[p] ?? 0) + 1;
  }
  const lists = patterns.map((_, p) => (sizes[p] === 0 ? null : new Int32Array(sizes[p] ?? 0)));
  const filled = new Int32Array(patterns.length);
  for (let k = 0; k < count; k++) {
    const i = ids === null ? k : (ids[k] ?? 0);
    const p = pattern[i] ?? 0;
    const list = lists[p];
    const at = filled[p] ?? 0;
    if (list !== null && list !== undefined) list[at] = i;
    filled[p] = at + 1;
  }
  const branches: Branch[] = [];
  for (const [p, list] of lists.entries()) {
    const known = patterns[p];
    if (list !== null && known !== undefined) branches.push({ pattern: known, ids: list });
  }
  return branches;
}

/** A group with one child is one row with it, unless it stands for several like things. */
function compress(node: TreeNode): TreeNode {
  const [only, ...more] = node.children;
  if (only === undefined || more.length > 0 || node.values !== null) return node;
  return { ...only, label: `${node.label}.${only.label}` };
}

class Builder {
  readonly dtypeNames: string[] = [];
  private readonly dtypeBits = new Map<string, bigint>();
  private readonly files = new Map<string, number>();

  constructor(
    private readonly table: TensorTable,
    private readonly order: TreeOrder,
    private readonly descending: boolean,
  ) {}

  /** Nodes for part `depth` of the branches; `slot` indices lie before it. */
  level(branches: readonly Branch[], depth: number, slot: number, path: string): TreeNode[] {
    const byPart = new Map<string, Branch[]>();
    for (const branch of branches) {
      const part = branch.pattern.parts[depth] ?? '';
      const list = byPart.get(part);
      if (list === undefined) byPart.set(part, [branch]);
      else list.push(branch);
    }
    const nodes: TreeNode[] = [];
    for (const [part, list] of byPart) {
      const own = path === '' ? part : `${path}/${part}`;
      const indexed = list[0]?.pattern.indexed === true && part.includes('#');
      if (!indexed) append(nodes, this.partNodes(list, depth, slot, part, own, null));
      else {
        for (const { branches: members, values } of this.alike(list, slot)) {
          const label = part.replace('#', () => rangesText(values));
          append(nodes, this.partNodes(members, depth, slot + 1, label, `${own}@${String(values[0] ?? 0)}`, values));
        }
      }
    }
    return this.sorted(nodes);
  }

  /** The leaf that ends here (one per pattern) and the group of what goes on. */
  private partNodes(
    branches: readonly Branch[],
    depth: number,
    slot: number,
    label: string,
    path: string,
    values: readonly number[] | null,
  ): TreeNode[] {
    const nodes: TreeNode[] = [];
    const on: Branch[] = [];
    for (const branch of branches) {
      if (branch.pattern.parts.length > depth + 1) on.push(branch);
      else nodes.push(this.leaf(branch, label, path));
    }
    if (on.length > 0) {
      const several = values !== null && values.length > 1 ? values : null;
      nodes.push(this.group(this.level(on, depth + 1, slot, path).map(compress), label, `${path}/`, several));
    }
    return nodes;
  }

  /** Classes of index values below which the same names lie. Index values are told apart by two 32-bit sums of hashes. */
  private alike(branches: readonly Branch[], slot: number): { branches: Branch[]; values: number[] }[] {
    const { table } = this;
    const places = placesOf(table, branches, slot);
    const first = new Int32Array(places.count);
    const second = new Int32Array(places.count);
    const seen = new Uint8Array(places.count);
    for (const { pattern, ids } of branches) {
      const seed = textHash(pattern.key);
      const more = pattern.slots > slot + 1;
      for (const i of ids) {
        const at = places.of(table.index(i, slot));
        let h = seed;
        if (more) for (let later = slot + 1; later < pattern.slots; later++) h = mix(h, table.index(i, later));
        first[at] = ((first[at] ?? 0) + mix(h, 1)) | 0;
        second[at] = ((second[at] ?? 0) + mix(h, 2)) | 0;
        seen[at] = 1;
      }
    }
    const classes = new Map<string, { branches: Branch[]; values: number[] }>();
    const classOf = new Map<number, { branches: Branch[]; values: number[] }>();
    for (const value of places.values()) {
      const at = places.of(value);
      if (seen[at] !== 1) continue;
      const key = `${String(first[at])} ${String(second[at])}`;
      let alike = classes.get(key);
      if (alike === undefined) classes.set(key, (alike = { branches: [], values: [] }));
      alike.values.push(value);
      classOf.set(value, alike);
    }
    if (classes.size === 1) return [...classes.values()].map(({ values }) => ({ values, branches: [...branches] }));
    for (const { pattern, ids } of branches) {
      const lists = new Map<{ branches: Branch[] }, number[]>();
      for (const i of ids) {
        const target = classOf.get(table.index(i, slot));
        if (target === undefined) continue;
        const list = lists.get(target);
        if (list === undefined) lists.set(target, [i]);
        else list.push(i);
      }
      for (const [target, list] of lists) target.branches.push({ pattern, ids: Int32Array.from(list) });
    }
    return [...classes.values()];
  }

  private leaf({ ids }: Branch, label: string, path: string): TreeNode {
    const { table } = this;
    const first = table.tensor(ids[0] ?? 0);
    let bytes = 0;
    let elements = 0;
    let dtypes = 0n;
    let lastDtype = '';
    let severity = 0;
    let file = Infinity;
    let lastFile = '';
    let { shape }: { shape: readonly number[] | null } = first;
    for (const i of ids) {
      const tensor = table.tensor(i);
      bytes += tensor.bytes;
      elements += table.elements[i] ?? 0;
      if (tensor.dtype !== lastDtype) {
        lastDtype = tensor.dtype;
        dtypes |= this.dtypeBit(lastDtype);
      }
      if (tensor.file !== lastFile) {
        lastFile = tensor.file;
        file = Math.min(file, this.fileNumber(lastFile));
      }
      severity = Math.max(severity, table.severity[i] ?? 0);
      if (shape !== null && shape !== tensor.shape && !sameShape(shape, tensor.shape)) shape = null;
    }
    return {
      path,
      label,
      children: [],
      tensors: this.sortedTensors(ids),
      values: null,
      count: ids.length,
      bytes,
      elements,
      dtypes,
      shape,
      severity,
      file,
      at: -1,
    };
  }

  private group(
    children: readonly TreeNode[],
    label: string,
    path: string,
    values: readonly number[] | null,
  ): TreeNode {
    let [count, bytes, elements, dtypes, severity, file] = [0, 0, 0, 0n, 0, Infinity];
    let shape = children[0]?.shape ?? null;
    for (const child of children) {
      count += child.count;
      bytes += child.bytes;
      elements += child.elements;
      dtypes |= child.dtypes;
      severity = Math.max(severity, child.severity);
      file = Math.min(file, child.file);
      if (shape !== null && (child.shape === null || !sameShape(shape, child.shape))) shape = null;
    }
    return {
      path,
      label,
      children,
      tensors: null,
      values,
      count,
      bytes,
      elements,
      dtypes,
      shape,
      severity,
      file,
      at: -1,
    };
  }

  private sorted(nodes: TreeNode[]): TreeNode[] {
    const { order } = this;
    const sign = this.descending ? -1 : 1;
    const by = (a: TreeNode, b: TreeNode): number =>
      sign *
        (order === 'size'
          ? a.bytes - b.bytes
          : order === 'file'
            ? a.file - b.file
            : naturalCompare(a.label, b.label)) || naturalCompare(a.label, b.label);
    return nodes.sort(by);
  }

  private sortedTensors(ids: Int32Array): Int32Array {
    return sortTensors(this.table, ids, this.order, this.descending);
  }

  private dtypeBit(dtype: string): bigint {
    let bit = this.dtypeBits.get(dtype);
    if (bit === undefined) {
      bit = 1n << BigInt(this.dtypeNames.length);
      this.dtypeBits.set(dtype, bit);
      this.dtypeNames.push(dtype);
    }
    return bit;
  }

  private fileNumber(file: string): number {
    let number = this.files.get(file);
    if (number === undefined) this.files.set(file, (number = this.files.size));
    return number;
  }
}

/** Tensors in an order; equal ones by name. Hands the list itself back where it is in order already. */
export function sortTensors(table: TensorTable, ids: Int32Array, order: TreeOrder, descending: boolean): Int32Array {
  const sign = descending ? -1 : 1;
  const compare =
    order === 'name'
      ? (a: number, b: number) => sign * table.compareNames(a, b)
      : order === 'size'
        ? (a: number, b: number) => sign * (table.tensor(a).bytes - table.tensor(b).bytes) || table.compareNames(a, b)
        : (a: number, b: number) =>
            sign * naturalCompare(table.tensor(a).file, table.tensor(b).file) || table.compareNames(a, b);
  for (let k = 1; k < ids.length; k++) {
    if (compare(ids[k - 1] ?? 0, ids[k] ?? 0) > 0) return Int32Array.from([...ids].sort(compare));
  }
  return ids;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((dim, at) => dim === b[at]));
}
