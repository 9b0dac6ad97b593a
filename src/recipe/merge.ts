/** Laying recipes over one another: defaults < preset < recipe < `--set` < SRC, value by value. */
import type { MapTree, Tree } from './tree.ts';

/** Maps whose members are merged; every other value is replaced as a whole. */
const MERGED = new Set(['router', 'output', 'config']);

/** `upper` over `lower`, at the top level of a recipe. */
export function mergeRecipes(lower: MapTree, upper: MapTree): MapTree {
  const entries = new Map(lower.entries);
  for (const [key, value] of upper.entries) {
    const below = entries.get(key);
    entries.set(key, below === undefined ? value : mergeField(key, below, value));
  }
  return { ...upper, entries };
}

function mergeField(key: string, lower: Tree, upper: Tree): Tree {
  if (key === 'expert_init') return mergeTagged('method', lower, upper);
  if (key === 'shared_expert') return mergeTagged('plan', lower, upper);
  return MERGED.has(key) ? mergeMaps(lower, upper) : upper;
}

function mergeMaps(lower: Tree, upper: Tree): Tree {
  if (lower.kind !== 'map' || upper.kind !== 'map') return upper;
  const entries = new Map(lower.entries);
  for (const [key, value] of upper.entries) {
    const below = entries.get(key);
    entries.set(key, below === undefined ? value : mergeMaps(below, value));
  }
  return { ...upper, entries };
}

/**
 * A value with a tag. Where the upper one names another `expert_init.method`, the fields of the old method go; where it
 * names the same or none, they stay. A new `shared_expert.plan` keeps the width, a plain one replaces all.
 */
function mergeTagged(tag: 'method' | 'plan', lower: Tree, upper: Tree): Tree {
  const below = tagged(tag, lower);
  const above = tagged(tag, upper);
  if (below === null || above === null) return upper;
  if (tag === 'plan') return upper.kind === 'map' ? mergeMaps(below, above) : upper;
  const wanted = above.entries.get(tag);
  const had = below.entries.get(tag);
  if (wanted !== undefined && had !== undefined && !sameScalar(wanted, had)) return upper;
  return mergeMaps(below, above);
}

function sameScalar(a: Tree, b: Tree): boolean {
  return a.kind === 'scalar' && b.kind === 'scalar' && a.value === b.value;
}

/** The short form `noise` as `{method: noise}`. */
export function tagged(tag: string, tree: Tree): MapTree | null {
  if (tree.kind === 'map') return tree;
  if (tree.kind !== 'scalar' || typeof tree.value !== 'string') return null;
  const { kind: _kind, value: _value, ...place } = tree;
  return { kind: 'map', entries: new Map([[tag, tree]]), ...place };
}
