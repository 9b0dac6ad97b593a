import type { LayerReport, TraceReport } from '../../../src/eval/trace-report.ts';
import { traceReport } from '../../../src/eval/trace-report.ts';
import type { RouterBatch, TraceConfig } from '../../../src/eval/trace.ts';
import { ExpertTrace } from '../../../src/eval/trace.ts';

/** Logits whose softmax is the given probabilities. */
export const logits = (rows: number[][]): number[] => rows.flat().map(Math.log);

export function report(config: Partial<TraceConfig>, batches: Partial<RouterBatch>[]): TraceReport {
  const trace = new ExpertTrace({ layers: [0], experts: 4, topK: 2, ...config });
  for (const batch of batches) {
    const values = batch.logits ?? [];
    trace.observe({ layer: 0, tokens: values.length / (config.experts ?? 4), ...batch, logits: values });
  }
  return traceReport(trace, { minOccurrences: 1 });
}

export function only(r: TraceReport): LayerReport {
  const [layer] = r.layers;
  if (layer === undefined) throw new Error('no layer');
  return layer;
}

// Two tokens over four experts, top-2: {0, 1} and {1, 2}.
export const TWO = logits([
  [0.5, 0.25, 0.125, 0.125],
  [0.125, 0.5, 0.25, 0.125],
]);
