/** `--set key=value`: dotted keys, YAML values. */
import { mergeRecipes } from './merge.ts';
import { nearestName } from './nearest.ts';
import { FIELD_SYNONYMS } from './fields.ts';
import type { RecipeProblem } from './problems.ts';
import { KNOWN_KEYS } from './schema.ts';
import { parseTree } from './tree.ts';
import type { MapTree, Source, Tree } from './tree.ts';

/** All settings as one recipe layer, later ones over earlier ones, with what is wrong with their text. */
export function setsTree(sets: readonly string[]): { readonly tree: MapTree; readonly problems: RecipeProblem[] } {
  const problems: RecipeProblem[] = [];
  let tree: MapTree = { kind: 'map', entries: new Map(), source: { layer: 'set', label: '--set' } };
  for (const text of sets) {
    const one = oneSet(text);
    if ('entries' in one) tree = mergeRecipes(tree, one);
    else problems.push(one);
  }
  return { tree, problems };
}

function oneSet(text: string): MapTree | RecipeProblem {
  const source: Source = { layer: 'set', label: `--set ${text.length > 80 ? `${text.slice(0, 77)}...` : text}` };
  const fault = (code: string, message: string, hint?: string): RecipeProblem => ({
    severity: 'error',
    code,
    message,
    field: '',
    source,
    ...(hint === undefined ? {} : { hint }),
  });
  const equals = text.indexOf('=');
  if (equals < 1)
    return fault('set-without-value', 'expected key=value', 'write it as --set router.std=0.01 or --set layers=[0,2]');
  const path = text.slice(0, equals).trim().split('.');
  if (path.some((step) => step.length === 0) || path.length > 12)
    return fault('set-bad-key', `"${text.slice(0, equals)}" is not a dotted key`);
  const top = path[0] ?? '';
  const known = KNOWN_KEYS.get('') ?? [];
  if (!known.includes(top)) {
    const near = nearestName(top, known, FIELD_SYNONYMS);
    return fault(
      'unknown-key',
      `unknown key "${top}"${near === undefined ? `; known keys: ${known.join(', ')}` : `; did you mean "${near}"?`}`,
    );
  }
  if (top === 'parents' && path.length > 1)
    return fault(
      'set-bad-key',
      'parents is a list: set it whole',
      'e.g. --set "parents=[{path: ./a, experts: 4}, {path: ./b, experts: 4}]"',
    );
  const parsed = parseTree(text.slice(equals + 1), source);
  const wrong = parsed.faults[0];
  if (wrong !== undefined) return fault(wrong.code, `the value is ${wrong.message}`);
  // Positions inside a command-line value mean nothing to the reader: the label names the whole setting.
  let node: Tree = withoutPlaces(parsed.tree ?? { kind: 'scalar', value: null, source });
  for (const step of path.slice(1).reverse()) node = { kind: 'map', entries: new Map([[step, node]]), source };
  return { kind: 'map', entries: new Map([[top, node]]), source };
}

function withoutPlaces(tree: Tree): Tree {
  if (tree.kind === 'scalar') return { kind: 'scalar', value: tree.value, source: tree.source };
  if (tree.kind === 'seq') return { kind: 'seq', items: tree.items.map(withoutPlaces), source: tree.source };
  const entries = new Map([...tree.entries].map(([key, value]) => [key, withoutPlaces(value)]));
  return { kind: 'map', entries, source: tree.source };
}
