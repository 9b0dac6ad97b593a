import { join } from 'node:path';
import { SHARED, readJson } from './shared.ts';

/** One request of a golden with token ids; `ctx_ids` is absent where it equals the request before. */
export interface GoldenRequest {
  readonly digest: string;
  readonly cont: string;
  readonly cont_ids: readonly number[];
  readonly ctx_ids?: readonly number[];
  readonly ll: number;
  readonly is_greedy: boolean;
}

export interface GoldenDoc {
  readonly task: string;
  readonly doc: number;
  readonly target: number | string;
  readonly gold?: number;
  readonly acc?: number;
  readonly acc_norm?: number;
  readonly requests?: readonly GoldenRequest[];
  readonly ll?: number;
  readonly windows?: readonly {
    readonly ctx_ids: readonly number[];
    readonly cont_ids: readonly number[];
    readonly ll: number;
  }[];
}

export interface GoldenTask {
  readonly max_length: number;
  readonly text_sha256?: string;
  readonly ids_sha256: string;
  readonly results: Readonly<Record<string, Readonly<Record<string, number | string>>>>;
  readonly docs: readonly GoldenDoc[];
  readonly subjects?: readonly string[];
}

export interface StoriesTask {
  readonly results?: Readonly<Record<string, number>>;
  readonly lls?: readonly (readonly number[])[];
  readonly subtasks?: Readonly<
    Record<string, { readonly acc: number; readonly n: number; readonly lls: readonly (readonly number[])[] }>
  >;
}

/** The tasks of a golden file. The file is trusted reference material, so its shape is asserted, not checked. */
export function goldenTasks(name: string): Readonly<Record<string, GoldenTask>> {
  return (readJson(join(SHARED, 'data/goldens', `${name}.harness.json.gz`)) as { tasks: Record<string, GoldenTask> })
    .tasks;
}

export function storiesTasks(): Readonly<Record<string, StoriesTask>> {
  return (readJson(join(SHARED, 'data/goldens/stories260K.harness.json.gz')) as { tasks: Record<string, StoriesTask> })
    .tasks;
}

/** 5-shot log-likelihoods by subject and document. */
export function storiesFiveShot(): Readonly<Record<string, readonly (readonly number[])[]>> {
  return storiesTasks()['mmlu_5shot@max_length=512,limit=2'] as unknown as Readonly<
    Record<string, readonly (readonly number[])[]>
  >;
}
