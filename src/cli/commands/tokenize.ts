import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { usageError } from '../command.ts';
import { emit } from '../output.ts';
import { textOption } from '../values.ts';

export const tokenize: Command = {
  spec: {
    name: 'tokenize',
    summary: 'a text as the token ids of a checkpoint',
    usage: ['PATH --text TEXT'],
    about: [
      'Special tokens are added by the tokenizer’s own rule (post-processor, add_bos_token, add_eos_token) unless --no-special. For a GGUF the tokenizer is rebuilt from its metadata.',
    ],
    options: {
      text: { type: 'string', help: 'the text; "-" reads standard input verbatim, nothing trimmed' },
      'no-special': { type: 'boolean', help: 'add no special tokens' },
    },
    positionals: [1, 1],
  },
  async run(context) {
    const { args, io } = context;
    const text = await textOption(context, 'text');
    if (text === undefined) throw usageError('text-missing', 'moe tokenize needs --text', 'moe help tokenize');
    const { openCheckpoint } = await import('../../checkpoint/open.ts');
    const { tokenizerOf } = await import('../../score/tokenizer.ts');
    const checkpoint = await openCheckpoint(resolve(io.cwd, args.positionals[0] ?? ''), { signal: io.signal });
    const { tokenizer } = tokenizerOf(checkpoint);
    for (const note of tokenizer.notes) context.log(`note: ${note}`);
    const ids = tokenizer.encode(text, { addSpecial: !args.flag('no-special') });
    const tokens = tokenizer.tokens(ids);
    const { table, visible } = await import('../../report/text.ts');
    await emit(
      context,
      { ids, tokens },
      () =>
        `${table(
          [{ title: 'id', right: true }, { title: 'token' }],
          ids.map((id, i) => [String(id), visible(tokens[i] ?? '')]),
          context.style,
        )}\n`,
    );
    return 0;
  },
};
