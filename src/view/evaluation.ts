/** Results files, ours or lm-evaluation-harness's, as the results editor shows them. Pure: whoever reads files hands texts in. */
import { MoeError } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import { compareRuns } from '../eval/compare.ts';
import type { ComparableDoc, PairedCounts } from '../eval/compare.ts';
import { readDocuments } from '../eval/documents.ts';
import { importedRun, resultsJson } from '../eval/import-results.ts';
import type { ImportedRun } from '../eval/import-results.ts';
import { mmluGroupOf, mmluSubject } from '../eval/tasks/mmlu.ts';
import { HIGHER_IS_BETTER } from '../eval/tasks/types.ts';
import type { TraceReport } from '../eval/trace-report.ts';
import type { EvalRow, EvalSubject, Evaluation, Paired, ResultsComparison } from '../protocol/results.ts';
import type { Fact } from '../protocol/wire.ts';
import { durationText, shortCount } from '../report/text.ts';
import { traceSummaryOf, tracesIn } from './traces.ts';
import { append } from '../common/lists.ts';

/** A results file, read. */
export interface ParsedEvaluation {
  readonly evaluation: Evaluation;
  readonly imported: ImportedRun;
  readonly docs: readonly ComparableDoc[];
  readonly traces: TraceReport | null;
  /** It was made when a job began, and the job has not come to its end. */
  readonly begun: boolean;
}

const MAX_NOTES = 200;
const MAX_FLIPS = 500;

/** Reads a results file. Throws `bad-results-file` where it is none. */
export function parseEvaluation(text: string, file: string): ParsedEvaluation {
  const json = resultsJson(text, file);
  const imported = importedRun(json, file);
  const root = isJsonObject(json.value) ? json.value : {};
  const own = isJsonObject(root['moe_workbench']) ? root['moe_workbench'] : {};
  const config = isJsonObject(root['config']) ? root['config'] : {};
  const docs = readDocuments(own['documents']);
  const traces = tracesIn(own['traces']);
  const rows = rowsOf(imported, root['group_subtasks']);
  const modelArgs = textIn(config['model_args']);
  const source = textIn(root['model_source']) ?? textIn(config['model']) ?? 'lm-evaluation-harness';
  const date = typeof root['date'] === 'number' ? new Date(root['date'] * 1000) : null;
  const evaluation: Evaluation = {
    model: textIn(root['model_name']) ?? imported.model ?? 'unknown model',
    path: source.startsWith('moe-workbench') ? modelArgs : null,
    date: date === null || Number.isNaN(date.getTime()) ? null : date.toISOString(),
    tool: source.startsWith('moe-workbench') ? source.replace('moe-workbench', 'MoE Workbench') : source,
    partial: textIn(own['partial']) ?? (imported.limit === null ? null : `limit ${String(imported.limit)}`),
    facts: factsOf(root, config, own, imported),
    notes: [...imported.notes, ...textsIn([own['device_note']]), ...textsIn(own['notes'])].slice(0, MAX_NOTES),
    rows,
    subjects: subjectsOf(rows),
    documents: docs.length,
    traces: traces === null ? null : traceSummaryOf(traces, textIn(own['traces_without'])),
  };
  return { evaluation, imported, docs, traces, begun: own['begun'] === true };
}

function textIn(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function textsIn(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

function factsOf(
  root: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
  own: Readonly<Record<string, unknown>>,
  imported: ImportedRun,
): Fact[] {
  const facts: Fact[] = [];
  const add = (label: string, value: string | null, note: string | null = null): void => {
    if (value !== null) facts.push({ label, value, exact: value, note });
  };
  const number = (value: unknown): number | null => (typeof value === 'number' ? value : null);
  const parameters = number(config['model_num_parameters']);
  add('Parameters', parameters === null ? null : shortCount(parameters));
  add('Device', textIn(config['device']));
  const seconds = Number(root['total_evaluation_time_seconds'] ?? Number.NaN);
  add('Took', Number.isFinite(seconds) ? durationText(seconds) : null);
  add('Longest input', imported.maxLength === null ? null : `${String(imported.maxLength)} tokens`);
  add(
    'Rules',
    textIn(own['rule_profile']),
    'Whose rules decide about the beginning-of-text token; they changed in 0.4.9.2.',
  );
  add('Harness', imported.harnessVersion);
  add('Data', textIn(own['data']));
  const resumed = number(own['resumed_requests']);
  add('Resumed', resumed === null || resumed === 0 ? null : `${String(resumed)} requests of an earlier run`);
  return facts;
}

/** Groups first, their tasks below them; everything else in the file's order. */
function rowsOf(imported: ImportedRun, subtasks: unknown): EvalRow[] {
  const members = new Map<string, readonly string[]>();
  if (isJsonObject(subtasks)) for (const [name, list] of Object.entries(subtasks)) members.set(name, textsIn(list));
  const below = new Set([...members.values()].flat());
  const rows: EvalRow[] = [];
  const done = new Set<string>();
  const add = (name: string, level: number): void => {
    const task = imported.tasks.get(name);
    if (task === undefined || done.has(name) || level > 20) return;
    done.add(name);
    rows.push({
      task: name,
      group: task.isGroup,
      level,
      documents: task.documents,
      fewshot: task.numFewshot,
      metrics: [...task.metrics].map(([metric, { value, stderr }]) => ({
        name: metric,
        value,
        stderr,
        higherIsBetter: better(metric),
      })),
    });
    for (const member of members.get(name) ?? []) add(member, level + 1);
  };
  for (const name of imported.tasks.keys()) if (!below.has(name)) add(name, 0);
  // Groups that name each other, or members of a group that has no result.
  for (const name of imported.tasks.keys()) add(name, 0);
  return rows;
}

function better(metric: string): boolean | null {
  const [name = ''] = metric.split(',');
  for (const [known, higher] of Object.entries(HIGHER_IS_BETTER)) if (known === name) return higher;
  return null;
}

const AREAS: Readonly<Record<string, string>> = {
  stem: 'STEM',
  humanities: 'Humanities',
  social_sciences: 'Social sciences',
  other: 'Other',
};

function subjectsOf(rows: readonly EvalRow[]): EvalSubject[] {
  return rows.flatMap(({ task, metrics, documents }) => {
    const subject = mmluSubject(task);
    const acc = metrics.find(({ name }) => name === 'acc');
    if (subject === undefined || acc === undefined || acc.value === null) return [];
    const label = subject.replaceAll('_', ' ');
    const area = AREAS[mmluGroupOf(subject) ?? 'other'] ?? 'Other';
    const kind = task.endsWith('_continuation') ? `${label} (continuation)` : label;
    return [{ task, label: kind, area, value: acc.value, stderr: acc.stderr, documents }];
  });
}

/** Compares run B with run A: metrics side by side, and question by question where both name their documents. */
export function compareEvaluations(
  a: ParsedEvaluation,
  b: ParsedEvaluation,
  other: { readonly name: string; readonly file: string },
  metric = 'acc',
): ResultsComparison {
  const rows = b.evaluation.rows.flatMap(({ task, metrics }) => {
    const theirs = a.imported.tasks.get(task)?.metrics;
    if (theirs === undefined) return [];
    return metrics.flatMap(({ name, value }) => {
      const left = theirs.get(name);
      if (left === undefined) return [];
      const difference = left.value === null || value === null ? null : value - left.value;
      return [{ task, metric: name, a: left.value, b: value, difference }];
    });
  });
  const notes: string[] = [];
  const alone = (one: ParsedEvaluation, than: ParsedEvaluation): string[] =>
    [...one.imported.tasks.keys()].filter((name) => !than.imported.tasks.has(name));
  const [onlyA, onlyB] = [alone(a, b), alone(b, a)];
  if (onlyA.length > 0) notes.push(`Only the other run has ${few(onlyA)}.`);
  if (onlyB.length > 0) notes.push(`Only this run has ${few(onlyB)}.`);
  if (a.evaluation.partial !== null || b.evaluation.partial !== null)
    notes.push('At least one of the runs is partial: look at the documents that both scored.');
  let pairs: ResultsComparison['paired'] = null;
  if (a.docs.length === 0 || b.docs.length === 0) {
    const missing = a.docs.length === 0 ? 'The other run' : 'This run';
    notes.push(
      `${missing} does not name its documents one by one, so questions cannot be paired. For a run of the harness, keep its samples (--log_samples) beside the results.`,
    );
  } else {
    try {
      const found = compareRuns(a.docs, b.docs, metric);
      append(notes, found.notes);
      pairs = {
        metric: found.metric,
        overall: pairedOf(found.overall),
        tasks: [...found.byTask].map(([task, counts]) => ({ task, ...pairedOf(counts) })),
        flips: found.flips
          .slice(0, MAX_FLIPS)
          .map(({ task, docId, direction }) => ({ task, document: docId, gained: direction === 'gained' })),
        moreFlips: Math.max(0, found.flips.length - MAX_FLIPS),
      };
    } catch (error) {
      if (!(error instanceof MoeError) || error.code !== 'nothing-to-compare') throw error;
      notes.push(`Questions cannot be paired: ${error.message}.`);
    }
  }
  return { other, rows, paired: pairs, notes };
}

function pairedOf({ differenceStderr, ...counts }: PairedCounts): Paired {
  return { ...counts, stderr: differenceStderr };
}

function few(names: readonly string[]): string {
  return `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${String(names.length - 5)} more` : ''}`;
}

/** The results as a table in Markdown, as papers and model cards show them. */
export function evaluationMarkdown({ model, partial, rows, tool, date }: Evaluation): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const lines = [
    `**${cell(model)}**, ${cell(tool)}${date === null ? '' : `, ${date.slice(0, 10)}`}`,
    ...(partial === null ? [] : ['', `Partial: ${cell(partial)}`]),
    '',
    '| Task | Few-shot | Documents | Metric | Value | ± Stderr |',
    '| --- | ---: | ---: | --- | ---: | ---: |',
  ];
  for (const { task, level, fewshot, documents, metrics } of rows)
    for (const { name, value, stderr, higherIsBetter } of metrics) {
      const arrow = higherIsBetter === null ? '' : higherIsBetter ? ' ↑' : ' ↓';
      const cells = [
        `${'– '.repeat(level)}${task}`,
        fewshot === null ? '' : String(fewshot),
        documents === null ? '' : String(documents),
        `${name}${arrow}`,
        value === null ? 'unknown' : value.toFixed(4),
        stderr === null ? '' : stderr.toFixed(4),
      ];
      lines.push(`| ${cells.map(cell).join(' | ')} |`);
    }
  return `${lines.join('\n')}\n`;
}
