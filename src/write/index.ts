/** Executing plans: see execute.ts and place.ts. */
export { canClone } from './clone.ts';
export { executePlan } from './execute.ts';
export type { WriteOptions, WriteReport } from './execute.ts';
export { MANIFEST_NAME } from './documents.ts';
export { readManifest } from './manifest.ts';
export type { Manifest } from './manifest.ts';
export type { ProgressEvent, ProgressListener } from './progress.ts';
export { fitsPipeline, freeBytes } from './space.ts';
export type { SpaceStep, SpaceVerdict } from './space.ts';
