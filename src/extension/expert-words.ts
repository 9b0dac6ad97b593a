/** Metrics of experts: names, values, ratios, summaries. Pure; shared by the tree and the heat map. */
import type { ExpertGrid, ExpertMetric, LayerExperts, MetricName } from '../protocol/checkpoint.ts';
import type { HeatmapState } from '../protocol/heatmap.ts';
import { t } from './words.ts';

/** The metrics that can be shown, with their names for people. */
export function metrics(): { readonly name: MetricName; readonly label: string; readonly about: string }[] {
  return [
    { name: 'norm', label: t('Norm'), about: t('Frobenius norm of the expert’s matrices together') },
    { name: 'distance', label: t('Distance to parent'), about: t('‖expert − dense parent‖ / ‖parent‖') },
    {
      name: 'nearest',
      label: t('Nearest like'),
      about: t('Cosine with the most similar other expert of the layer'),
    },
    {
      name: 'effectiveRank',
      label: t('Effective rank'),
      about: t('Estimate from the entropy of the singular values'),
    },
    { name: 'routerNorm', label: t('Router row'), about: t('Norm of the expert’s row of the router') },
  ];
}

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
  if (norm !== null && mean !== null && mean > 0) parts.push(t('{0}× norm', (norm / mean).toFixed(2)));
  if (expert.distance !== null) parts.push(t('{0} from parent', percent(expert.distance)));
  else if (expert.nearest !== null)
    parts.push(t('cos {0} with {1}', expert.nearest.cosine.toFixed(3), String(expert.nearest.expert)));
  return [...flagWords(expert), ...parts].join(', ');
}

export function flagWords(expert: ExpertMetric): string[] {
  return expert.flags.map((flag) => {
    switch (flag) {
      case 'dead':
        return t('dead');
      case 'duplicate':
        return expert.duplicateOf === null ? t('duplicate') : t('same as {0}', expert.duplicateOf);
      case 'not-finite':
        return t('NaN or Inf');
      case 'outlier':
        return t('outlier');
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
      const why = flagged ? words : away >= 0.005 ? t('{0} off the layer’s mean', percent(away)) : t('like its layer');
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
  const label = metrics().find((one) => one.name === metric)?.label ?? metric;
  if (range === null) return known === 0 ? t('Not computed yet.') : t('{0} is not known for these experts.', label);
  const flagged = flat.filter(({ rank }) => rank >= 1e6).length;
  const [first] = flat;
  const spread =
    range[0] === range[1]
      ? t('{0}: the same for all experts ({1}).', label, range[0].toPrecision(4))
      : t('{0} from {1} to {2}.', label, range[0].toPrecision(4), range[1].toPrecision(4));
  const parts = [spread];
  if (known < layers) parts.push(t('{0} of {1} layers computed.', known, layers));
  if (flagged > 0) parts.push(flagged === 1 ? t('1 expert is flagged.') : t('{0} experts are flagged.', flagged));
  else if (grid.identicalExpected) parts.push(t('Identical experts are expected in a fresh upcycle.'));
  else if (first !== undefined && first.rank > 0.005)
    parts.push(t('Farthest: layer {0}, expert {1} ({2}).', first.layer, first.expert, first.why));
  return parts.join(' ');
}
