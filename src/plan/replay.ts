/** A saved plan held against the checkpoints that it is to be executed on. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { buildPlan } from './build.ts';
import type { Plan } from './types.ts';

/**
 * Plans again from the recipe in `plan` and the sources as they are now, and compares the hashes: a source whose config
 * was changed since, or an edited recipe, would otherwise be written as if nothing had happened. Throws MoeError
 * (exit 3): `plan-outdated`, or what `buildPlan` throws.
 */
export function checkPlanHolds(plan: Plan, checkpoints: readonly Checkpoint[]): void {
  const now = buildPlan(plan.recipe, checkpoints);
  if (now.hash === plan.hash) return;
  const fields = new Set([...Object.keys(plan.target.config), ...Object.keys(now.target.config)]);
  const field = [...fields].find(
    (name) => JSON.stringify(plan.target.config[name]) !== JSON.stringify(now.target.config[name]),
  );
  const difference =
    field === undefined
      ? ''
      : `: ${field} is ${JSON.stringify(plan.target.config[field]) ?? 'absent'} in the plan and would now be ${JSON.stringify(now.target.config[field]) ?? 'absent'}`;
  throw new MoeError(
    'input',
    'plan-outdated',
    `The saved plan is not what its recipe and its source give now${difference}`,
    {
      ...(field === undefined ? {} : { field }),
      hint: 'The source or the plan file was changed since, or another version made it: plan again.',
    },
  );
}
