/** A saved plan held against the checkpoints that it is to be executed on. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { buildPlan } from './build.ts';
import type { Plan } from './types.ts';

/** A field of the target's config that the sources, as they are now, would give another value; null where there is none. */
export interface ConfigDifference {
  readonly field: string;
  /** As JSON; undefined: absent. */
  readonly planned: string | undefined;
  readonly now: string | undefined;
}

function differenceOf(planned: Plan, now: Plan): ConfigDifference | null {
  const [a, b] = [planned.target.config, now.target.config];
  for (const field of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [before, after] = [JSON.stringify(a[field]), JSON.stringify(b[field])];
    if (before !== after) return { field, planned: before, now: after };
  }
  return null;
}

/** Plans again and compares the configs alone. Throws what `buildPlan` throws. */
export function configDifference(plan: Plan, checkpoints: readonly Checkpoint[]): ConfigDifference | null {
  return differenceOf(plan, buildPlan(plan.recipe, checkpoints));
}

/**
 * Plans again from the recipe in `plan` and the sources as they are now, and compares the hashes: a source whose config
 * was changed since, or an edited recipe, would otherwise be written as if nothing had happened. Throws MoeError
 * (exit 3): `plan-outdated`, or what `buildPlan` throws.
 */
export function checkPlanHolds(plan: Plan, checkpoints: readonly Checkpoint[]): void {
  const now = buildPlan(plan.recipe, checkpoints);
  if (now.hash === plan.hash) return;
  const found = differenceOf(plan, now);
  const difference =
    found === null
      ? ''
      : `: ${found.field} is ${found.planned ?? 'absent'} in the plan and would now be ${found.now ?? 'absent'}`;
  throw new MoeError(
    'input',
    'plan-outdated',
    `The saved plan is not what its recipe and its source give now${difference}`,
    {
      ...(found === null ? {} : { field: found.field }),
      hint: 'The source or the plan file was changed since, or another version made it: plan again.',
    },
  );
}
