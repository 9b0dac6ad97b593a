/** View models: what the screens show of checkpoints, plans and recipes, as plain data of the protocol. */
export { overviewOf } from './overview.ts';
export { kvCacheOf, weightMemory } from './memory.ts';
export { TensorRows } from './tensor-rows.ts';
export { parseFilter } from './filter.ts';
export { pythonFor } from './python.ts';
export { PlanRows, planSummaryOf } from './plan-view.ts';
export type { PlanFacts } from './plan-view.ts';
export { parsedRecipeOf, recipeFields, wireProblemOf } from './recipe-fields.ts';
export { applyRecipeChanges } from './recipe-edit.ts';
export { naturalCompare } from './natural.ts';
export { wireProblem } from './wire-problem.ts';
