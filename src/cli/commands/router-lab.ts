import { resolve } from 'node:path';
import { ROUTER_INITS } from '../../recipe/types.ts';
import type { Recipe } from '../../recipe/types.ts';
import type { Candidate } from '../../router-lab/lab.ts';
import type { Command, Context } from '../command.ts';
import { usageError } from '../command.ts';
import { RUN_OPTIONS, openModel, withModels } from '../models.ts';
import { emit } from '../output.ts';
import { openAll, recipeOf, RECIPE_OPTIONS } from '../planning.ts';
import { ProgressLine } from '../progress.ts';
import { textFile, wholeOption } from '../values.ts';

export const routerLab: Command = {
  spec: {
    name: 'router-lab',
    summary: 'what each way of starting the router would do with your text, before anything is written',
    usage: ['[SRC] --text FILE … [--init NAME[:STD],…] [--recipe FILE | --preset NAME] [--set KEY=VALUE …]'],
    about: [
      'Runs the text through the dense model and multiplies what its feed-forward networks read with the router rows that the recipe would write. Per layer: load of every expert, entropy, condition number of the rows, bfloat16 ties, and the tokens that a capacity limit would drop. Where the plan keeps the function, these are the numbers that moe trace gives for the finished MoE.',
      'Without --init it compares the recipe’s own start with normal, uniform, orthogonal and zero, and with the prompt gates where the recipe has prompts.',
    ],
    options: {
      text: { type: 'string', multiple: true, value: 'FILE', help: 'text file; may repeat' },
      init: {
        type: 'string',
        value: 'LIST',
        help: `ways to start, with commas between them: ${ROUTER_INITS.join(', ')}; NAME:STD sets the deviation`,
      },
      limit: { type: 'string', value: 'N', help: 'only the first N tokens of each text' },
      ...RECIPE_OPTIONS,
      ...RUN_OPTIONS,
    },
    positionals: [0, 1],
  },
  async run(context) {
    const { args, io } = context;
    const files = args.texts('text');
    if (files.length === 0) throw usageError('text-missing', 'moe router-lab needs --text', 'moe help router-lab');
    const loaded = await recipeOf(context, args.positionals[0]);
    if (loaded.basePath === null)
      throw usageError(
        'source-missing',
        'no source: neither SRC is given nor does the recipe name a base',
        'moe router-lab SRC --text FILE',
      );
    for (const warning of loaded.warnings) context.log(`warning: ${warning.message} [${warning.code}]`);
    const candidates = await candidatesOf(context, loaded.recipe);
    const limit = wholeOption(context, 'limit', 1) ?? Infinity;
    const checkpoints = await openAll([loaded.basePath, ...loaded.parentPaths], context);
    const [base] = checkpoints;
    if (base === undefined) throw new Error('nothing was opened');
    const { tokenizerOf } = await import('../../score/tokenizer.ts');
    const { labWindows } = await import('../../router-lab/candidates.ts');
    const { routerLab: run } = await import('../../router-lab/lab.ts');
    const { tokenizer } = tokenizerOf(base);
    const texts: string[] = [];
    for (const file of files) texts.push(await textFile(context, file));
    const encode = (text: string): number[] => tokenizer.encode(text);
    if (texts.every((text) => text === ''))
      throw usageError('no-tokens', 'the text has no tokens, so there is nothing to run');
    const line = new ProgressLine(io, 'Running');
    const { report, tokens } = await withModels(context, async (child) => {
      const model = await openModel(context, child, base.path);
      const { maxPositions } = model.facts;
      const { windows, tokens: counts } = labWindows(encode, texts, limit, maxPositions);
      try {
        const made = await run(
          {
            maxPositions,
            hidden: (rows, layers, take) => model.hidden(rows, layers, take),
            routerLogits: (rows, layers, routers, onText) => model.routerLogits(rows, layers, routers, onText),
          },
          {
            recipe: loaded.recipe,
            checkpoints,
            candidates,
            windows,
            signal: io.signal,
            onProgress: (progress) => {
              line.update({ ...progress, unit: 'tokens' });
            },
          },
        );
        return { report: made, tokens: counts };
      } finally {
        line.end();
      }
    });
    const { routerLabText } = await import('../../report/router-lab.ts');
    const { TRACE_DEFINITIONS } = await import('../../eval/trace-report.ts');
    const inputs = files.map((file, i) => ({ file: resolve(io.cwd, file), tokens: tokens[i] ?? 0 }));
    await emit(context, { texts: inputs, ...report, definitions: TRACE_DEFINITIONS }, () =>
      routerLabText(report, context.style),
    );
    return 0;
  },
};

/** What --init lists; without it the recipe's own start and the others. */
async function candidatesOf({ args }: Context, recipe: Recipe): Promise<Candidate[]> {
  const list = args.text('init');
  if (list === undefined) return (await import('../../router-lab/candidates.ts')).usualCandidates(recipe);
  return list.split(',').map((word) => {
    const [name = '', deviation, ...more] = word.trim().split(':');
    const init = ROUTER_INITS.find((known) => known === name);
    const std = deviation === undefined ? undefined : deviation.trim() === '' ? Number.NaN : Number(deviation);
    if (init === undefined || more.length > 0 || (std !== undefined && !(Number.isFinite(std) && std >= 0)))
      throw usageError(
        'bad-init',
        `--init has "${word.trim()}", expected NAME or NAME:STD with NAME one of ${ROUTER_INITS.join(', ')}`,
      );
    return { init, ...(std === undefined ? {} : { std }) };
  });
}
