/** Statistics of tensors and experts, streamed. */
export { codingOf, undecodedReason } from './codes.ts';
export { expertMetrics } from './expert-metrics.ts';
export type { MetricsOptions, MetricsResult } from './expert-metrics.ts';
export { expertGridOf } from './grid.ts';
export { exportNpy } from './npy.ts';
export type { Exported, ExportOptions } from './npy.ts';
export { findParent, upcycleRecord } from './parent.ts';
export type { FoundParent, UpcycleRecord } from './parent.ts';
export { expertSimilarity } from './similarity.ts';
export type { SimilarityOptions } from './similarity.ts';
export { tensorStatistics } from './tensor-stats.ts';
export type { StatsOptions } from './tensor-stats.ts';
