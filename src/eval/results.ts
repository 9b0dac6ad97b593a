import type { Json } from './python/json.ts';
import { finiteOrNull } from './result-values.ts';
import type { EvaluationRun, GroupRun, MetricValue, TaskRun } from './run-types.ts';
import { taskHash } from './samples.ts';
import type { MetricName } from './tasks/types.ts';
import { HIGHER_IS_BETTER } from './tasks/types.ts';

type Out = Record<string, Json>;

export interface ResultsOptions {
  /** What an unknown standard error becomes: null (default), or "N/A" as the harness writes it. */
  readonly unknownStderr?: null | 'N/A';
  /** Tool name and version, for `config`. */
  readonly tool?: string;
}

/**
 * The results in lm-evaluation-harness's shape (`results["mmlu"]["acc,none"]` …), plus one key of our own, `moe_workbench`:
 * what was cut, left out or guessed, request digests, margins, corrected perplexities. No value is NaN or infinite.
 */
export function harnessResults(run: EvaluationRun, options: ResultsOptions = {}): Out {
  const unknown = options.unknownStderr ?? null;
  const results: Out = {};
  for (const task of run.tasks) results[task.task.name] = taskEntry(task, unknown);
  const groups: Out = {};
  for (const group of run.groups) {
    const entry = groupEntry(group, unknown);
    results[group.group.name] = entry;
    groups[group.group.name] = entry;
  }
  return {
    results,
    ...(run.groups.length > 0 ? { groups } : {}),
    group_subtasks: Object.fromEntries(run.groups.map(({ group }) => [group.name, [...group.members]])),
    configs: sorted(run.tasks.map((task) => [task.task.name, configOf(task)])),
    versions: sorted([
      ...run.tasks.map((t): [string, Json] => [t.task.name, t.task.version]),
      ...run.groups.map((g): [string, Json] => [g.group.name, g.group.version]),
    ]),
    'n-shot': sorted([
      ...run.tasks.map((t): [string, Json] => [t.task.name, t.numFewshot]),
      ...run.groups.flatMap((g) => commonShots(g, run.tasks)),
    ]),
    higher_is_better: sorted([
      ...run.tasks.map((t): [string, Json] => [t.task.name, directions(t.task.metrics)]),
      ...run.groups.map((g): [string, Json] => [g.group.name, directions(g.group.aggregate)]),
    ]),
    'n-samples': Object.fromEntries(
      run.tasks.map((t) => [t.task.name, { original: t.original, effective: t.effective }]),
    ),
    config: {
      model: options.tool ?? 'moe-workbench',
      model_args: run.model.path ?? run.model.name,
      model_num_parameters: run.model.parameters ?? null,
      model_dtype: run.model.dtype ?? null,
      batch_size: null,
      device: run.model.device ?? null,
      use_cache: null,
      limit: run.settings.limit ?? null,
      bootstrap_iters: run.settings.bootstrapIterations,
      gen_kwargs: null,
      fewshot_seed: 1234,
    },
    date: run.startedAt,
    eot_token_id: run.settings.eosId ?? null,
    max_length: run.settings.maxLength,
    task_hashes: Object.fromEntries(run.tasks.map((t) => [t.task.name, taskHash(t)])),
    model_source: options.tool ?? 'moe-workbench',
    model_name: run.model.name,
    model_name_sanitized: run.model.name.replace(/["<>:/|\\?*[\]]+/g, '__'),
    system_instruction: null,
    chat_template: null,
    total_evaluation_time_seconds: String(run.seconds),
    moe_workbench: ownPart(run),
  };
}

function sorted(entries: readonly (readonly [string, Json])[]): Out {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function metricKeys(metrics: ReadonlyMap<MetricName, MetricValue>, unknown: null | 'N/A'): Out {
  const out: Out = {};
  for (const [name, { value, stderr }] of metrics) {
    out[`${name},none`] = finiteOrNull(value);
    out[`${name}_stderr,none`] = stderr === null ? unknown : (finiteOrNull(stderr) ?? unknown);
  }
  return out;
}

function taskEntry(run: TaskRun, unknown: null | 'N/A'): Out {
  const { name, alias } = run.task;
  return { name, alias, sample_len: run.effective, ...metricKeys(run.metrics, unknown) };
}

function groupEntry(run: GroupRun, unknown: null | 'N/A'): Out {
  const { name, alias } = run.group;
  const counts = Object.fromEntries([...run.metrics.keys()].map((metric) => [`${metric},none`, run.effective]));
  return { alias, name, sample_len: run.effective, ...metricKeys(run.metrics, unknown), sample_count: counts };
}

function commonShots(group: GroupRun, tasks: readonly TaskRun[]): [string, Json][] {
  const absent = new Set(group.absent);
  const shots = new Set(tasks.filter((t) => !absent.has(t.task.name)).map((t) => t.numFewshot));
  const [only] = shots;
  return shots.size === 1 && only !== undefined ? [[group.group.name, only]] : [];
}

function directions(metrics: readonly MetricName[]): Out {
  return Object.fromEntries(metrics.map((m) => [m, HIGHER_IS_BETTER[m]]));
}

function configOf(run: TaskRun): Out {
  const { task } = run;
  return {
    task: task.name,
    task_alias: task.alias,
    dataset_path: task.dataset.hubId,
    dataset_name: task.only?.value ?? task.dataset.hubConfig,
    data_files: [...run.dataFiles],
    eval_split: task.evalSplit,
    output_type: task.outputType,
    ...(task.outputType === 'loglikelihood_rolling'
      ? {}
      : {
          description: task.description,
          target_delimiter: task.targetDelimiter,
          fewshot_delimiter: task.fewshotDelimiter,
          fewshot_config: { sampler: task.fewshot.sampler, split: task.fewshot.split },
        }),
    num_fewshot: run.numFewshot,
    metric_list: task.metrics.map((metric) => ({ metric, higher_is_better: HIGHER_IS_BETTER[metric] })),
    repeats: 1,
    metadata: { version: task.version },
  };
}

/** A margin below this may flip by float rounding: the harness's own float32 error is up to 1.8e-4 per log-likelihood. */
export const CLOSE_MARGIN = 1e-3;

function ownPart(run: EvaluationRun): Out {
  return {
    rule_profile: run.settings.profile,
    add_bos_token: run.settings.addBos,
    prefix_token_id: run.settings.prefixTokenId,
    engine: run.model.engine ?? null,
    fingerprint: run.model.fingerprint ?? null,
    partial: partialBanner(run),
    resumed_requests: run.resumed,
    notes: [...run.notes],
    tasks: Object.fromEntries(run.tasks.map((t) => [t.task.name, ownTask(t)])),
  };
}

function ownTask(run: TaskRun): Out {
  const digests = { requests: run.digests.requests, text_sha256: run.digests.text, ids_sha256: run.digests.ids };
  const leftOut = run.leftOut.map(({ docId, reason, tokens }) => ({ doc_id: docId, reason, tokens }));
  if (run.kind === 'rolling') {
    const corrected = run.corrected;
    return {
      digests,
      left_out: leftOut,
      double_bos: corrected !== undefined,
      ...(corrected === undefined
        ? {}
        : { single_bos: Object.fromEntries([...corrected].map(([name, value]) => [name, finiteOrNull(value)])) }),
    };
  }
  return {
    digests,
    left_out: leftOut,
    truncated_documents: run.docs.filter((d) => d.cut > 0).length,
    ...(run.task.outputType === 'multiple_choice'
      ? { close_documents: run.docs.filter((d) => d.margin < CLOSE_MARGIN).length, close_margin: CLOSE_MARGIN }
      : {}),
    also: metricKeys(run.extra, null),
  };
}

/** "10 of 2376 documents, for debugging", when a limit made this a partial run; null otherwise (field report G4-06). */
export function partialBanner(run: EvaluationRun): string | null {
  if (run.settings.limit === undefined) return null;
  const scored = run.tasks.reduce((n, t) => n + t.effective + t.leftOut.length, 0);
  const all = run.tasks.reduce((n, t) => n + t.original, 0);
  if (scored >= all) return null;
  const one =
    run.tasks.length === 1 && scored > 0 ? `; accuracy moves in steps of ${Number((1 / scored).toPrecision(3))}` : '';
  return `${scored} of ${all} documents, for debugging: not comparable with published scores${one}`;
}
