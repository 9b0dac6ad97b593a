import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { emit } from '../output.ts';
import { openAll } from '../planning.ts';
import { ProgressLine } from '../progress.ts';

export const diff: Command = {
  spec: {
    name: 'diff',
    summary: 'two checkpoints against each other: structure, config and values, experts beside their dense parent',
    usage: ['A B [--structure] [--exit-code]'],
    about: [
      'Names, shapes, dtypes and config fields that differ; relative L2 distance and largest |Δ| of every tensor (A is the reference). Where one is dense and the other a MoE, every expert is laid beside the dense feed-forward of its layer.',
    ],
    options: {
      structure: { type: 'boolean', help: 'structure and config only: no tensor data is read' },
      'exit-code': { type: 'boolean', help: 'exit 1 where anything differs (without it 0)' },
    },
    positionals: [2, 2],
  },
  async run(context) {
    const { args, io } = context;
    const [a = '', b = ''] = args.positionals;
    const [left, right] = await openAll([resolve(io.cwd, a), resolve(io.cwd, b)], context);
    if (left === undefined || right === undefined) throw new Error('two checkpoints were to be opened');
    const { diffCheckpoints } = await import('../../diff/index.ts');
    const line = new ProgressLine(io, 'Comparing');
    let report;
    try {
      report = await diffCheckpoints(left, right, {
        signal: io.signal,
        values: !args.flag('structure'),
        onProgress: ({ done, total, name }) => {
          line.update({ done, total, unit: 'tensors', at: name });
        },
      });
    } finally {
      line.end();
    }
    const { diffText } = await import('../../report/diff.ts');
    await emit(context, report, () => diffText(a, b, report, context.style));
    return args.flag('exit-code') && !report.identical ? 1 : 0;
  },
};
