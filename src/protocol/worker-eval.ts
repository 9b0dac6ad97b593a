/** Host ↔ worker thread: results files, data of tasks, and the playground's model. */
import * as z from 'zod/mini';
import { defineRequest } from './define.ts';
import type { Of } from './define.ts';
import { deviceChoice } from './jobs.ts';
import { generateRequest, generateResult, generateStep, playgroundModel } from './playground.ts';
import { evaluation, layerTraces, resultsComparison } from './results.ts';
import { count, flag, list, nothing, stepProgress, text } from './wire.ts';

/** What can be evaluated with the data at hand. */
export const taskOffer = z.object({
  name: text,
  label: text,
  help: text,
  group: flag,
  /** Its data is there. */
  found: flag,
  /** Where, or what was looked for. */
  about: text,
  /** Few-shot examples are there too. */
  fewshot: flag,
});
export type TaskOffer = Of<typeof taskOffer>;
export const workerTasks = defineRequest(
  'worker/tasks',
  z.object({
    /** File or folder; null: the Hub's cache alone. */
    data: z.nullable(text),
  }),
  z.object({ tasks: list(taskOffer, 1000) }),
);

/** Reads a results file, ours or the harness's. Fails with `bad-results-file`, `results-unreadable`. */
export const workerEvaluation = defineRequest(
  'worker/evaluation',
  z.object({ file: text }),
  z.object({
    evaluation,
    /** Made when a job began; it holds nothing yet. */
    begun: flag,
  }),
);
export const workerEvaluationCompare = defineRequest(
  'worker/evaluationCompare',
  z.object({ other: text, file: text }),
  resultsComparison,
);
export const workerEvaluationLayer = defineRequest(
  'worker/evaluationLayer',
  z.object({ file: text, layer: count }),
  layerTraces,
);
export const workerEvaluationText = defineRequest(
  'worker/evaluationText',
  z.object({ file: text, format: z.enum(['markdown', 'json']) }),
  z.object({ text }),
);
/** Writes expert statistics: one JSON file, or a folder of CSV files. */
export const workerExportTraces = defineRequest(
  'worker/exportTraces',
  z.object({ file: text, to: text, format: z.enum(['json', 'csv']) }),
  z.object({ files: list(text, 10) }),
);
/** Copies a results file to where the user wants it. */
export const workerSaveEvaluation = defineRequest('worker/saveEvaluation', z.object({ file: text, to: text }), nothing);

/** Opens a model for a playground, in a process of its own, which `worker/playClose` ends. */
export const workerPlayOpen = defineRequest(
  'worker/playOpen',
  z.object({ path: text, device: deviceChoice }),
  z.object({ handle: count, model: playgroundModel }),
  { progress: stepProgress, timeoutMs: null },
);
export const workerPlayGenerate = defineRequest(
  'worker/playGenerate',
  z.object({ handle: count, ...generateRequest.shape }),
  generateResult,
  { progress: generateStep, timeoutMs: null },
);
export const workerPlayClose = defineRequest('worker/playClose', z.object({ handle: count }), nothing);

/** Tries every device that models can run on, each in a process of its own. */
export const workerDevices = defineRequest(
  'worker/devices',
  nothing,
  z.object({
    devices: list(z.object({ device: text, available: flag, why: z.nullable(text), said: z.nullable(text) }), 20),
    /** How to get CUDA; empty where it works, or cannot be had here. */
    steps: list(z.object({ what: text, command: z.nullable(text) }), 20),
    /** All of it as text. */
    text,
  }),
  { progress: stepProgress, timeoutMs: null },
);
