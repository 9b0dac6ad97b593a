/** Expert statistics in words. No DOM. */
import type { TraceLayer, TraceSummary } from '../../src/protocol/results.ts';
import { t } from '../strings.ts';
import { grouped, numberText, shareText, visible } from './format.ts';

export type TraceMetric = 'load' | 'importance' | 'meanGate';

export interface TraceMetricText {
  readonly name: TraceMetric;
  readonly label: string;
  readonly about: string;
}

export function traceMetrics(): readonly TraceMetricText[] {
  return [
    { name: 'load', label: t('Load'), about: t('Share of all choices that the expert got') },
    { name: 'importance', label: t('Importance'), about: t('Mean gate probability before the top-k choice') },
    {
      name: 'meanGate',
      label: t('Mean mixing weight'),
      about: t('Mean weight of the expert’s output, 0 where not chosen'),
    },
  ];
}

/** The metric's definition as the statistics' own source names it. */
export function definitionOf({ definitions }: TraceSummary, metric: TraceMetric): string {
  const found = definitions.find(({ name }) => name === metric);
  return found === undefined ? '' : visible(found.text);
}

/** Balance of everything in a sentence or two; never of loads averaged over layers. */
export function traceText(traces: TraceSummary): string {
  const { experts, topK, layers, maxVio } = traces;
  const tokens = layers.reduce((most, layer) => Math.max(most, layer.tokens), 0);
  const dead = layers.reduce((sum, layer) => sum + layer.dead.length, 0);
  const cold = layers.reduce((sum, layer) => sum + layer.cold.length, 0);
  const parts = [
    t('{0} tokens, {1} layers, {2} experts, top-{3}.', grouped(tokens), layers.length, experts, topK),
    maxVio === null
      ? ''
      : t(
          'MaxVio {0} (mean over layers): the busiest expert has {1} times its share.',
          numberText(maxVio),
          numberText(maxVio + 1),
        ),
    dead === 0 ? t('No dead expert.') : t('Dead experts: {0}.', grouped(dead)),
    cold === 0 ? '' : t('Cold experts: {0}.', grouped(cold)),
  ];
  return parts.filter((part) => part !== '').join(' ');
}

/** What is said of one expert of one layer. */
export function loadText(traces: TraceSummary, row: number, column: number): string {
  const { experts, layers } = traces;
  const layer = layers[row];
  const at = row * experts + column;
  const value = (of: Float32Array): string => {
    const one = of[at] ?? NaN;
    return Number.isNaN(one) ? t('unknown') : shareText(one, 1);
  };
  const lines = [
    t('Layer {0}, expert {1}', layer?.layer ?? row, column),
    t('load {0} (even: {1})', value(traces.load), shareText(1, experts)),
    t('importance {0}', value(traces.importance)),
    t('mean mixing weight {0}', value(traces.meanGate)),
  ];
  if (layer?.dead.includes(column) === true) lines.push(t('dead: no token chose it'));
  else if (layer?.cold.includes(column) === true) lines.push(t('cold: below a tenth of its share'));
  return lines.join('\n');
}

/** Balance, ties and would-be drops of a layer, one line each. */
export function drops(layer: TraceLayer): string[] {
  const lines: string[] = [];
  const parts: string[] = [];
  if (layer.maxVio !== null) parts.push(t('MaxVio {0}', numberText(layer.maxVio)));
  if (layer.marginMean !== null) parts.push(t('mean margin {0}', numberText(layer.marginMean)));
  if (layer.bf16TieRate !== null) parts.push(t('ties in bfloat16 {0}', shareText(layer.bf16TieRate, 1)));
  if (layer.specialisation !== null) parts.push(t('vocabulary specialisation {0}', shareText(layer.specialisation, 1)));
  if (parts.length > 0) lines.push(parts.join(' · '));
  const byRule = new Map<string, string[]>();
  for (const { factor, convention, base, share } of layer.drops) {
    const rule = `${convention}, ${base}`;
    const list = byRule.get(rule) ?? [];
    list.push(t('{0} at {1}', shareText(share, 1), factor));
    byRule.set(rule, list);
  }
  for (const [rule, list] of byRule)
    lines.push(t('Choices that a capacity factor would drop ({0}): {1}', visible(rule), list.join(', ')));
  return lines;
}
