/**
 * Edits of a recipe's text: the smallest change of characters that gives the new values, so that comments, order and style
 * stay. Every edit is checked by reading the result again.
 */
import { isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { Document, Pair, ParsedNode, YAMLMap, YAMLSeq } from 'yaml';
import { MoeError } from '../common/errors.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';
import { canonicalJson, isJsonObject } from '../common/json.ts';
import type { RecipeChange, RecipePath } from '../protocol/planning.ts';
import { METHOD_NAMES, methodFields } from '../recipe/schema.ts';
import { parseTree } from '../recipe/tree.ts';
import { changedValue } from './recipe-values.ts';
import { flowText, keyText } from './yaml-flow.ts';

/** Characters `from` to `to` (exclusive) of the text become `text`. */
interface Splice {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

type Doc = Document.Parsed;

/**
 * Applies changes one after the other.
 * @throws MoeError `recipe-not-editable` where the text is no valid YAML mapping, or the place is an alias
 */
export function applyRecipeChanges(text: string, changes: readonly RecipeChange[]): string {
  let current = text;
  for (const change of changes) for (const step of stepsOf(current, change)) current = applyOne(current, step);
  return current;
}

function notEditable(why: string): MoeError {
  return new MoeError('input', 'recipe-not-editable', `The recipe cannot be edited here: ${why}`, {
    hint: 'Edit its text.',
  });
}

function read(text: string): { doc: Doc; value: JsonObject } {
  // The bounded reader first: it refuses hostile text.
  const { faults } = parseTree(text, { layer: 'recipe', label: 'recipe' });
  if (faults[0] !== undefined) throw notEditable(faults[0].message);
  const doc = parseDocument(text, { version: '1.2' });
  const value: unknown = doc.contents === null ? {} : doc.toJS({ maxAliasCount: 100 });
  if (doc.contents !== null && isScalar(doc.contents) && doc.contents.value === null) return { doc, value: {} };
  if (!isJsonObject(value)) throw notEditable('it is no mapping of fields');
  return { doc, value };
}

/**
 * What a change means for the groups that have a short form: `expert_init: noise` is a mapping with one member, and another
 * method has other members.
 */
function stepsOf(text: string, change: RecipeChange): RecipeChange[] {
  const [group, member, ...deeper] = change.path;
  if (change.op === 'set' && (change.path.join('.') === 'tie' || change.path.join('.') === 'output.clone')) {
    const { value } = change;
    if (value === 'true' || value === 'false') return [{ ...change, value: value === 'true' }];
  }
  const tag = group === 'expert_init' ? 'method' : group === 'shared_expert' ? 'plan' : null;
  if (tag === null || group === undefined || member === undefined || deeper.length > 0) return [change];
  const now = read(text).value[group];
  if (typeof now === 'string') {
    // A tag alone stays a tag alone; with another member it becomes a mapping.
    if (member === tag) return [{ ...change, path: [group] }];
    return change.op === 'remove' ? [] : [{ op: 'set', path: [group], value: { [tag]: now, [member]: change.value } }];
  }
  if (!isJsonObject(now)) return change.op === 'set' && member === tag ? [{ ...change, path: [group] }] : [change];
  if (change.op === 'set' && member === 'method') {
    const method = METHOD_NAMES.find((name) => name === change.value);
    const kept = new Set<string>(method === undefined ? [] : methodFields(method));
    const gone = Object.keys(now).filter((key) => key !== 'method' && !kept.has(key));
    return [change, ...gone.map((key): RecipeChange => ({ op: 'remove', path: [group, key] }))];
  }
  const none = change.op === 'set' && member === 'plan' && (change.value === 'auto' || change.value === 'none');
  const alone = member === 'width' && change.op === 'remove' && typeof now['plan'] === 'string';
  if (none) return [{ ...change, path: [group] }];
  return alone ? [{ op: 'set', path: [group], value: now['plan'] ?? 'auto' }] : [change];
}

function applyOne(text: string, change: RecipeChange): string {
  const { doc, value } = read(text);
  const wanted = changedValue(value, change);
  if (canonicalJson(wanted) === canonicalJson(value)) return text;
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  const splice =
    change.op === 'set' ? setSplice(text, doc, change.path, change.value, eol) : removeSplice(text, doc, change.path);
  if (splice !== null) {
    const made = text.slice(0, splice.from) + splice.text + text.slice(splice.to);
    if (holds(made, wanted)) return made;
  }
  // Unusual style: the library writes the document anew, which keeps comments and order too.
  const rewritten = rewrite(doc, change);
  if (rewritten !== null && holds(rewritten, wanted)) return rewritten;
  throw notEditable(`${change.path.join('.')} stands in a form that is not understood here`);
}

function rewrite(doc: Doc, change: RecipeChange): string | null {
  try {
    if (change.op === 'set') doc.setIn(change.path, change.value);
    else doc.deleteIn(change.path);
    return doc.toString({ lineWidth: 0 });
  } catch {
    // The library's own complaint is about its nodes: ours, about the field, is given instead.
    return null;
  }
}

function holds(text: string, wanted: JsonValue): boolean {
  try {
    return canonicalJson(read(text).value) === canonicalJson(wanted);
  } catch {
    return false;
  }
}

type MapNode = YAMLMap.Parsed;
type SeqNode = YAMLSeq.Parsed;

function setSplice(text: string, doc: Doc, path: RecipePath, value: JsonValue, eol: string): Splice | null {
  let node: ParsedNode | null = doc.contents;
  if (node === null || (isScalar(node) && node.value === null)) {
    const start = text === '' || text.endsWith('\n') ? '' : eol;
    return { from: text.length, to: text.length, text: `${start}${lines(path, value, '', eol)}` };
  }
  for (const [depth, step] of path.entries()) {
    const rest = path.slice(depth + 1);
    if (isMap(node)) {
      const pair = pairOf(node, step);
      if (pair === null) return insertPair(text, node, [step, ...rest], value, eol);
      if (!leadsOn(pair.value, rest)) return replaceValue(text, pair, node.flow === true, nested(rest, value));
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      const item: ParsedNode | undefined = node.items[step];
      if (item === undefined)
        return step === node.items.length ? insertItem(text, node, nested(rest, value), eol) : null;
      if (!leadsOn(item, rest))
        return { from: item.range[0], to: endOf(text, item), text: flowText(nested(rest, value), node.flow === true) };
      node = item;
    } else return null;
  }
  return null;
}

/** Can the next step be taken inside this node? Otherwise it is replaced. */
function leadsOn(node: ParsedNode | null, rest: RecipePath): node is MapNode | SeqNode {
  return rest.length > 0 && (isMap(node) || (isSeq(node) && typeof rest[0] === 'number'));
}

/** `value` under the keys of `path`. */
function nested(path: RecipePath, value: JsonValue): JsonValue {
  return path.reduceRight<JsonValue>((inner, key) => (typeof key === 'number' ? [inner] : { [key]: inner }), value);
}

function pairOf(map: MapNode, key: string | number): Pair<ParsedNode, ParsedNode | null> | null {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(key)) ?? null;
}

/** Where the text of a node ends; block scalars and collections reach over the line break. */
function endOf(text: string, node: ParsedNode): number {
  let end = node.range[1];
  while (end > node.range[0] && /\s/.test(text.charAt(end - 1))) end--;
  return end;
}

function replaceValue(
  text: string,
  pair: Pair<ParsedNode, ParsedNode | null>,
  flow: boolean,
  value: JsonValue,
): Splice | null {
  const { key, value: node } = pair;
  const colon = text.indexOf(':', key.range[1]);
  if (colon < 0) return null;
  const written = flowText(value, flow);
  const inline = node !== null && !isBlockCollection(node) && node.range[1] > node.range[0];
  // An anchor or tag before the value stays outside its range and would be given to the new one.
  if (
    node !== null &&
    !isAlias(node) &&
    (node.anchor !== undefined || node.tag !== undefined) &&
    /[&!]/.test(text.slice(colon, node.range[0]))
  )
    return null;
  if (inline) return { from: node.range[0], to: endOf(text, node), text: written };
  const end = node === null || node.range[1] <= node.range[0] ? colon + 1 : endOf(text, node);
  return { from: colon + 1, to: Math.max(colon + 1, end), text: ` ${written}` };
}

function isBlockCollection(node: ParsedNode): boolean {
  return (isMap(node) || isSeq(node)) && node.flow !== true;
}

/** Whole lines for a new member of a block mapping. */
function lines(path: RecipePath, value: JsonValue, indent: string, eol: string): string {
  const [key = '', ...rest] = path;
  if (typeof rest[0] === 'number' && rest.length > 1) {
    // A list of mappings: its first item, on lines of its own.
    const item = lines(rest.slice(1), value, `${indent}    `, eol).slice(indent.length + 4);
    return `${indent}${keyText(String(key))}:${eol}${indent}  - ${item}`;
  }
  if (rest.length === 0 || typeof rest[0] === 'number')
    return `${indent}${keyText(String(key))}: ${flowText(nested(rest, value), false)}${eol}`;
  return `${indent}${keyText(String(key))}:${eol}${lines(rest, value, `${indent}  `, eol)}`;
}

function insertPair(text: string, map: MapNode, path: RecipePath, value: JsonValue, eol: string): Splice | null {
  const last = map.items.at(-1);
  if (map.flow === true) {
    const [key = '', ...rest] = path;
    const member = `${keyText(String(key))}: ${flowText(nested(rest, value), true)}`;
    if (last === undefined) return { from: map.range[0] + 1, to: map.range[1] - 1, text: member };
    const end = pairEnd(text, last);
    return { from: end, to: end, text: `, ${member}` };
  }
  if (last === undefined) return null;
  const from = lineEnd(text, pairEnd(text, last));
  const start = from > 0 && text.charAt(from - 1) !== '\n' ? eol : '';
  return { from, to: from, text: start + lines(path, value, indentOf(text, last.key.range[0]), eol) };
}

function insertItem(text: string, seq: SeqNode, value: JsonValue, eol: string): Splice | null {
  const last = seq.items.at(-1);
  if (seq.flow === true) {
    const written = flowText(value, true);
    if (last === undefined) return { from: seq.range[0] + 1, to: seq.range[1] - 1, text: written };
    const end = endOf(text, last);
    return { from: end, to: end, text: `, ${written}` };
  }
  if (last === undefined) return null;
  const from = lineEnd(text, endOf(text, last));
  const start = from > 0 && text.charAt(from - 1) !== '\n' ? eol : '';
  const indent = indentOf(text, seq.range[0]);
  // As the items before it: a mapping on lines of its own, or in one line.
  const block = isJsonObject(value) && Object.keys(value).length > 0 && isMap(last) && last.flow !== true;
  const item = block
    ? Object.entries(value)
        .map(([key, member]) => lines([key], member, `${indent}  `, eol))
        .join('')
        .slice(indent.length + 2)
    : `${flowText(value, false)}${eol}`;
  return { from, to: from, text: `${start}${indent}- ${item}` };
}

function removeSplice(text: string, doc: Doc, path: RecipePath): Splice | null {
  let node: ParsedNode | null = doc.contents;
  const parents: { map: MapNode; pair: Pair<ParsedNode, ParsedNode | null> }[] = [];
  for (const [depth, step] of path.entries()) {
    if (isSeq(node) && typeof step === 'number') {
      const item: ParsedNode | undefined = node.items[step];
      if (item === undefined) return null;
      if (depth === path.length - 1) return removeItem(text, node, step, item);
      node = item;
      parents.length = 0;
      continue;
    }
    if (!isMap(node)) return null;
    const pair = pairOf(node, step);
    if (pair === null) return null;
    parents.push({ map: node, pair });
    node = pair.value;
  }
  // A mapping that would be left empty goes with its last member.
  let at = parents.length - 1;
  while (at > 0 && parents[at]?.map.items.length === 1) at--;
  const found = parents[at];
  if (found === undefined) return null;
  const { map, pair } = found;
  if (map.flow === true) return removeBetweenCommas(text, pair.key.range[0], pairEnd(text, pair));
  const begin = lineStart(text, pair.key.range[0]);
  // The first member of a mapping in a list shares its line with the dash.
  if (text.slice(begin, pair.key.range[0]).trim() !== '') return null;
  return { from: begin, to: lineEnd(text, pairEnd(text, pair)), text: '' };
}

function removeItem(text: string, seq: SeqNode, index: number, item: ParsedNode): Splice | null {
  if (seq.flow === true) return removeBetweenCommas(text, item.range[0], endOf(text, item));
  if (seq.items.length === 1 && index === 0) return null;
  const begin = lineStart(text, item.range[0]);
  if (text.slice(begin, item.range[0]).trim() !== '-') return null;
  return { from: begin, to: lineEnd(text, endOf(text, item)), text: '' };
}

/** A member of a flow collection and one comma beside it. */
function removeBetweenCommas(text: string, from: number, to: number): Splice {
  const after = /^\s*,[ \t]*/.exec(text.slice(to));
  if (after !== null) return { from, to: to + after[0].length, text: '' };
  const before = /,\s*$/.exec(text.slice(0, from));
  return { from: before === null ? from : before.index, to, text: '' };
}

function pairEnd(text: string, pair: Pair<ParsedNode, ParsedNode | null>): number {
  const { key, value } = pair;
  if (value !== null && value.range[1] > value.range[0]) return endOf(text, value);
  const colon = text.indexOf(':', key.range[1]);
  return colon < 0 ? key.range[1] : colon + 1;
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf('\n', at - 1) + 1;
}

/** After the line break of the line, comment included. */
function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end + 1;
}

/** Spaces in front of a key; under a dash as many as bring it below the first key. */
function indentOf(text: string, at: number): string {
  return ' '.repeat(at - lineStart(text, at));
}
