/** Which value of a recipe came from where. */
import type { JsonValue } from '../common/json.ts';
import { tagged } from './merge.ts';
import type { MapTree, Tree } from './tree.ts';
import type { Recipe } from './types.ts';

/**
 * For every field of the recipe (dotted): `default`, `preset NAME`, `a.moe.yaml line 3`, `--set key=value`, `SRC`.
 * `config` is listed by its own fields.
 */
export function originsOf(recipe: Recipe, tree: MapTree): ReadonlyMap<string, string> {
  const origins = new Map<string, string>();
  for (const [key, value] of Object.entries(recipe)) {
    const node = tree.entries.get(key);
    const members = MEMBERS.has(key) && typeof value === 'object' && value !== null ? value : null;
    if (members === null || Array.isArray(members)) {
      origins.set(key, label(node));
      continue;
    }
    const map = node === undefined ? null : tagged(key === 'expert_init' ? 'method' : 'plan', node);
    for (const member of Object.keys(members as Record<string, JsonValue>))
      origins.set(`${key}.${member}`, label(map?.entries.get(member)));
  }
  return origins;
}

const MEMBERS = new Set(['router', 'output', 'config', 'expert_init', 'shared_expert']);

function label(node: Tree | undefined): string {
  if (node === undefined || node.source.layer === 'default') return 'default';
  return node.source.layer === 'recipe' && node.at !== undefined
    ? `${node.source.label} line ${node.at.line}`
    : node.source.label;
}
