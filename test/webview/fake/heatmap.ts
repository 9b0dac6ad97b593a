/** A host for the sidebar's heat map. */
import {
  heatmapChanged,
  heatmapCompute,
  heatmapFault,
  heatmapMetric,
  heatmapReady,
  heatmapSelect,
} from '../../../src/protocol/heatmap.ts';
import type { HeatmapState } from '../../../src/protocol/heatmap.ts';
import { MoeError } from '../../../src/common/errors.ts';
import { HOSTILE } from './hostile.ts';
import { installHost, later, numbers, record, scenario } from './page-host.ts';

const kind = scenario();
const host = installHost('heatmap');
const layers = kind === 'wide' ? 48 : 12;
const experts = kind === 'wide' ? 128 : 8;

function values(): Float32Array {
  const random = numbers(11);
  const made = new Float32Array(layers * experts).map(() => 40 + random() * 20);
  made[4 * experts + 5] = 0;
  return made;
}

const ready = kind === 'default' || kind === 'wide';
let state: HeatmapState = {
  status: kind === 'none' ? 'none' : kind === 'dense' ? 'dense' : kind === 'failed' ? 'failed' : 'ready',
  name: kind === 'none' ? '' : kind === 'wide' ? HOSTILE : 'smol-moe-8x2',
  message:
    kind === 'none'
      ? 'Open a checkpoint to see its experts.'
      : kind === 'dense'
        ? 'This checkpoint is dense: it has no experts.'
        : kind === 'failed'
          ? 'model-00003-of-00004.safetensors is missing.'
          : 'Metrics read 1.3 GB of weights.',
  progress: null,
  metric: 'norm',
  metrics: [
    { name: 'norm', label: 'Norm', about: 'Frobenius norm' },
    { name: 'distance', label: 'Distance to the dense parent', about: 'relative' },
    { name: 'routerNorm', label: 'Norm of the router row', about: 'length' },
  ],
  layers: Array.from({ length: layers }, (_, at) => at),
  experts,
  values: ready ? values() : new Float32Array(layers * experts).fill(NaN),
  min: ready ? 0 : null,
  max: ready ? 60 : null,
  summary: 'Norm from 0 (layer 4, expert 5) to 59.8 (layer 10, expert 2). 1 dead.',
  worst: ready
    ? [
        { layer: 4, expert: 5, value: 0, why: 'dead' },
        { layer: 7, expert: 2, value: 51.2, why: 'same as expert 0' },
        { layer: 9, expert: 1, value: 59.1, why: HOSTILE },
      ]
    : [],
  selected: { layer: 7, expert: 2 },
};

host.handle(heatmapReady, () => state);
host.handle(heatmapMetric, ({ metric }) => {
  record.calls.push(`metric ${metric}`);
  state = { ...state, metric };
  host.notify(heatmapChanged, state);
  return {};
});
host.handle(heatmapSelect, ({ layer, expert }) => {
  record.calls.push(`select ${String(layer)} ${String(expert)}`);
  return { shown: true };
});
host.handle(heatmapCompute, async (_, { progress, signal }) => {
  for (let done = 1; done <= layers; done++) {
    await later(20);
    if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Cancelled');
    progress({ done, total: layers, what: 'Reading layers' });
  }
  state = { ...state, values: values(), min: 0, max: 60, worst: [{ layer: 4, expert: 5, value: 0, why: 'dead' }] };
  host.notify(heatmapChanged, state);
  return {};
});
host.on(heatmapFault, ({ message }) => {
  record.faults.push(`page: ${message}`);
});
