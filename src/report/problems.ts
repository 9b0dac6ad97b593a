/** Problems of a checkpoint as text: worst first, equal kinds cut after a few. */
import type { Problem } from '../checkpoint/types.ts';
import { grouped } from '../common/errors.ts';
import { plural, visible, wrap } from './text.ts';
import type { Style } from './text.ts';

const ORDER = { error: 0, warning: 1, info: 2 } as const;
/** Of one code, so that a thousand missing tensors do not hide the rest. */
const MOST_OF_A_KIND = 5;

/** All problems, or a line that there are none. */
export function problemsText(problems: readonly Problem[], style: Style): string {
  if (problems.length === 0) return style.green('No problems found.');
  const sorted = [...problems].sort((a, b) => ORDER[a.severity] - ORDER[b.severity]);
  const seen = new Map<string, number>();
  const lines: string[] = [];
  for (const problem of sorted) {
    const count = (seen.get(problem.code) ?? 0) + 1;
    seen.set(problem.code, count);
    if (count <= MOST_OF_A_KIND) lines.push(problemText(problem, style));
  }
  for (const [code, count] of seen)
    if (count > MOST_OF_A_KIND)
      lines.push(style.dim(`… and ${grouped(count - MOST_OF_A_KIND)} more of ${code} (all with --json)`));
  return `${summary(sorted)}\n${lines.join('\n')}`;
}

function summary(problems: readonly Problem[]): string {
  const of = (severity: Problem['severity']): number => problems.filter((p) => p.severity === severity).length;
  const parts = [
    [of('error'), 'error'],
    [of('warning'), 'warning'],
    [of('info'), 'note'],
  ] as const;
  return `${parts
    .filter(([count]) => count > 0)
    .map(([count, noun]) => plural(count, noun))
    .join(', ')}:`;
}

/** One problem: severity, message, place, what to do. */
export function problemText(problem: Problem, style: Style): string {
  const paint = problem.severity === 'error' ? style.red : problem.severity === 'warning' ? style.yellow : style.dim;
  const label = problem.severity === 'info' ? 'note' : problem.severity;
  const message = visible(problem.message);
  // Names the message has already are not repeated.
  const place = [
    problem.file !== undefined && !message.includes(visible(problem.file)) ? visible(problem.file) : null,
    problem.tensor !== undefined && !message.includes(visible(problem.tensor)) ? visible(problem.tensor) : null,
    problem.byte === undefined ? null : `byte ${grouped(problem.byte)}`,
  ].filter((part) => part !== null);
  const text = `${message}${place.length === 0 ? '' : ` (${place.join(', ')})`} [${problem.code}]`;
  const head = `  ${label.padEnd(7)}  `;
  const body = wrap(text, 110, head);
  const hint =
    problem.hint === undefined ? '' : `\n${wrap(visible(problem.hint), 110, ' '.repeat(head.length) + '→ ')}`;
  return `${head.replace(label, paint(label))}${body.slice(head.length)}${hint}`;
}
