/** Comparison editor: webview ↔ host. */
import * as z from 'zod/mini';
import { compareExperts, compareRowsPage, compareRowsRequest, compareSummary } from './comparing.ts';
import { defineNotification, defineRequest } from './define.ts';
import type { Of } from './define.ts';
import { errorPage, flag, nothing, stepProgress, text } from './wire.ts';

export const comparisonState = z.object({
  a: z.object({ name: text, path: text }),
  b: z.object({ name: text, path: text }),
  status: z.enum(['loading', 'structure', 'values', 'ready', 'failed']),
  progress: z.nullable(stepProgress),
  error: z.nullable(errorPage),
  summary: z.nullable(compareSummary),
});
export type ComparisonState = Of<typeof comparisonState>;

export const compareReady = defineRequest('compare/ready', nothing, comparisonState);
export const compareChanged = defineNotification('compare/changed', comparisonState);
export const compareRows = defineRequest('compare/rows', compareRowsRequest, compareRowsPage);
export const compareExpertRows = defineRequest('compare/experts', nothing, compareExperts);
/** Compares the values (the structure alone is compared on opening); cancel by signal. */
export const compareValues = defineRequest('compare/values', nothing, compareSummary, {
  progress: stepProgress,
  timeoutMs: 120_000,
});
export const compareCopy = defineRequest('compare/copy', z.object({ text, what: text }), nothing);
export const compareCommand = defineRequest(
  'compare/command',
  z.object({
    command: z.enum(['swap', 'openA', 'openB', 'openTensor', 'reload', 'errorAction']),
    argument: z.nullable(text),
  }),
  z.object({ done: flag }),
  { timeoutMs: null },
);
export const compareFault = defineNotification('compare/fault', z.object({ message: text, stack: z.nullable(text) }));
