import { resolve } from 'node:path';
import { MoeError } from '../../common/errors.ts';
import { isJsonObject } from '../../common/json.ts';
import type { EvaluationRun, ProgressEvent, RuleProfile } from '../../eval/index.ts';
import { traceStateOf } from '../../eval/leftovers.ts';
import type { TraceReport } from '../../eval/trace-report.ts';
import type { Command, Context } from '../command.ts';
import { usageError } from '../command.ts';
import { RUN_OPTIONS, deviceFor, openModel, openPath, withModels } from '../models.ts';
import { emit } from '../output.ts';
import { checkOutputs, writeOutput } from '../outputs.ts';
import { ProgressLine } from '../progress.ts';
import { numberOption, wholeOption } from '../values.ts';
import { VERSION } from '../version.ts';

export const evaluate: Command = {
  spec: {
    name: 'eval',
    summary: 'score a checkpoint as lm-evaluation-harness does',
    usage: ['PATH --tasks mmlu,hellaswag --data DIR [--limit N] [--num-fewshot K] [--samples FILE]'],
    about: [
      'Prompts, token boundaries, metrics and standard errors are the harness’s, in float32; the JSON has its shape. DIR holds the data sets (named as in the harness’s or the Hub’s data sets: hellaswag_validation.jsonl, mmlu/test.jsonl …); what is not there is looked for in the Hub cache.',
      'With --journal finished requests are kept in a file, and the same command goes on from there after an interruption; with --trace the expert statistics so far lie beside it (FILE.traces).',
    ],
    options: {
      tasks: { type: 'string', value: 'NAMES', help: 'tasks and groups, with commas between them' },
      data: { type: 'string', value: 'DIR', help: 'folder of the data sets, or the one file that is needed' },
      limit: { type: 'string', value: 'N', help: 'only the first N documents of each leaf task; below 1: a share' },
      'num-fewshot': { type: 'string', value: 'K', help: 'examples before each question (the task’s own number)' },
      samples: { type: 'string', value: 'FILE', help: 'write every document’s result, one JSON line each' },
      output: { type: 'string', value: 'FILE', help: 'write the results JSON to a file as well' },
      journal: { type: 'string', value: 'FILE', help: 'keep finished requests here and go on from them' },
      'task-file': {
        type: 'string',
        multiple: true,
        value: 'FILE',
        help: 'define a task of your own (YAML); may repeat',
      },
      'max-length': { type: 'string', value: 'N', help: 'longest input in tokens (the model’s own)' },
      profile: {
        type: 'string',
        value: 'NAME',
        help: 'whose BOS rule: harness-0.4.9.2 (default, and later) or harness-0.4.9.1',
      },
      'add-bos': {
        type: 'string',
        value: 'auto|true|false',
        help: 'the harness’s add_bos_token (auto: the tokenizer decides)',
      },
      bootstrap: { type: 'string', value: 'N', help: 'resamples for perplexity’s standard error (100000; 0: none)' },
      trace: { type: 'string', value: 'FILE', help: 'write which experts answered what (JSON, as moe trace)' },
      ...RUN_OPTIONS,
    },
    positionals: [1, 1],
  },
  async run(context) {
    const { args, io } = context;
    const at = (name: string): string | undefined => {
      const file = args.text(name);
      return file === undefined ? undefined : resolve(io.cwd, file);
    };
    const tasks = (args.text('tasks') ?? '').split(',').map((name) => name.trim());
    if (tasks.join('') === '') throw usageError('tasks-missing', 'moe eval needs --tasks', 'moe help eval');
    const limit = numberOption(context, 'limit');
    if (limit !== undefined && !(limit > 0)) throw usageError('bad-number', '--limit must be above 0');
    const numFewshot = wholeOption(context, 'num-fewshot');
    const bootstrap = wholeOption(context, 'bootstrap');
    const [profile, addBos] = [await profileOption(context), addBosOption(context)];
    const files = { samples: at('samples'), output: at('output'), trace: at('trace'), journal: at('journal') };
    await checkOutputs(files);
    const evaluation = await import('../../eval/index.ts');
    const customTasks = new Map(
      await Promise.all(
        args.texts('task-file').map(async (file) => {
          const { task, notes } = await evaluation.loadTaskFile(resolve(io.cwd, file));
          for (const note of notes) context.log(`note: ${note}`);
          return [task.name, task] as const;
        }),
      ),
    );
    const checkpoint = await openPath(context, args.positionals[0] ?? '');
    const { evalTokenizer, tokenizerOf } = await import('../../score/tokenizer.ts');
    const loaded = tokenizerOf(checkpoint);
    for (const note of loaded.tokenizer.notes) context.log(`note: ${note}`);
    const data = at('data');
    const { journal, trace: tracePath } = files;
    const line = new ProgressLine(io, 'Scoring');
    const { modelInfo } = await import('../../score/model-info.ts');
    const { run, traces } = await withModels(context, async (child) => {
      const model = await openModel(context, child, checkpoint.path, {
        maxLength: wholeOption(context, 'max-length', 1),
      });
      const trace = tracePath !== undefined;
      if (trace && model.facts.experts === null)
        throw new MoeError('input', 'no-experts', `${checkpoint.path} is dense: there are no experts to trace.`);
      try {
        const finished = await evaluation.runEvaluation({
          tasks,
          customTasks,
          data: data === undefined ? {} : { path: data },
          scorer: model.scorer(evalTokenizer(loaded), { trace }),
          model: {
            ...modelInfo(checkpoint, await deviceFor(context)),
            modelType: model.facts.modelType,
          },
          ...(limit === undefined ? {} : { limit }),
          ...(numFewshot === undefined ? {} : { numFewshot }),
          ...(bootstrap === undefined ? {} : { bootstrapIterations: bootstrap }),
          ...(profile === undefined ? {} : { profile }),
          addBos,
          ...(journal === undefined ? {} : { journal }),
          ...(journal === undefined || !trace ? {} : { traces: model.traceStore(traceStateOf(journal)) }),
          signal: io.signal,
          onProgress: (event) => {
            line.update(stepOf(event));
          },
        });
        return { run: finished, traces: trace ? await model.traceReport() : null };
      } finally {
        line.end();
      }
    });
    const harness = evaluation.harnessResults(run, { tool: `moe-workbench ${VERSION}` });
    // Document by document, so that moe eval-compare needs no samples file.
    const { documentsJson } = await import('../../eval/documents.ts');
    const own = harness['moe_workbench'];
    const results = { ...harness, moe_workbench: { ...(isJsonObject(own) ? own : {}), documents: documentsJson(run) } };
    try {
      if (files.samples !== undefined) await writeOutput(files.samples, evaluation.sampleLines(run));
      if (files.output !== undefined) await writeOutput(files.output, `${JSON.stringify(results, null, 2)}\n`);
      if (tracePath !== undefined && traces !== null) await writeTrace(context, tracePath, traces, run);
    } finally {
      // What was computed is printed even where a file of it cannot be written.
      for (const note of run.notes) context.log(`note: ${note}`);
      const { evalText } = await import('../../report/eval.ts');
      await emit(context, results, () => evalText(run, context.style));
    }
    return 0;
  },
};

async function profileOption({ args }: Context): Promise<RuleProfile | undefined> {
  const name = args.text('profile');
  if (name === undefined) return undefined;
  const { RULE_PROFILES } = await import('../../eval/index.ts');
  const found = RULE_PROFILES.find((profile) => profile === name);
  if (found !== undefined) return found;
  throw usageError('bad-profile', `--profile is "${name}", expected one of ${RULE_PROFILES.join(', ')}`);
}

function addBosOption({ args }: Context): 'auto' | boolean {
  const value = args.text('add-bos') ?? 'auto';
  if (value === 'auto') return value;
  if (value === 'true' || value === 'false') return value === 'true';
  throw usageError('bad-add-bos', `--add-bos is "${value}", expected auto, true or false`);
}

function stepOf(event: ProgressEvent) {
  const score = event.running.find(({ metric }) => metric === 'acc');
  const acc =
    score === undefined
      ? ''
      : ` acc ${score.value.toFixed(3)}${score.interval === null ? '' : ` [${score.interval.map((x) => x.toFixed(3)).join(', ')}]`}`;
  return {
    done: event.requests,
    total: event.totalRequests,
    unit: 'requests',
    etaSeconds: event.etaSeconds,
    at: `${event.task}${acc}`,
  };
}

async function writeTrace(context: Context, file: string, report: TraceReport, run: EvaluationRun): Promise<void> {
  if (run.untraced > 0)
    context.log(`note: ${run.untraced} requests came from the journal: their tokens are not in the trace`);
  const { traceJson } = await import('../../eval/index.ts');
  await writeOutput(file, traceJson(report));
}
