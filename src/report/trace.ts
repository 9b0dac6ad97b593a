/** Expert statistics as text: one line per layer, the loads of its experts, what stands out. */
import type { TraceReport } from '../eval/trace-report.ts';
import { plural, table } from './text.ts';
import type { Style } from './text.ts';

/** Experts whose load is shown one by one. */
const SHOWN = 16;

export function traceText(report: TraceReport, style: Style): string {
  const rows = report.layers.map((layer) => [
    String(layer.layer),
    String(layer.tokens),
    percent(layer.load, report.experts),
    decimals(layer.routerEntropy),
    decimals(layer.maxVio),
    String(layer.dead.length),
    layer.bf16TieRate === null ? '' : `${(100 * layer.bf16TieRate).toFixed(1)} %`,
  ]);
  const body = table(
    [
      { title: 'layer', right: true },
      { title: 'tokens', right: true },
      { title: `load of experts in % (even: ${(100 / report.experts).toFixed(1)})` },
      { title: 'entropy', right: true },
      { title: 'MaxVio', right: true },
      { title: 'dead', right: true },
      { title: 'bf16 ties', right: true },
    ],
    rows,
    style,
  );
  const dead = report.layers.reduce((sum, { dead: list }) => sum + list.length, 0);
  return [
    body,
    '',
    `${plural(report.experts, 'expert')}, top-${report.topK}; MaxVio ${decimals(report.maxVio)} (mean over layers), ${plural(dead, 'dead expert')}`,
    '',
  ].join('\n');
}

function decimals(value: number | null): string {
  return value === null ? '' : value.toFixed(3);
}

function percent(load: readonly number[], experts: number): string {
  const shown = load.map((share) => (100 * share).toFixed(1));
  if (experts <= SHOWN) return shown.join(' ');
  const sorted = [...load].sort((a, b) => b - a);
  const [most = 0, least = 0] = [sorted[0], sorted.at(-1)];
  return `${(100 * least).toFixed(1)} to ${(100 * most).toFixed(1)}`;
}
