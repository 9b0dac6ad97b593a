import { usageError } from '../command.ts';
import type { Command } from '../command.ts';
import { emit } from '../output.ts';

export const presets: Command = {
  spec: {
    name: 'presets',
    summary: 'published recipes, each with what its paper never stated',
    usage: ['[NAME]'],
    about: ['With NAME: its values and its assumption sheet.'],
    options: {},
    positionals: [0, 1],
  },
  async run(context) {
    const { PRESETS, presetNamed } = await import('../../recipe/presets.ts');
    const { presetListText, presetText } = await import('../../report/recipe.ts');
    const name = context.args.positionals[0];
    if (name === undefined) {
      await emit(context, PRESETS, () => presetListText(PRESETS, context.style));
      return 0;
    }
    const preset = presetNamed(name);
    if (preset === undefined)
      throw usageError(
        'unknown-preset',
        `there is no preset "${name}"`,
        `presets: ${PRESETS.map((one) => one.name).join(', ')}`,
      );
    await emit(context, preset, () => presetText(preset, context.style));
    return 0;
  },
};
