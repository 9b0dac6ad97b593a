/** Differences between checkpoints. */
export { configChanges, diffCheckpoints } from './diff.ts';
export type { DiffOptions, DiffReport, TensorDistance } from './diff.ts';
export type { Distance, ScaledDistance } from './compare.ts';
export type { ExpertDistance, ExpertNote } from './experts.ts';
