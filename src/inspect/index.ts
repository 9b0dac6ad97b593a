/** Inspection: what a checkpoint is, from headers and config. */
export { inspectCheckpoint } from './inspect.ts';
export type { InspectReport } from './inspect.ts';
export type { ExpertLayout, ExpertSummary } from './experts.ts';
export { parseTensorName } from './expert-names.ts';
export type { ExpertStyle, FfnPart, TensorName, TensorRole } from './expert-names.ts';
export { expertParallelSizes, modelTypeOf, normTopkProb, readMoeConfig, textSection } from './moe-config.ts';
export type { MoeConfig } from './moe-config.ts';
export { moeLayerIndices } from './moe-layers.ts';
export { isBuffer } from './facts.ts';
