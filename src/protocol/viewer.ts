/** Checkpoint editor: webview ↔ host. */
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
import { defineNotification, defineRequest } from './define.ts';
import type { Of } from './define.ts';
import { layerTraces, traceSummary } from './results.ts';
import { count, errorPage, flag, nothing, num, text } from './wire.ts';

export const viewerTab = z.enum(['overview', 'tensors', 'experts', 'compare']);
export type ViewerTab = z.output<typeof viewerTab>;

/** Where to go in the view: any part may be null. */
export const viewerPlace = z.object({
  tab: z.nullable(viewerTab),
  tensor: z.nullable(text),
  layer: z.nullable(count),
  expert: z.nullable(count),
});
export type ViewerPlace = Of<typeof viewerPlace>;

/** Settings that the view obeys. */
export const viewerSettings = z.object({
  /** Bins of histograms. */
  bins: z.int(),
  /** Compute statistics when a tensor is selected; false: only on request. */
  autoStats: flag,
  /** Units of sizes: 1000 (GB) or 1024 (GiB). */
  unitBase: z.union([z.literal(1000), z.literal(1024)]),
});

/** The editor's state. Sent whole, on every change. */
export const viewerState = z.object({
  /** Increases whenever the files are read anew: what was fetched under an older one is stale. */
  generation: count,
  name: text,
  path: text,
  status: z.enum(['loading', 'ready', 'failed']),
  /** Set where status is `failed`: shown instead of the tabs. */
  error: z.nullable(errorPage),
  /** What is done while loading ("reading 137 of 200 headers"). */
  loading: z.nullable(z.object({ done: count, total: count, what: text })),
  /** While loading: what the folder and config.json tell. */
  peek: z.nullable(peek),
  overview: z.nullable(overview),
  /** The workspace is not trusted: viewing works, upcycling and jobs do not. */
  restricted: flag,
  settings: viewerSettings,
  /** The evaluation or trace that tells what its experts did; null: none is known. */
  traced: z.nullable(text),
  place: z.nullable(viewerPlace),
});
export type ViewerState = Of<typeof viewerState>;

/** The page is there and wants the state. The first message of every page. */
export const viewerReady = defineRequest('viewer/ready', nothing, viewerState);
/** The state changed (loaded, reloaded from disk, failed, trust granted, settings changed). */
export const viewerChanged = defineNotification('viewer/changed', viewerState);
/** Go there: a click in a tree, a link. */
export const viewerReveal = defineNotification('viewer/reveal', viewerPlace);
/** What the user looks at now, so that commands of the title bar and the sidebar follow. */
export const viewerSelected = defineNotification('viewer/selected', viewerPlace);

export const viewerRows = defineRequest('viewer/rows', rowsRequest, rowsPage);
export const viewerLocate = defineRequest('viewer/locate', locateRequest, located);
export const viewerTensor = defineRequest('viewer/tensor', z.object({ tensor: text }), tensorFacts);
export const viewerStats = defineRequest('viewer/stats', statsRequest, tensorStats, { progress: bytesProgress });
export const viewerExportNpy = defineRequest(
  'viewer/exportNpy',
  z.object({ tensor: text }),
  /** Null: the user closed the dialogue. */
  z.object({ saved: z.nullable(z.object({ path: text, bytes: num })) }),
  { progress: bytesProgress, timeoutMs: null },
);

export const viewerGrid = defineRequest('viewer/grid', nothing, expertGrid);
/** Layers come as progress as they are done, and all of them at the end. */
export const viewerExperts = defineRequest('viewer/experts', expertMetricsRequest, expertMetricsResult, {
  progress: expertMetricsProgress,
  timeoutMs: 120_000,
});
export const viewerSimilarity = defineRequest('viewer/similarity', similarityRequest, similarity, {
  progress: bytesProgress,
  timeoutMs: 120_000,
});
/** Lets the user choose the dense parent; null: dialogue closed. */
export const viewerPickParent = defineRequest('viewer/pickParent', nothing, z.object({ path: z.nullable(text) }), {
  timeoutMs: null,
});

/** What its experts did, by the latest evaluation or trace; null: none. */
export const viewerTraces = defineRequest('viewer/traces', nothing, z.object({ traces: z.nullable(traceSummary) }));
export const viewerTraceLayer = defineRequest('viewer/traceLayer', z.object({ layer: count }), layerTraces);

/** Puts text on the clipboard and says so to screen readers. */
export const viewerCopy = defineRequest('viewer/copy', z.object({ text, what: text }), nothing);

/** Things that the host does. `argument`: a tensor, file or action id, where the command takes one. */
export const viewerCommand = defineRequest(
  'viewer/command',
  z.object({
    command: z.enum([
      'upcycle',
      'compare',
      'verify',
      'revert',
      'doctor',
      'rebuildIndex',
      'reveal',
      'openFile',
      'openConfig',
      'openSettings',
      'manageTrust',
      'reload',
      'copyPython',
      'copyDiagnostics',
      'trace',
      'openResults',
      'exportTraces',
      'errorAction',
    ]),
    argument: z.nullable(text),
  }),
  z.object({ done: flag }),
  { timeoutMs: null },
);

/** A fault in the page, for the log. */
export const viewerFault = defineNotification('viewer/fault', z.object({ message: text, stack: z.nullable(text) }));
