/** The part of a verification that runs both models: when it is done, what it says, and why it was left out. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, messageOf } from '../common/errors.ts';
import { proveLogits } from '../infer/prove.ts';
import type { DeviceChoice, LogitCheck, ProveChoice } from '../protocol/jobs.ts';
import { toMeasured } from '../protocol/wire.ts';
import { shortBytes } from '../report/text.ts';
import type { VerifyReport } from '../verify/index.ts';
import { proofText, withLogits, withoutLogits } from '../verify/logits.ts';
import type { LogitProof } from '../verify/logits.ts';
import type { JobContext } from './context.ts';
import { counted, withModels } from './run-models.ts';

/** Bytes of a source up to which `auto` runs it: seconds on a laptop, up to a minute. */
export const PROVE_LIMIT = 2_000_000_000;

export interface ProveWish {
  readonly out: string;
  /** Base, where one was given. */
  readonly source: Checkpoint | undefined;
  readonly choice: ProveChoice;
  readonly device: DeviceChoice;
  /** Asked for by hand: what cannot be run is a failure, not a remark. */
  readonly must?: boolean;
}

export interface Proven {
  readonly report: VerifyReport;
  /** Null: nobody asked for it. */
  readonly check: LogitCheck | null;
}

/**
 * The report with that of the logits, where they are wished. What is left out is said, in the log, the report and the check.
 * Throws where the job is cancelled, and where what must be run cannot be.
 */
export async function withProof(report: VerifyReport, wish: ProveWish, context: JobContext): Promise<Proven> {
  if (wish.choice === 'never') return { report, check: null };
  const why = whyNot(report, wish);
  if (why !== null) return skipped(report, why, context);
  const { source, out, device: wanted } = wish;
  if (source === undefined) throw new TypeError('no source');
  try {
    return await withModels([source.path, out], wanted, context, async ({ models, device }) => {
      const [reference, model] = models;
      if (reference === undefined || model === undefined) throw new TypeError('nothing was opened');
      const proof = await proveLogits({
        source,
        reference,
        out,
        model,
        text: null,
        onProgress: ({ done, total }) => {
          context.progress(counted('logits', done, total, out));
        },
        note: (message) => {
          context.log('warning', message);
        },
      });
      context.log(proof.ok ? 'info' : 'error', `Logits on ${proof.input}: ${proofText(proof)}`);
      return { report: withLogits(report, proof), check: checkOf(proof, device) };
    });
  } catch (error) {
    if (context.signal.aborted || (error instanceof MoeError && error.kind === 'cancelled')) throw error;
    // What was found of the bytes says more than a model that does not load because of it.
    if (wish.must === true && !report.ok && error instanceof MoeError)
      return { report: withoutLogits(report, error), check: null };
    if (wish.must === true) throw error;
    return skipped(report, messageOf(error), context);
  }
}

function whyNot(report: VerifyReport, { source, choice }: ProveWish): string | null {
  if (report.planHash === null) return 'there is no manifest that can be read';
  if (source === undefined) return 'the source is not known';
  const bytes = source.files.reduce((sum, file) => sum + file.bytes, 0);
  if (choice === 'auto' && bytes > PROVE_LIMIT)
    return `the source has ${shortBytes(bytes)}, and up to ${shortBytes(PROVE_LIMIT)} are run unasked (setting moe.upcycle.proveLogits)`;
  return null;
}

function skipped(report: VerifyReport, why: string, context: JobContext): Proven {
  context.log('warning', `What both compute is not compared: ${why}`);
  return {
    report: { ...report, notProven: [...report.notProven, `What both compute is not compared: ${why}.`] },
    check: {
      state: 'skipped',
      why,
      class: '',
      limit: null,
      relativeNorm: 'NaN',
      maxAbs: 'NaN',
      meanKl: 'NaN',
      positions: 0,
      argmaxEqual: 0,
      nonFinite: 0,
      bitEqual: false,
      input: '',
      device: '',
    },
  };
}

function checkOf(proof: LogitProof, device: string): LogitCheck {
  return {
    state: !proof.ok ? 'failed' : proof.limit === null ? 'reported' : 'passed',
    why: '',
    class: proof.class,
    limit: proof.limit,
    relativeNorm: toMeasured(proof.relativeNorm),
    maxAbs: toMeasured(proof.maxAbs),
    meanKl: toMeasured(proof.meanKl),
    positions: proof.positions,
    argmaxEqual: proof.argmaxEqual,
    nonFinite: proof.nonFinite,
    bitEqual: proof.bitEqual,
    input: proof.input,
    device,
  };
}

/** "; logits agree" for a job's one line. */
export function proofWords(check: LogitCheck | null): string {
  switch (check?.state) {
    case undefined:
      return '';
    case 'passed':
      return check.bitEqual ? ', all logits equal' : ', logits agree';
    case 'failed':
      return ', but logits DIFFER';
    case 'reported':
      return ', logits compared';
    case 'skipped':
      return ', logits not compared';
  }
}
