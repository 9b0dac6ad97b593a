/** Host ↔ worker process: everything that reads checkpoints or plans, outside the extension host. */
import * as z from 'zod/mini';
import {
  bytesProgress,
  expertGrid,
  expertMetricsProgress,
  expertMetricsRequest,
  expertMetricsResult,
  located,
  locateRequest,
  overview,
  peek,
  rowsPage,
  rowsRequest,
  similarity,
  similarityRequest,
  statsRequest,
  tensorFacts,
  tensorStats,
} from './checkpoint.ts';
import { compareExperts, compareRowsPage, compareRowsRequest, compareSummary } from './comparing.ts';
import { defineRequest } from './define.ts';
import type { Of } from './define.ts';
import {
  parsedRecipe,
  planRequest,
  planRowPage,
  planRowRequest,
  planSummary,
  recipeField,
  recipeProblem,
} from './planning.ts';
import { count, errorPage, flag, list, nothing, num, problem, stepProgress, text } from './wire.ts';

/** An open checkpoint, a comparison or a plan in the worker. */
const handle = count;
const withHandle = <S extends z.core.$ZodLooseShape>(shape: S) => z.object({ handle, ...shape });

/** What an unchanged checkpoint has unchanged: used as the cache's key. */
export const fileStamp = z.object({ path: text, size: num, mtimeMs: num });

export const openRequest = z.object({
  path: text,
  /** Open what can be opened although files are damaged or missing; those are problems then. */
  lenient: flag,
  /** Read anew although nothing seems changed. */
  fresh: flag,
});
export const opened = z.object({
  handle,
  overview,
  stamps: list(fileStamp, 200_000),
  /** Files and folders to watch. */
  watch: list(text, 200_000),
  /** It came from the cache. */
  cached: flag,
  seconds: num,
});
export type Opened = Of<typeof opened>;

/** Opens, counted: each open needs a close. Fails with the MoeError of `openCheckpoint`. */
export const workerOpen = defineRequest('worker/open', openRequest, opened, {
  progress: stepProgress,
  timeoutMs: 120_000,
});
/** Answered at once, while `worker/open` still reads headers; null where nothing can be told quickly. */
export const workerPeek = defineRequest('worker/peek', z.object({ path: text }), z.object({ peek: z.nullable(peek) }));
export const workerClose = defineRequest('worker/close', z.object({ handle }), nothing);
export const workerRows = defineRequest('worker/rows', withHandle(rowsRequest.shape), rowsPage);
export const workerLocate = defineRequest('worker/locate', withHandle(locateRequest.shape), located);
export const workerTensor = defineRequest('worker/tensor', withHandle({ tensor: text }), tensorFacts);
export const workerStats = defineRequest('worker/stats', withHandle(statsRequest.shape), tensorStats, {
  progress: bytesProgress,
});
export const workerExportNpy = defineRequest(
  'worker/exportNpy',
  withHandle({ tensor: text, to: text, overwrite: flag }),
  z.object({ path: text, bytes: num }),
  { progress: bytesProgress, timeoutMs: 120_000 },
);
export const workerGrid = defineRequest('worker/grid', z.object({ handle }), expertGrid);
export const workerExperts = defineRequest(
  'worker/experts',
  withHandle(expertMetricsRequest.shape),
  expertMetricsResult,
  {
    progress: expertMetricsProgress,
    timeoutMs: 120_000,
  },
);
export const workerSimilarity = defineRequest('worker/similarity', withHandle(similarityRequest.shape), similarity, {
  progress: bytesProgress,
  timeoutMs: 120_000,
});

/** Layers and experts of a checkpoint for native trees: no data is read. */
export const workerProblems = defineRequest(
  'worker/problems',
  z.object({ path: text }),
  z.object({ problems: list(problem, 10_000), error: z.nullable(errorPage) }),
);

/** Structure first; `worker/compareValues` adds the values. */
export const workerCompare = defineRequest(
  'worker/compare',
  z.object({ a: text, b: text }),
  withHandle({ summary: compareSummary }),
  {
    progress: stepProgress,
    timeoutMs: 120_000,
  },
);
export const workerCompareValues = defineRequest('worker/compareValues', z.object({ handle }), compareSummary, {
  progress: stepProgress,
  timeoutMs: 120_000,
});
export const workerCompareRows = defineRequest(
  'worker/compareRows',
  withHandle(compareRowsRequest.shape),
  compareRowsPage,
);
export const workerCompareExperts = defineRequest('worker/compareExperts', z.object({ handle }), compareExperts);

/** The recipe alone: parsed, judged, its fields. Fast; opens no checkpoint. */
export const recipeRead = z.object({
  recipe: z.nullable(parsedRecipe),
  fields: list(recipeField, 500),
  problems: list(recipeProblem, 1000),
});
export type RecipeRead = Of<typeof recipeRead>;
export const workerRecipe = defineRequest('worker/recipe', planRequest, recipeRead);

/** Plans. The worker keeps the last few plans by hash for `planRow`, `planText` and `savePlan`. */
export const planned = z.object({ ...recipeRead.shape, plan: z.nullable(planSummary) });
export type Planned = Of<typeof planned>;
export const workerPlan = defineRequest('worker/plan', planRequest, planned, {
  progress: stepProgress,
  timeoutMs: 120_000,
});
export const workerPlanRow = defineRequest('worker/planRow', planRowRequest, planRowPage);
export const workerPlanText = defineRequest('worker/planText', z.object({ hash: text }), z.object({ text }));
export const workerSavePlan = defineRequest(
  'worker/savePlan',
  z.object({ hash: text, to: text }),
  z.object({ bytes: num }),
);

/** What the worker holds, for diagnostics. */
export const workerFacts = defineRequest(
  'worker/facts',
  nothing,
  z.object({
    open: list(z.object({ path: text, tensors: count, uses: count }), 10_000),
    heapBytes: num,
    rssBytes: num,
  }),
);
