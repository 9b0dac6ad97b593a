/** Metrics of experts: names, values, ratios, summaries. Pure; shared by the tree and the heat map. */
import type { ExpertGrid, ExpertMetric, LayerExperts, MetricName } from '../protocol/checkpoint.ts';
import type { HeatmapState } from '../protocol/heatmap.ts';

export const METRICS: readonly { readonly name: MetricName; readonly label: string; readonly about: string }[] = [
  { name: 'norm', label: 'Norm', about: 'Frobenius norm of the expert’s matrices together' },
  { name: 'distance', label: 'Distance to parent', about: '‖expert − dense parent‖ / ‖parent‖' },
  { name: 'nearest', label: 'Nearest like', about: 'Cosine with the most similar other expert of the layer' },
  { name: 'effectiveRank', label: 'Effective rank', about: 'Estimate from the entropy of the singular values' },
  { name: 'routerNorm', label: 'Router row', about: 'Norm of the expert’s row of the router' },
];

export function metricValue(metric: MetricName, expert: ExpertMetric): number | null {
  switch (metric) {
    case 'norm':
      return expert.norm.all;
    case 'distance':
      return expert.distance;
    case 'nearest':
      return expert.nearest?.cosine ?? null;
    case 'effectiveRank':
      return expert.effectiveRank;
    case 'routerNorm':
      return expert.routerNorm;
  }
}

/** Mean of the routed experts' norms of a layer; null where unknown. */
export function meanNorm(layer: LayerExperts): number | null {
  const norms = layer.experts.filter((one) => one.expert !== 'shared').flatMap((one) => one.norm.all ?? []);
  return norms.length === 0 ? null : norms.reduce((a, b) => a + b, 0) / norms.length;
}

/** "1.04× mean norm, nearest 0.99". The ratio that stands behind an expert in the tree. */
export function expertText(expert: ExpertMetric, mean: number | null): string {
  const parts: string[] = [];
  const norm = expert.norm.all;
  if (norm !== null && mean !== null && mean > 0) parts.push(`${(norm / mean).toFixed(2)}× norm`);
  if (expert.distance !== null) parts.push(`${percent(expert.distance)} from parent`);
  else if (expert.nearest !== null)
    parts.push(`cos ${expert.nearest.cosine.toFixed(3)} with ${String(expert.nearest.expert)}`);
  return [...flagWords(expert), ...parts].join(', ');
}

export function flagWords(expert: ExpertMetric): string[] {
  return expert.flags.map((flag) => {
    switch (flag) {
      case 'dead':
        return 'dead';
      case 'duplicate':
        return expert.duplicateOf === null ? 'duplicate' : `same as ${String(expert.duplicateOf)}`;
      case 'not-finite':
        return 'NaN or Inf';
      case 'outlier':
        return 'outlier';
    }
  });
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 2 : 1)} %`;
}

/** Identical experts are what an upcycle begins with: then duplicates are no finding. */
export function findings(expert: ExpertMetric, grid: ExpertGrid): boolean {
  return expert.flags.some((flag) => flag !== 'duplicate' || !grid.identicalExpected);
}

type Picture = Pick<HeatmapState, 'layers' | 'experts' | 'values' | 'min' | 'max' | 'summary' | 'worst'>;

const MAX_WORST = 20;

/** The heat map of one metric over the layers that are known. */
export function heatPicture(grid: ExpertGrid, layers: ReadonlyMap<number, LayerExperts>, metric: MetricName): Picture {
  const rows = grid.layers;
  const experts = rows.reduce((most, row) => Math.max(most, row.experts), 0);
  const values = new Float32Array(rows.length * experts).fill(NaN);
  const flat: { layer: number; expert: number; value: number | null; why: string; rank: number }[] = [];
  let min = Infinity;
  let max = -Infinity;
  for (const [y, row] of rows.entries()) {
    const known = layers.get(row.layer);
    if (known === undefined) continue;
    const mean = meanOf(known, metric);
    for (const one of known.experts) {
      if (one.expert === 'shared' || one.expert >= experts) continue;
      const value = metricValue(metric, one);
      if (value !== null) {
        values[y * experts + one.expert] = value;
        min = Math.min(min, value);
        max = Math.max(max, value);
      }
      const away = value === null || mean === null || mean === 0 ? 0 : Math.abs(value / mean - 1);
      const flagged = findings(one, grid);
      const words = flagWords(one).join(', ');
      const why = flagged ? words : `${away >= 0.005 ? `${percent(away)} off the layer’s mean` : 'like its layer'}`;
      flat.push({ layer: row.layer, expert: one.expert, value, why, rank: (flagged ? 1e6 : 0) + away });
    }
  }
  flat.sort((a, b) => b.rank - a.rank || a.layer - b.layer || a.expert - b.expert);
  const some = min <= max;
  return {
    layers: rows.map((row) => row.layer),
    experts,
    values,
    min: some ? min : null,
    max: some ? max : null,
    summary: summaryOf(flat, rows.length, layers.size, some ? [min, max] : null, metric, grid),
    worst: flat
      .filter(({ rank }) => rank > 0.005)
      .slice(0, MAX_WORST)
      .map(({ rank: _rank, ...one }) => one),
  };
}

function meanOf(layer: LayerExperts, metric: MetricName): number | null {
  const values = layer.experts
    .filter((one) => one.expert !== 'shared')
    .flatMap((one) => metricValue(metric, one) ?? []);
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}

function summaryOf(
  flat: readonly { readonly layer: number; readonly expert: number; readonly why: string; readonly rank: number }[],
  layers: number,
  known: number,
  range: readonly [number, number] | null,
  metric: MetricName,
  grid: ExpertGrid,
): string {
  const label = METRICS.find((one) => one.name === metric)?.label ?? metric;
  if (range === null) return known === 0 ? 'Not computed yet.' : `${label} is not known for these experts.`;
  const flagged = flat.filter(({ rank }) => rank >= 1e6).length;
  const [first] = flat;
  const spread =
    range[0] === range[1]
      ? `${label}: the same for all experts (${range[0].toPrecision(4)}).`
      : `${label} from ${range[0].toPrecision(4)} to ${range[1].toPrecision(4)}.`;
  const parts = [spread];
  if (known < layers) parts.push(`${String(known)} of ${String(layers)} layers computed.`);
  if (flagged > 0) parts.push(`${String(flagged)} ${flagged === 1 ? 'expert is' : 'experts are'} flagged.`);
  else if (grid.identicalExpected) parts.push('Identical experts are expected in a fresh upcycle.');
  else if (first !== undefined && first.rank > 0.005)
    parts.push(`Farthest: layer ${String(first.layer)}, expert ${String(first.expert)} (${first.why}).`);
  return parts.join(' ');
}
