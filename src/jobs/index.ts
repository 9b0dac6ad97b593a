/** Background jobs: queue and history on disk, shared by all windows; each job in a process of its own. */
export { JobService } from './service.ts';
export type { JobServiceOptions } from './service.ts';
export { JobStore } from './store.ts';
export type { AddOptions, JobClaim, StoreOptions } from './store.ts';
export type { JobRecord } from './events.ts';
export { JobProcess } from './process.ts';
export type { JobHooks, JobProcessOptions } from './process.ts';
export { exitError } from './exit.ts';
export type { JobExit } from './exit.ts';
export { readLog } from './logs.ts';
export type { LogPiece } from './logs.ts';
export { titleOf } from './titles.ts';
