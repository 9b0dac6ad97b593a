import { createHash } from 'node:crypto';
import type { DataSource } from './data/store.ts';
import { DataStore } from './data/store.ts';
import type { RuleProfile } from './encode.ts';
import { DEFAULT_PROFILE, RequestEncoder } from './encode.ts';
import { BOOTSTRAP_ITERATIONS, pooledStderr, weightedMean } from './metrics.ts';
import type { Work } from './progress.ts';
import { ProgressMeter } from './progress.ts';
import { RequestRunner, checkCancelled } from './request-runner.ts';
import type { EvaluationRun, GroupRun, MetricValue, ModelInfo, ProgressEvent, TaskRun } from './run-types.ts';
import { openResumable } from './resume.ts';
import type { Scorer, TraceStore } from './scorer.ts';
import { scoreChoiceTask, scoreRollingTask, workOf } from './score-task.ts';
import type { BuiltTask } from './tasks/build.ts';
import { buildTask } from './tasks/build.ts';
import type { TaskSelection } from './tasks/registry.ts';
import { leavesOf, selectTasks } from './tasks/registry.ts';
import type { MetricName, Task, TaskGroup } from './tasks/types.ts';

export interface EvaluationOptions {
  /** Names of tasks and groups. */
  readonly tasks: readonly string[];
  /** User-defined tasks by name (`loadTaskFile`); they take precedence over built-in ones. */
  readonly customTasks?: ReadonlyMap<string, Task>;
  readonly data: DataSource;
  readonly scorer: Scorer;
  readonly model: ModelInfo;
  /** Documents per leaf task; below 1 a share. */
  readonly limit?: number;
  readonly numFewshot?: number;
  readonly profile?: RuleProfile;
  readonly addBos?: 'auto' | boolean;
  readonly prefixTokenId?: number;
  /** Resamples for LAMBADA's standard error; the harness's default is 100000, 0 leaves it unknown. */
  readonly bootstrapIterations?: number;
  /** File of finished requests: read at the start, appended to as the run goes. */
  readonly journal?: string;
  /** With a journal and a scorer that gathers expert statistics: where these are kept between runs. */
  readonly traces?: TraceStore;
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: ProgressEvent) => void;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
}

/** Runs tasks against a scorer. Throws `MoeError`: usage and data errors before anything is scored, `cancelled` when aborted. */
export async function runEvaluation(options: EvaluationOptions): Promise<EvaluationRun> {
  const now = options.now ?? Date.now;
  const startedAt = now();
  const { scorer } = options;
  const profile = options.profile ?? DEFAULT_PROFILE;
  const addBos = options.addBos ?? 'auto';
  const bootstrapIterations = options.bootstrapIterations ?? BOOTSTRAP_ITERATIONS;
  const selection = selectTasks(options.tasks, options.customTasks);
  const encoder = new RequestEncoder(scorer.tokenizer, {
    profile,
    addBos,
    ...(options.model.modelType === undefined ? {} : { modelType: options.model.modelType }),
    ...(options.prefixTokenId === undefined ? {} : { prefixTokenId: options.prefixTokenId }),
  });
  const { built, absent } = await buildAll(selection, options);
  const identity = { model: options.model.fingerprint ?? options.model.name, maxLength: scorer.maxLength };
  const resumable =
    options.journal === undefined
      ? undefined
      : await openResumable(options.journal, identity, options.traces, () => scopeOf(built, options), now);
  const journal = resumable?.journal;
  const saver = resumable?.traces ?? undefined;
  try {
    const work = built.map(workOf);
    const total = {
      requests: work.reduce((n, w) => n + w.requests, 0),
      characters: work.reduce((n, w) => n + w.characters, 0),
      documents: built.reduce((n, b) => n + b.docs.length, 0),
    };
    const meter = new ProgressMeter(total, now);
    let current: { readonly task: string; readonly names: readonly string[] } = { task: '', names: [] };
    const report = (): void => options.onProgress?.(meter.event(current.task, current.names));
    const runner = new RequestRunner(scorer, journal, {
      signal: options.signal,
      now,
      onPartial: (requests) => {
        meter.partial = requests;
        report();
      },
      onWritten: journal === undefined ? undefined : () => saver?.afterCall(journal) ?? Promise.resolve(),
      onCall: (documents, all, ran, ms) => {
        meter.finish(documents, all, ran, ms);
        report();
      },
    });
    const tasks: TaskRun[] = [];
    for (const task of built) {
      checkCancelled(options.signal, journal !== undefined);
      const names = [task.task.name, ...groupsAbove(task.task.name, selection.groups)];
      current = { task: task.task.name, names };
      const context = {
        encoder,
        runner,
        maxLength: scorer.maxLength,
        bootstrapIterations,
        signal: options.signal,
        onDocument: (doc: { metric: 'acc' | 'bits_per_byte'; value: number; weight: number }) =>
          meter.tally(names, doc.metric, doc.value, doc.weight),
        onLeftOut: (lost: Work) => meter.finish(1, lost, { requests: 0, characters: 0 }, 0),
      };
      tasks.push(
        task.kind === 'rolling' ? await scoreRollingTask(task, context) : await scoreChoiceTask(task, context),
      );
    }
    if (journal !== undefined) await saver?.save(journal);
    return {
      tasks,
      groups: selection.groups.map((group) => groupRun(group, selection.groups, tasks)),
      model: options.model,
      settings: {
        profile,
        addBos,
        limit: options.limit,
        numFewshot: options.numFewshot,
        maxLength: scorer.maxLength,
        bootstrapIterations,
        bosId: scorer.tokenizer.bosId,
        eosId: scorer.tokenizer.eosId,
        prefixTokenId: encoder.prefixTokenId,
      },
      startedAt: startedAt / 1000,
      seconds: (now() - startedAt) / 1000,
      resumed: runner.resumed,
      untraced: resumable?.restored === true ? 0 : runner.resumed,
      notes: [
        ...new Set([
          ...tasks.flatMap((t) => t.notes),
          ...cutNote(tasks, scorer.maxLength),
          ...absentNote(absent),
          ...(journal?.notes ?? []),
          ...(resumable?.notes ?? []),
        ]),
      ],
    };
  } finally {
    await resumable?.close();
  }
}

/** What decides which tokens are counted for what: statistics of a run that differs here are not gone on with. */
function scopeOf(built: readonly BuiltTask[], options: EvaluationOptions): unknown {
  const { limit, numFewshot, profile = DEFAULT_PROFILE, addBos = 'auto', prefixTokenId } = options;
  const of = built.map(({ task, docs }) => [task.name, docs.length, digestOf([task, docs])]);
  return [of, limit, numFewshot, profile, addBos, prefixTokenId];
}

/** Of data; functions in it go by their text. */
function digestOf(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'function' ? String(inner) : inner));
  return createHash('sha256').update(text).digest('hex');
}

async function buildAll(
  selection: TaskSelection,
  options: EvaluationOptions,
): Promise<{ built: BuiltTask[]; absent: string[] }> {
  const store = new DataStore(options.data);
  const built: BuiltTask[] = [];
  const absent: string[] = [];
  for (const task of selection.tasks) {
    checkCancelled(options.signal, false);
    const made = await buildTask(task, store, { limit: options.limit, numFewshot: options.numFewshot });
    if (made === undefined) absent.push(task.name);
    else built.push(made);
  }
  return { built, absent };
}

function few(names: readonly string[]): string {
  return names.slice(0, 4).join(', ') + (names.length > 4 ? ` and ${names.length - 4} more` : '');
}

function absentNote(absent: readonly string[]): string[] {
  return absent.length === 0 ? [] : [`no records in the data for ${absent.length} tasks, left out: ${few(absent)}`];
}

/** One line for all tasks: a full MMLU run has 57. */
function cutNote(tasks: readonly TaskRun[], maxLength: number): string[] {
  const cut = tasks.flatMap((t) => {
    const n = t.kind === 'choice' ? t.docs.filter((d) => d.cut > 0).length : 0;
    return n === 0 ? [] : [{ name: t.task.name, n }];
  });
  if (cut.length === 0) return [];
  const total = cut.reduce((sum, c) => sum + c.n, 0);
  return [
    `${total} prompts were longer than ${maxLength} tokens and were cut from the left, BOS first, as in the harness: ${few(cut.map((c) => `${c.name} (${c.n})`))}`,
  ];
}

function groupsAbove(task: string, groups: readonly TaskGroup[]): string[] {
  return groups.filter((group) => leavesOf(group, groups).includes(task)).map((group) => group.name);
}

/** A group's metrics over the leaves that were scored, weighted by size (reference section 2.3). */
export function groupRun(group: TaskGroup, groups: readonly TaskGroup[], tasks: readonly TaskRun[]): GroupRun {
  const leaves = leavesOf(group, groups);
  const runs = tasks.filter((t) => leaves.includes(t.task.name) && t.effective > 0);
  const sizes = runs.map((r) => r.effective);
  const metrics = new Map<MetricName, MetricValue>();
  for (const name of group.aggregate) {
    const values = runs.map((r) => r.metrics.get(name));
    const present = values.filter((v) => v !== undefined);
    if (present.length === 0 || present.length < values.length) continue;
    metrics.set(name, {
      value: weightedMean(
        present.map((v) => v.value),
        sizes,
      ),
      stderr: pooledStderr(
        present.map((v) => v.stderr),
        sizes,
      ),
    });
  }
  const scored = new Set(runs.map((r) => r.task.name));
  return { group, metrics, effective: sizes.reduce((a, b) => a + b, 0), absent: leaves.filter((l) => !scored.has(l)) };
}
