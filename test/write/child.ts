/**
 * A writer in a process of its own, to be killed: `child SOURCE OUT RECIPE-JSON OPTIONS-JSON`. Prints each durable step;
 * kills itself with SIGKILL at `dieAt`, waits `delayMs` at every step.
 */
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { MoeError } from '../../src/common/errors.ts';
import { buildPlan } from '../../src/plan/build.ts';
import type { Recipe } from '../../src/recipe/types.ts';
import { executePlan } from '../../src/write/index.ts';
import { recipe } from '../plan/fakes.ts';

interface ChildOptions {
  readonly resume?: boolean;
  readonly dieAt?: string;
  readonly delayMs?: number;
}

const [source = '', out = '', recipeText = '{}', optionsText = '{}'] = process.argv.slice(2);
const options = JSON.parse(optionsText) as ChildOptions;
try {
  const sources = [await openCheckpoint(source)];
  const plan = buildPlan(recipe(JSON.parse(recipeText) as Partial<Recipe>), sources);
  const report = await executePlan(plan, sources, out, {
    resume: options.resume === true,
    onStep: async (step) => {
      process.stdout.write(`${step}\n`);
      if (step === options.dieAt) process.kill(process.pid, 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, options.delayMs ?? 0));
    },
  });
  process.stdout.write(`REPORT ${JSON.stringify(report)}\n`);
} catch (error) {
  process.stdout.write(
    `ERROR ${JSON.stringify(error instanceof MoeError ? { code: error.code, message: error.message } : String(error))}\n`,
  );
  process.exitCode = 1;
}
