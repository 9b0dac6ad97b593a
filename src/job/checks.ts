/** The jobs that look and undo: verify, revert, doctor. */
import { doctor, rebuildIndex } from '../doctor/index.ts';
import type { JobParams, JobResult } from '../protocol/jobs.ts';
import { doctorText } from '../report/doctor.ts';
import { revertText } from '../report/revert.ts';
import { durationText, plural, PLAIN, shortBytes } from '../report/text.ts';
import { verifyText } from '../report/verify.ts';
import { revertOutput } from '../revert/index.ts';
import { verifyOutput } from '../verify/index.ts';
import { forward } from './context.ts';
import type { JobContext } from './context.ts';
import { withProof } from './logits.ts';
import { jobGates } from './models.ts';
import { plainJson } from './plain.ts';
import { openAll } from './planning.ts';

type ParamsFor<K extends JobParams['kind']> = Extract<JobParams, { kind: K }>;

export async function verifyJob(params: ParamsFor<'verify'>, context: JobContext): Promise<JobResult> {
  const { out } = params;
  const sources = params.sources.length === 0 ? undefined : await openAll(params.sources, context);
  const bytes = await verifyOutput(out, {
    sources,
    gates: jobGates(),
    signal: context.signal,
    onProgress: forward(context),
  });
  const { logits = false, device = 'auto' } = params;
  const wish = { out, source: sources?.[0], choice: logits ? 'always' : 'never', device, must: true } as const;
  const { report, check } = await withProof(bytes, wish, context);
  const proven = check !== null && check.state !== 'skipped';
  const against = report.againstSource ? 'against its source' : 'by the digests of its manifest';
  return {
    ok: report.ok,
    summary: report.ok
      ? `${out} is what was written, checked ${against}${proven && check.limit !== null ? ', and computes what its plan promises,' : ''} in ${durationText(report.seconds)}`
      : bytes.ok
        ? `${out} is what was written, but does not compute what its plan promises`
        : `${out} is not what was written: ${plural(report.problemCount, 'problem')}`,
    text: verifyText(out, report, PLAIN),
    report: plainJson(report),
    ...(check === null ? {} : { logits: check }),
  };
}

export async function revertJob(params: ParamsFor<'revert'>, context: JobContext): Promise<JobResult> {
  const { out, dest, parent, overwrite } = params;
  const report = await revertOutput(out, dest, {
    parent,
    overwrite,
    signal: context.signal,
    onProgress: forward(context),
  });
  for (const note of report.notes) context.log('info', note);
  return {
    ok: true,
    summary: `${plural(report.tensors, 'tensor')}, ${shortBytes(report.bytes)}, rebuilt bit for bit at ${dest}`,
    text: revertText(dest, report, PLAIN),
    report: plainJson(report),
  };
}

export async function doctorJob(params: ParamsFor<'doctor'>, context: JobContext): Promise<JobResult> {
  const { path, rebuildIndex: rebuild } = params;
  const { signal } = context;
  const rebuilt = rebuild ? await rebuildIndex(path, { signal }) : null;
  if (rebuilt !== null)
    context.log(
      'info',
      `Index rebuilt: ${rebuilt.path}, ${plural(rebuilt.entries, 'entry', 'entries')}, ${String(rebuilt.added.length)} added, ${String(rebuilt.removed.length)} removed`,
    );
  let tensors = 0;
  let last = '';
  const report = await doctor(path, {
    signal,
    onProgress: ({ bytesDone, bytesTotal, tensor }) => {
      if (tensor !== last) tensors++;
      last = tensor;
      context.progress({
        phase: 'scan',
        bytesDone,
        bytesTotal,
        tensorsDone: tensors,
        tensorsTotal: 0,
        at: tensor,
        bytesPerSecond: null,
        etaSeconds: null,
      });
    },
  });
  const errors = report.problems.filter(({ severity }) => severity === 'error').length;
  const warnings = report.problems.filter(({ severity }) => severity === 'warning').length;
  return {
    ok: report.healthy,
    summary: `${path} is ${report.healthy ? 'healthy' : `not healthy: ${plural(errors, 'error')}`}${warnings === 0 ? '' : `, ${plural(warnings, 'warning')}`}`,
    text: doctorText(path, report, PLAIN),
    report: plainJson(rebuilt === null ? report : { ...report, rebuiltIndex: rebuilt }),
  };
}
