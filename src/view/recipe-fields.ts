/** The controls of the plan editor: every recipe field with its value, where it came from and what it may be. */
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import type { Plan } from '../plan/types.ts';
import type { ParsedRecipe, RecipeField, WireRecipeProblem } from '../protocol/planning.ts';
import { fieldText } from '../recipe/fields.ts';
import type { LoadedRecipe } from '../recipe/load.ts';
import { PRESETS } from '../recipe/presets.ts';
import type { RecipeProblem } from '../recipe/problems.ts';
import { METHOD_NAMES, methodFields, recipeSchema } from '../recipe/schema.ts';
import { parseTree, treeValue } from '../recipe/tree.ts';
import { PROMPT_INITS, ROUTER_INITS, TARGETS } from '../recipe/types.ts';

export interface FieldsRequest {
  /** Text of the recipe file: values are shown as written there. */
  readonly text: string | null;
  /** Null where the recipe is not valid. */
  readonly loaded: LoadedRecipe | null;
  readonly problems: readonly RecipeProblem[];
  /** Tells what `auto` came to. */
  readonly plan: Plan | null;
}

interface Spec {
  readonly path: readonly string[];
  readonly label: string;
  readonly control: RecipeField['control'];
  readonly choices?: readonly string[];
  readonly min?: number;
  readonly max?: number;
}

const MAX_COUNT = 65_536;

const SPECS: readonly Spec[] = [
  { path: ['preset'], label: 'Preset', control: 'choice', choices: PRESETS.map(({ name }) => name) },
  { path: ['base'], label: 'Dense model', control: 'path' },
  { path: ['target'], label: 'Target', control: 'choice', choices: ['auto', ...TARGETS] },
  { path: ['experts'], label: 'Experts', control: 'number', min: 1, max: MAX_COUNT },
  { path: ['top_k'], label: 'Experts per token', control: 'number', min: 1, max: MAX_COUNT },
  { path: ['granularity'], label: 'Granularity', control: 'number', min: 1, max: MAX_COUNT },
  { path: ['layers'], label: 'Layers', control: 'layers' },
  { path: ['expert_init', 'method'], label: 'Expert start', control: 'choice', choices: METHOD_NAMES },
  { path: ['expert_init', 'std'], label: 'Noise', control: 'number', min: 0 },
  { path: ['expert_init', 'ratio'], label: 'Share', control: 'number', min: 0, max: 1 },
  { path: ['expert_init', 'variant'], label: 'Variant', control: 'choice', choices: ['paper', 'official'] },
  { path: ['expert_init', 'by'], label: 'Deal neurons', control: 'choice', choices: ['sequential', 'random', 'norm'] },
  { path: ['expert_init', 'rank'], label: 'Kept rank', control: 'number', min: 1, max: MAX_COUNT },
  { path: ['expert_init', 'scale'], label: 'Noise scale', control: 'number', min: 0 },
  {
    path: ['router', 'init'],
    label: 'Router start',
    control: 'choice',
    choices: ROUTER_INITS,
  },
  { path: ['router', 'prompts'], label: 'Router prompts', control: 'prompts' },
  { path: ['router', 'std'], label: 'Router deviation', control: 'number', min: 0 },
  { path: ['router', 'order'], label: 'Router order', control: 'choice', choices: ['topk-softmax', 'softmax-topk'] },
  { path: ['scale'], label: 'Scaling', control: 'choice', choices: ['auto', 'none', 'exact', 'megatron'] },
  {
    path: ['shared_expert', 'plan'],
    label: 'Shared expert',
    control: 'choice',
    choices: ['auto', 'none', 'a', 'b', 'c'],
  },
  { path: ['shared_expert', 'width'], label: 'Shared width', control: 'number', min: 1 },
  { path: ['parents'], label: 'Other parents', control: 'parents' },
  { path: ['rest'], label: 'Everything else', control: 'choice', choices: ['base', 'average'] },
  { path: ['tie'], label: 'Tied embeddings', control: 'choice', choices: ['auto', 'true', 'false'] },
  {
    path: ['output', 'dtype'],
    label: 'Output type',
    control: 'choice',
    choices: ['same', 'float32', 'bfloat16', 'float16'],
  },
  { path: ['output', 'shard_size'], label: 'Largest file', control: 'size' },
  { path: ['output', 'clone'], label: 'Share disk blocks', control: 'choice', choices: ['auto', 'true', 'false'] },
  { path: ['seed'], label: 'Seed', control: 'number', min: 0, max: Number.MAX_SAFE_INTEGER },
  { path: ['config'], label: 'Extra config', control: 'json' },
];

/** The fields in the order in which they are shown. Values of an invalid recipe are those of its text, as far as it reads. */
export function recipeFields(request: FieldsRequest): RecipeField[] {
  const { loaded, plan, problems } = request;
  const written = writtenValues(request.text, loaded);
  const whole = loaded === null ? defaults() : toJson(loaded.recipe);
  const wire = problems.map(wireProblemOf);
  return SPECS.map((spec): RecipeField => {
    const field = spec.path.join('.');
    const about = fieldText(spec.path);
    const value = valueAt(written, spec.path) ?? valueAt(whole, spec.path) ?? null;
    const resolved = plan === null ? null : (valueAt(toJson(plan.recipe), spec.path) ?? null);
    return {
      path: [...spec.path],
      field,
      label: spec.label,
      about: about?.about ?? '',
      expected: about?.expected ?? '',
      control: spec.control,
      choices: (spec.choices ?? []).map((choice) => ({
        value: choice,
        label: choice,
        about: choiceAbout(field, choice),
      })),
      min: spec.min ?? null,
      max: limitOf(field, written, whole) ?? spec.max ?? null,
      value,
      resolved: resolved === null || JSON.stringify(resolved) === JSON.stringify(value) ? null : resolved,
      origin: originOf(spec.path, loaded, written),
      disabled: disabledReason(spec, written, whole, loaded),
      problems: wire.filter((problem) => belongs(problem.field, field)).slice(0, 100),
    };
  });
}

/** The recipe as the protocol carries it. */
export function parsedRecipeOf(loaded: LoadedRecipe): ParsedRecipe {
  return {
    values: toJson(loaded.recipe),
    basePath: loaded.basePath,
    parentPaths: [...loaded.parentPaths],
    preset: loaded.preset?.name ?? null,
    kind: loaded.kind,
  };
}

/** A recipe's problem as the protocol carries it. */
export function wireProblemOf(problem: RecipeProblem): WireRecipeProblem {
  const { severity, code, message, field, source, at, hint } = problem;
  return {
    severity,
    code,
    message,
    field,
    from: source?.label ?? null,
    at: at === undefined ? null : { ...at },
    hint: hint ?? null,
  };
}

function belongs(problem: string, field: string): boolean {
  if (problem === field) return true;
  // A fault of a whole group is shown at its first control; one below a list or map at the list's.
  const heads = ['expert_init.method', 'shared_expert.plan', 'router.init', 'output.dtype'];
  return heads.includes(field)
    ? problem === field.split('.')[0]
    : problem.startsWith(`${field}.`) || problem.startsWith(`${field}[`);
}

function writtenValues(text: string | null, loaded: LoadedRecipe | null): JsonObject {
  if (text === null || (loaded !== null && loaded.kind !== 'moe-workbench')) return {};
  const { tree } = parseTree(text, { layer: 'recipe', label: 'recipe' });
  const value = tree === null ? null : treeValue(tree);
  return isJsonObject(value) ? value : {};
}

function defaults(): JsonObject {
  return toJson(recipeSchema.parse({}));
}

function toJson(value: object): JsonObject {
  const copy: unknown = JSON.parse(JSON.stringify(value));
  return isJsonObject(copy) ? copy : {};
}

/** `expert_init: noise` and `shared_expert: b` stand for a mapping with one member. */
function valueAt(values: JsonObject, path: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = values;
  for (const [depth, key] of path.entries()) {
    if (!isJsonObject(value)) {
      const first = depth === path.length - 1 && (key === 'method' || key === 'plan');
      return first && typeof value === 'string' ? value : undefined;
    }
    value = Object.hasOwn(value, key) ? value[key] : undefined;
  }
  return value ?? undefined;
}

/** What another field limits: no more experts per token than experts, prompts for each expert of full width. */
function limitOf(field: string, written: JsonObject, whole: JsonObject): number | null {
  const count = (name: string): number => {
    const value = valueAt(written, [name]) ?? valueAt(whole, [name]);
    return typeof value === 'number' && value >= 1 ? value : NaN;
  };
  const most =
    field === 'top_k' ? count('experts') : field === 'router.prompts' ? count('experts') / count('granularity') : NaN;
  return Number.isNaN(most) ? null : Math.min(Math.floor(most), MAX_COUNT);
}

function originOf(path: readonly string[], loaded: LoadedRecipe | null, written: JsonObject): string {
  if (loaded === null) return valueAt(written, path) === undefined ? 'default' : 'recipe';
  return loaded.origin.get(path.join('.')) ?? loaded.origin.get(path[0] ?? '') ?? 'default';
}

function disabledReason(
  spec: Spec,
  written: JsonObject,
  whole: JsonObject,
  loaded: LoadedRecipe | null,
): string | null {
  if (loaded !== null && loaded.kind !== 'moe-workbench') return 'This recipe is written for mergekit: edit its text.';
  const now = (...path: string[]): JsonValue | undefined => valueAt(written, path) ?? valueAt(whole, path);
  const [group, member] = spec.path;
  if (group === 'expert_init' && member !== undefined && member !== 'method') {
    const method = METHOD_NAMES.find((name) => name === now('expert_init', 'method'));
    const fits = METHOD_NAMES.filter((name) => methodFields(name).includes(member));
    if (method !== undefined && !fits.includes(method)) return `Only with expert start ${fits.join(' or ')}.`;
  }
  if (group === 'shared_expert' && member === 'width') {
    const plan = now('shared_expert', 'plan');
    if (plan === 'auto' || plan === 'none') return 'Only with shared expert a, b or c.';
  }
  if (group === 'router' && member === 'std' && now('router', 'init') === 'zero')
    return 'A router of zeros has no deviation.';
  if (group === 'router' && member === 'std' && PROMPT_INITS.some((init) => init === now('router', 'init')))
    return 'Router rows from prompts have length 1.';
  if (group === 'router' && member === 'prompts' && !PROMPT_INITS.some((init) => init === now('router', 'init')))
    return `Only with router start ${PROMPT_INITS.join(', ')}.`;
  const parents = now('parents');
  if (group === 'rest' && (!Array.isArray(parents) || parents.length === 0)) return 'Only with other parents.';
  return null;
}

const METHOD_WORDS: ReadonlyMap<string, string> = new Map([
  ['copy', 'exact copies'],
  ['noise', 'copies plus noise'],
  ['permute', 'copies with neurons in an order of their own'],
  ['drop', 'Drop-Upcycling: partly re-drawn'],
  ['split', 'how neurons are dealt to slices'],
  ['svd', 'noise outside the top singular directions'],
]);

function choiceAbout(field: string, choice: string): string | null {
  if (field === 'preset') return PRESETS.find(({ name }) => name === choice)?.title ?? null;
  return field === 'expert_init.method' ? (METHOD_WORDS.get(choice) ?? null) : null;
}
