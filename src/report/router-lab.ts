/** The router lab as text: one table over all ways to start, then the loads of each. */
import type { LabLayer, LabReport, LabResult } from '../router-lab/lab.ts';
import { bullets, plural, table } from './text.ts';
import type { Style } from './text.ts';
import { largest } from '../common/lists.ts';

/** Experts whose load is shown one by one. */
const SHOWN = 16;
const FACTORS = [1, 1.25, 2, 4];

export function routerLabText(report: LabReport, style: Style): string {
  const { results, experts, topK, tokens } = report;
  const summary = table(
    [
      { title: 'start' },
      { title: 'MaxVio', right: true },
      { title: 'entropy', right: true },
      { title: 'condition', right: true },
      { title: 'bf16 ties', right: true },
      { title: 'dead', right: true },
      ...FACTORS.map((factor) => ({ title: `drops ×${factor}`, right: true })),
    ],
    results.map((result) => [
      nameOf(result),
      decimals(result.maxVio),
      decimals(mean(result, ({ routerEntropy }) => routerEntropy)),
      conditionText(result.layers.map(({ condition }) => condition)),
      percent(mean(result, ({ bf16TieRate }) => bf16TieRate)),
      String(result.layers.reduce((sum, { dead }) => sum + dead.length, 0)),
      ...FACTORS.map((factor) => percent(mean(result, (layer) => dropShare(layer, factor)))),
    ]),
    style,
  );
  const loads = results.flatMap((result) => [
    '',
    style.bold(`${nameOf(result)}: load of experts in %, layer by layer`),
    table(
      [{ title: 'layer', right: true }, { title: `even: ${(100 / experts).toFixed(1)}` }],
      result.layers.map((layer) => [String(layer.layer), loadText(layer.load, experts)]),
      style,
    ),
    ...(result.warnings.length === 0 ? [] : [bullets(result.warnings)]),
  ]);
  return [
    `${plural(experts, 'expert')}, top-${topK}, ${plural(tokens, 'token')}; means over layers, the worst layer for the condition number; drops in % by Megatron’s capacity`,
    '',
    summary,
    ...loads,
    ...(report.notes.length === 0 ? [] : ['', bullets(report.notes)]),
    '',
  ].join('\n');
}

function nameOf({ init, std }: LabResult): string {
  return std === null ? init : `${init} ${std}`;
}

function mean(result: LabResult, value: (layer: LabLayer) => number | null): number | null {
  const values = result.layers.flatMap((layer) => value(layer) ?? []);
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}

function dropShare({ drops }: LabLayer, factor: number): number | null {
  return drops.find((drop) => drop.factor === factor && drop.convention === 'megatron')?.share ?? null;
}

function decimals(value: number | null): string {
  return value === null ? '' : value.toFixed(3);
}

function percent(value: number | null): string {
  return value === null ? '' : `${(100 * value).toFixed(1)} %`;
}

function conditionText(values: readonly LabLayer['condition'][]): string {
  if (values.includes('infinite')) return '∞';
  const numbers = values.filter((value) => typeof value === 'number');
  return numbers.length === 0 ? '' : largest(numbers).toFixed(1);
}

function loadText(load: readonly number[], experts: number): string {
  if (experts <= SHOWN) return load.map((share) => (100 * share).toFixed(1)).join(' ');
  const sorted = [...load].sort((a, b) => b - a);
  return `${(100 * (sorted.at(-1) ?? 0)).toFixed(1)} to ${(100 * (sorted[0] ?? 0)).toFixed(1)}`;
}
