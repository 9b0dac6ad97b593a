/** The router lab: what starts of the router would do with a text, on the dense model. */
import * as z from 'zod/mini';
import { defineRequest } from './define.ts';
import type { Of } from './define.ts';
import { deviceChoice } from './jobs.ts';
import { planRequest } from './planning.ts';
import { count, floats, list, num, stepProgress, text } from './wire.ts';

/** Where the text comes from: a file, or the text itself; neither: the built-in text. */
export const labText = z.object({ name: text, file: z.nullable(text), text: z.nullable(text) });
export type LabText = Of<typeof labText>;

export const labLayer = z.object({
  layer: count,
  routerEntropy: z.nullable(num),
  loadEntropy: z.nullable(num),
  maxVio: z.nullable(num),
  dead: list(count, 100_000),
  cold: list(count, 100_000),
  /** Of the rows; null: a router of zeros has none, or infinite (see `dependent`). */
  condition: z.nullable(num),
  /** Rows depend on one another: the condition number is infinite. */
  dependent: z.boolean(),
  bf16TieRate: z.nullable(num),
  marginMean: z.nullable(num),
  /** Shares of the choices that a capacity limit would drop. */
  drops: list(z.object({ factor: num, convention: text, share: num }), 100),
});
export type LabLayerView = Of<typeof labLayer>;

export const labResult = z.object({
  init: text,
  /** Null where it has no effect. */
  std: z.nullable(num),
  layers: list(labLayer, 10_000),
  /** Layers × experts. */
  load: floats,
  /** Mean over layers of each layer's own. */
  maxVio: z.nullable(num),
  warnings: list(text, 100),
});
export type LabResultView = Of<typeof labResult>;

export const labReport = z.object({
  /** Of the plan that the lab looked at. */
  hash: text,
  experts: count,
  topK: count,
  tokens: count,
  texts: list(z.object({ name: text, tokens: count, whole: z.boolean() }), 100),
  device: text,
  seconds: num,
  results: list(labResult, 50),
  notes: list(text, 100),
});
export type LabReportView = Of<typeof labReport>;

const options = { progress: stepProgress, timeoutMs: null } as const;
/** Runs the recipe's dense model. Cancelling ends it at once. */
export const workerLab = defineRequest(
  'worker/lab',
  z.object({ plan: planRequest, texts: list(labText, 100), limit: count, device: deviceChoice }),
  labReport,
  options,
);
/** The same for the page: of the document as it is now. Null text: the built-in one. */
export const plannerLab = defineRequest(
  'planner/lab',
  z.object({ file: z.nullable(text), text: z.nullable(text) }),
  labReport,
  options,
);
