/** Expert metrics as grids and words. No DOM. */
import type { ExpertMetric, LayerExperts, MetricName } from '../../src/protocol/checkpoint.ts';
import { t } from '../strings.ts';
import { grouped, numberText } from './format.ts';
import { colourDomain, extremes } from './scale.ts';

export interface MetricText {
  readonly name: MetricName;
  readonly label: string;
  readonly about: string;
  /** Words for the ends of the scale. */
  readonly low: string;
  readonly high: string;
}

export function metricTexts(): readonly MetricText[] {
  return [
    {
      name: 'norm',
      label: t('Norm'),
      about: t('Frobenius norm of gate, up and down together. An expert at 0 is dead.'),
      low: t('small'),
      high: t('large'),
    },
    {
      name: 'distance',
      label: t('Distance to the dense parent'),
      about: t('‖expert − parent‖ / ‖parent‖. 0: still the parent.'),
      low: t('near'),
      high: t('far'),
    },
    {
      name: 'nearest',
      label: t('Likeness to the nearest expert'),
      about: t('Largest cosine with another expert of the same layer. 1: the same direction.'),
      low: t('apart'),
      high: t('alike'),
    },
    {
      name: 'effectiveRank',
      label: t('Effective rank'),
      about: t('Estimate of how many directions the weights use.'),
      low: t('few'),
      high: t('many'),
    },
    {
      name: 'routerNorm',
      label: t('Norm of the router row'),
      about: t('Length of the row that chooses this expert. 0: chosen by chance alone.'),
      low: t('short'),
      high: t('long'),
    },
  ];
}

/** The number of a metric; NaN where it is not known. */
export function metricOf(metric: ExpertMetric, name: MetricName): number {
  switch (name) {
    case 'norm':
      return metric.norm.all ?? NaN;
    case 'distance':
      return metric.distance ?? NaN;
    case 'nearest':
      return metric.nearest?.cosine ?? NaN;
    case 'effectiveRank':
      return metric.effectiveRank ?? NaN;
    case 'routerNorm':
      return metric.routerNorm ?? NaN;
  }
}

export type Flag = ExpertMetric['flags'][number];

export function flagText(metric: ExpertMetric, flag: Flag): string {
  switch (flag) {
    case 'dead':
      return t('dead');
    case 'duplicate':
      return metric.duplicateOf === null ? t('duplicate') : t('same as expert {0}', metric.duplicateOf);
    case 'not-finite':
      return t('not finite');
    case 'outlier':
      return t('outlier');
  }
}

export function markOf(metric: ExpertMetric | null): '' | '×' | '=' | '!' | '◆' {
  const flags = metric?.flags ?? [];
  if (flags.includes('not-finite')) return '!';
  if (flags.includes('dead')) return '×';
  if (flags.includes('duplicate')) return '=';
  return flags.includes('outlier') ? '◆' : '';
}

export interface Grid {
  readonly layers: readonly number[];
  /** Column heads: expert numbers, then `S` where any layer has a shared expert. */
  readonly columns: readonly string[];
  readonly values: Float64Array;
  /** What the ends of the colours stand for: flagged cells may lie beyond. */
  readonly min: number;
  readonly max: number;
  readonly at: (row: number, column: number) => ExpertMetric | null;
}

/** Layers × experts of one metric. Layers without metrics yet are rows of NaN. */
export function gridOf(
  layers: readonly { readonly layer: number; readonly experts: number; readonly shared: boolean }[],
  metrics: ReadonlyMap<number, LayerExperts>,
  name: MetricName,
): Grid {
  const widest = layers.reduce((most, { experts }) => Math.max(most, experts), 0);
  const shared = layers.some((layer) => layer.shared);
  const columns = Array.from({ length: widest }, (_, at) => String(at));
  if (shared) columns.push(t('shared'));
  const values = new Float64Array(layers.length * columns.length).fill(NaN);
  const cells = new Map<number, ExpertMetric>();
  for (const [row, { layer }] of layers.entries())
    for (const metric of metrics.get(layer)?.experts ?? []) {
      const column = metric.expert === 'shared' ? (shared ? widest : -1) : metric.expert;
      if (column < 0 || column >= columns.length) continue;
      const at = row * columns.length + column;
      values[at] = metricOf(metric, name);
      cells.set(at, metric);
    }
  const odd = (at: number): boolean => (cells.get(at)?.flags ?? []).some((flag) => flag !== 'duplicate');
  return {
    layers: layers.map(({ layer }) => layer),
    columns,
    values,
    ...colourDomain(values, odd),
    at: (row, column) => cells.get(row * columns.length + column) ?? null,
  };
}

/** One line about a grid: extremes with their place, flags. */
export function gridSummary(grid: Grid, text: MetricText): string {
  const range = extremes(grid.values);
  if (range === null) return t('{0}: no values yet.', text.label);
  const spot = (at: number): string =>
    t(
      'layer {0}, expert {1}',
      grid.layers[Math.floor(at / grid.columns.length)] ?? 0,
      grid.columns[at % grid.columns.length] ?? '',
    );
  const parts =
    range.min === range.max
      ? [t('{0}: {1} for all {2} experts.', text.label, numberText(range.min), grouped(range.known))]
      : [
          t(
            '{0} from {1} ({2}) to {3} ({4}), mean {5}.',
            text.label,
            numberText(range.min),
            spot(range.minAt),
            numberText(range.max),
            spot(range.maxAt),
            numberText(range.mean),
          ),
        ];
  const counts = new Map<Flag, number>();
  for (let row = 0; row < grid.layers.length; row++)
    for (let column = 0; column < grid.columns.length; column++)
      for (const flag of grid.at(row, column)?.flags ?? []) counts.set(flag, (counts.get(flag) ?? 0) + 1);
  const words: readonly (readonly [Flag, string, string])[] = [
    ['dead', t('dead'), t('dead')],
    ['duplicate', t('duplicate'), t('duplicates')],
    ['not-finite', t('not finite'), t('not finite')],
    ['outlier', t('outlier'), t('outliers')],
  ];
  const flagged = words.flatMap(([flag, one, many]) => {
    const count = counts.get(flag) ?? 0;
    return count === 0 ? [] : [`${grouped(count)} ${count === 1 ? one : many}`];
  });
  parts.push(flagged.length === 0 ? t('Nothing is flagged.') : t('Flagged: {0}.', flagged.join(', ')));
  return parts.join(' ');
}
