/** Health of a checkpoint. */
export { doctor } from './doctor.ts';
export type { DoctorOptions, DoctorProgress, DoctorReport } from './doctor.ts';
export { rebuildIndex } from './rebuild-index.ts';
export type { RebuiltIndex } from './rebuild-index.ts';
