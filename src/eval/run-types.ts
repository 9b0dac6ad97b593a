import type { RuleProfile, Unscorable } from './encode.ts';
import type { Picks } from './metrics.ts';
import type { BuiltTask, ChoiceDoc, PageDoc } from './tasks/build.ts';
import type { ChoiceTask, MetricName, RollingTask, TaskGroup } from './tasks/types.ts';

/** One scored document of a choice or last-word task. */
export interface ScoredDoc {
  readonly source: ChoiceDoc;
  /** Log-likelihood and greediness per request. */
  readonly logprobs: readonly number[];
  readonly greedy: readonly boolean[];
  /** Present for tasks with choices. */
  readonly picks?: Picks;
  /** Per-document value of each of the task's metrics. */
  readonly values: Readonly<Partial<Record<MetricName, number>>>;
  /** Gap between the best and second-best log-likelihood; Infinity without choices. */
  readonly margin: number;
  /** Tokens cut from the left of the longest request; 0 when all fitted. */
  readonly cut: number;
}

/** One scored page. */
export interface ScoredPage {
  readonly source: PageDoc;
  /** Summed over windows as the harness does, with BOS counted twice where its tokenizer adds one. */
  readonly logprob: number;
  /** Summed with a single BOS; equal to `logprob` when no BOS is doubled. */
  readonly correctedLogprob: number;
  readonly windows: number;
}

/** A document that the harness would abort on; it is left out of every score. */
export interface LeftOut {
  readonly docId: number;
  readonly reason: Unscorable;
  readonly tokens: number;
}

export interface MetricValue {
  readonly value: number;
  /** Standard error; null when unknown. */
  readonly stderr: number | null;
}

interface TaskRunBase {
  readonly numFewshot: number;
  /** Documents in the split before `limit`. */
  readonly original: number;
  /** Documents that the scores are over. */
  readonly effective: number;
  readonly leftOut: readonly LeftOut[];
  readonly metrics: ReadonlyMap<MetricName, MetricValue>;
  /** sha256 over all requests, text and ids (goldens' `text_sha256`, `ids_sha256`). */
  readonly digests: { readonly requests: number; readonly text: string; readonly ids: string };
  readonly dataFiles: readonly string[];
  readonly notes: readonly string[];
}

export interface ChoiceTaskRun extends TaskRunBase {
  readonly kind: 'choice';
  readonly task: ChoiceTask;
  readonly docs: readonly ScoredDoc[];
  /** acc_norm and acc_bytes where the task does not list them; same log-likelihoods, no extra cost. */
  readonly extra: ReadonlyMap<MetricName, MetricValue>;
}

export interface RollingTaskRun extends TaskRunBase {
  readonly kind: 'rolling';
  readonly task: RollingTask;
  readonly docs: readonly ScoredPage[];
  /** The same metrics with one BOS; absent when BOS is not doubled. */
  readonly corrected?: ReadonlyMap<MetricName, number>;
}

export type TaskRun = ChoiceTaskRun | RollingTaskRun;

export interface GroupRun {
  readonly group: TaskGroup;
  readonly metrics: ReadonlyMap<MetricName, MetricValue>;
  /** Documents over all leaves. */
  readonly effective: number;
  /** Leaves that had no data. */
  readonly absent: readonly string[];
}

/** What is known about the model, for the results file. All of it is optional and copied as it is. */
export interface ModelInfo {
  readonly name: string;
  readonly path?: string;
  readonly dtype?: string;
  readonly parameters?: number;
  readonly modelType?: string;
  readonly device?: string;
  readonly engine?: string;
  /** Anything that identifies the weights, e.g. a sha256; a journal of other weights is refused. */
  readonly fingerprint?: string;
}

/** A finished evaluation. */
export interface EvaluationRun {
  readonly tasks: readonly TaskRun[];
  readonly groups: readonly GroupRun[];
  readonly model: ModelInfo;
  readonly settings: {
    readonly profile: RuleProfile;
    readonly addBos: 'auto' | boolean;
    readonly limit: number | undefined;
    readonly numFewshot: number | undefined;
    readonly maxLength: number;
    readonly bootstrapIterations: number;
    readonly bosId: number | undefined;
    readonly eosId: number | undefined;
    readonly prefixTokenId: number;
  };
  /** Unix seconds, as in the harness. */
  readonly startedAt: number;
  readonly seconds: number;
  /** Requests taken from a journal rather than run. */
  readonly resumed: number;
  /** Those of `resumed` whose tokens the expert statistics lack. */
  readonly untraced: number;
  readonly notes: readonly string[];
}

/** State of a running evaluation, for a live view. */
export interface ProgressEvent {
  readonly task: string;
  readonly requests: number;
  readonly totalRequests: number;
  readonly documents: number;
  readonly totalDocuments: number;
  readonly elapsedSeconds: number;
  /** From the speed so far, weighted by text length; null until something has run. */
  readonly etaSeconds: number | null;
  /** Requests per second that really ran (journal entries excluded). */
  readonly requestsPerSecond: number | null;
  /** Running accuracy of the current task and of every group above it, with a 95 % Wilson interval. */
  readonly running: readonly RunningScore[];
}

export interface RunningScore {
  readonly name: string;
  readonly metric: 'acc' | 'bits_per_byte';
  readonly value: number;
  readonly documents: number;
  readonly interval: readonly [number, number] | null;
}

export type { BuiltTask };
