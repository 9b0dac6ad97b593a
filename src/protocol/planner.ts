/** Plan editor: webview ↔ host. The recipe file is the truth; the page shows it and asks for edits. */
import * as z from 'zod/mini';
import { defineNotification, defineRequest } from './define.ts';
import type { Of } from './define.ts';
import { jobView } from './jobs.ts';
import {
  parsedRecipe,
  planRowPage,
  planRowRequest,
  planSummary,
  recipeChange,
  recipeField,
  recipeProblem,
} from './planning.ts';
import { count, errorPage, flag, list, nothing, text } from './wire.ts';

/** Everything that the editor shows. Sent whole, on every change. */
export const plannerState = z.object({
  /** Version of the text document; edits name the one they were made from. */
  version: z.int(),
  name: text,
  /** Absolute path of the recipe file. */
  path: text,
  text,
  recipe: z.nullable(parsedRecipe),
  fields: list(recipeField, 500),
  problems: list(recipeProblem, 1000),
  /** `planning`: `plan` (where there is one) belongs to an older text and is shown dimmed. */
  status: z.enum(['planning', 'ready', 'invalid', 'failed']),
  /** Why planning failed although the recipe is valid (source missing, unreadable). */
  error: z.nullable(errorPage),
  plan: z.nullable(planSummary),
  /** Output folder that a run would write; null: not chosen yet. */
  out: z.nullable(text),
  /** The job of this recipe that runs or ran last. */
  job: z.nullable(jobView),
  restricted: flag,
  dirty: flag,
});
export type PlannerState = Of<typeof plannerState>;

export const plannerReady = defineRequest('planner/ready', nothing, plannerState);
export const plannerChanged = defineNotification('planner/changed', plannerState);
/** Only the job's progress moved: not worth a whole state. */
export const plannerJob = defineNotification('planner/job', z.object({ job: z.nullable(jobView) }));
/** Go to a field (from a diagnostic or CodeLens). */
export const plannerReveal = defineNotification('planner/reveal', z.object({ field: text }));

/**
 * Asks for edits of the recipe text, as small as they can be: comments, order and style stay. Not applied, with the reason,
 * where the document has moved on from `version`; the next state shows what is.
 */
export const plannerEdit = defineRequest(
  'planner/edit',
  z.object({ version: z.int(), changes: list(recipeChange, 100) }),
  z.object({ applied: flag, version: z.int(), reason: z.nullable(text) }),
);

export const plannerRow = defineRequest('planner/row', planRowRequest, planRowPage);
/** The plan as text, as the CLI prints it. */
export const plannerText = defineRequest('planner/text', z.object({ hash: text }), z.object({ text }));

/** Starts the job. Null: the user closed a dialogue (output folder, overwrite). */
export const plannerRun = defineRequest(
  'planner/run',
  z.object({
    /** The plan that the user saw. */
    hash: text,
    out: z.nullable(text),
    resume: flag,
    overwrite: flag,
    verify: flag,
  }),
  z.object({ job: z.nullable(jobView) }),
  { timeoutMs: null },
);
export const plannerCancel = defineRequest(
  'planner/cancel',
  z.object({ job: text, keepPartial: z.nullable(flag) }),
  z.object({ cancelled: flag }),
);

/** Lets the user choose a checkpoint, the output folder or a text for the router lab; comes back relative to the recipe where that is shorter. */
export const plannerPick = defineRequest(
  'planner/pick',
  z.object({ what: z.enum(['base', 'parent', 'out', 'text']), index: z.nullable(count) }),
  z.object({ path: z.nullable(text) }),
  { timeoutMs: null },
);

export const plannerCopy = defineRequest('planner/copy', z.object({ text, what: text }), nothing);

export const plannerCommand = defineRequest(
  'planner/command',
  z.object({
    command: z.enum([
      'openText',
      'openSource',
      'openResult',
      'showJob',
      'showLog',
      'savePlan',
      'replan',
      'manageTrust',
      'errorAction',
    ]),
    argument: z.nullable(text),
  }),
  z.object({ done: flag }),
  { timeoutMs: null },
);

export const plannerFault = defineNotification('planner/fault', z.object({ message: text, stack: z.nullable(text) }));
