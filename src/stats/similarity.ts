/** How alike the experts of a layer are, each with each. */
import { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import type { BytesProgress, Similarity } from '../protocol/checkpoint.ts';
import { partsGram, routerRows } from './expert-metrics.ts';
import { PARTS, layerParts, mapExperts } from './expert-parts.ts';
import type { PartRows } from './expert-parts.ts';
import { MAX_GRAM_EXPERTS, gramOf } from './gram.ts';

export interface SimilarityOptions {
  readonly layer: number;
  readonly part: Similarity['part'];
  readonly signal?: AbortSignal | undefined;
  /** Rows stand for bytes: hundredths of the whole. */
  readonly onProgress?: ((progress: BytesProgress) => void) | undefined;
}

/**
 * E×E cosines of the experts' weights (or of the router's rows).
 * @throws MoeError `no-experts` where the layer has none, `similarity-unavailable` with the reason, `cancelled`
 */
export async function expertSimilarity(cp: Checkpoint, options: SimilarityOptions): Promise<Similarity> {
  const { layer, part, signal } = options;
  const reader = new RangeReader(cp, { signal });
  try {
    const parts = layerParts(mapExperts(cp), layer, reader);
    if (parts === null) throw new MoeError('input', 'no-experts', `Layer ${String(layer)} has no experts`);
    const notes = [...parts.notes];
    const tell = (share: number): void =>
      options.onProgress?.({
        bytesDone: Math.floor(share * 100),
        bytesTotal: 100,
        what: `comparing the experts of layer ${String(layer)}`,
      });
    let gram;
    if (part === 'router') {
      const rows = await routerRows(parts, reader, notes);
      gram = rows === null || rows.length > MAX_GRAM_EXPERTS ? null : await gramOf(rows.map(vectorRows), signal);
    } else gram = await partsGram(parts, part === 'all' ? PARTS : [part], notes, signal, tell);
    if (gram === null) {
      const why = notes.at(-1) ?? (part === 'router' ? 'it has no router' : `its experts have no ${part} projection`);
      throw new MoeError('input', 'similarity-unavailable', `Layer ${String(layer)} cannot be compared: ${why}`);
    }
    const values = gram.cosines();
    const experts = part === 'router' ? Array.from({ length: gram.experts }, (_, e) => e) : [...parts.routed.keys()];
    return { layer, part, experts, values, ...summaryOf(values, experts, layer, part), notes };
  } finally {
    await reader.close();
  }
}

function vectorRows(values: Float64Array): PartRows {
  return { rows: 1, cols: values.length, read: () => Promise.resolve(values) };
}

interface Pair {
  readonly value: number;
  readonly a: number;
  readonly b: number;
}

/** Extremes off the diagonal, and what the picture shows in one line. */
function summaryOf(
  values: Float32Array,
  experts: readonly number[],
  layer: number,
  part: Similarity['part'],
): Pick<Similarity, 'min' | 'max' | 'summary'> {
  const n = experts.length;
  let min: Pair | null = null;
  let max: Pair | null = null;
  let [sum, count, equal] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const value = values[i * n + j] ?? NaN;
      if (Number.isNaN(value)) continue;
      const pair = { value, a: experts[j] ?? 0, b: experts[i] ?? 0 };
      if (min === null || value < min.value) min = pair;
      if (max === null || value > max.value) max = pair;
      sum += value;
      count++;
      if (value > 1 - 1e-6) equal++;
    }
  }
  const what = part === 'all' ? 'weights' : part === 'router' ? 'router rows' : `${part} projections`;
  const lead = `Layer ${String(layer)}, ${what} of ${String(n)} experts: `;
  if (min === null || max === null)
    return { min: null, max: null, summary: `${lead}nothing to compare (zeros, or one expert).` };
  const pair = (one: Pair): string => `${String(one.a)} and ${String(one.b)} (${one.value.toFixed(3)})`;
  const summary =
    equal === count
      ? `${lead}all point the same way (cosine 1).`
      : `${lead}mean cosine ${(sum / count).toFixed(3)}; most alike are ${pair(max)}, least alike ${pair(min)}.`;
  return { min: min.value, max: max.value, summary };
}
