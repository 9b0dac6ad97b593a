/**
 * Packs token sequences that share beginnings into rows for one run each: a radix tree per row, so that every shared prefix is
 * computed once. Pure.
 */
import type { Segment } from './masks.ts';

export interface PackedSequences {
  /** Parents before children, as `packSegments` wants them. */
  readonly segments: readonly Segment[];
  /** Indices of the sequences in this row, in the order given. */
  readonly members: readonly number[];
  /** Packed place of token `depth` of the member at `slot`. */
  readonly placeOf: (slot: number, depth: number) => number;
}

interface TreeNode {
  ids: readonly number[];
  /** Tokens before this node. */
  depth: number;
  readonly children: Map<number, TreeNode>;
}

/** Length of the common beginning. */
export function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  let n = 0;
  while (n < end && a[n] === b[n]) n++;
  return n;
}

/**
 * Fills rows with at most `budget` tokens, in the order given; a sequence longer than that gets a row of its own (shared
 * beginnings of its neighbours aside). `apart` sequences are never packed with others.
 */
export function packRows(
  sequences: readonly (readonly number[])[],
  budget: number,
  apart: (index: number) => boolean = () => false,
): readonly PackedSequences[] {
  const rows: PackedSequences[] = [];
  let tree = new Tree();
  const close = (): void => {
    if (tree.members.length > 0) rows.push(tree.finish(sequences));
    tree = new Tree();
  };
  sequences.forEach((ids, index) => {
    const alone = apart(index);
    if (alone || tree.size + tree.cost(ids) > budget) close();
    tree.insert(ids, index);
    if (alone) close();
  });
  close();
  return rows;
}

class Tree {
  readonly root: TreeNode = { ids: [], depth: 0, children: new Map() };
  readonly members: number[] = [];
  size = 0;

  /** Tokens that inserting `ids` would add. */
  cost(ids: readonly number[]): number {
    return ids.length - this.#descend(ids).matched;
  }

  insert(ids: readonly number[], index: number): void {
    this.members.push(index);
    const { node, matched, within } = this.#descend(ids);
    if (matched === ids.length && within === node.ids.length) return;
    // A sequence that ends or branches inside a node cuts it in two.
    if (within < node.ids.length) cut(node, within);
    const rest = ids.slice(matched);
    const [first] = rest;
    if (first === undefined) return;
    node.children.set(first, { ids: rest, depth: matched, children: new Map() });
    this.size += rest.length;
  }

  /** The deepest node that `ids` reaches: how many tokens match in all, and how many inside that node. */
  #descend(ids: readonly number[]): { readonly node: TreeNode; readonly matched: number; readonly within: number } {
    let node = this.root;
    let matched = 0;
    for (;;) {
      const next = node.children.get(ids[matched] ?? -1);
      if (next === undefined) return { node, matched, within: node.ids.length };
      let within = 0;
      while (within < next.ids.length && matched < ids.length && next.ids[within] === ids[matched]) {
        within++;
        matched++;
      }
      node = next;
      if (within < next.ids.length) return { node, matched, within };
    }
  }

  finish(sequences: readonly (readonly number[])[]): PackedSequences {
    const segments: Segment[] = [];
    const starts = new Map<TreeNode, number>();
    let place = 0;
    const visit = (node: TreeNode, parent: number): void => {
      let own = parent;
      if (node !== this.root) {
        own = segments.length;
        starts.set(node, place);
        segments.push({ ids: node.ids, parent });
        place += node.ids.length;
      }
      for (const child of node.children.values()) visit(child, own);
    };
    visit(this.root, -1);
    const placeOf = (slot: number, depth: number): number => {
      const ids = sequences[this.members[slot] ?? -1] ?? [];
      let node = this.root;
      for (;;) {
        const next: TreeNode | undefined = node.children.get(ids[node.depth + node.ids.length] ?? -1);
        if (next === undefined) throw new RangeError(`depth ${depth} of sequence ${slot} is not in its row`);
        node = next;
        if (depth < node.depth + node.ids.length) return (starts.get(node) ?? 0) + depth - node.depth;
      }
    };
    return { segments, members: this.members, placeOf };
  }
}

function cut(node: TreeNode, at: number): void {
  const tail: TreeNode = { ids: node.ids.slice(at), depth: node.depth + at, children: new Map(node.children) };
  node.ids = node.ids.slice(0, at);
  node.children.clear();
  node.children.set(tail.ids[0] ?? -1, tail);
}
