/**
 * YAML text as a small tree that remembers where every value came from: file, line, column and layer (preset, recipe,
 * `--set`). Hostile text is bounded here: size, depth, number of nodes (aliases expanded) and custom tags.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import type { Document, Node as YamlNode, ParsedNode } from 'yaml';
import type { JsonValue } from '../common/json.ts';
import { messageOf } from '../common/errors.ts';

/** A place in a text, 1-based; ends are exclusive. */
export interface At {
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
}

/** Who said it: shown to the user beside the value. */
export type Layer = 'default' | 'preset' | 'recipe' | 'set' | 'src';

export interface Source {
  readonly layer: Layer;
  /** `preset vavre-2024`, `a.moe.yaml`, `--set router.std=0.01`. */
  readonly label: string;
}

interface Common {
  readonly source: Source;
  readonly at?: At;
  /** Where the key stands, for members of a map. */
  readonly keyAt?: At;
}
export interface ScalarTree extends Common {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
}
export interface MapTree extends Common {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string, Tree>;
}
export interface SeqTree extends Common {
  readonly kind: 'seq';
  readonly items: readonly Tree[];
}
export type Tree = ScalarTree | MapTree | SeqTree;

/** A fault of the text itself (not of what it means). */
export interface TextFault {
  readonly code: string;
  readonly message: string;
  readonly at?: At;
}

export const TREE_LIMITS = { bytes: 1 << 18, depth: 40, nodes: 20_000, faults: 20 } as const;

class TooMuch extends Error {}

/** Parses one YAML document. `tree` is null when the text is empty or could not be read; `faults` says why. */
export function parseTree(
  text: string,
  source: Source,
): { readonly tree: Tree | null; readonly faults: readonly TextFault[] } {
  if (Buffer.byteLength(text) > TREE_LIMITS.bytes)
    return { tree: null, faults: [{ code: 'yaml-too-large', message: 'the text is larger than 256 KiB' }] };
  const deep = nestingFault(text);
  if (deep !== null) return { tree: null, faults: [deep] };
  const lines = new LineCounter();
  let documents: readonly Document.Parsed[];
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      version: '1.2',
      // Checked by the walk below: the library compares every key with every other.
      uniqueKeys: false,
    });
    documents = 'empty' in parsed ? [] : parsed;
  } catch (error) {
    const why = error instanceof RangeError ? 'it is nested too deeply' : messageOf(error);
    return { tree: null, faults: [{ code: 'yaml-unreadable', message: `the text cannot be read as YAML: ${why}` }] };
  }
  const document = documents[0];
  if (document === undefined) return { tree: null, faults: [] };
  const faults = syntaxFaults(document, lines);
  const second = documents[1];
  if (second !== undefined)
    faults.push({
      code: 'yaml-several-documents',
      message: 'several YAML documents in one text; one recipe is expected',
      at: span(lines, second.range[0], second.range[0]),
    });
  if (faults.length > 0 || document.contents === null) return { tree: null, faults };
  try {
    const walker = new Walker(lines, source, faults);
    const tree = walker.walk(document.contents, 0, undefined);
    return { tree: faults.length > 0 ? null : tree, faults };
  } catch (error) {
    if (error instanceof TooMuch) return { tree: null, faults: [{ code: 'yaml-refused', message: error.message }] };
    throw error;
  }
}

/** The library's errors in our words; a stack overflow of its recursion is one fault, and long lists are cut. */
function syntaxFaults(document: Document.Parsed, lines: LineCounter): TextFault[] {
  const all = [...document.errors, ...document.warnings];
  if (all.some((problem) => problem.message.includes('call stack')))
    return [{ code: 'yaml-refused', message: 'the text is nested too deeply' }];
  return all.slice(0, TREE_LIMITS.faults).map((problem) => ({
    code: 'yaml-syntax',
    message: `not valid YAML: ${problem.message}`,
    at: span(lines, problem.pos[0], problem.pos[1]),
  }));
}

/** The parser recurses: brackets nested hundreds deep are refused before it sees them. */
function nestingFault(text: string): TextFault | null {
  let open = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x5b || c === 0x7b) open++;
    else if (c === 0x5d || c === 0x7d) open = Math.max(0, open - 1);
    if (open > 400) return { code: 'yaml-refused', message: 'the text is nested too deeply' };
  }
  return null;
}

function span(lines: LineCounter, begin: number, end: number): At {
  const from = lines.linePos(begin);
  const to = lines.linePos(Math.max(begin, end));
  return {
    line: Math.max(1, from.line),
    column: Math.max(1, from.col),
    endLine: Math.max(1, to.line),
    endColumn: Math.max(1, to.col),
  };
}

class Walker {
  private nodes = 0;
  private readonly open = new Set<YamlNode>();
  /** Anchors met so far: the library's own look-up walks the whole document for every alias. */
  private readonly anchors = new Map<string, YamlNode>();
  constructor(
    private readonly lines: LineCounter,
    private readonly source: Source,
    private readonly faults: TextFault[],
  ) {}

  walk(node: ParsedNode | YamlNode | null, depth: number, keyAt: At | undefined): Tree {
    if (++this.nodes > TREE_LIMITS.nodes)
      throw new TooMuch(`the text has more than ${TREE_LIMITS.nodes} values once its aliases are expanded`);
    if (depth > TREE_LIMITS.depth) throw new TooMuch(`the text is nested more than ${TREE_LIMITS.depth} levels deep`);
    const range = node?.range;
    const common = {
      source: this.source,
      ...(range ? { at: span(this.lines, range[0], range[1]) } : keyAt === undefined ? {} : { at: keyAt }),
      ...(keyAt === undefined ? {} : { keyAt }),
    };
    if (node === null) return { kind: 'scalar', value: null, ...common };
    if (isAlias(node)) {
      const target = this.anchors.get(node.source);
      if (target === undefined) throw new TooMuch(`the alias *${node.source} has no anchor`);
      if (this.open.has(target)) throw new TooMuch(`the alias *${node.source} contains itself`);
      return { ...this.walk(target, depth + 1, keyAt), ...common };
    }
    if (node.anchor !== undefined) this.anchors.set(node.anchor, node);
    if (isScalar(node)) return { kind: 'scalar', value: plainScalar(node.value), ...common };
    this.open.add(node);
    try {
      if (isSeq(node))
        return {
          kind: 'seq',
          items: node.items.map((item) => this.walk(nodeOrNull(item), depth + 1, undefined)),
          ...common,
        };
      if (!isMap(node)) throw new TooMuch('the text holds a kind of value that recipes do not have');
      const entries = new Map<string, Tree>();
      for (const pair of node.items) {
        const key = nodeOrNull(pair.key);
        if (!isScalar(key)) throw new TooMuch('the text has a key that is not plain text');
        const at = key.range ? span(this.lines, key.range[0], key.range[1]) : undefined;
        if (entries.has(String(key.value)) && this.faults.length < TREE_LIMITS.faults)
          this.faults.push({
            code: 'yaml-duplicate-key',
            message: `the key "${String(key.value)}" stands here twice`,
            ...(at === undefined ? {} : { at }),
          });
        entries.set(String(key.value), this.walk(nodeOrNull(pair.value), depth + 1, at));
      }
      return { kind: 'map', entries, ...common };
    } finally {
      this.open.delete(node);
    }
  }
}

function nodeOrNull(value: unknown): YamlNode | null {
  return isScalar(value) || isMap(value) || isSeq(value) || isAlias(value) ? value : null;
}

function plainScalar(value: unknown): string | number | boolean | null {
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return value;
  if (typeof value === 'bigint') return Number(value);
  throw new TooMuch('the text holds a kind of value that recipes do not have (a tag such as !!binary or !!timestamp)');
}

/** The tree as plain data; objects have no prototype, so that a key named `__proto__` is a key like any other. */
export function treeValue(tree: Tree): JsonValue {
  if (tree.kind === 'scalar') return tree.value;
  if (tree.kind === 'seq') return tree.items.map(treeValue);
  const object: Record<string, JsonValue> = Object.create(null) as Record<string, JsonValue>;
  for (const [key, value] of tree.entries) object[key] = treeValue(value);
  return object;
}

/** Plain data as a tree of one source (presets, mapped recipes). */
export function treeOf(value: JsonValue | undefined, source: Source): Tree {
  if (value === undefined || value === null || typeof value !== 'object')
    return { kind: 'scalar', value: value ?? null, source };
  if (Array.isArray(value)) return { kind: 'seq', items: value.map((item: JsonValue) => treeOf(item, source)), source };
  const entries = new Map<string, Tree>();
  for (const [key, member] of Object.entries(value)) entries.set(key, treeOf(member, source));
  return { kind: 'map', entries, source };
}

/** The node at a path of keys and indices, or the nearest ancestor that exists. */
export function nodeAt(
  tree: Tree,
  path: readonly (string | number)[],
): { readonly node: Tree; readonly found: boolean } {
  let node = tree;
  for (const step of path) {
    const next: Tree | undefined =
      node.kind === 'map' ? node.entries.get(String(step)) : node.kind === 'seq' ? node.items[Number(step)] : undefined;
    if (next === undefined) return { node, found: false };
    node = next;
  }
  return { node, found: true };
}
