/** One upcycle in a process of its own, as a user's command is: opens, plans, writes; reports its peak memory. */
import { resourceUsage } from 'node:process';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { buildPlan } from '../../src/plan/build.ts';
import type { Recipe } from '../../src/recipe/types.ts';
import { executePlan } from '../../src/write/index.ts';

export interface ChildResult {
  readonly rssBytes: number;
  readonly sourceBytesRead: number;
  readonly clonedFiles: number;
  readonly seconds: number;
}

export const BENCH_RECIPE: Recipe = {
  base: null,
  parents: [],
  rest: 'base',
  target: 'auto',
  experts: 8,
  top_k: 2,
  granularity: 1,
  layers: 'all',
  expert_init: { method: 'copy' },
  router: { init: 'normal', std: 0.02, order: 'topk-softmax' },
  scale: 'auto',
  shared_expert: 'auto',
  tie: 'auto',
  output: { dtype: 'same', shard_size: 5_000_000_000, clone: 'auto' },
  config: {},
  seed: 42,
};

/** Prints a ChildResult as JSON. */
export async function runChild(source: string, out: string, recipeText: string): Promise<void> {
  const recipe: Recipe = { ...BENCH_RECIPE, ...(JSON.parse(recipeText) as Partial<Recipe>) };
  const sources = [await openCheckpoint(source)];
  const report = await executePlan(buildPlan(recipe, sources), sources, out);
  const result: ChildResult = {
    rssBytes: resourceUsage().maxRSS * 1024,
    sourceBytesRead: report.sourceBytesRead,
    clonedFiles: report.clonedFiles,
    seconds: report.seconds,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
