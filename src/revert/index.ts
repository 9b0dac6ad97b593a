/** Undoing an upcycle: see revert.ts. */
export { planRevert, revertOutput } from './revert.ts';
export type { RevertOptions, RevertPlan, RevertRefusal, RevertReport } from './revert.ts';
