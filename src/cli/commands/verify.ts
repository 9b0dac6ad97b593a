import { resolve } from 'node:path';
import { MoeError } from '../../common/errors.ts';
import type { Checkpoint } from '../../checkpoint/types.ts';
import type { VerifyReport } from '../../verify/index.ts';
import type { LogitProof } from '../../verify/logits.ts';
import type { Command, Context } from '../command.ts';
import { usageError } from '../command.ts';
import { RUN_OPTIONS, gatesFor, openModel, withModels } from '../models.ts';
import { emit } from '../output.ts';
import { openAll } from '../planning.ts';
import { ProgressLine } from '../progress.ts';
import { textFile } from '../values.ts';

export const verify: Command = {
  spec: {
    name: 'verify',
    summary: 'check a written MoE, byte by byte, against its manifest and its source',
    usage: ['OUT [--source SRC …]', 'OUT --source SRC --logits [--text FILE]'],
    about: [
      'Every tensor is read again and compared: with the source where one is given (then the plan is computed anew), else with the digests of the manifest. Config, index and headers are checked too. Exit 1 where anything differs; a single flipped bit is named with its place.',
      'With --logits both models are run in float32 on the same tokens. Where the plan is exact or bit-exact, their logits must agree to 1e-5 (relative norm of the difference); otherwise they are reported. The result is recorded in OUT’s manifest.',
    ],
    options: {
      source: {
        type: 'string',
        multiple: true,
        value: 'SRC',
        help: 'the dense source; for several parents repeat it: base first, then parents in order',
      },
      logits: { type: 'boolean', help: 'run source and output and compare what they compute' },
      text: { type: 'string', value: 'FILE', help: 'text to run them on (default: a built-in one)' },
      ...RUN_OPTIONS,
    },
    positionals: [1, 1],
  },
  async run(context) {
    const { args, io } = context;
    const out = args.positionals[0] ?? '';
    const sources = args.texts('source').map((path) => resolve(io.cwd, path));
    const wanted = args.flag('logits');
    if (wanted && sources.length === 0)
      throw usageError('source-missing', 'moe verify --logits needs --source', 'moe help verify');
    if (!wanted && args.text('text') !== undefined)
      throw usageError('text-without-logits', '--text goes with --logits', 'moe help verify');
    const text = args.text('text') === undefined ? null : await textFile(context, args.text('text') ?? '');
    const checkpoints = sources.length === 0 ? undefined : await openAll(sources, context);
    const { verifyOutput } = await import('../../verify/index.ts');
    const line = new ProgressLine(io, 'Verifying');
    let report: VerifyReport;
    try {
      report = await verifyOutput(resolve(io.cwd, out), {
        sources: checkpoints,
        gates: await gatesFor(context),
        signal: io.signal,
        onProgress: (event) => {
          line.update({ ...event, done: event.bytesDone, total: event.bytesTotal, at: event.file });
        },
      });
    } finally {
      line.end();
    }
    const [base] = checkpoints ?? [];
    if (wanted && base !== undefined && report.planHash !== null) {
      const { withLogits, withoutLogits } = await import('../../verify/logits.ts');
      try {
        report = withLogits(report, await runBoth(context, resolve(io.cwd, out), base, text));
      } catch (error) {
        // What was found of the bytes says more than a model that does not load because of it.
        if (report.ok || !(error instanceof MoeError) || error.kind === 'cancelled') throw error;
        report = withoutLogits(report, error);
      }
    }
    const whole = report;
    const { verifyText } = await import('../../report/verify.ts');
    await emit(context, whole, () => verifyText(out, whole, context.style));
    return whole.ok ? 0 : 1;
  },
};

/** Runs source and output on the same tokens, and keeps the outcome beside the manifest. */
async function runBoth(context: Context, out: string, source: Checkpoint, text: string | null): Promise<LogitProof> {
  const { proveLogits } = await import('../../infer/prove.ts');
  const line = new ProgressLine(context.io, 'Running both');
  try {
    return await withModels(context, async (child) => {
      const reference = await openModel(context, child, source.path);
      const model = await openModel(context, child, out);
      return proveLogits({
        source,
        reference,
        out,
        model,
        text,
        onProgress: (progress) => {
          line.update({ ...progress, unit: 'tokens' });
        },
        note: (message) => {
          context.log(`note: ${message}`);
        },
      });
    });
  } finally {
    line.end();
  }
}
