import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { emit } from '../output.ts';

export const sample: Command = {
  spec: {
    name: 'sample',
    summary: 'write the built-in sample checkpoint (a small untrained llama) to try the rest on',
    usage: ['OUT'],
    about: ['OUT must be new or empty. The same bytes on every machine.'],
    options: {},
    positionals: [1, 1],
  },
  async run(context) {
    const { args, io } = context;
    const { writeSampleCheckpoint } = await import('../../sample/sample.ts');
    const summary = await writeSampleCheckpoint(resolve(io.cwd, args.positionals[0] ?? ''));
    const { bytesText, countText, plural } = await import('../../report/text.ts');
    await emit(
      context,
      summary,
      () =>
        `${summary.folder}: ${plural(summary.tensors, 'tensor')}, ${countText(summary.parameters)} parameters, ${bytesText(summary.bytes)}\n`,
    );
    return 0;
  },
};
