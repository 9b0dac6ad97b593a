/** What an upcycle wrote, as data and as text. */
import type { Plan } from '../plan/types.ts';
import type { VerifyReport } from '../verify/index.ts';
import type { WriteReport } from '../write/index.ts';
import { bullets, bytesText, countText, durationText, fields, plural, shortBytes, visible } from './text.ts';
import type { Style } from './text.ts';
import { verifyBody } from './verify.ts';

/** The contract of `upcycle --json`. */
export function upcycleJson(plan: Plan, report: WriteReport, verification: VerifyReport | undefined): object {
  return {
    ...report,
    target: { modelType: plan.target.modelType, parameters: plan.target.parameters, bytes: plan.target.bytes },
    exactness: plan.exactness,
    warnings: plan.warnings,
    ...(verification === undefined ? {} : { verification }),
  };
}

export function upcycleText(
  out: string,
  plan: Plan,
  report: WriteReport,
  verification: VerifyReport | undefined,
  style: Style,
): string {
  const speed = report.seconds > 0 ? `, ${shortBytes(Math.round(report.bytes / report.seconds))}/s` : '';
  const head = report.alreadyComplete
    ? `${visible(out)} is the finished output of this plan already; nothing was written.`
    : `${visible(out)} is written.`;
  const facts = fields([
    [
      'model',
      `${plan.target.modelType}, ${countText(plan.target.parameters.total)} total, ${countText(plan.target.parameters.active)} active per token`,
    ],
    ['size', `${bytesText(report.bytes)} in ${plural(report.files, 'weight file')}`],
    [
      'shared',
      report.sharedBytes === 0
        ? null
        : `${shortBytes(report.sharedBytes)} in ${plural(report.clonedFiles, 'cloned file')} need no room of their own`,
    ],
    ['resumed', report.resumedFiles === 0 ? null : `${plural(report.resumedFiles, 'file')} of an earlier run kept`],
    ['read', report.alreadyComplete ? null : bytesText(report.sourceBytesRead)],
    ['time', report.alreadyComplete ? null : `${durationText(report.seconds)}${speed}`],
    ['exactness', `${plan.exactness.class}: ${plan.exactness.reason}`],
    ['plan', report.planHash],
  ]);
  const notes = report.notes.length === 0 ? '' : `\n\n${style.bold('Notes')}\n${bullets(report.notes.map(visible))}`;
  const proof =
    verification === undefined
      ? `\n\nmoe verify ${visible(out)} --source SRC proves it from disk; moe revert ${visible(out)} DEST undoes it.`
      : `\n\n${verifyBody(verification, style)}`;
  return `${style.bold(head)}\n${facts}${notes}${proof}\n`;
}
