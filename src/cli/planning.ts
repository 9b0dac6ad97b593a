/** From arguments to a plan: recipe, checkpoints, planner. Shared by plan and upcycle. */
import { open, readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, systemCodeOf } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';
import type { Plan, PlanWarning } from '../plan/types.ts';
import type { LoadedRecipe } from '../recipe/load.ts';
import { usageError } from './command.ts';
import type { Context, OptionSpec } from './command.ts';

export const RECIPE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  recipe: { type: 'string', value: 'FILE', help: 'recipe (*.moe.yaml, or a mergekit-moe YAML)' },
  preset: { type: 'string', value: 'NAME', help: 'start from a preset (moe presets lists them)' },
  set: {
    type: 'string',
    multiple: true,
    value: 'KEY=VALUE',
    help: 'set a recipe field, dotted key, YAML value: router.std=0.01, layers=[0,2]; may repeat',
  },
};

export interface Planned {
  readonly plan: Plan;
  /** Base first, then the parents. */
  readonly checkpoints: readonly Checkpoint[];
}

/** The recipe that the options ask for. */
export async function recipeOf(context: Context, src: string | undefined): Promise<LoadedRecipe> {
  const { loadRecipe } = await import('../recipe/load.ts');
  const { args, io } = context;
  const loaded = loadRecipe({
    file: args.text('recipe'),
    preset: args.text('preset'),
    sets: args.texts('set'),
    src,
    cwd: io.cwd,
  });
  return loaded;
}

/** Loads the recipe, opens what it names and plans. `out`: where the output would go, to judge cloning there. */
export async function planFromRecipe(
  context: Context,
  src: string | undefined,
  out: string | undefined,
): Promise<Planned> {
  const loaded = await recipeOf(context, src);
  if (loaded.basePath === null)
    throw usageError(
      'source-missing',
      'no source: neither SRC is given nor does the recipe name a base',
      `moe ${out === undefined ? 'plan SRC' : 'upcycle SRC OUT'}`,
    );
  const checkpoints = await openAll([loaded.basePath, ...loaded.parentPaths], context);
  const [{ buildPlan }, { presetNamed }] = await Promise.all([
    import('../plan/build.ts'),
    import('../recipe/presets.ts'),
  ]);
  const assumptions = loaded.recipe.preset === undefined ? [] : (presetNamed(loaded.recipe.preset)?.assumptions ?? []);
  const canClone = out === undefined ? false : await canCloneNear(resolve(context.io.cwd, out));
  const plan = buildPlan(loaded.recipe, checkpoints, { assumptions, canClone });
  const { problemLine } = await import('../recipe/problems.ts');
  const fromRecipe = loaded.warnings.map((warning): PlanWarning => ({
    code: warning.code,
    message: problemLine(warning),
  }));
  return { plan: { ...plan, warnings: [...fromRecipe, ...plan.warnings] }, checkpoints };
}

/** Opens checkpoints in order; what is wrong with them is logged. */
export async function openAll(paths: readonly string[], context: Context): Promise<Checkpoint[]> {
  const { openCheckpoint } = await import('../checkpoint/open.ts');
  const opened: Checkpoint[] = [];
  for (const path of paths) {
    const checkpoint = await openCheckpoint(path, { signal: context.io.signal });
    for (const problem of checkpoint.problems)
      if (problem.severity !== 'info')
        context.log(`${problem.severity}: ${path}: ${problem.message} [${problem.code}]`);
    opened.push(checkpoint);
  }
  return opened;
}

/** Whether the file system of a folder that may not exist yet can share blocks. */
async function canCloneNear(out: string): Promise<boolean> {
  const { canClone } = await import('../write/index.ts');
  for (let folder = out; ; folder = dirname(folder)) {
    const there = await stat(folder).catch(() => null);
    if (there?.isDirectory() === true) return canClone(folder);
    if (dirname(folder) === folder) return false;
  }
}

/** Reads a saved plan and opens its sources; SRC, where given, replaces the path of the base. */
export async function planFromFile(file: string, src: string | undefined, context: Context): Promise<Planned> {
  const path = resolve(context.io.cwd, file);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const missing = systemCodeOf(error) === 'ENOENT';
    throw new MoeError(
      'input',
      missing ? 'plan-not-found' : 'plan-unreadable',
      missing ? `there is no plan ${file}` : `the plan ${file} cannot be read`,
      { file, hint: 'moe plan … --save FILE makes one.' },
      { cause: error },
    );
  }
  const { parsePlan } = await import('../plan/json.ts');
  const plan = parsePlan(text, file);
  const paths = plan.sources.map((source, i) =>
    i === 0 && src !== undefined ? resolve(context.io.cwd, src) : resolve(dirname(path), source.path),
  );
  const checkpoints = await openAll(paths, context);
  const [{ checkSources }, { checkPlanHolds }] = await Promise.all([
    import('../write/preconditions.ts'),
    import('../plan/replay.ts'),
  ]);
  // Another checkpoint altogether is named as that, before what only its config shows.
  checkSources(plan, checkpoints);
  checkPlanHolds(plan, checkpoints);
  return { plan, checkpoints };
}

/**
 * Writes the plan's JSON to a file, whole or not at all. An existing file is replaced only where it is a plan too
 * (`save-would-overwrite` otherwise).
 */
export async function savePlan(plan: Plan, file: string, cwd: string): Promise<void> {
  const path = resolve(cwd, file);
  const there = await stat(path).catch(() => null);
  if (there !== null && !(there.isFile() && (await looksLikePlan(path))))
    throw new MoeError('input', 'save-would-overwrite', `${file} exists and is not a plan; it is not replaced`, {
      file,
      hint: 'Name another file.',
    });
  const { planJsonChunks } = await import('../plan/json.ts');
  await writeWhole(path, planJsonChunks(plan));
}

async function looksLikePlan(path: string): Promise<boolean> {
  const handle = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(256), 0, 256, 0);
    return buffer.subarray(0, bytesRead).toString('latin1').includes('moe-workbench/plan@');
  } finally {
    await handle.close();
  }
}
