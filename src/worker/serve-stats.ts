/** Serves statistics: what reads tensor data. */
import { openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import type { LayerExperts } from '../protocol/checkpoint.ts';
import type { Endpoint } from '../protocol/host.ts';
import { workerExperts, workerExportNpy, workerGrid, workerSimilarity, workerStats } from '../protocol/worker.ts';
import {
  expertGridOf,
  expertMetrics,
  expertSimilarity,
  exportNpy,
  findParent,
  tensorStatistics,
  upcycleRecord,
} from '../stats/index.ts';
import type { Checkpoints, OpenEntry } from './checkpoints.ts';
import { append } from '../common/lists.ts';

export function serveStats(endpoint: Endpoint, checkpoints: Checkpoints): void {
  endpoint.handle(workerStats, ({ handle, tensor, ...options }, { signal, progress }) =>
    tensorStatistics(checkpoints.get(handle).cp, tensor, { ...options, signal, onProgress: progress }),
  );
  endpoint.handle(workerExportNpy, async ({ handle, tensor, to, overwrite }, { signal, progress }) => {
    const { path, bytes } = await exportNpy(checkpoints.get(handle).cp, tensor, to, {
      overwrite,
      signal,
      onProgress: progress,
    });
    return { path, bytes };
  });
  endpoint.handle(workerGrid, ({ handle }) => {
    const { cp, report } = checkpoints.get(handle);
    return expertGridOf(cp, report);
  });
  endpoint.handle(workerSimilarity, ({ handle, layer, part }, { signal, progress }) =>
    expertSimilarity(checkpoints.get(handle).cp, { layer, part, signal, onProgress: progress }),
  );
  endpoint.handle(workerExperts, async ({ handle, layers, parent }, { signal, progress }) => {
    const entry = checkpoints.get(handle);
    const dense = await parentOf(entry, parent, checkpoints, signal);
    const known = entry.metrics.get(dense?.path ?? '') ?? new Map<number, LayerExperts>();
    entry.metrics.set(dense?.path ?? '', known);
    return metricsOf(entry, dense, known, layers, { signal, progress });
  });
}

/** Layers computed before are not computed again; all come in the order asked for. */
async function metricsOf(
  entry: OpenEntry,
  parent: Checkpoint | null,
  known: Map<number, LayerExperts>,
  layers: readonly number[] | null,
  serving: {
    readonly signal: AbortSignal;
    readonly progress: (progress: { done: number; total: number; layer: LayerExperts | null }) => void;
  },
): Promise<{ layers: LayerExperts[]; seconds: number; notes: string[] }> {
  const wanted = layers ?? entry.report.experts?.layerIndices ?? [];
  const missing = wanted.filter((layer) => !known.has(layer));
  let done = wanted.length - missing.length;
  for (const layer of wanted) {
    const before = known.get(layer);
    if (before !== undefined) serving.progress({ done, total: wanted.length, layer: before });
  }
  const started = performance.now();
  const notes: string[] = [];
  if (missing.length > 0) {
    const result = await expertMetrics(entry.cp, {
      layers: missing,
      parent,
      signal: serving.signal,
      onProgress: ({ layer }) => {
        if (layer !== null) {
          known.set(layer.layer, layer);
          done++;
        }
        serving.progress({ done, total: wanted.length, layer });
      },
    });
    for (const layer of result.layers) known.set(layer.layer, layer);
    append(notes, result.notes);
  }
  const all = wanted.flatMap((layer) => known.get(layer) ?? []);
  return { layers: all, seconds: (performance.now() - started) / 1000, notes: notes.slice(0, 100) };
}

/** The dense parent: the one asked for, else the one that the checkpoint's own record names. */
async function parentOf(
  entry: OpenEntry,
  asked: string | null,
  checkpoints: Checkpoints,
  signal: AbortSignal,
): Promise<Checkpoint | null> {
  if (asked !== null) {
    const { entry: dense } = await checkpoints.entryOf(asked, { lenient: false, fresh: false, signal });
    return dense.cp;
  }
  const found = await findParent(entry.cp, await upcycleRecord(entry.cp));
  if (found === null) return null;
  try {
    return await openCheckpoint(found.path, { signal });
  } catch (error) {
    if (error instanceof MoeError && error.kind === 'cancelled') throw error;
    // It has moved since: metrics without distances are worth having.
    return null;
  }
}
