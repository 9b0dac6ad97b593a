/** What may be written where in a recipe, from its JSON schema: completion and hover. No vscode here. */
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import { fieldText } from '../recipe/fields.ts';

export interface Suggestion {
  readonly label: string;
  readonly kind: 'field' | 'value';
  readonly insert: string;
  readonly about: string;
}

/** Where the cursor is: the keys around it, the key of its own line, and what is typed. */
export interface RecipePlace {
  readonly path: readonly string[];
  /** The key before the cursor on its line; null while a key is typed. */
  readonly key: string | null;
  readonly typed: string;
}

const KEY_LINE = /^(\s*)(?:- )?([\w.-]+)\s*:(.*)$/;

/** Reads the place from the lines above: block style, as recipes are written. */
export function placeAt(lines: readonly string[], line: number, column: number): RecipePlace {
  const before = (lines[line] ?? '').slice(0, column);
  const own = KEY_LINE.exec(before);
  const indent = own === null ? before.length - before.trimStart().length : (own[1] ?? '').length;
  const path: string[] = [];
  let level = indent;
  for (let at = line - 1; at >= 0 && level > 0; at--) {
    const found = KEY_LINE.exec(lines[at] ?? '');
    if (found === null) continue;
    const depth = (found[1] ?? '').length;
    if (depth >= level) continue;
    path.unshift(found[2] ?? '');
    level = depth;
  }
  // `router: { init: …` and the like: the last key inside the braces.
  const flow = own === null ? null : flowPlace(own[3] ?? '');
  if (own !== null && flow !== null) return { path: [...path, own[2] ?? ''], ...flow };
  if (own === null) return { path, key: null, typed: before.trim().replace(/^- /, '') };
  return { path, key: own[2] ?? '', typed: (own[3] ?? '').trim() };
}

function flowPlace(text: string): { readonly key: string | null; readonly typed: string } | null {
  if (!text.trimStart().startsWith('{')) return null;
  const last = text.slice(Math.max(text.lastIndexOf('{'), text.lastIndexOf(',')) + 1);
  const colon = last.indexOf(':');
  if (colon < 0) return { key: null, typed: last.trim() };
  return { key: last.slice(0, colon).trim(), typed: last.slice(colon + 1).trim() };
}

/** Suggestions at a place. */
export function suggestionsAt(schema: JsonObject, place: RecipePlace, present: ReadonlySet<string>): Suggestion[] {
  if (place.key === null) return fieldsAt(schema, place.path, present);
  const path = [...place.path, place.key];
  const nodes = nodesAt(schema, path);
  const values = new Map<string, Suggestion>();
  for (const node of nodes) {
    for (const value of literals(node))
      values.set(value, { label: value, kind: 'value', insert: value, about: about(path) });
  }
  return [...values.values()];
}

/** The text of a field: meaning and what it must be. */
export function hoverText(path: readonly string[]): string | null {
  const found = fieldText(path);
  return found === undefined ? null : `${found.about}\n\nExpected: ${found.expected}`;
}

function about(path: readonly string[]): string {
  return fieldText(path)?.about ?? '';
}

function fieldsAt(schema: JsonObject, path: readonly string[], present: ReadonlySet<string>): Suggestion[] {
  const fields = new Map<string, Suggestion>();
  for (const node of nodesAt(schema, path)) {
    const properties = node['properties'];
    if (!isJsonObject(properties)) continue;
    for (const [name, inner] of Object.entries(properties)) {
      if (present.has(name)) continue;
      const nested = isJsonObject(inner) && variants(inner).every((one) => isJsonObject(one['properties']));
      fields.set(name, {
        label: name,
        kind: 'field',
        insert: nested ? `${name}:` : `${name}: `,
        about: about([...path, name]),
      });
    }
  }
  return [...fields.values()];
}

/** All schema nodes that may hold at a path. */
function nodesAt(schema: JsonObject, path: readonly string[]): JsonObject[] {
  let nodes = variants(schema);
  for (const key of path) {
    nodes = nodes.flatMap((node) => {
      const properties = node['properties'];
      const inner = isJsonObject(properties) && Object.hasOwn(properties, key) ? properties[key] : undefined;
      if (isJsonObject(inner)) return variants(inner);
      const items = node['items'];
      if (!isJsonObject(items)) return [];
      return variants(items).flatMap((item) => {
        const inside = item['properties'];
        const found = isJsonObject(inside) && Object.hasOwn(inside, key) ? inside[key] : undefined;
        return isJsonObject(found) ? variants(found) : [];
      });
    });
  }
  return nodes;
}

function variants(node: JsonObject): JsonObject[] {
  const inner = ['anyOf', 'oneOf', 'allOf'].flatMap((word) => {
    const list = node[word];
    return Array.isArray(list) ? list.filter(isJsonObject).flatMap(variants) : [];
  });
  return inner.length > 0 ? [node, ...inner] : [node];
}

function literals(node: JsonObject): string[] {
  const list: JsonValue[] = Array.isArray(node['enum']) ? [...(node['enum'] as JsonValue[])] : [];
  if (node['const'] !== undefined) list.push(node['const']);
  if (node['type'] === 'boolean') list.push(true, false);
  return list.filter((value) => ['string', 'number', 'boolean'].includes(typeof value)).map(String);
}
