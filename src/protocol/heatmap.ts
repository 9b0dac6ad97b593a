/** Sidebar's mini heat map of experts: webview ↔ host. */
import * as z from 'zod/mini';
import { metricName } from './checkpoint.ts';
import { defineNotification, defineRequest } from './define.ts';
import type { Of } from './define.ts';
import { count, flag, floats, list, nothing, num, stepProgress, text } from './wire.ts';

export const heatmapState = z.object({
  /** `none`: no checkpoint is open; `dense`: it has no experts. */
  status: z.enum(['none', 'dense', 'loading', 'ready', 'failed']),
  /** The checkpoint. */
  name: text,
  /** What to say instead of a picture. */
  message: text,
  progress: z.nullable(stepProgress),
  metric: metricName,
  metrics: list(z.object({ name: metricName, label: text, about: text }), 20),
  layers: list(count, 100_000),
  /** Columns; a layer with fewer has NaN there. */
  experts: count,
  /** layers × experts, row by row; NaN: not known. */
  values: floats,
  min: z.nullable(num),
  max: z.nullable(num),
  /** One line for people who do not see the picture. */
  summary: text,
  /** Worst offenders first: flagged, then farthest from their like. */
  worst: list(z.object({ layer: count, expert: count, value: z.nullable(num), why: text }), 100),
  selected: z.nullable(z.object({ layer: count, expert: count })),
});
export type HeatmapState = Of<typeof heatmapState>;

export const heatmapReady = defineRequest('heatmap/ready', nothing, heatmapState);
export const heatmapChanged = defineNotification('heatmap/changed', heatmapState);
export const heatmapMetric = defineRequest('heatmap/metric', z.object({ metric: metricName }), nothing);
/** A cell was chosen: the editor goes there. */
export const heatmapSelect = defineRequest(
  'heatmap/select',
  z.object({ layer: count, expert: count }),
  z.object({ shown: flag }),
);
/** Computes the metrics (they are not computed unasked where that reads much). */
export const heatmapCompute = defineRequest('heatmap/compute', nothing, nothing, {
  progress: stepProgress,
  timeoutMs: null,
});
export const heatmapFault = defineNotification('heatmap/fault', z.object({ message: text, stack: z.nullable(text) }));
