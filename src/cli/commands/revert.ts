import { resolve } from 'node:path';
import { usageError } from '../command.ts';
import type { Command } from '../command.ts';
import { emit } from '../output.ts';
import { ProgressLine } from '../progress.ts';

export const revert: Command = {
  spec: {
    name: 'revert',
    summary: 'rebuild the dense checkpoint from a written MoE and its manifest, bit for bit',
    usage: ['OUT DEST [--parent N]'],
    about: [
      'Every file of DEST has the digest of the original, or nothing is written and the tensors that the MoE does not hold any more are named (exit 3).',
    ],
    options: {
      parent: {
        type: 'string',
        value: 'N',
        help: 'which parent to rebuild: 0 is the base (default), then the recipe’s in order',
      },
      overwrite: { type: 'boolean', help: 'replace the checkpoint that stands at DEST' },
    },
    positionals: [2, 2],
  },
  async run(context) {
    const { args, io } = context;
    const [out = '', dest = ''] = args.positionals;
    const parent = args.text('parent') ?? '0';
    if (!/^\d{1,6}$/.test(parent))
      throw usageError('bad-option', `--parent expects a whole number, got "${parent}"`, 'moe help revert');
    const { revertOutput } = await import('../../revert/index.ts');
    const line = new ProgressLine(io, 'Reverting');
    let report;
    try {
      report = await revertOutput(resolve(io.cwd, out), resolve(io.cwd, dest), {
        parent: Number(parent),
        overwrite: args.flag('overwrite'),
        signal: io.signal,
        onProgress: (event) => {
          line.update({ ...event, done: event.bytesDone, total: event.bytesTotal, at: event.file });
        },
      });
    } finally {
      line.end();
    }
    const { revertText } = await import('../../report/revert.ts');
    await emit(context, report, () => revertText(dest, report, context.style));
    return 0;
  },
};
