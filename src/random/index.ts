/** Counter-based random numbers of our own arithmetic: see stream.ts. */
export { complementOf, randomPermutation, randomShard, randomSubset } from './choose.ts';
export { naturalLog, normalQuantile } from './normal.ts';
export { philoxBlock } from './philox.ts';
export { fillNormal, fillUniform, randomStream } from './stream.ts';
export type { FloatSink, RandomStream } from './stream.ts';
