import type { Command } from '../command.ts';
import { usageError } from '../command.ts';
import { RUN_OPTIONS, openModel, openPath, withModels } from '../models.ts';
import { emit } from '../output.ts';
import { idsOption, textOption, wholeOption } from '../values.ts';

export const logits: Command = {
  spec: {
    name: 'logits',
    summary: 'what a model says comes next, after every token of a text',
    usage: ['PATH --text TEXT', 'PATH --ids 1,2,3'],
    about: [
      'Runs the model in float32 through ONNX Runtime, whatever type its weights are stored in. Logits are raw: before softmax, temperature or cuts.',
    ],
    options: {
      text: { type: 'string', help: 'the text; "-" reads standard input verbatim' },
      ids: { type: 'string', value: '1,2,3', help: 'token ids instead of a text' },
      top: { type: 'string', value: 'N', help: 'largest logits per position (20)' },
      ...RUN_OPTIONS,
    },
    positionals: [1, 1],
  },
  async run(context) {
    const { args } = context;
    const text = await textOption(context, 'text');
    const given = idsOption(context, 'ids');
    if ((text === undefined) === (given === undefined))
      throw usageError('text-or-ids', 'moe logits needs either --text or --ids', 'moe help logits');
    const top = wholeOption(context, 'top') ?? 20;
    const checkpoint = await openPath(context, args.positionals[0] ?? '');
    const { tokenizerOf } = await import('../../score/tokenizer.ts');
    const ids = given ?? tokenizerOf(checkpoint).tokenizer.encode(text ?? '');
    if (ids.length === 0) throw usageError('no-tokens', 'the text has no tokens, so there is nothing to run');
    const positions = await withModels(context, async (child) => {
      const model = await openModel(context, child, checkpoint.path);
      const { maxPositions } = model.facts;
      if (ids.length > maxPositions)
        context.log(
          `note: ${ids.length} tokens, but the model was made for ${maxPositions}: what comes after may make no sense`,
        );
      return model.top(ids, top);
    });
    const { table, visible } = await import('../../report/text.ts');
    await emit(context, { ids, positions }, () => {
      const names = namer(checkpoint, tokenizerOf);
      return `${table(
        [{ title: 'id', right: true }, { title: 'token' }, { title: 'then' }],
        ids.map((id, i) => [
          String(id),
          visible(names(id)),
          (positions[i]?.top ?? [])
            .slice(0, 5)
            .map(([next, value]) => `${visible(names(next))} ${value.toFixed(3)}`)
            .join('   '),
        ]),
        context.style,
      )}\n`;
    });
    return 0;
  },
};

/** Names ids where the checkpoint has a tokenizer. */
function namer<C>(
  checkpoint: C,
  load: (checkpoint: C) => { readonly tokenizer: { tokens(ids: readonly number[]): string[] } },
): (id: number) => string {
  try {
    const { tokenizer } = load(checkpoint);
    return (id) => tokenizer.tokens([id])[0] ?? '';
  } catch {
    // With --ids no tokenizer is needed.
    return (id) => `<${id}>`;
  }
}
