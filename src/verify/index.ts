/** Proving an output: see verify.ts. */
export { verifyOutput } from './verify.ts';
export type { VerifyOptions, VerifyReport } from './verify.ts';
export type { VerifyCheck, VerifyProblem } from './problems.ts';
