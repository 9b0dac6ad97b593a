/** From a job's parameters to a plan and its open checkpoints. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { buildPlan } from '../plan/build.ts';
import { parsePlan } from '../plan/json.ts';
import { checkPlanHolds } from '../plan/replay.ts';
import type { Plan } from '../plan/types.ts';
import type { UpcycleParams } from '../protocol/jobs.ts';
import { loadRecipe } from '../recipe/load.ts';
import { presetNamed } from '../recipe/presets.ts';
import { problemLine } from '../recipe/problems.ts';
import { canClone } from '../write/index.ts';
import { checkSources } from '../write/preconditions.ts';
import { stage } from './context.ts';
import type { JobContext } from './context.ts';

export interface Planned {
  readonly plan: Plan;
  /** Base first, then the parents. */
  readonly checkpoints: readonly Checkpoint[];
}

/** Plans what the job asks for. Throws `plan-changed` where it is not what was reviewed. */
export async function planOf(params: UpcycleParams, context: JobContext): Promise<Planned> {
  const planned =
    params.from.type === 'plan' ? await savedPlan(params.from.file, context) : await newPlan(params, context);
  const { plan } = planned;
  if (params.planHash !== null && params.planHash !== plan.hash)
    throw new MoeError(
      'input',
      'plan-changed',
      'The plan is not the one that was reviewed: recipe or source have changed since',
      {
        hint: 'Look at the plan again and run it anew.',
        details: { reviewed: params.planHash, now: plan.hash },
      },
    );
  return planned;
}

async function newPlan(params: UpcycleParams, context: JobContext): Promise<Planned> {
  const { from, out } = params;
  if (from.type !== 'recipe') throw new TypeError('not a recipe');
  const loaded = loadRecipe({
    file: from.file ?? undefined,
    text: from.text ?? undefined,
    preset: from.preset ?? undefined,
    sets: from.sets,
    src: from.src ?? undefined,
    cwd: from.file === null ? dirname(out) : dirname(from.file),
  });
  if (loaded.basePath === null)
    throw new MoeError('usage', 'source-missing', 'There is no source: the recipe names no base', {
      field: 'base',
      hint: 'Set base in the recipe.',
    });
  for (const warning of loaded.warnings) context.log('warning', problemLine(warning));
  const checkpoints = await openAll([loaded.basePath, ...loaded.parentPaths], context);
  stage(context, 'plan', loaded.basePath);
  const { preset } = loaded.recipe;
  const assumptions = preset === undefined ? [] : (presetNamed(preset)?.assumptions ?? []);
  const plan = buildPlan(loaded.recipe, checkpoints, { assumptions, canClone: await canCloneNear(out) });
  return { plan, checkpoints };
}

async function savedPlan(file: string, context: JobContext): Promise<Planned> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const missing = systemCodeOf(error) === 'ENOENT';
    throw new MoeError(
      'input',
      missing ? 'plan-not-found' : 'plan-unreadable',
      missing ? `There is no plan ${file}` : `The plan ${file} cannot be read: ${messageOf(error)}`,
      { file },
      { cause: error },
    );
  }
  stage(context, 'plan', file);
  const plan = parsePlan(text, file);
  const paths = plan.sources.map((source) => resolve(dirname(file), source.path));
  const checkpoints = await openAll(paths, context);
  // Another checkpoint altogether is named as that, before what only its config shows.
  checkSources(plan, checkpoints);
  checkPlanHolds(plan, checkpoints);
  return { plan, checkpoints };
}

/** Opens checkpoints in order; what is wrong with them goes into the log. */
export async function openAll(paths: readonly string[], context: JobContext): Promise<Checkpoint[]> {
  const opened: Checkpoint[] = [];
  for (const path of paths) {
    stage(context, 'start', path);
    context.log('info', `Opening ${path}`);
    const checkpoint = await openCheckpoint(path, { signal: context.signal });
    for (const { severity, message, code } of checkpoint.problems)
      if (severity !== 'info') context.log(severity, `${path}: ${message} [${code}]`);
    opened.push(checkpoint);
  }
  return opened;
}

/** Whether the file system of a folder that may not exist yet can share blocks. */
async function canCloneNear(out: string): Promise<boolean> {
  for (let folder = out; ; folder = dirname(folder)) {
    const there = await stat(folder).catch(() => null);
    if (there?.isDirectory() === true) return canClone(folder);
    if (dirname(folder) === folder) return false;
  }
}
