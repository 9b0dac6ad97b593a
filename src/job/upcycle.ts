/** The upcycle job: plan, write, and verify where that is asked for. */
import { rmdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { MoeError } from '../common/errors.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import type { Plan } from '../plan/types.ts';
import type { JobResult, UpcycleParams } from '../protocol/jobs.ts';
import { durationText, plural, shortBytes, shortCount, PLAIN } from '../report/text.ts';
import { upcycleJson, upcycleText } from '../report/upcycle.ts';
import { verifyOutput } from '../verify/index.ts';
import type { VerifyReport } from '../verify/index.ts';
import { executePlan } from '../write/index.ts';
import type { WriteReport } from '../write/index.ts';
import { takeLock } from '../write/lock.ts';
import { clearWork, findPlace, restoreOld } from '../write/place.ts';
import { forward } from './context.ts';
import type { JobContext } from './context.ts';
import { proofWords, withProof } from './logits.ts';
import type { Proven } from './logits.ts';
import { plainJson } from './plain.ts';
import { jobGates } from './models.ts';
import { planOf } from './planning.ts';

/** A process of a closed window may take this long to let go of what is being resumed. */
const LET_GO_MS = 40_000;

export async function upcycleJob(params: UpcycleParams, context: JobContext): Promise<JobResult> {
  const { plan, checkpoints } = await planOf(params, context);
  context.log(
    'info',
    `Plan ${plan.hash}: ${plural(plan.tensors.length, 'tensor')} in ${plural(plan.files.length, 'file')}`,
  );
  for (const { message, code } of plan.warnings) context.log('warning', `${message} [${code}]`);
  const report = await write(params, plan, checkpoints, context);
  for (const note of report.notes) context.log('info', note);
  const checked = params.verify ? await proof(params, checkpoints, context) : undefined;
  const verification = checked?.report;
  return {
    ok: verification?.ok !== false,
    summary: `${summary(params.out, plan, report, verification)}${proofWords(checked?.check ?? null)}`,
    text: upcycleText(params.out, plan, report, verification, PLAIN),
    report: plainJson(upcycleJson(plan, report, verification)),
    ...(checked === undefined || checked.check === null ? {} : { logits: checked.check }),
  };
}

async function write(
  params: UpcycleParams,
  plan: Plan,
  checkpoints: readonly Checkpoint[],
  context: JobContext,
): Promise<WriteReport> {
  const { out, resume, overwrite, clone } = params;
  const onProgress = forward(context);
  const start = performance.now();
  for (let told = false; ; told = true) {
    try {
      return await executePlan(plan, checkpoints, out, {
        resume,
        overwrite,
        clone,
        gates: jobGates(),
        signal: context.signal,
        onProgress,
      });
    } catch (error) {
      if (!(error instanceof MoeError)) throw error;
      const waiting = resume && error.code === 'output-locked' && performance.now() - start < LET_GO_MS;
      if (waiting && !context.signal.aborted) {
        if (!told) context.log('info', 'Waiting for the earlier run to let go of the output');
        await sleep(250);
        continue;
      }
      if (error.kind === 'cancelled' && !context.keepPartial()) {
        await removePartial(out, checkpoints);
        throw new MoeError(
          'cancelled',
          'cancelled',
          `Cancelled. Nothing stands under "${out}", and nothing is left of the run.`,
        );
      }
      throw worded(error);
    }
  }
}

/** The output stands already: cancelling now only leaves it unproven. */
async function proof(
  { out, logits: choice = 'never', device = 'auto' }: UpcycleParams,
  sources: readonly Checkpoint[],
  context: JobContext,
): Promise<Proven> {
  try {
    const report = await verifyOutput(out, {
      sources,
      gates: jobGates(),
      signal: context.signal,
      onProgress: forward(context),
    });
    return await withProof(report, { out, source: sources[0], choice, device }, context);
  } catch (error) {
    if (!(error instanceof MoeError) || error.kind !== 'cancelled') throw error;
    throw new MoeError(
      'cancelled',
      'cancelled-verifying',
      `Cancelled while verifying: "${out}" is written and stands, but is not verified.`,
      { file: out, hint: 'Verify it at any time.' },
      { cause: error },
    );
  }
}

/** Takes away what a cancelled run has kept beside the output. */
async function removePartial(out: string, checkpoints: readonly Checkpoint[]): Promise<void> {
  const place = await findPlace(out, checkpoints);
  const lock = await Promise.resolve()
    .then(() => takeLock(place.lock, place.shown))
    .catch(() => null);
  // No working folder, or another run has it by now.
  if (lock === null) return;
  // What an overwriting run that was killed had moved aside is somebody's checkpoint.
  await restoreOld(place);
  await clearWork(place);
  lock.release();
  await rmdir(place.work).catch(() => undefined);
}

/** The writer speaks to users of the command line. */
function worded(error: MoeError): MoeError {
  const { hint } = error.place;
  if (hint === undefined || !hint.includes('--resume')) return error;
  const place = {
    ...error.place,
    hint: hint.replace('Continue with --resume', 'Resume the job').replace('run again with --resume', 'resume the job'),
  };
  return new MoeError(error.kind, error.code, error.message, place, { cause: error });
}

function summary(out: string, plan: Plan, report: WriteReport, verification: VerifyReport | undefined): string {
  const { total, active } = plan.target.parameters;
  const what = `${plan.target.modelType}, ${shortCount(total)} parameters (${shortCount(active)} active)`;
  const done = report.alreadyComplete
    ? `stands at ${out} already; nothing was written`
    : `${shortBytes(report.bytes)} written to ${out} in ${durationText(report.seconds)}`;
  const proof =
    verification === undefined
      ? ''
      : verification.ok
        ? '; verified against the source'
        : `; NOT what was planned: ${plural(verification.problemCount, 'problem')}`;
  return `${what}, ${done}${proof}`;
}
