/** The router lab in words and numbers. No DOM. */
import type { LabLayerView, LabReportView, LabResultView } from '../../src/protocol/lab.ts';
import { t } from '../strings.ts';
import { durationText, grouped, numberText, shareText, visible } from './format.ts';
import { largest } from '../../src/common/lists.ts';

export const FACTORS = [1, 1.25, 2, 4] as const;

export function startName({ init, std }: LabResultView): string {
  return std === null ? init : `${init} ${numberText(std)}`;
}

/** What was run, on what, and how its numbers are summed up. */
export function labLine(report: LabReportView): string {
  const { tokens, texts, device, seconds, experts, topK } = report;
  const names = texts.map(({ name, whole, tokens: own }) =>
    whole ? visible(name) : t('{0} (its first {1} tokens)', visible(name), grouped(own)),
  );
  return t(
    '{0} tokens of {1}; {2} experts, top-{3}; on {4}, in {5}.',
    grouped(tokens),
    names.join(', '),
    grouped(experts),
    topK,
    device,
    durationText(seconds),
  );
}

/** Mean over layers of each layer's own number; null where no layer has one. */
export function meanOf({ layers }: LabResultView, value: (layer: LabLayerView) => number | null): number | null {
  const values = layers.flatMap((layer) => value(layer) ?? []);
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}

/** Share of choices that Megatron's capacity would drop. */
export function dropShare({ drops }: LabLayerView, factor: number): number | null {
  return drops.find((drop) => drop.factor === factor && drop.convention === 'megatron')?.share ?? null;
}

/** The worst layer's condition number. */
export function worstCondition({ layers }: LabResultView): string {
  if (layers.some(({ dependent }) => dependent)) return '∞';
  const known = layers.flatMap(({ condition }) => condition ?? []);
  return known.length === 0 ? '–' : largest(known).toFixed(1);
}

export function conditionText({ condition, dependent }: LabLayerView): string {
  return dependent ? '∞' : condition === null ? '–' : condition.toFixed(1);
}

export const decimals = (value: number | null): string => (value === null ? '–' : value.toFixed(3));
export const percent = (value: number | null): string => (value === null ? '–' : shareText(value, 1));

export function deadOf({ layers }: LabResultView): number {
  return layers.reduce((sum, { dead }) => sum + dead.length, 0);
}

/** What is said of one expert of one layer. */
export function labCell(report: LabReportView, result: LabResultView, row: number, column: number): string {
  const layer = result.layers[row];
  const load = result.load[row * report.experts + column] ?? Number.NaN;
  const lines = [
    t('Layer {0}, expert {1}', layer?.layer ?? row, column),
    t('load {0} (even: {1})', Number.isNaN(load) ? t('unknown') : shareText(load, 1), shareText(1, report.experts)),
  ];
  if (layer?.dead.includes(column) === true) lines.push(t('dead: no token chose it'));
  else if (layer?.cold.includes(column) === true) lines.push(t('cold: below a tenth of its share'));
  return lines.join('\n');
}
