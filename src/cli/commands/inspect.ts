import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { emit } from '../output.ts';

export const inspect: Command = {
  spec: {
    name: 'inspect',
    summary: 'what a checkpoint is, counted from its headers, and what is wrong with it',
    usage: ['PATH [--json]'],
    about: [
      'PATH is a Hugging Face folder, a .safetensors file, an index, a config.json or a .gguf. Only headers are read, never tensor data. Exit 3 where the reference reader refuses the file, else 0 whatever the problems say.',
    ],
    options: {},
    positionals: [1, 1],
  },
  async run(context) {
    const { args, io } = context;
    const path = args.positionals[0] ?? '';
    const { openCheckpoint } = await import('../../checkpoint/open.ts');
    const { inspectCheckpoint } = await import('../../inspect/index.ts');
    const report = await inspectCheckpoint(await openCheckpoint(resolve(io.cwd, path), { signal: io.signal }));
    const { inspectText } = await import('../../report/inspect.ts');
    await emit(context, report, () => inspectText(path, report, context.style));
    return 0;
  },
};
