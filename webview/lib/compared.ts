/** Two checkpoints compared, in words and as a grid of experts. No DOM. */
import type { CompareExpert, CompareRow, CompareSummary } from '../../src/protocol/comparing.ts';
import type { IconName } from './icons.ts';
import { grouped, numberText } from './format.ts';
import { extremes } from './scale.ts';
import { key, t } from '../strings.ts';

export type CompareState = CompareRow['state'];

/** How a state looks: sign and words, never colour alone. */
export const STATES: readonly (readonly [CompareState, IconName, string])[] = [
  ['changed', 'diff-modified', key('changed')],
  ['added', 'diff-added', key('added')],
  ['removed', 'diff-removed', key('removed')],
  ['reshaped', 'arrow-swap', key('reshaped')],
  ['dtype', 'symbol-array', key('other type')],
  ['not-compared', 'question', key('not compared')],
  ['equal', 'check', key('equal')],
];

export function countIn(summary: CompareSummary, state: CompareState): number {
  switch (state) {
    case 'equal':
      return summary.equal;
    case 'changed':
      return summary.changed;
    case 'added':
      return summary.added;
    case 'removed':
      return summary.removed;
    case 'reshaped':
      return summary.reshaped;
    case 'dtype':
      return summary.dtypeChanged;
    case 'not-compared':
      return summary.notCompared;
  }
}

/** One line: are they the same, and where they part. */
export function compareLine(summary: CompareSummary): string {
  if (summary.identical === true) return t('Both hold the same tensors with the same bytes.');
  const parts = STATES.filter(([state]) => state !== 'equal')
    .map(([state, , word]) => [countIn(summary, state), t(word)] as const)
    .filter(([count]) => count > 0)
    .map(([count, word]) => `${grouped(count)} ${word}`);
  const same = t('{0} equal', grouped(summary.equal));
  if (!summary.valuesCompared)
    return t('Structure only: {0}. Values are not compared yet.', [...parts, same].join(', '));
  return `${[...parts, same].join(', ')}.`;
}

/** Where feed-forward tensors went that are no rows; null where there are none. */
export function asExpertsLine({ asExperts: { a, b } }: CompareSummary): string | null {
  if (a + b === 0) return null;
  return t('Feed-forward tensors ({0} of A, {1} of B) are compared in Experts.', grouped(a), grouped(b));
}

export interface ExpertMatch {
  readonly layers: readonly number[];
  readonly columns: readonly string[];
  readonly values: Float64Array;
  readonly min: number;
  readonly max: number;
  readonly at: (row: number, column: number) => CompareExpert | null;
}

/** Layers × experts of relative distances. */
export function matchGrid(experts: readonly CompareExpert[]): ExpertMatch {
  const layers = [...new Set(experts.map(({ layer }) => layer))].sort((a, b) => a - b);
  const rowOf = new Map(layers.map((layer, row) => [layer, row]));
  const widest = experts.reduce((most, { expert }) => (expert === 'shared' ? most : Math.max(most, expert + 1)), 0);
  const shared = experts.some(({ expert }) => expert === 'shared');
  const columns = Array.from({ length: widest }, (_, at) => String(at));
  if (shared) columns.push(t('shared'));
  const values = new Float64Array(layers.length * columns.length).fill(NaN);
  const cells = new Map<number, CompareExpert>();
  for (const expert of experts) {
    const at = (rowOf.get(expert.layer) ?? 0) * columns.length + (expert.expert === 'shared' ? widest : expert.expert);
    values[at] = expert.relativeL2 ?? NaN;
    cells.set(at, expert);
  }
  const range = extremes(values);
  return {
    layers,
    columns,
    values,
    min: range?.min ?? 0,
    max: range?.max ?? 0,
    at: (row, column) => cells.get(row * columns.length + column) ?? null,
  };
}

type Mode = NonNullable<CompareSummary['mode']>;

/** What is said of one matched expert. */
export function matchText(match: CompareExpert, mode: Mode): string {
  const lines = [
    match.expert === 'shared'
      ? t('Layer {0}, shared expert', match.layer)
      : t('Layer {0}, expert {1}', match.layer, match.expert),
    match.relativeL2 === null
      ? t('distance not known')
      : match.relativeL2 === 0
        ? mode === 'dense-vs-moe'
          ? t('equal to the dense parent')
          : t('equal to its counterpart')
        : t('relative distance {0}', numberText(match.relativeL2)),
  ];
  // Two MoEs are laid side by side as they are: no neurons are looked for.
  lines.push(
    match.width === 0
      ? t('neurons: {0}', match.neurons)
      : t('neurons: {0} ({1} of {2} found)', match.neurons, grouped(match.found), grouped(match.width)),
  );
  if (match.exactScale !== null && match.exactScale !== 1)
    lines.push(t('scaled by {0} exactly', numberText(match.exactScale)));
  if (match.note !== null) lines.push(match.note);
  return lines.join('\n');
}

/** One line about all matched experts. */
export function matchSummary(grid: ExpertMatch, mode: Mode): string {
  const range = extremes(grid.values);
  if (range === null) return t('No expert has a distance yet.');
  let same = 0;
  for (const value of grid.values) if (value === 0) same++;
  const dense = mode === 'dense-vs-moe';
  if (same === range.known)
    return dense
      ? t('All {0} experts equal their dense parent.', grouped(same))
      : t('All {0} experts equal their counterparts.', grouped(same));
  const width = grid.columns.length;
  const equal = dense
    ? t('{0} of {1} experts equal their dense parent', grouped(same), grouped(range.known))
    : t('{0} of {1} experts equal their counterparts', grouped(same), grouped(range.known));
  const far = t(
    'the farthest is {0} away (layer {1}, expert {2}).',
    numberText(range.max),
    grid.layers[Math.floor(range.maxAt / width)] ?? 0,
    grid.columns[range.maxAt % width] ?? '',
  );
  return `${equal}; ${far}`;
}
