/** A host for the results editor. */
import {
  resultsChanged,
  resultsCommand,
  resultsCompare,
  resultsCopy,
  resultsFault,
  resultsLayer,
  resultsReady,
} from '../../../src/protocol/results.ts';
import type { Evaluation, ResultsComparison, ResultsState } from '../../../src/protocol/results.ts';
import { HOSTILE } from './hostile.ts';
import { layerTraces, TRACES } from './traces.ts';
import { installHost, later, numbers, record, scenario } from './page-host.ts';

const kind = scenario();
const host = installHost('results');
const random = numbers(11);
const SUBJECTS: readonly (readonly [string, string])[] = [
  ['abstract algebra', 'STEM'],
  ['astronomy', 'STEM'],
  ['machine learning', 'STEM'],
  ['formal logic', 'Humanities'],
  ['philosophy', 'Humanities'],
  ['world religions', 'Humanities'],
  ['econometrics', 'Social sciences'],
  ['sociology', 'Social sciences'],
  ['business ethics', 'Other'],
  ['virology', 'Other'],
];

const metric = (name: string, value: number | null, stderr: number | null, higherIsBetter = true) => ({
  name,
  value,
  stderr,
  higherIsBetter,
});

const evaluation: Evaluation = {
  model: kind === 'hostile' ? HOSTILE : 'smol-moe-8x2',
  path: '/models/smol-moe-8x2',
  date: '2026-11-26T08:20:11.000Z',
  tool: 'MoE Workbench 0.1.0',
  partial: kind === 'default' ? '600 of 14,042 documents, for debugging: not comparable with published scores' : null,
  facts: [
    { label: 'Parameters', value: '651M', exact: '651M', note: null },
    { label: 'Device', value: 'cpu', exact: 'cpu', note: null },
    { label: 'Took', value: '3 min 04 s', exact: '3 min 04 s', note: null },
    { label: 'Rules', value: 'harness-0.4.9.2', exact: 'harness-0.4.9.2', note: 'Whose rules decide.' },
  ],
  notes: ['12 prompts were longer than 2048 tokens and were cut from the left', HOSTILE],
  rows: [
    { task: 'mmlu', group: true, level: 0, documents: 600, fewshot: 0, metrics: [metric('acc', 0.2617, 0.018)] },
    ...SUBJECTS.map(([label]) => ({
      task: `mmlu_${label.replaceAll(' ', '_')}`,
      group: false,
      level: 1,
      documents: 60,
      fewshot: 0,
      metrics: [metric('acc', 0.2 + random() * 0.2, 0.055)],
    })),
    {
      task: 'hellaswag',
      group: false,
      level: 0,
      documents: 1000,
      fewshot: 0,
      metrics: [metric('acc', 0.349, 0.0151), metric('acc_norm', 0.424, 0.0156)],
    },
    {
      task: HOSTILE,
      group: false,
      level: 0,
      documents: null,
      fewshot: null,
      metrics: [metric('perplexity', 12345.678, null, false), metric('nothing', null, null)],
    },
  ],
  subjects: SUBJECTS.map(([label, area]) => ({
    task: `mmlu_${label}`,
    label,
    area,
    value: 0.2 + random() * 0.25,
    stderr: 0.055,
    documents: 60,
  })),
  documents: 1600,
  traces: TRACES,
};

const counts = {
  documents: 600,
  scoreA: 0.255,
  scoreB: 0.2617,
  difference: 0.0067,
  stderr: 0.009,
  bothRight: 140,
  bothWrong: 430,
  gained: 17,
  lost: 13,
  p: 0.5847,
};
const comparison: ResultsComparison = {
  other: { name: 'SmolLM2-135M, 2026-11-26 08:01', file: '/storage/a.moe-eval.json' },
  rows: [
    { task: 'mmlu', metric: 'acc', a: 0.255, b: 0.2617, difference: 0.0067 },
    { task: HOSTILE, metric: 'perplexity', a: 12_300, b: null, difference: null },
  ],
  paired: {
    metric: 'acc',
    overall: counts,
    tasks: SUBJECTS.map(([label], at) => ({
      task: `mmlu_${label}`,
      ...counts,
      documents: 60,
      difference: at / 100 - 0.05,
    })),
    flips: [
      { task: 'mmlu_astronomy', document: 12, gained: true },
      { task: HOSTILE, document: 3, gained: false },
    ],
    moreFlips: 28,
  },
  notes: ['40 documents are only in A, 0 only in B; they are left out'],
};

const running = {
  title: 'Evaluate smol-moe-8x2: mmlu, hellaswag',
  status: 'running' as const,
  words: 'scoring 42 %, mmlu acc 0.262 [0.227, 0.299], 2 min left',
  progress: {
    phase: 'score' as const,
    bytesDone: 1008,
    bytesTotal: 2400,
    tensorsDone: 0,
    tensorsTotal: 0,
    at: 'mmlu_astronomy',
    bytesPerSecond: null,
    etaSeconds: 121,
    scores: {
      task: 'mmlu_astronomy',
      requests: 1008,
      totalRequests: 2400,
      documents: 252,
      totalDocuments: 600,
      scores: [
        { name: 'mmlu_astronomy', metric: 'acc', value: 0.31, documents: 42, interval: { low: 0.191, high: 0.46 } },
        { name: 'mmlu', metric: 'acc', value: 0.262, documents: 252, interval: { low: 0.211, high: 0.319 } },
      ],
    },
  },
  cancelling: false,
  resumable: false,
  error: null,
};

let state: ResultsState = {
  name: 'smol-moe-8x2 mmlu, hellaswag 2026-11-26 08.20.11',
  file: '/storage/b.moe-eval.json',
  evaluation: kind === 'running' || kind === 'killed' || kind === 'failed' ? null : evaluation,
  job:
    kind === 'running'
      ? running
      : kind === 'killed'
        ? {
            ...running,
            status: 'failed',
            words: 'failed just now',
            resumable: true,
            error: {
              title: running.title,
              message: 'The model process was killed (SIGKILL)',
              code: 'job-killed',
              kind: 'resources',
              file: null,
              tensor: null,
              byte: null,
              field: null,
              hint: 'The system does that when memory runs out (see dmesg), or somebody ended it.',
              actions: [],
            },
          }
        : null,
  error:
    kind === 'failed'
      ? {
          title: 'The results cannot be shown',
          message: '/storage/b.moe-eval.json has no "results"',
          code: 'bad-results-file',
          kind: 'input',
          file: '/storage/b.moe-eval.json',
          tensor: null,
          byte: null,
          field: null,
          hint: 'Expected a results_*.json of lm-evaluation-harness.',
          actions: [{ id: 'reload', label: 'Try Again' }],
        }
      : null,
  others: [
    { file: '/storage/a.moe-eval.json', label: 'SmolLM2-135M mmlu 2026-11-26 08.01.00', about: 'dense parent' },
    { file: '/storage/c.moe-eval.json', label: HOSTILE, about: 'the same checkpoint' },
  ],
  comparison: null,
};

host.handle(resultsReady, () => state);
host.handle(resultsCompare, async ({ file }) => {
  record.calls.push(`compare ${String(file)}`);
  await later(20);
  state = { ...state, comparison: file === null ? null : comparison };
  host.notify(resultsChanged, state);
  return {};
});
host.handle(resultsLayer, async ({ layer }) => {
  record.calls.push(`layer ${String(layer)}`);
  await later(10);
  return layerTraces(layer);
});
host.handle(resultsCopy, ({ text }) => {
  record.copied.push(text);
  return {};
});
host.handle(resultsCommand, ({ command, argument }) => {
  record.commands.push(argument === null ? command : `${command} ${argument}`);
  return { done: true };
});
host.on(resultsFault, ({ message }) => {
  record.faults.push(`page: ${message}`);
});
record.say['state'] = (changes) => {
  state = { ...state, ...(changes as Partial<ResultsState>) };
  host.notify(resultsChanged, state);
};
record.say['done'] = () => {
  state = { ...state, evaluation, job: null };
  host.notify(resultsChanged, state);
};
