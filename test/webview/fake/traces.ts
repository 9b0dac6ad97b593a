/** Expert statistics for the pages that show them. */
import type { LayerTraces, TraceSummary } from '../../../src/protocol/results.ts';
import { HOSTILE } from './hostile.ts';
import { numbers } from './page-host.ts';

const random = numbers(7);
const LAYERS = 6;
const EXPERTS = 8;

const load = new Float32Array(LAYERS * EXPERTS);
for (let y = 0; y < LAYERS; y++) {
  const row = Array.from({ length: EXPERTS }, (_, x) => (y === 2 && x === 5 ? 0 : 0.4 + random()));
  const sum = row.reduce((a, b) => a + b, 0);
  row.forEach((one, x) => (load[y * EXPERTS + x] = one / sum));
}
const importance = load.map((one) => (one + 1 / EXPERTS) / 2);

export const TRACES: TraceSummary = {
  experts: EXPERTS,
  topK: 2,
  layers: Array.from({ length: LAYERS }, (_, layer) => ({
    layer,
    tokens: 104_211,
    routerEntropy: 0.7 + random() * 0.25,
    loadEntropy: 0.9 + random() * 0.1,
    maxVio: 0.3 + random(),
    dead: layer === 2 ? [5] : [],
    cold: [],
    specialisation: 0.4,
    bf16TieRate: 0.012,
    marginMean: 0.08,
    drops: [
      { factor: 1, convention: 'megatron', base: 'valid-tokens', share: 0.13 },
      { factor: 1.25, convention: 'megatron', base: 'valid-tokens', share: 0.04 },
    ],
  })),
  maxVio: 0.72,
  load,
  importance,
  meanGate: importance,
  domains: [
    { name: 'mmlu_astronomy', tokens: 51_000 },
    { name: HOSTILE, tokens: 53_211 },
  ],
  definitions: [
    { name: 'load', text: 'count_i / (tokens · k); uniform 1/N. Megatron, switch_load_balancing_loss_func' },
    { name: 'importance', text: 'mean over tokens of p_i, the gate probability before top-k' },
  ],
  without: null,
};

export function layerTraces(layer: number): LayerTraces {
  const coactivation = Float32Array.from({ length: EXPERTS * EXPERTS }, (_, at) =>
    Math.floor(at / EXPERTS) === at % EXPERTS ? 1 : random() * 0.4,
  );
  if (layer === 2) for (let x = 0; x < EXPERTS; x++) coactivation[5 * EXPERTS + x] = NaN;
  return {
    layer,
    coactivation,
    domains: Float32Array.from({ length: 2 * EXPERTS }, () => random() * 0.5),
    vocabulary: [
      { token: ' the', occurrences: 512, expert: 3, share: 0.93 },
      { token: HOSTILE, occurrences: 40, expert: 1, share: 0.8 },
      { token: '\n', occurrences: 300, expert: 0, share: 0.78 },
    ],
  };
}
