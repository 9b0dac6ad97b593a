/** A revert as text. */
import type { RevertReport } from '../revert/index.ts';
import { bullets, bytesText, durationText, fields, plural, visible } from './text.ts';
import type { Style } from './text.ts';

export function revertText(dest: string, report: RevertReport, style: Style): string {
  const facts = fields([
    [
      'size',
      `${bytesText(report.bytes)} in ${plural(report.files, 'weight file')}, ${plural(report.tensors, 'tensor')}`,
    ],
    ['proof', 'every tensor, header and document has the digest of the original'],
    ['time', durationText(report.seconds)],
  ]);
  const notes = report.notes.length === 0 ? '' : `\n\n${style.bold('Notes')}\n${bullets(report.notes.map(visible))}`;
  return `${style.green(`${visible(dest)} is the dense checkpoint again, bit for bit.`)}\n${facts}${notes}\n`;
}
