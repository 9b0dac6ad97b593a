import { resolve } from 'node:path';
import { usageError } from '../command.ts';
import type { Command, Context } from '../command.ts';
import { gatesFor } from '../models.ts';
import { emit } from '../output.ts';
import { planFromFile, planFromRecipe, RECIPE_OPTIONS } from '../planning.ts';
import type { Planned } from '../planning.ts';
import { ProgressLine } from '../progress.ts';

export const upcycle: Command = {
  spec: {
    name: 'upcycle',
    summary: 'plan and write the MoE checkpoint, with a manifest that proves and undoes it',
    usage: ['[SRC] OUT [--recipe FILE | --preset NAME] [--set KEY=VALUE …]', '[SRC] OUT --plan P.json'],
    about: [
      'OUT appears under its name only when it is whole; until then everything lies beside it. A run that was stopped or killed goes on with --resume. An existing OUT is never replaced without --overwrite.',
    ],
    options: {
      ...RECIPE_OPTIONS,
      plan: { type: 'string', value: 'P.json', help: 'execute this saved plan instead of making one' },
      resume: { type: 'boolean', help: 'go on with an unfinished run into OUT; afresh where there is none' },
      'no-clone': { type: 'boolean', help: 'copy equal experts even where the file system could share their blocks' },
      overwrite: { type: 'boolean', help: 'replace the checkpoint that stands at OUT' },
      verify: { type: 'boolean', help: 'read everything back afterwards and check it against the sources' },
    },
    positionals: [1, 2],
  },
  async run(context) {
    const { args, io } = context;
    const [src, out] = places(context);
    const planned = await planOf(context, src, out);
    const { plan, checkpoints } = planned;
    for (const warning of plan.warnings) context.log(`warning: ${warning.message} [${warning.code}]`);
    const { executePlan } = await import('../../write/index.ts');
    const line = new ProgressLine(io, 'Writing');
    const target = resolve(io.cwd, out);
    let report;
    try {
      report = await executePlan(plan, checkpoints, target, {
        resume: args.flag('resume'),
        overwrite: args.flag('overwrite'),
        ...(args.flag('no-clone') ? { clone: false } : {}),
        gates: await gatesFor(context),
        signal: io.signal,
        onProgress: (event) => {
          line.update({ ...event, done: event.bytesDone, total: event.bytesTotal, at: event.file });
        },
      });
    } finally {
      line.end();
    }
    const verification = args.flag('verify') ? await verified(context, target, planned) : undefined;
    const { upcycleJson, upcycleText } = await import('../../report/upcycle.ts');
    await emit(context, upcycleJson(plan, report, verification), () =>
      upcycleText(out, plan, report, verification, context.style),
    );
    return verification?.ok === false ? 1 : 0;
  },
};

function places({ args }: Context): [string | undefined, string] {
  const [first, second] = args.positionals;
  if (first === undefined) throw usageError('argument-missing', 'moe upcycle needs OUT', 'moe help upcycle');
  return second === undefined ? [undefined, first] : [first, second];
}

async function planOf(context: Context, src: string | undefined, out: string): Promise<Planned> {
  const { args } = context;
  const file = args.text('plan');
  if (file === undefined) return planFromRecipe(context, src, out);
  const clash = ['recipe', 'preset', 'set'].find(
    (name) => args.text(name) !== undefined || args.texts(name).length > 0,
  );
  if (clash !== undefined)
    throw usageError(
      'plan-and-recipe',
      `--plan executes a plan as it is; --${clash} cannot change it`,
      'Make a new plan with moe plan … --save P.json.',
    );
  return planFromFile(file, src, context);
}

async function verified(context: Context, out: string, { checkpoints }: Planned) {
  const { verifyOutput } = await import('../../verify/index.ts');
  const line = new ProgressLine(context.io, 'Verifying');
  try {
    return await verifyOutput(out, {
      sources: checkpoints,
      gates: await gatesFor(context),
      signal: context.io.signal,
      onProgress: (event) => {
        line.update({ ...event, done: event.bytesDone, total: event.bytesTotal, at: event.file });
      },
    });
  } finally {
    line.end();
  }
}
