import type { Command } from '../command.ts';
import { emitChunks } from '../output.ts';
import { planFromRecipe, RECIPE_OPTIONS, savePlan } from '../planning.ts';

export const plan: Command = {
  spec: {
    name: 'plan',
    summary: 'what an upcycle would write: every tensor, sizes, exactness, warnings; writes nothing',
    usage: ['[SRC] [--recipe FILE | --preset NAME] [--set KEY=VALUE …] [--out DIR] [--save P.json]'],
    about: [
      'SRC is the dense checkpoint; it overrides the recipe’s base and may be left out when the recipe has one. Only headers are read. The order of values is defaults, preset, recipe, --set.',
    ],
    options: {
      ...RECIPE_OPTIONS,
      out: {
        type: 'string',
        value: 'DIR',
        help: 'where it would be written: gives the bytes that cloning leaves there',
      },
      save: { type: 'string', value: 'P.json', help: 'save the plan; moe upcycle --plan P.json executes it' },
    },
    positionals: [0, 1],
  },
  async run(context) {
    const { args, io } = context;
    const out = args.text('out');
    const { plan: made } = await planFromRecipe(context, args.positionals[0], out);
    const save = args.text('save');
    if (save !== undefined) {
      await savePlan(made, save, io.cwd);
      context.log(`plan saved as ${save}`);
    }
    if (context.json) {
      const { planJsonChunks } = await import('../../plan/json.ts');
      await emitChunks(context, planJsonChunks(made));
    } else {
      const { planText } = await import('../../report/plan.ts');
      await io.out(planText(made, context.style, out !== undefined));
    }
    return 0;
  },
};
