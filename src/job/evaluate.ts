/** The job that scores a checkpoint, and writes a results file in the harness's shape. */
import { MoeError } from '../common/errors.ts';
import { documentsJson } from '../eval/documents.ts';
import { harnessResults, runEvaluation } from '../eval/index.ts';
import type { EvaluationRun, ProgressEvent } from '../eval/index.ts';
import { journalOf, removeLeftovers, traceStateOf } from '../eval/leftovers.ts';
import type { EvalParams, JobProgress, JobResult } from '../protocol/jobs.ts';
import { evalText } from '../report/eval.ts';
import { durationText, PLAIN, plural } from '../report/text.ts';
import { modelInfo } from '../score/model-info.ts';
import { evalTokenizer, tokenizerOf } from '../score/tokenizer.ts';
import { TOOL_VERSION } from '../write/version.ts';
import type { JobContext } from './context.ts';
import { plainJson } from './plain.ts';
import { openAll } from './planning.ts';
import { withModels, writeResults } from './run-models.ts';

export async function evalJob(params: EvalParams, context: JobContext): Promise<JobResult> {
  const { path, out, limit, numFewshot, data } = params;
  const [checkpoint] = await openAll([path], context);
  if (checkpoint === undefined) throw new TypeError('nothing was opened');
  const loaded = tokenizerOf(checkpoint);
  for (const note of loaded.tokenizer.notes) context.log('info', note);
  const journal = journalOf(out);
  if (!params.resume) await removeLeftovers(out);
  const { run, traces, note } = await withModels(
    [path],
    params.device,
    context,
    async ({ models, device, note: aside }) => {
      const [model] = models;
      if (model === undefined) throw new TypeError('nothing was opened');
      // A dense model has nothing to trace; whoever asks for traces asks for them where there are any.
      const trace = params.traces && model.facts.experts !== null;
      const finished = await runEvaluation({
        tasks: params.tasks,
        data: data === null ? {} : { path: data },
        scorer: model.scorer(evalTokenizer(loaded), { trace }),
        model: { ...modelInfo(checkpoint, device), modelType: model.facts.modelType },
        ...(limit === null ? {} : { limit }),
        ...(numFewshot === null ? {} : { numFewshot }),
        journal,
        ...(trace ? { traces: model.traceStore(traceStateOf(journal)) } : {}),
        signal: context.signal,
        onProgress: (event) => {
          context.progress(progressOf(event));
        },
      });
      return { run: finished, traces: trace ? await model.traceReport() : null, note: aside };
    },
  );
  for (const note of run.notes) context.log('info', note);
  const partly = traces === null || run.untraced === 0 ? null : `${plural(run.untraced, 'request')} of an earlier run`;
  if (partly !== null) context.log('info', `${partly}: their tokens are not in the expert statistics`);
  const results = harnessResults(run, { tool: `moe-workbench ${TOOL_VERSION}` });
  const { moe_workbench: own, ...shape } = results;
  const file = {
    ...shape,
    moe_workbench: {
      ...(own as object),
      data: data ?? null,
      tasks_asked: params.tasks,
      device_note: note,
      documents: documentsJson(run),
      ...(traces === null ? {} : { traces, traces_without: partly }),
    },
  };
  await writeResults(out, `${JSON.stringify(file, null, 1)}\n`);
  await removeLeftovers(out);
  return { ok: true, summary: summary(run), text: evalText(run, PLAIN), report: plainJson({ out, ...results }) };
}

function progressOf(event: ProgressEvent): JobProgress {
  return {
    phase: 'score',
    bytesDone: event.requests,
    bytesTotal: event.totalRequests,
    tensorsDone: 0,
    tensorsTotal: 0,
    at: event.task,
    bytesPerSecond: null,
    etaSeconds: event.etaSeconds,
    scores: {
      task: event.task,
      requests: event.requests,
      totalRequests: event.totalRequests,
      documents: event.documents,
      totalDocuments: event.totalDocuments,
      scores: event.running.map(({ interval, ...score }) => ({
        ...score,
        interval: interval === null ? null : { low: interval[0], high: interval[1] },
      })),
    },
  };
}

/** "mmlu acc 0.2512 ± 0.0036, piqa acc 0.6837 ± 0.0109, in 3 min". */
function summary(run: EvaluationRun): string {
  const inGroups = new Set(run.groups.flatMap(({ group }) => group.members));
  const shown = [
    ...run.groups.filter(({ group }) => !inGroups.has(group.name)).map(({ group, metrics }) => ({ ...group, metrics })),
    ...run.tasks.filter(({ task }) => !inGroups.has(task.name)).map(({ task, metrics }) => ({ ...task, metrics })),
  ];
  const parts = shown.flatMap(({ name, metrics }) => {
    const [first] = metrics;
    if (first === undefined) return [];
    const [metric, { value, stderr }] = first;
    return [`${name} ${metric} ${value.toFixed(4)}${stderr === null ? '' : ` ± ${stderr.toFixed(4)}`}`];
  });
  if (parts.length === 0) throw new MoeError('input', 'nothing-scored', 'No document could be scored');
  return `${parts.join(', ')}, in ${durationText(run.seconds)}`;
}
