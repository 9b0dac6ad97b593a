/** Expressions evaluated over opened sources, in any range and in bounded memory. */
export { throwIfCancelled } from './cancel.ts';
export { Evaluator } from './evaluator.ts';
export { exprPeakBytes } from './peak.ts';
export { ResolvedLog, decodeRows, encodeRows, expressionDigest } from './resolved.ts';
export type { Resolved } from './resolved.ts';
export { SourceSet } from './sources.ts';
export type { FileState } from './sources.ts';
export { concatOf, reshapeOf, sliceOf, takeOf } from './moves.ts';
export { Value, bytePool, isContiguous } from './value.ts';
export type { SourceLayout } from './value.ts';
