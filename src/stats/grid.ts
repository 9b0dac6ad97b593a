/** What can be shown of a checkpoint's experts before any of their data is read. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { isJsonObject } from '../common/json.ts';
import type { InspectReport } from '../inspect/index.ts';
import type { ExpertGrid } from '../protocol/checkpoint.ts';
import { mapExperts } from './expert-parts.ts';
import type { ExpertMap } from './expert-parts.ts';
import { findParent, upcycleRecord } from './parent.ts';

/** The grid of layers and experts. Reads names, shapes and the beginning of a manifest; never throws. */
export async function expertGridOf(cp: Checkpoint, report: InspectReport): Promise<ExpertGrid> {
  const map = mapExperts(cp);
  const record = await upcycleRecord(cp);
  const parent = await findParent(cp, record);
  const experts = report.experts ?? null;
  const notes: string[] = [];
  const init = record?.recipe['expert_init'];
  const method = isJsonObject(init) ? init['method'] : init;
  const identicalExpected = method === 'copy';
  if (identicalExpected) {
    notes.push(
      'This model was upcycled by copying: identical experts are expected until it is trained. Duplicates are no fault here.',
    );
  }
  if (record !== null && parent === null) {
    notes.push('The dense parent was not found beside this checkpoint: choose it to see distances.');
  }
  return {
    summary:
      experts === null
        ? null
        : { ...experts, layerIndices: [...experts.layerIndices], parallelSizes: [...experts.parallelSizes] },
    layers: [...map.layers].map(([layer, found]) => ({
      layer,
      experts: expertsOf(found, experts?.perLayer ?? 0),
      shared: found.shared.length > 0,
      router: found.router?.name ?? null,
    })),
    parent,
    unavailable: unavailable(cp, map),
    identicalExpected,
    notes,
  };
}

type Layer = ExpertMap['layers'] extends ReadonlyMap<number, infer L> ? L : never;

function expertsOf(layer: Layer, perLayer: number): number {
  if (layer.numbers.size > 0) return layer.numbers.size;
  const stacked = layer.experts.find((tensor) => tensor.shape.length === 3);
  return stacked?.shape[0] ?? layer.router?.shape[0] ?? perLayer;
}

function unavailable(cp: Checkpoint, map: ExpertMap): string | null {
  if (map.layers.size === 0) return 'No expert tensors were found.';
  if (cp.planOnly) return 'Only config and index are at hand: there are no weights to read.';
  if ([...map.layers.values()].every((layer) => layer.quantised > 0)) {
    return 'The experts are quantised, with scales in tensors of their own, which are not put together here.';
  }
  return null;
}
