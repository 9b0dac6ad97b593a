/** A host for the comparison editor. */
import {
  compareChanged,
  compareCommand,
  compareCopy,
  compareExpertRows,
  compareFault,
  compareReady,
  compareRows,
  compareValues,
} from '../../../src/protocol/compare.ts';
import type { ComparisonState } from '../../../src/protocol/compare.ts';
import type { CompareExpert, CompareRow, CompareSummary } from '../../../src/protocol/comparing.ts';
import { MoeError } from '../../../src/common/errors.ts';
import { HOSTILE } from './hostile.ts';
import { installHost, later, numbers, record, scenario } from './page-host.ts';

const kind = scenario();
const host = installHost('compare');
const random = numbers(3);
const TOTAL = kind === 'huge' ? 500_000 : 640;
const LAYERS = 12;
const EXPERTS = 8;

function rowAt(index: number): CompareRow {
  const state = index % 9 === 0 ? 'added' : index % 7 === 0 ? 'changed' : index % 31 === 5 ? 'removed' : 'equal';
  const type = { dtype: 'BF16', shape: [1536, 576] };
  return {
    name:
      index === 1
        ? HOSTILE
        : `model.layers.${String(Math.floor(index / 20))}.mlp.experts.${String(index % 8)}.w${String(index % 3)}.weight`,
    state,
    a: state === 'added' ? null : type,
    b: state === 'removed' ? null : type,
    relativeL2: state === 'changed' ? 0.012_345_678 : state === 'equal' ? 0 : null,
    maxAbs: state === 'changed' ? 0.25 : state === 'equal' ? 0 : null,
    notFinite: null,
    reason: null,
  };
}

const summary = (valuesCompared: boolean): CompareSummary => ({
  a: {
    name: 'SmolLM2-135M',
    path: '/models/SmolLM2-135M',
    modelType: 'llama',
    kind: 'dense',
    parameters: 134_515_008,
    bytes: 269_060_552,
    tensors: 272,
  },
  b: {
    name: 'smol-moe-8x2',
    path: '/models/smol-moe-8x2',
    modelType: 'mixtral',
    kind: 'moe',
    parameters: 651_209_472,
    bytes: 1_302_418_944,
    tensors: 632,
  },
  identical: valuesCompared ? false : null,
  equal: 480,
  changed: valuesCompared ? 70 : 0,
  added: 71,
  removed: 19,
  reshaped: 0,
  dtypeChanged: 0,
  notCompared: 0,
  mode: 'dense-vs-moe',
  dense: 'a',
  config: [
    { field: 'model_type', a: 'llama', b: 'mixtral' },
    { field: 'num_local_experts', a: null, b: 8 },
    { field: 'architectures', a: ['LlamaForCausalLM'], b: ['MixtralForCausalLM'] },
    { field: HOSTILE, a: HOSTILE, b: { deep: [1, 2, 3] } },
  ],
  skipped: [`${HOSTILE}.packed`],
  moreSkipped: 3,
  asExperts: { a: 36, b: 288 },
  notes: ['Experts are matched with mlp.gate_proj, up_proj and down_proj of the same layer.'],
  valuesCompared,
});

let state: ComparisonState = {
  a: { name: 'SmolLM2-135M', path: '/models/SmolLM2-135M' },
  b: { name: 'smol-moe-8x2', path: '/models/smol-moe-8x2' },
  status: kind === 'failed' ? 'failed' : kind === 'loading' ? 'loading' : kind === 'structure' ? 'structure' : 'ready',
  progress: kind === 'loading' ? { done: 3, total: 8, what: 'Reading headers of smol-moe-8x2' } : null,
  error:
    kind === 'failed'
      ? {
          title: 'smol-moe-8x2 could not be opened',
          message: 'model.safetensors.index.json is no JSON: unexpected end at byte 4,093',
          code: 'bad-json',
          kind: 'input',
          file: '/models/smol-moe-8x2/model.safetensors.index.json',
          tensor: null,
          byte: 4093,
          field: null,
          hint: 'Rebuild the index.',
          actions: [{ id: 'rebuild', label: 'Rebuild the index…' }],
        }
      : null,
  summary: kind === 'failed' || kind === 'loading' ? null : summary(kind !== 'structure'),
};

host.handle(compareReady, () => state);
host.handle(compareRows, async ({ filter, states, start, count }) => {
  record.calls.push(`rows ${String(start)} ${filter} ${states.join('+')}`);
  await later(10);
  if (filter === '' && states.length === 0)
    return {
      start,
      total: TOTAL,
      rows: Array.from({ length: Math.max(0, Math.min(count, TOTAL - start)) }, (_, at) => rowAt(start + at)),
    };
  const all = Array.from({ length: Math.min(TOTAL, 5000) }, (_, at) => rowAt(at)).filter(
    (row) => row.name.includes(filter) && (states.length === 0 || states.includes(row.state)),
  );
  return { start, total: all.length, rows: all.slice(start, start + count) };
});
host.handle(compareExpertRows, () => ({
  experts: Array.from({ length: LAYERS * EXPERTS }, (_, at): CompareExpert => {
    const expert = at % EXPERTS;
    const distance = expert < 4 || kind === 'copies' ? 0 : random() * 0.3;
    return {
      layer: Math.floor(at / EXPERTS),
      expert,
      relativeL2: distance,
      exactScale: null,
      neurons: expert < 4 ? 'all, in order' : 'rows 0–1,535, half re-drawn',
      found: expert < 4 ? 1536 : 768,
      width: 1536,
      gate: distance,
      up: distance * 0.9,
      down: distance * 1.1,
      note: null,
    };
  }),
  notes: [],
}));
host.handle(compareValues, async (_, { progress, signal }) => {
  for (let done = 1; done <= 20; done++) {
    await later(30);
    if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Cancelled');
    progress({ done, total: 20, what: 'Comparing values' });
  }
  state = { ...state, status: 'ready', summary: summary(true) };
  return summary(true);
});
host.handle(compareCopy, ({ text }) => {
  record.copied.push(text);
  return {};
});
host.handle(compareCommand, ({ command }) => {
  record.commands.push(command);
  return { done: true };
});
host.on(compareFault, ({ message }) => {
  record.faults.push(`page: ${message}`);
});
record.say['state'] = (changes) => {
  state = { ...state, ...(changes as Partial<ComparisonState>) };
  host.notify(compareChanged, state);
};
