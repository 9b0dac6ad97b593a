/** Judging a merged recipe: every field by the schema, then the relations between fields; all problems at once. */
import type * as z from 'zod';
import { isJsonObject } from '../common/json.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';
import { neverReason } from '../families/index.ts';
import { FIELD_SYNONYMS, fieldText } from './fields.ts';
import { tagged } from './merge.ts';
import { nearestName } from './nearest.ts';
import { presetNamed, PRESETS } from './presets.ts';
import { at, dotted } from './problems.ts';
import type { Path, RecipeProblem } from './problems.ts';
import { relations } from './relations.ts';
import { EXPERT_INITS, KNOWN_KEYS, METHOD_NAMES, methodFields, RECIPE_SHAPE } from './schema.ts';
import type { MethodName } from './schema.ts';
import { nodeAt, treeValue } from './tree.ts';
import type { MapTree, Tree } from './tree.ts';
import { TARGETS } from './types.ts';
import type { Recipe } from './types.ts';
import { parseLayers } from './units.ts';
import { append } from '../common/lists.ts';

type Field = keyof typeof RECIPE_SHAPE;
type Parsed = { -readonly [K in Exclude<Field, 'config'>]?: z.output<(typeof RECIPE_SHAPE)[K]> } & {
  config?: JsonObject;
};

export interface Checked {
  /** Null where any problem is an error. */
  readonly recipe: Recipe | null;
  readonly problems: readonly RecipeProblem[];
}

/** Judges the merged tree of all layers. */
export function checkRecipe(tree: MapTree): Checked {
  const problems: RecipeProblem[] = [];
  for (const [key, node] of tree.entries)
    if (!isField(key)) problems.push(unknownKey([], key, node, KNOWN_KEYS.get('') ?? []));
  const parsed: Parsed = {};
  for (const key of FIELDS) readField(tree, key, parsed, problems);
  relations(tree, parsed, problems);
  if (problems.some((problem) => problem.severity === 'error')) return { recipe: null, problems };
  return { recipe: complete(parsed), problems };
}

const FIELDS = Object.keys(RECIPE_SHAPE).filter(isField);

function isField(key: string): key is Field {
  return Object.hasOwn(RECIPE_SHAPE, key);
}

function readField<K extends Field>(tree: MapTree, key: K, parsed: Parsed, problems: RecipeProblem[]): void {
  const node = tree.entries.get(key);
  if (node !== undefined && isBlank(node) && BLANK_MEANS_DEFAULT.has(key)) {
    problems.push(at(node, [key], 'warning', 'empty-value', `no value is written; the default is used`));
    return setDefault(key, parsed);
  }
  if (node === undefined) return setDefault(key, parsed);
  const found: RecipeProblem[] = [];
  if (key === 'config') parsed.config = readConfig(node, found);
  else if (key === 'expert_init') readExpertInit(node, parsed, found);
  else if (key === 'layers') readLayers(node, parsed, found);
  else if (key === 'preset' && node.kind === 'scalar' && presetNamed(String(node.value)) === undefined)
    found.push(unknownPreset(node, String(node.value)));
  else if (key === 'target' && node.kind === 'scalar' && neverReason(String(node.value)) !== undefined)
    found.push(unwritableTarget(node, String(node.value)));
  else {
    const result = RECIPE_SHAPE[key].safeParse(treeValue(node));
    if (result.success) Object.assign(parsed, { [key]: result.data });
    // A number beyond the safe integers is two issues of the schema (not safe, too big) and one fault of the reader.
    else for (const issue of result.error.issues) addNew(found, issueProblems(node, [key], issue));
  }
  append(problems, found);
}

function addNew(problems: RecipeProblem[], more: readonly RecipeProblem[]): void {
  for (const problem of more)
    if (!problems.some(({ field, message }) => field === problem.field && message === problem.message))
      problems.push(problem);
}

/** A family that exists but that no dense model becomes exactly: an impossible request, not a misspelt one. */
function unwritableTarget(node: Tree, target: string): RecipeProblem {
  return {
    ...at(node, ['target'], 'error', 'target-not-exact', `${target} cannot be exact: ${neverReason(target) ?? ''}`),
    hint: `Targets that can be written: ${TARGETS.join(', ')}.`,
    impossible: true,
  };
}

/** Where `key:` with nothing after it is a list or mapping whose members are all commented out. */
const BLANK_MEANS_DEFAULT: ReadonlySet<Field> = new Set<Field>(['parents', 'config', 'router', 'output']);

function isBlank(node: Tree): boolean {
  return node.kind === 'scalar' && node.value === null;
}

function setDefault(key: Field, parsed: Parsed): void {
  Object.assign(parsed, { [key]: RECIPE_SHAPE[key].parse(undefined) });
}

export function unknownPreset(node: Tree, name: string): RecipeProblem {
  const names = PRESETS.map((preset) => preset.name);
  const near = nearestName(name, names);
  return at(
    node,
    ['preset'],
    'error',
    'unknown-preset',
    `there is no preset "${name}"${near === undefined ? '' : `; did you mean "${near}"?`}`,
    `presets: ${names.join(', ')}`,
  );
}

function readLayers(node: Tree, parsed: Parsed, problems: RecipeProblem[]): void {
  const value = treeValue(node);
  const plain =
    typeof value === 'string' || typeof value === 'number'
      ? value
      : Array.isArray(value) && value.every((item) => typeof item === 'string' || typeof item === 'number')
        ? value.filter((item) => typeof item === 'string' || typeof item === 'number')
        : null;
  if (plain === null) {
    problems.push(wrongValue(node, ['layers'], value));
    return;
  }
  const result = parseLayers(plain);
  if (!result.ok) {
    problems.push(wrongValue(node, ['layers'], value, result.why));
    return;
  }
  if (result.repeated.length > 0)
    problems.push(
      at(
        node,
        ['layers'],
        'warning',
        'layers-repeated',
        `layers named more than once count once: ${result.repeated.slice(0, 8).join(', ')}`,
      ),
    );
  parsed.layers = result.layers;
}

function readExpertInit(node: Tree, parsed: Parsed, problems: RecipeProblem[]): void {
  const map = tagged('method', node);
  if (map === null) {
    problems.push(wrongValue(node, ['expert_init'], treeValue(node)));
    return;
  }
  const methodNode = map.entries.get('method');
  const name = methodNode === undefined ? 'copy' : treeValue(methodNode);
  const method = METHOD_NAMES.find((known) => known === name);
  if (method === undefined || methodNode?.kind === 'map') {
    const near = typeof name === 'string' ? nearestName(name, METHOD_NAMES, METHOD_SYNONYMS) : undefined;
    problems.push(
      wrongValue(
        methodNode ?? map,
        ['expert_init', 'method'],
        name,
        near === undefined ? undefined : `did you mean "${near}"?`,
      ),
    );
    return;
  }
  const result = EXPERT_INITS[method].safeParse({ ...asObject(treeValue(map)), method });
  if (result.success) {
    parsed.expert_init = result.data;
    return;
  }
  for (const issue of result.error.issues) {
    if (issue.code === 'unrecognized_keys')
      for (const key of issue.keys) problems.push(strangeMethodField(map, key, method));
    else append(problems, issueProblems(map, ['expert_init'], issue));
  }
}

const METHOD_SYNONYMS: ReadonlyMap<string, string> = new Map([
  ['drop_upcycling', 'drop'],
  ['naive', 'copy'],
  ['gaussian', 'noise'],
  ['shuffle', 'permute'],
  ['spectral', 'svd'],
]);

function strangeMethodField(map: MapTree, key: string, method: MethodName): RecipeProblem {
  const own = methodFields(method);
  const owners = METHOD_NAMES.filter((other) => methodFields(other).includes(key));
  const near = nearestName(key, own);
  const hint =
    owners.length > 0
      ? `${key} belongs to ${owners.join(' and ')}: set expert_init.method too`
      : own.length > 0
        ? `its fields: ${own.join(', ')}`
        : `${method} has no fields of its own`;
  return at(
    map.entries.get(key) ?? map,
    ['expert_init', key],
    'error',
    'unknown-key',
    `method ${method} has no field "${key}"${near === undefined || owners.length > 0 ? '' : `; did you mean "${near}"?`}`,
    hint,
  );
}

function readConfig(node: Tree, problems: RecipeProblem[]): JsonObject {
  const value = treeValue(node);
  if (!isJsonObject(value)) problems.push(wrongValue(node, ['config'], value));
  else visitConfig(node, ['config'], problems);
  return isJsonObject(value) && problems.length === 0 ? asObject(value) : {};
}

function visitConfig(node: Tree, path: Path, problems: RecipeProblem[]): void {
  if (node.kind === 'seq') node.items.forEach((item, i) => visitConfig(item, [...path, i], problems));
  else if (node.kind === 'map')
    for (const [key, value] of node.entries) {
      if (key === '__proto__')
        problems.push(at(value, [...path, key], 'error', 'refused-key', 'this is not the name of a config.json field'));
      visitConfig(value, [...path, key], problems);
    }
  else if (typeof node.value === 'number' && !Number.isFinite(node.value))
    problems.push(at(node, path, 'error', 'bad-value', 'JSON has no infinity and no NaN'));
}

/** A copy made of ordinary objects. */
function asObject(value: JsonValue): JsonObject {
  const copy: unknown = JSON.parse(JSON.stringify(value));
  return isJsonObject(copy) ? copy : {};
}

interface Issue {
  readonly code?: string | undefined;
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

function issueProblems(node: Tree, base: Path, issue: Issue): RecipeProblem[] {
  const inner = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  const path = [...base, ...inner];
  const { node: target, found } = nodeAt(node, inner);
  if (issue.code === 'unrecognized_keys' && 'keys' in issue && Array.isArray(issue.keys)) {
    const known = KNOWN_KEYS.get(path.map((step) => (typeof step === 'number' ? '[]' : step)).join('.')) ?? [];
    return issue.keys.map((key: unknown) => unknownKey(path, String(key), nodeAt(target, [String(key)]).node, known));
  }
  if (issue.code === 'invalid_union' && target.kind === 'map' && path.join('.') === 'shared_expert')
    return sharedExpertProblems(target);
  if (!found) {
    const expected = fieldText(path)?.expected;
    return [
      at(target, path, 'error', 'missing-value', `is missing${expected === undefined ? '' : `; expected ${expected}`}`),
    ];
  }
  return [wrongValue(target, path, treeValue(target), issue.code === 'custom' ? issue.message : undefined)];
}

function sharedExpertProblems(map: MapTree): RecipeProblem[] {
  const problems: RecipeProblem[] = [];
  const known = KNOWN_KEYS.get('shared_expert') ?? [];
  for (const [key, value] of map.entries)
    if (!known.includes(key)) problems.push(unknownKey(['shared_expert'], key, value, known));
  for (const key of known) {
    const value = map.entries.get(key);
    const path = ['shared_expert', key];
    if (value === undefined)
      problems.push(at(map, path, 'error', 'missing-value', `is missing; expected ${fieldText(path)?.expected ?? ''}`));
    else if (
      key === 'plan'
        ? !['none', 'a', 'b', 'c'].includes(String(treeValue(value)))
        : value.kind !== 'scalar' || !Number.isSafeInteger(value.value) || Number(value.value) < 1
    )
      problems.push(wrongValue(value, path, treeValue(value)));
  }
  return problems;
}

function unknownKey(path: Path, key: string, node: Tree, known: readonly string[]): RecipeProblem {
  const near = nearestName(key, known, path.length === 0 ? FIELD_SYNONYMS : new Map());
  const place = node.keyAt ?? node.at;
  return {
    severity: 'error',
    code: 'unknown-key',
    message: `unknown key "${key}"${near === undefined ? `; known keys: ${known.join(', ')}` : `; did you mean "${near}"?`}`,
    field: dotted(path),
    source: node.source,
    ...(place === undefined ? {} : { at: place }),
  };
}

function wrongValue(node: Tree, path: Path, value: JsonValue, why?: string): RecipeProblem {
  const expected = fieldText(path)?.expected ?? 'another value';
  return at(
    node,
    path,
    'error',
    'bad-value',
    `expected ${expected}, got ${shown(value)}${why === undefined ? '' : ` (${why})`}`,
  );
}

/** A value in a few characters; text in quotes. */
function shown(value: JsonValue): string {
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value);
  if (text === undefined) return String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** All fields are there: each was read or defaulted. */
function complete(parsed: Parsed): Recipe {
  const { preset, ...rest } = parsed;
  const recipe: Record<string, unknown> = {};
  for (const key of FIELDS) if (key !== 'preset') recipe[key] = rest[key];
  if (preset !== undefined) recipe['preset'] = preset;
  if (!isRecipe(recipe)) throw new Error('a recipe field was neither read nor defaulted');
  return recipe;
}

function isRecipe(value: Record<string, unknown>): value is Record<string, unknown> & Recipe {
  return FIELDS.every((key) => key === 'preset' || value[key] !== undefined);
}
