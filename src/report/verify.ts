/** A verification as text: each check, what is proven, what is not. */
import { grouped } from '../common/errors.ts';
import type { VerifyReport } from '../verify/index.ts';
import { bullets, durationText, plural, table, visible, wrap } from './text.ts';
import type { Style } from './text.ts';

export function verifyText(out: string, report: VerifyReport, style: Style): string {
  return `${style.bold(visible(out))}\n${verifyBody(report, style)}\n`;
}

export function verifyBody(report: VerifyReport, style: Style): string {
  const verdict = report.ok
    ? style.green(`Verified in ${durationText(report.seconds)}.`)
    : style.red(`Not what was written: ${plural(report.problemCount, 'problem')}.`);
  const checks = table(
    [{ title: '' }, { title: 'check' }, { title: '' }],
    report.checks.map((check) => [check.ok ? 'ok' : 'FAILED', check.name, check.detail]),
    style,
  );
  const problems = report.problems.map((problem) => {
    const place = [problem.file, problem.tensor]
      .filter((name): name is string => name !== undefined && !problem.message.includes(name))
      .map(visible);
    const at = problem.byte === undefined ? '' : ` at byte ${grouped(problem.byte)}`;
    return wrap(
      `${visible(problem.message)}${place.length === 0 ? '' : ` (${place.join(', ')})`}${at} [${problem.code}]`,
      110,
      '- ',
    );
  });
  const hidden = report.problemCount - report.problems.length;
  const parts = [
    verdict,
    checks,
    problems.length === 0 ? '' : problems.join('\n'),
    hidden > 0 ? `… and ${plural(hidden, 'more problem')}` : '',
    section('Proven', report.proven, style),
    section('Not proven', report.notProven, style),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function section(title: string, items: readonly string[], style: Style): string {
  return items.length === 0 ? '' : `${style.bold(title)}\n${bullets(items)}`;
}
