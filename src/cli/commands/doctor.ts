import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { emit } from '../output.ts';
import { ProgressLine } from '../progress.ts';

export const doctor: Command = {
  spec: {
    name: 'doctor',
    summary: 'is a checkpoint healthy: shards, NaN and Inf, duplicate experts, config against tensors',
    usage: ['PATH [--rebuild-index]'],
    about: ['Reads all tensor data. Exit 1 when unhealthy.'],
    options: {
      'rebuild-index': {
        type: 'boolean',
        help: 'first write the index anew from the headers of the files that are there',
      },
    },
    positionals: [1, 1],
  },
  async run(context) {
    const { args, io } = context;
    const shown = args.positionals[0] ?? '';
    const path = resolve(io.cwd, shown);
    const core = await import('../../doctor/index.ts');
    const rebuilt = args.flag('rebuild-index') ? await core.rebuildIndex(path, { signal: io.signal }) : null;
    if (rebuilt !== null)
      context.log(
        `index rebuilt: ${rebuilt.path}, ${rebuilt.entries} entries, ${rebuilt.added.length} added, ${rebuilt.removed.length} removed`,
      );
    const line = new ProgressLine(io, 'Examining');
    let report;
    try {
      report = await core.doctor(path, {
        signal: io.signal,
        onProgress: (event) => {
          line.update({ ...event, done: event.bytesDone, total: event.bytesTotal, at: event.tensor });
        },
      });
    } finally {
      line.end();
    }
    const { doctorText } = await import('../../report/doctor.ts');
    const value = rebuilt === null ? report : { ...report, rebuiltIndex: rebuilt };
    await emit(context, value, () => doctorText(shown, report, context.style));
    return report.healthy ? 0 : 1;
  },
};
