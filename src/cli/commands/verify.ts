import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { emit } from '../output.ts';
import { openAll } from '../planning.ts';
import { ProgressLine } from '../progress.ts';

export const verify: Command = {
  spec: {
    name: 'verify',
    summary: 'check a written MoE, byte by byte, against its manifest and its source',
    usage: ['OUT [--source SRC …]'],
    about: [
      'Every tensor is read again and compared: with the source where one is given (then the plan is computed anew), else with the digests of the manifest. Config, index and headers are checked too. Exit 1 where anything differs; a single flipped bit is named with its place.',
    ],
    options: {
      source: {
        type: 'string',
        multiple: true,
        value: 'SRC',
        help: 'the dense source; for several parents repeat it: base first, then parents in order',
      },
    },
    positionals: [1, 1],
  },
  async run(context) {
    const { args, io } = context;
    const out = args.positionals[0] ?? '';
    const sources = args.texts('source').map((path) => resolve(io.cwd, path));
    const checkpoints = sources.length === 0 ? undefined : await openAll(sources, context);
    const { verifyOutput } = await import('../../verify/index.ts');
    const line = new ProgressLine(io, 'Verifying');
    let report;
    try {
      report = await verifyOutput(resolve(io.cwd, out), {
        sources: checkpoints,
        signal: io.signal,
        onProgress: (event) => {
          line.update({ ...event, done: event.bytesDone, total: event.bytesTotal, at: event.file });
        },
      });
    } finally {
      line.end();
    }
    const { verifyText } = await import('../../report/verify.ts');
    await emit(context, report, () => verifyText(out, report, context.style));
    return report.ok ? 0 : 1;
  },
};
