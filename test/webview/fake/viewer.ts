/** A host for the checkpoint editor with made-up but plausible data. `?scenario=` chooses which. */
import type { ExpertMetric, LayerExperts, Overview, TensorStats } from '../../../src/protocol/checkpoint.ts';
import {
  viewerChanged,
  viewerCommand,
  viewerCopy,
  viewerExperts,
  viewerExportNpy,
  viewerFault,
  viewerGrid,
  viewerLocate,
  viewerPickParent,
  viewerReady,
  viewerReveal,
  viewerRows,
  viewerSelected,
  viewerSimilarity,
  viewerStats,
  viewerTensor,
  viewerTraceLayer,
  viewerTraces,
} from '../../../src/protocol/viewer.ts';
import type { ViewerPlace, ViewerState } from '../../../src/protocol/viewer.ts';
import { MoeError } from '../../../src/common/errors.ts';
import { HOSTILE } from './hostile.ts';
import { layerTraces, TRACES } from './traces.ts';
import { installHost, later, numbers, record, scenario } from './page-host.ts';
import { FakeTree } from './tree.ts';

const kind = scenario();
const host = installHost('viewer');
const huge = kind === 'huge';
const dense = kind === 'dense' || kind === 'restricted';
const layers = huge ? 61 : kind === 'wide' ? 48 : 12;
const experts = dense ? 0 : huge ? 2700 : kind === 'wide' ? 128 : 8;
const tree = new FakeTree({ layers, experts, hidden: 576, width: 1536 });

const overview: Overview = {
  name: kind === 'hostile' ? HOSTILE : 'smol-moe-8x2',
  path: '/home/ada/models/smol-moe-8x2',
  format: 'hf',
  kind: dense ? 'dense' : 'moe',
  modelType: dense ? 'llama' : 'mixtral',
  tensorCount: tree.tensors,
  parameters: { total: dense ? 134_515_008 : 651_209_472, active: dense ? 134_515_008 : 208_331_136 },
  bytes: dense ? 269_060_552 : 1_302_418_944,
  dtypes: [
    { dtype: 'BF16', tensors: tree.tensors - 25 },
    { dtype: 'F32', tensors: 25 },
  ],
  shards: 4,
  files: [1, 2, 3, 4].map((at) => ({
    name: `model-0000${String(at)}-of-00004.safetensors`,
    path: `/home/ada/models/smol-moe-8x2/model-0000${String(at)}-of-00004.safetensors`,
    bytes: 325_604_736,
    state: kind === 'partial' && at === 3 ? 'missing' : 'ok',
  })),
  tied: true,
  layers,
  experts: dense
    ? null
    : {
        layers,
        layerIndices: Array.from({ length: layers }, (_, at) => at),
        perLayer: experts,
        topK: 2,
        shared: 0,
        width: 1536,
        sharedWidth: null,
        layout: 'one tensor per expert',
        parallelSizes: [1, 2, 4, 8],
      },
  memory: [
    { dtype: 'bf16', bytes: 1_302_418_944, activeBytes: dense ? null : 416_662_272, note: null },
    {
      dtype: 'int8',
      bytes: 651_209_472,
      activeBytes: dense ? null : 208_331_136,
      note: 'one scale per row not counted',
    },
    {
      dtype: 'int4',
      bytes: 366_305_328,
      activeBytes: dense ? null : 117_186_264,
      note: 'groups of 32 with a 16-bit scale',
    },
  ],
  kvCache: {
    bytesPer1kTokens: 23_040_000,
    dtype: 'bf16',
    how: '2 × 12 layers × 3 key-value heads × 64 × 2 bytes × 1000',
  },
  problems:
    kind === 'partial'
      ? [
          {
            severity: 'error',
            code: 'shard-missing',
            message: 'model-00003-of-00004.safetensors is named by the index and is not there',
            file: 'model.safetensors.index.json',
            hint: 'Download it again, or rebuild the index from the files that are there.',
          },
          {
            severity: 'warning',
            code: 'tensor-not-in-index',
            message: `the index does not name ${HOSTILE}`,
            file: 'model-00001-of-00004.safetensors',
            tensor: HOSTILE,
            byte: 8,
          },
        ]
      : [],
  moreProblems: kind === 'partial' ? 1234 : 0,
  planOnly: false,
  metadata: [
    { key: 'format', value: 'pt', cut: false },
    { key: HOSTILE, value: '<script>alert(2)</script>', cut: true },
  ],
  config: { architectures: ['MixtralForCausalLM'], num_local_experts: 8, hidden_size: 576, evil: HOSTILE },
  upcycled: !dense,
  facts: [{ label: 'Vocabulary', value: '49,152', exact: '49152', note: null }],
};

let state: ViewerState = {
  generation: 1,
  name: overview.name,
  path: overview.path,
  status: kind === 'loading' ? 'loading' : kind === 'failed' ? 'failed' : 'ready',
  error:
    kind === 'failed'
      ? {
          title: 'This file is cut off',
          message: `model.safetensors ends in the data of '${HOSTILE}': 1,048,576 bytes were expected from byte 4,096 on, 12,288 are there.`,
          code: 'file-truncated',
          kind: 'input',
          file: '/home/ada/models/broken/model.safetensors',
          tensor: HOSTILE,
          byte: 16_384,
          field: null,
          hint: 'Download the file again; its size should be 1,052,672 bytes.',
          actions: [
            { id: 'reload', label: 'Read again' },
            { id: 'text', label: 'Open as text' },
          ],
        }
      : null,
  loading: kind === 'loading' ? { done: 137, total: 200, what: 'Reading headers' } : null,
  peek:
    kind === 'loading'
      ? { files: 200, bytes: 94_982_643_712, modelType: HOSTILE, layers: 32, hidden: 4096, experts: 8, topK: 2 }
      : null,
  overview: kind === 'loading' || kind === 'failed' ? null : overview,
  restricted: kind === 'restricted',
  settings: { bins: 64, autoStats: kind !== 'manual', unitBase: 1000 },
  traced: kind === 'default' ? 'smol-moe-8x2 copa 2026-11-26 08.20.11' : null,
  place: null,
};

host.handle(viewerTraces, () => ({ traces: TRACES }));
host.handle(viewerTraceLayer, ({ layer }) => {
  record.calls.push(`traces ${String(layer)}`);
  return layerTraces(layer);
});
host.handle(viewerReady, () => state);
host.handle(viewerRows, async ({ view, start, count }) => {
  record.calls.push(`rows ${String(start)}`);
  await later(15);
  return tree.page(view, start, count);
});
host.handle(viewerLocate, ({ view, tensor }) => tree.indexOf(view, tensor));
host.handle(viewerTensor, ({ tensor }) => {
  const leaf = tree.find(tensor);
  if (leaf === null) throw new MoeError('input', 'no-such-tensor', `There is no tensor ${tensor}`);
  const elements = leaf.shape.reduce((a, b) => a * b, 1);
  return {
    name: leaf.name,
    dtype: leaf.dtype,
    shape: leaf.shape,
    elements,
    bytes: elements * 2,
    file: 'model-00001-of-00004.safetensors',
    path: '/home/ada/models/smol-moe-8x2/model-00001-of-00004.safetensors',
    begin: 81_920,
    role: leaf.role,
    layer: leaf.layer,
    expert: leaf.expert,
    alias: null,
    problems:
      leaf.severity === null
        ? []
        : [{ severity: leaf.severity, code: 'nan-found', message: '3 values are NaN', tensor }],
    statsUnavailable: null,
    python: `from safetensors import safe_open\n\nwith safe_open("model-00001-of-00004.safetensors", framework="pt") as f:\n    tensor = f.get_tensor(${JSON.stringify(tensor)})\n`,
  };
});
host.handle(viewerStats, async ({ tensor, bins, scale, first }, { progress, signal }) => {
  const steps = kind === 'slow' ? 40 : 3;
  for (let step = 1; step <= steps; step++) {
    await later(kind === 'slow' ? 100 : 10);
    if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Cancelled');
    progress({ bytesDone: step * 100_000, bytesTotal: steps * 100_000, what: 'Reading values' });
  }
  return statsOf(tensor, bins, scale, first);
});
host.handle(viewerExportNpy, () => ({ saved: { path: '/home/ada/tensor.npy', bytes: 1_769_600 } }));
host.handle(viewerGrid, () => ({
  summary: overview.experts,
  layers: dense
    ? []
    : Array.from({ length: layers }, (_, layer) => ({
        layer,
        experts,
        shared: kind === 'wide',
        router: `model.layers.${String(layer)}.mlp.gate.weight`,
      })),
  parent: dense ? null : { path: '/home/ada/models/SmolLM2-135M', name: 'SmolLM2-135M', why: 'named by its manifest' },
  unavailable: null,
  identicalExpected: kind === 'default',
  notes: [],
}));
host.handle(viewerExperts, async (_, { progress, signal }) => {
  const done: LayerExperts[] = [];
  for (let layer = 0; layer < layers; layer++) {
    await later(kind === 'slow' ? 200 : 4);
    if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Cancelled');
    const made = layerOf(layer);
    done.push(made);
    progress({ done: layer + 1, total: layers, layer: made });
  }
  return { layers: done, seconds: 1.42, notes: [] };
});
host.handle(viewerSimilarity, async ({ layer, part }) => {
  await later(20);
  const size = experts;
  const random = numbers(layer + 7);
  const values = new Float32Array(size * size);
  for (let a = 0; a < size; a++)
    for (let b = a; b < size; b++) {
      const value = a === b ? 1 : a < 3 && b < 3 ? 0.93 + random() * 0.05 : 0.2 + random() * 0.4;
      values[a * size + b] = value;
      values[b * size + a] = value;
    }
  return {
    layer,
    part,
    experts: Array.from({ length: size }, (_, at) => at),
    values,
    min: 0.2,
    max: 1,
    summary: 'Experts 0 and 2 are most alike (0.97), 4 and 7 least (0.21); mean 0.44.',
    notes: [],
  };
});
host.handle(viewerPickParent, () => ({ path: '/home/ada/models/SmolLM2-135M' }));
host.handle(viewerCopy, ({ text }) => {
  record.copied.push(text);
  return {};
});
host.handle(viewerCommand, ({ command, argument }) => {
  record.commands.push(`${command} ${argument ?? ''}`.trim());
  return { done: true };
});
host.on(viewerSelected, ({ tab, tensor }) => {
  record.calls.push(`selected ${tab ?? ''} ${tensor ?? ''}`);
});
host.on(viewerFault, ({ message }) => {
  record.faults.push(`page: ${message}`);
});
record.say['reveal'] = (place) => {
  host.notify(viewerReveal, place as ViewerPlace);
};
record.say['state'] = (changes) => {
  state = { ...state, ...(changes as Partial<ViewerState>) };
  host.notify(viewerChanged, state);
};

function layerOf(layer: number): LayerExperts {
  const random = numbers(layer * 31 + 5);
  const all: ExpertMetric[] = Array.from({ length: experts }, (_, expert) => {
    const dead = layer === 4 && expert === 5;
    const duplicate = layer === 7 && expert === 2;
    const norm = dead ? 0 : 40 + layer * 0.8 + random() * 6 + (layer === 9 && expert === 1 ? 20 : 0);
    return {
      expert,
      norm: { gate: norm * 0.6, up: norm * 0.58, down: norm * 0.55, all: norm },
      distance: dead ? 1 : 0.02 + random() * 0.2,
      nearest: { expert: (expert + 1) % experts, cosine: duplicate ? 1 : 0.4 + random() * 0.5 },
      effectiveRank: dead ? 0 : 300 + random() * 120,
      routerNorm: 0.4 + random() * 0.3,
      flags: dead ? ['dead'] : duplicate ? ['duplicate'] : layer === 9 && expert === 1 ? ['outlier'] : [],
      duplicateOf: duplicate ? 0 : null,
    };
  });
  return {
    layer,
    experts: all,
    rankOf:
      'Effective rank of the up projection: exp of the entropy of its singular values, from 64 random directions.',
    router: { tensor: `model.layers.${String(layer)}.mlp.gate.weight`, meanNorm: 0.52, stdNorm: 0.08, zero: false },
    cosine: { mean: 0.47, min: 0.21, max: 0.97 },
    notes: [],
  };
}

function statsOf(tensor: string, bins: number, scale: 'linear' | 'log', first: number): TensorStats {
  const random = numbers(tensor.length);
  const elements = 884_736;
  const edges = Array.from({ length: bins + 1 }, (_, at) =>
    scale === 'linear' ? -0.32 + (0.64 * at) / bins : 10 ** (-7 + (7 * at) / bins),
  );
  const counts = Array.from({ length: bins }, (_, at) => {
    const x = ((at + 0.5) / bins - (scale === 'linear' ? 0.5 : 0.78)) * 8;
    return Math.round((elements / bins) * 3.2 * Math.exp((-x * x) / 2));
  });
  return {
    tensor,
    elements,
    finite: elements - 3,
    nan: 3,
    positiveInfinite: 0,
    negativeInfinite: 0,
    zeros: 1204,
    min: -0.318_359_375,
    max: 0.302_734_375,
    mean: 0.000_012_345_678_9,
    std: 0.041_237_9,
    absMean: 0.032_9,
    norm: 38.7904,
    quantiles: {
      how: 'exact',
      values: [0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999].map((q) => ({ q, value: (q - 0.5) * 0.2 })),
    },
    histogram: { scale, edges, counts, zeros: scale === 'log' ? 1204 : 0, outside: 0 },
    first: Array.from({ length: first }, (_, at) => (at === 5 ? ('NaN' as const) : (random() - 0.5) * 0.2)),
    bytesRead: elements * 2,
    seconds: 0.034,
    notes: [],
  };
}
