/** Two evaluations side by side: paired questions first, then every metric. */
import type { Paired, ResultsComparison } from '../protocol/results.ts';
import { bullets, plural, table } from './text.ts';
import type { Style } from './text.ts';

export interface ComparedSide {
  readonly model: string;
  readonly file: string;
  readonly partial: string | null;
  readonly documents: number;
}

export interface EvalComparison {
  readonly a: ComparedSide;
  readonly b: ComparedSide;
  /** `stderr`: of independent runs. */
  readonly rows: readonly (ResultsComparison['rows'][number] & { readonly stderr: number | null })[];
  readonly paired: ResultsComparison['paired'];
  readonly notes: readonly string[];
}

export function evalCompareText({ a, b, rows, paired, notes }: EvalComparison, style: Style): string {
  const side = (name: string, { model, file, partial }: ComparedSide): string =>
    `${name}  ${model}  ${style.dim(file)}${partial === null ? '' : `  (partial: ${partial})`}`;
  return [
    side('A', a),
    side('B', b),
    ...(paired === null ? [] : ['', ...pairedLines(paired, style)]),
    ...(rows.length === 0
      ? []
      : ['', style.bold('All metrics (standard error of independent runs)'), metricsTable(rows, style)]),
    ...(notes.length === 0 ? [] : ['', bullets(notes)]),
    '',
  ].join('\n');
}

function pairedLines(paired: NonNullable<ResultsComparison['paired']>, style: Style): string[] {
  const { metric, overall, tasks } = paired;
  const row = (name: string, one: Paired): string[] => [
    name,
    String(one.documents),
    one.scoreA.toFixed(4),
    one.scoreB.toFixed(4),
    signed(one.difference),
    one.stderr === null ? '' : `± ${one.stderr.toFixed(4)}`,
    String(one.gained),
    String(one.lost),
    one.p < 0.0001 ? one.p.toExponential(1) : one.p.toFixed(4),
  ];
  return [
    style.bold(
      `${plural(overall.documents, 'question')} paired by ${metric} (standard error of the pairs, McNemar’s exact test)`,
    ),
    table(
      [
        { title: 'task' },
        { title: 'questions', right: true },
        { title: 'A', right: true },
        { title: 'B', right: true },
        { title: 'B − A', right: true },
        { title: '' },
        { title: 'gained', right: true },
        { title: 'lost', right: true },
        { title: 'p', right: true },
      ],
      [row('over all', overall), ...tasks.map((one) => row(one.task, one))],
      style,
    ),
  ];
}

function metricsTable(rows: EvalComparison['rows'], style: Style): string {
  const number = (value: number | null): string => (value === null ? 'unknown' : value.toFixed(4));
  return table(
    [
      { title: 'task' },
      { title: 'metric' },
      { title: 'A', right: true },
      { title: 'B', right: true },
      { title: 'B − A', right: true },
      { title: '' },
    ],
    rows.map(({ task, metric, a, b, difference, stderr }) => [
      task,
      metric,
      number(a),
      number(b),
      difference === null ? '' : signed(difference),
      stderr === null ? '' : `± ${stderr.toFixed(4)}`,
    ]),
    style,
  );
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
}
