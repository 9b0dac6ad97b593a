/** A health check as text. */
import { grouped } from '../common/errors.ts';
import type { DoctorReport } from '../doctor/index.ts';
import { problemsText } from './problems.ts';
import { bytesText, plural, visible } from './text.ts';
import type { Style } from './text.ts';

export function doctorText(path: string, report: DoctorReport, style: Style): string {
  const { checked, inspect } = report;
  const verdict = report.healthy ? style.green('healthy') : style.red('not healthy');
  return `${style.bold(visible(path))}: ${verdict}
${inspect.modelType === null ? 'unknown type' : visible(inspect.modelType)}, ${inspect.kind}; looked at ${plural(checked.tensors, 'tensor')}, ${grouped(checked.values)} values, ${bytesText(checked.bytes)}

${problemsText(report.problems, style)}
`;
}
