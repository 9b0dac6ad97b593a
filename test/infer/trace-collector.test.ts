/** Statistics of routers beyond softmax and top-k: what the model did, not what a plain router would have done with its logits. */
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { TraceCollector } from '../../src/infer/trace-collector.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { openFolder } from '../runtime/folder.ts';

const IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];

describe('expert statistics', () => {
  it.each([
    'deepseek_v2-groups',
    'deepseek_v3',
    'deepseek_v3-halves',
    'ernie4_5_moe',
    'llama4_text',
    'phimoe',
    'gpt_oss',
  ])('%s: mean weights are those that the model mixed with; margins only where scores tell them', async (name) => {
    const { config, source } = openFolder(path.resolve(import.meta.dirname, '../forward/fixtures-running', name));
    const model = new RunnableModel(config, source, { weights: 'stored', threads: 1 });
    const traces = await model.traces({ rows: [IDS] });
    const collector = TraceCollector.of(model.spec);
    if (collector === null) throw new Error('no experts');
    collector.observe(traces, { places: IDS.map((_, i) => i), ids: IDS, counted: IDS.map(() => true) }, undefined);
    const { layers } = collector.report();
    expect(layers).toHaveLength(traces.length);
    for (const [at, { experts, chosen, weights }] of traces.entries()) {
      const mean = new Float64Array(experts);
      chosen.forEach((expert, i) => {
        mean[expert] = (mean[expert] ?? 0) + (weights[i] ?? Number.NaN) / IDS.length;
      });
      layers[at]?.meanGate.forEach((value, expert) => {
        expect(value).toBeCloseTo(mean[expert] ?? Number.NaN, 5);
      });
      const grouped = name === 'deepseek_v2-groups' || name === 'deepseek_v3';
      expect(layers[at]?.margin === null).toBe(grouped);
      expect(layers[at]?.bf16TieRate === null).toBe(grouped);
    }
    await model.release();
  });
});
