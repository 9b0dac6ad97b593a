/** Serves recipes and plans: judged as they are typed, planned on request, the last few kept by hash. */
import { stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';
import { buildPlan } from '../plan/build.ts';
import { planJsonChunks } from '../plan/json.ts';
import type { Plan } from '../plan/types.ts';
import type { Endpoint } from '../protocol/host.ts';
import type { PlanRequest } from '../protocol/planning.ts';
import { workerPlan, workerPlanRow, workerPlanText, workerRecipe, workerSavePlan } from '../protocol/worker.ts';
import type { Planned, RecipeRead } from '../protocol/worker.ts';
import { diagnoseRecipe } from '../recipe/load.ts';
import type { LoadedRecipe, RecipeRequest } from '../recipe/load.ts';
import { presetNamed } from '../recipe/presets.ts';
import { planText } from '../report/plan.ts';
import { PLAIN } from '../report/text.ts';
import { PlanRows, planSummaryOf } from '../view/plan-view.ts';
import { parsedRecipeOf, recipeFields, wireProblemOf } from '../view/recipe-fields.ts';
import { canClone } from '../write/clone.ts';
import type { Checkpoints } from './checkpoints.ts';

const KEPT_PLANS = 4;

interface Kept {
  readonly plan: Plan;
  readonly rows: PlanRows;
  readonly physicalKnown: boolean;
}

export function servePlans(endpoint: Endpoint, checkpoints: Checkpoints): void {
  const kept = new Map<string, Kept>();
  const get = (hash: string): Kept => {
    const one = kept.get(hash);
    if (one === undefined)
      throw new MoeError('usage', 'plan-outdated', 'This plan is no longer at hand: the recipe has changed since', {
        hint: 'Look at the new plan.',
      });
    return one;
  };

  endpoint.handle(workerRecipe, (request) => readRecipe(request, null).read);
  endpoint.handle(workerPlan, async (request, { signal, progress }): Promise<Planned> => {
    const started = performance.now();
    const { read, loaded } = readRecipe(request, null);
    if (loaded === null || loaded.basePath === null) return { ...read, plan: null };
    const paths = [loaded.basePath, ...loaded.parentPaths];
    const sources: Checkpoint[] = [];
    for (const [i, path] of paths.entries()) {
      progress({ done: i, total: paths.length + 1, what: path });
      const { entry } = await checkpoints.entryOf(path, { lenient: false, fresh: false, signal });
      sources.push(entry.cp);
    }
    progress({ done: paths.length, total: paths.length + 1, what: 'planning' });
    const target = await placeOf(request.out);
    const { preset } = loaded.recipe;
    const assumptions = preset === undefined ? [] : (presetNamed(preset)?.assumptions ?? []);
    const plan = buildPlan(loaded.recipe, sources, { assumptions, canClone: target?.clones ?? false });
    const seconds = (performance.now() - started) / 1000;
    kept.delete(plan.hash);
    kept.set(plan.hash, { plan, rows: new PlanRows(plan), physicalKnown: target !== null });
    const [oldest] = kept.keys();
    if (kept.size > KEPT_PLANS && oldest !== undefined) kept.delete(oldest);
    const summary = planSummaryOf(plan, {
      physicalKnown: target !== null,
      freeBytes: target?.freeBytes ?? null,
      planOnly: planOnlyOf(sources),
      seconds,
    });
    // With the plan the fields know what `auto` came to.
    return { ...readRecipe(request, plan).read, plan: summary };
  });
  endpoint.handle(workerPlanRow, ({ hash, row, start, count }) => get(hash).rows.page(row, start, count));
  endpoint.handle(workerPlanText, ({ hash }) => {
    const { plan, physicalKnown } = get(hash);
    return { text: planText(plan, PLAIN, physicalKnown) };
  });
  endpoint.handle(workerSavePlan, async ({ hash, to }) => ({
    // The dialogue has asked about an existing file.
    bytes: await writeWhole(to, planJsonChunks(get(hash).plan)),
  }));
}

/** A recipe as it is written, judged; `plan` tells what `auto` came to. */
export function readRecipe(
  request: PlanRequest,
  plan: Plan | null,
): { readonly read: RecipeRead; readonly loaded: LoadedRecipe | null } {
  const asked: RecipeRequest = {
    file: request.file ?? undefined,
    text: request.text ?? undefined,
    preset: request.preset ?? undefined,
    sets: request.sets,
    src: request.src ?? undefined,
    cwd: request.cwd ?? undefined,
  };
  const { loaded, problems } = diagnoseRecipe(asked);
  const fields = recipeFields({ text: request.text, loaded, problems, plan });
  const recipe = loaded === null ? null : parsedRecipeOf(loaded);
  return { loaded, read: { recipe, fields, problems: problems.slice(0, 1000).map(wireProblemOf) } };
}

function planOnlyOf(sources: readonly Checkpoint[]): string | null {
  const bare = sources.find((source) => source.planOnly);
  if (bare === undefined) return null;
  return `Only config and index of ${bare.path} are at hand: it can be planned, but there are no weights to write from.`;
}

/** The file system that the output would lie on. */
async function placeOf(out: string | null): Promise<{ clones: boolean; freeBytes: number | null } | null> {
  if (out === null) return null;
  for (let folder = resolve(out); ; folder = dirname(folder)) {
    const there = await stat(folder).catch(() => null);
    if (there?.isDirectory() === true) {
      const space = await statfs(folder).catch(() => null);
      return { clones: await canClone(folder), freeBytes: space === null ? null : space.bavail * space.bsize };
    }
    if (dirname(folder) === folder) return null;
  }
}
