/**
 * Loading a recipe: text, preset, `--set` and SRC laid over the defaults, judged whole, every value with its origin.
 * Order: defaults < preset < recipe < `--set` < SRC (which only names the base).
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import { checkRecipe, unknownPreset } from './check.ts';
import { mergeRecipes } from './merge.ts';
import { mapMergekit, mergeRecipeProblem, recipeKind } from './mergekit.ts';
import type { RecipeKind } from './mergekit.ts';
import { originsOf } from './origin.ts';
import { presetNamed } from './presets.ts';
import type { Preset } from './presets.ts';
import { problemsError } from './problems.ts';
import type { RecipeProblem } from './problems.ts';
import { setsTree } from './sets.ts';
import { parseTree, TREE_LIMITS, treeOf } from './tree.ts';
import type { MapTree, Source, Tree } from './tree.ts';
import type { Recipe } from './types.ts';
import { append } from '../common/lists.ts';

export interface RecipeRequest {
  /** Recipe file; its folder is what its paths are relative to. */
  readonly file?: string | undefined;
  /** Recipe text instead of the file's (an editor's unsaved buffer); `file` then only names it. */
  readonly text?: string | undefined;
  readonly preset?: string | undefined;
  /** `key=value` settings, later ones win. */
  readonly sets?: readonly string[] | undefined;
  /** Source given on the command line, relative to `cwd`: overrides base. */
  readonly src?: string | undefined;
  readonly cwd?: string | undefined;
}

export interface LoadedRecipe {
  readonly recipe: Recipe;
  /** Folder that base and parents are relative to. */
  readonly baseDir: string;
  /** Absolute path of the base; null where neither recipe nor SRC names one. */
  readonly basePath: string | null;
  /** Absolute paths of `recipe.parents`, in order. */
  readonly parentPaths: readonly string[];
  readonly warnings: readonly RecipeProblem[];
  /** Dotted field → where its value came from. */
  readonly origin: ReadonlyMap<string, string>;
  readonly preset: Preset | null;
  readonly kind: RecipeKind;
}

/** Loads a recipe, or throws one error that lists every problem. */
export function loadRecipe(request: RecipeRequest): LoadedRecipe {
  const { loaded, problems } = diagnoseRecipe(request);
  if (loaded === null) throw problemsError(problems);
  return loaded;
}

/** As `loadRecipe`, but hands the problems back (for editors). Throws only where the file itself cannot be read. */
export function diagnoseRecipe(request: RecipeRequest): {
  readonly loaded: LoadedRecipe | null;
  readonly problems: readonly RecipeProblem[];
} {
  const cwd = request.cwd ?? process.cwd();
  const file = request.file === undefined ? undefined : resolve(cwd, request.file);
  const baseDir = file === undefined ? cwd : dirname(file);
  const problems: RecipeProblem[] = [];
  const text = request.text ?? (file === undefined ? null : readRecipeFile(file, request.file ?? file));
  const read = readText(text, request, baseDir, problems);
  const sets = setsTree(request.sets ?? []);
  append(problems, sets.problems);
  const preset = choosePreset(request, read.map, sets.tree, problems);

  let tree: MapTree = { kind: 'map', entries: new Map(), source: { layer: 'default', label: 'default' } };
  if (preset !== null) {
    const source: Source = { layer: 'preset', label: `preset ${preset.name}` };
    const values = treeOf({ ...preset.values, preset: preset.name }, source);
    if (values.kind === 'map') tree = mergeRecipes(tree, values);
  }
  tree = mergeRecipes(mergeRecipes(tree, read.map), sets.tree);
  const before = tree.entries.get('base');
  if (request.src !== undefined) {
    const source: Source = { layer: 'src', label: 'SRC' };
    tree = mergeRecipes(tree, { kind: 'map', source, entries: new Map([['base', treeOf(request.src, source)]]) });
  }
  const checked = checkRecipe(tree);
  append(problems, checked.problems);
  if (checked.recipe === null || problems.some((problem) => problem.severity === 'error'))
    return { loaded: null, problems };
  const recipe = checked.recipe;
  if (request.src !== undefined && recipe.parents.some((parent) => parent.path === scalarText(before)))
    problems.push({
      severity: 'warning',
      code: 'parent-keeps-old-base',
      message: `SRC replaces base ${scalarText(before) ?? ''}, but a parent names that path too and still reads it`,
      field: 'parents',
    });
  return {
    loaded: {
      recipe,
      baseDir,
      basePath: recipe.base === null ? null : resolve(request.src === undefined ? baseDir : cwd, recipe.base),
      parentPaths: recipe.parents.map((parent) => resolve(baseDir, parent.path)),
      warnings: problems.filter((problem) => problem.severity === 'warning'),
      origin: originsOf(recipe, tree),
      preset,
      kind: read.kind,
    },
    problems,
  };
}

function scalarText(node: Tree | undefined): string | null {
  return node?.kind === 'scalar' && typeof node.value === 'string' ? node.value : null;
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Text of a recipe file; refuses what is no readable text of at most 256 KiB before reading it. */
function readRecipeFile(path: string, name: string): string {
  try {
    const stat = statSync(path);
    if (!stat.isFile())
      throw new MoeError('input', 'recipe-not-a-file', `${name} is not a file; a recipe is a *.moe.yaml file`, {
        file: name,
      });
    if (stat.size > TREE_LIMITS.bytes)
      throw new MoeError('input', 'recipe-too-large', `${name} has ${stat.size} bytes; a recipe has at most 256 KiB`, {
        file: name,
        hint: 'Is this a checkpoint? Give it as SRC, without --recipe.',
      });
    return decoder.decode(readFileSync(path));
  } catch (error) {
    if (error instanceof MoeError) throw error;
    if (error instanceof TypeError)
      throw new MoeError('input', 'recipe-not-text', `${name} is not UTF-8 text`, { file: name }, { cause: error });
    const missing = systemCodeOf(error) === 'ENOENT';
    throw new MoeError(
      'input',
      missing ? 'recipe-not-found' : 'recipe-unreadable',
      missing ? `there is no recipe ${name}` : `${name} cannot be read: ${messageOf(error)}`,
      { file: name },
      { cause: error },
    );
  }
}

function readText(
  text: string | null,
  request: RecipeRequest,
  baseDir: string,
  problems: RecipeProblem[],
): { readonly map: MapTree; readonly kind: RecipeKind } {
  const label = request.file ?? 'recipe';
  const source: Source = { layer: 'recipe', label };
  const empty: MapTree = { kind: 'map', entries: new Map(), source };
  if (text === null) return { map: empty, kind: 'moe-workbench' };
  const { tree, faults } = parseTree(text, source);
  for (const fault of faults)
    problems.push({
      severity: 'error',
      code: fault.code,
      message: fault.message,
      field: '',
      source,
      ...(fault.at === undefined ? {} : { at: fault.at }),
    });
  if (faults.length > 0) return { map: empty, kind: 'moe-workbench' };
  if (tree === null || (tree.kind === 'scalar' && tree.value === null)) {
    problems.push({
      severity: 'warning',
      code: 'recipe-empty',
      message: 'the recipe is empty: every field has its default',
      field: '',
      source,
    });
    return { map: empty, kind: 'moe-workbench' };
  }
  if (tree.kind !== 'map') {
    problems.push({
      severity: 'error',
      code: 'recipe-not-mapping',
      message: `a recipe is a mapping of fields (base: …, experts: 8, …), got ${tree.kind === 'seq' ? 'a list' : 'a plain value'}`,
      field: '',
      source,
      ...(tree.at === undefined ? {} : { at: tree.at }),
    });
    return { map: empty, kind: 'moe-workbench' };
  }
  const kind = recipeKind(tree);
  if (kind === 'moe-workbench') return { map: tree, kind };
  if (kind === 'mergekit-merge') {
    problems.push(mergeRecipeProblem(tree));
    return { map: empty, kind };
  }
  const mapped = mapMergekit(tree, (base) =>
    hiddenSizeOf(
      request.src === undefined ? resolve(baseDir, base) : resolve(request.cwd ?? process.cwd(), request.src),
    ),
  );
  append(problems, mapped.problems);
  return { map: mapped.tree, kind };
}

/** hidden_size of a checkpoint folder's config.json, or null. */
function hiddenSizeOf(folder: string): number | null {
  try {
    const config: unknown = JSON.parse(readFileSync(resolve(folder, 'config.json'), 'utf8'));
    const inner = isJsonObject(config) && isJsonObject(config['text_config']) ? config['text_config'] : config;
    const size = isJsonObject(inner) ? inner['hidden_size'] : null;
    return typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? size : null;
  } catch {
    // Not a folder with a config: the caller warns that the width is unknown.
    return null;
  }
}

/** The preset of the option, else of the recipe. Two different ones are a contradiction. */
function choosePreset(
  request: RecipeRequest,
  recipe: MapTree,
  sets: MapTree,
  problems: RecipeProblem[],
): Preset | null {
  const written = sets.entries.get('preset') ?? recipe.entries.get('preset');
  const inRecipe = scalarText(written);
  if (request.preset === undefined) return inRecipe === null ? null : (presetNamed(inRecipe) ?? null);
  const option: Tree = treeOf(request.preset, { layer: 'set', label: `--preset ${request.preset}` });
  const preset = presetNamed(request.preset);
  if (preset === undefined) problems.push(unknownPreset(option, request.preset));
  else if (inRecipe !== null && inRecipe !== preset.name)
    problems.push({
      severity: 'error',
      code: 'presets-differ',
      message: `--preset ${preset.name} contradicts preset ${inRecipe} of the recipe`,
      field: 'preset',
      source: option.source,
    });
  return preset ?? null;
}
