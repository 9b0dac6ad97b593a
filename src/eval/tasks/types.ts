import type { DatasetSpec, SplitName } from '../data/locate.ts';
import type { Row, RowReader } from '../data/rows.ts';

/** How a task is scored; the harness's `output_type`. */
export type OutputType = 'multiple_choice' | 'loglikelihood' | 'loglikelihood_rolling';

export type MetricName =
  | 'acc'
  | 'acc_norm'
  | 'acc_bytes'
  | 'acc_mutual_info'
  | 'perplexity'
  | 'word_perplexity'
  | 'byte_perplexity'
  | 'bits_per_byte';

export const HIGHER_IS_BETTER: Readonly<Record<MetricName, boolean>> = {
  acc: true,
  acc_norm: true,
  acc_bytes: true,
  acc_mutual_info: true,
  perplexity: false,
  word_perplexity: false,
  byte_perplexity: false,
  bits_per_byte: false,
};

/** What a task makes of one record. All texts are without description, few-shots and delimiter. */
export interface DocParts {
  /** The record as the samples file shows it (after the harness's `process_docs`). */
  readonly doc: Row;
  /** One context for all continuations, or one per continuation (partial scoring: Winogrande). */
  readonly contexts: readonly string[];
  /** Continuations to score; the delimiter is put in front of them. */
  readonly continuations: readonly string[];
  /** The texts whose length normalises `acc_norm` (code points) and `acc_bytes` (UTF-8). */
  readonly choices: readonly string[];
  /** Index of the right choice; undefined for tasks without choices. */
  readonly gold: number | undefined;
  /** What the harness logs as `target`. */
  readonly target: string | number;
  /** The record as a few-shot example: question, then delimiter, then answer. */
  readonly shot: { readonly question: string; readonly answer: string };
}

/** What a rolling task makes of one record: the text that is scored, and the counts that perplexities divide by. */
export interface PageParts {
  readonly doc: Row;
  readonly text: string;
  readonly words: number;
  readonly bytes: number;
}

interface TaskBase {
  /** Name as in the harness, unique. */
  readonly name: string;
  /** Display name; the harness's `task_alias`. */
  readonly alias: string;
  readonly version: number | string;
  readonly metrics: readonly MetricName[];
  readonly dataset: DatasetSpec;
  /** The split that is scored. */
  readonly evalSplit: SplitName;
  /** Part of the data set that this task scores, e.g. one MMLU subject; all rows when absent. */
  readonly only?: { readonly field: string; readonly value: string };
  /** One or two sentences for people: what is asked and what to beware of. */
  readonly help: string;
}

/** A task that scores continuations after a context. */
export interface ChoiceTask extends TaskBase {
  readonly outputType: 'multiple_choice' | 'loglikelihood';
  readonly description: string;
  readonly targetDelimiter: string;
  readonly fewshotDelimiter: string;
  readonly fewshot: FewshotRule;
  /** Few-shot examples when the user names no number; 0 written in a task file cannot be overridden, as in the harness. */
  readonly defaultFewshot?: number;
  readonly read: (row: RowReader) => DocParts;
}

/** A task that scores whole texts in rolling windows. */
export interface RollingTask extends TaskBase {
  readonly outputType: 'loglikelihood_rolling';
  readonly read: (row: RowReader) => PageParts;
}

export type Task = ChoiceTask | RollingTask;

/** Where few-shot examples come from. */
export interface FewshotRule {
  /** `first_n`: the first k in file order. `random`: the harness's seeded sampler (seed 1234, consumed doc by doc). */
  readonly sampler: 'first_n' | 'random';
  readonly split: SplitName;
  /** Draw one more and drop the scored record: the harness does so when neither a test nor a few-shot split is configured. */
  readonly dropEvalDoc: boolean;
}

/** A group of tasks or groups whose metrics are averaged by size. */
export interface TaskGroup {
  readonly name: string;
  readonly alias: string;
  /** As the harness writes it: text. */
  readonly version: string;
  readonly members: readonly string[];
  readonly aggregate: readonly MetricName[];
}
