/** An evaluation as text: the harness's table, then what qualifies it. */
import { partialBanner } from '../eval/results.ts';
import type { EvaluationRun, MetricValue } from '../eval/run-types.ts';
import type { MetricName } from '../eval/tasks/types.ts';
import { durationText, table } from './text.ts';
import type { Style } from './text.ts';

export function evalText(run: EvaluationRun, style: Style): string {
  const rows: string[][] = [];
  const add = (
    name: string,
    shots: string,
    docs: number,
    metrics: ReadonlyMap<MetricName, MetricValue>,
    mark: string,
  ): void => {
    let first = true;
    for (const [metric, { value, stderr }] of metrics) {
      rows.push([
        first ? name : '',
        first ? shots : '',
        first ? String(docs) : '',
        metric + mark,
        numberText(value),
        stderr === null || !Number.isFinite(stderr) ? '' : `± ${stderr.toFixed(4)}`,
      ]);
      first = false;
    }
  };
  for (const { group, metrics, effective } of run.groups) add(style.bold(group.name), '', effective, metrics, '');
  for (const task of run.tasks) {
    add(task.task.name, String(task.numFewshot), task.effective, task.metrics, '');
    if (task.kind !== 'rolling' || task.corrected === undefined) continue;
    for (const [metric, value] of task.corrected) rows.push(['', '', '', `${metric}, one BOS`, numberText(value), '']);
  }
  const banner = partialBanner(run);
  const body = table(
    [
      { title: 'task' },
      { title: 'shots', right: true },
      { title: 'documents', right: true },
      { title: 'metric' },
      { title: 'value', right: true },
      { title: '' },
    ],
    rows,
    style,
  );
  return [
    body,
    `\n${durationText(run.seconds)}, rules of ${run.settings.profile}, longest input ${run.settings.maxLength} tokens`,
    ...(banner === null ? [] : [`Partial: ${banner}`]),
    '',
  ].join('\n');
}

/** Four decimals, as the harness prints; perplexities of untrained models have twenty digits before them. */
function numberText(value: number): string {
  return Math.abs(value) < 1e7 ? value.toFixed(4) : value.toExponential(4);
}
