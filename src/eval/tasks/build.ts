import { MoeError } from '../../common/errors.ts';
import type { DataStore, LoadedSplit } from '../data/store.ts';
import type { Row, RowSet } from '../data/rows.ts';
import { RowReader, selectRows } from '../data/rows.ts';
import { PythonRandom } from '../python/random.ts';
import type { ChoiceTask, DocParts, PageParts, RollingTask, Task } from './types.ts';

const FEWSHOT_SEED = 1234; // the harness's default `fewshot_random_seed`

/** One document ready to be scored. `prefix` holds description and few-shots; a request's context is prefix + parts.contexts[i]. */
export interface ChoiceDoc {
  readonly docId: number;
  readonly prefix: string;
  readonly parts: DocParts;
}

export interface PageDoc {
  readonly docId: number;
  readonly parts: PageParts;
}

interface BuiltBase {
  /** Number of documents before `limit`. */
  readonly total: number;
  readonly numFewshot: number;
  readonly notes: readonly string[];
  readonly dataFiles: readonly string[];
}

/** A task with its documents. */
export type BuiltTask =
  | (BuiltBase & { readonly kind: 'choice'; readonly task: ChoiceTask; readonly docs: readonly ChoiceDoc[] })
  | (BuiltBase & { readonly kind: 'rolling'; readonly task: RollingTask; readonly docs: readonly PageDoc[] });
export type BuiltChoiceTask = Extract<BuiltTask, { kind: 'choice' }>;
export type BuiltRollingTask = Extract<BuiltTask, { kind: 'rolling' }>;

/** `limit` as in the harness: n documents, or below 1 a share rounded up. */
export function sampleSize(limit: number | undefined, total: number): number {
  if (limit === undefined) return total;
  if (!(limit > 0)) {
    throw new MoeError('usage', 'bad-limit', `--limit must be above 0, got ${limit}`, {
      field: 'limit',
      hint: 'Give a number of documents, or a share below 1.',
    });
  }
  return Math.min(total, limit < 1 ? Math.ceil(total * limit) : Math.floor(limit));
}

/** Loads a task's records and makes its documents. Undefined when its part (e.g. a subject) is absent from the data. */
export async function buildTask(
  task: Task,
  store: DataStore,
  options: { readonly limit?: number | undefined; readonly numFewshot?: number | undefined },
): Promise<BuiltTask | undefined> {
  const split = await store.need(task.dataset, task.evalSplit, task.name);
  const rows = onlyPart(split, task);
  if (rows.rows.length === 0 && task.only !== undefined) return undefined;
  if (rows.rows.length === 0) {
    throw new MoeError('input', 'no-documents', `task ${task.name}: ${split.files.join(', ')} holds no records`, {
      file: split.files[0] ?? '',
    });
  }
  const n = sampleSize(options.limit, rows.rows.length);
  const base = { total: rows.rows.length, dataFiles: split.files };
  const fixed = task.outputType === 'loglikelihood_rolling' ? undefined : task.defaultFewshot;
  const numFewshot = fixed === 0 ? 0 : (options.numFewshot ?? fixed ?? 0);
  if (task.outputType === 'loglikelihood_rolling') {
    const notes = [
      ...split.notes,
      ...(numFewshot > 0 ? [`${task.name}: rolling tasks have no few-shot examples`] : []),
    ];
    const docs = readers(rows, n).map((row, docId) => ({ docId, parts: task.read(row) }));
    return { ...base, kind: 'rolling', task, docs, numFewshot: 0, notes };
  }
  const prefixes = await fewshotPrefixes(task, store, rows, n, numFewshot);
  const docs = readers(rows, n).map((row, docId) => ({ docId, prefix: prefixes.at(docId), parts: task.read(row) }));
  const ignored =
    fixed === 0 && (options.numFewshot ?? 0) > 0
      ? [`${task.name}: its task file fixes 0-shot; --num-fewshot has no effect on it`]
      : [];
  return { ...base, kind: 'choice', task, docs, numFewshot, notes: [...split.notes, ...ignored] };
}

function readers(set: RowSet, n: number): RowReader[] {
  return set.rows.slice(0, n).map((row, i) => new RowReader(row, set.place(i)));
}

// Row indices by the value of a field, kept per data file: 57 subjects would otherwise scan 14042 rows each.
const PARTS = new WeakMap<readonly Row[], Map<string, ReadonlyMap<string, readonly number[]>>>();

function onlyPart(set: RowSet, task: Task): RowSet {
  const { only } = task;
  if (only === undefined) return set;
  const fields = PARTS.get(set.rows) ?? new Map<string, ReadonlyMap<string, readonly number[]>>();
  PARTS.set(set.rows, fields);
  let byValue = fields.get(only.field);
  if (byValue === undefined) {
    const lists = new Map<string, number[]>();
    set.rows.forEach((row, i) => {
      const value = new RowReader(row, set.place(i)).string(only.field);
      const list = lists.get(value) ?? [];
      list.push(i);
      lists.set(value, list);
    });
    byValue = lists;
    fields.set(only.field, byValue);
  }
  return selectRows(set, byValue.get(only.value) ?? []);
}

/** Description and few-shot turns before each document (harness `fewshot_context`, reference sections 2.1 and 2.7). */
async function fewshotPrefixes(
  task: ChoiceTask,
  store: DataStore,
  evalRows: RowSet,
  docs: number,
  k: number,
): Promise<{ at(docId: number): string }> {
  if (k === 0) return { at: () => task.description };
  if (!Number.isInteger(k) || k < 0 || k > 1000) {
    throw new MoeError('usage', 'bad-num-fewshot', `--num-fewshot must be a whole number from 0 to 1000, got ${k}`, {
      field: 'num-fewshot',
    });
  }
  const { split, sampler, dropEvalDoc } = task.fewshot;
  const pool = split === task.evalSplit ? evalRows : onlyPart(await loadPool(task, store), task);
  const shots = readers(pool, pool.rows.length).map((row) => {
    const { question, answer } = task.read(row).shot;
    return question + task.targetDelimiter + answer + task.fewshotDelimiter;
  });
  const draw = k + (dropEvalDoc ? 1 : 0);
  if (draw > shots.length) {
    throw new MoeError(
      'input',
      'too-few-shots',
      `task ${task.name}: ${k} examples asked for, but ${pool.files.join(', ')} has ${shots.length} for it`,
      { field: 'num-fewshot', hint: 'Lower --num-fewshot.' },
    );
  }
  if (sampler === 'first_n' && !dropEvalDoc) {
    const prefix = task.description + shots.slice(0, k).join('');
    return { at: () => prefix };
  }
  const keys = pool.rows.map(rowKey);
  const random = new PythonRandom(FEWSHOT_SEED);
  const prefixes = evalRows.rows.slice(0, docs).map((row) => {
    const own = dropEvalDoc ? rowKey(row) : undefined;
    const others = (): number[] => keys.flatMap((key, j) => (key === own ? [] : [j]));
    let drawn =
      sampler === 'first_n' ? others() : random.sampleIndices(shots.length, draw).filter((j) => keys[j] !== own);
    if (drawn.length < k && sampler === 'random') {
      // More than one copy of the record was drawn: the harness draws again from the others.
      const rest = others();
      drawn = random.sampleIndices(rest.length, Math.min(k, rest.length)).map((j) => rest[j] ?? 0);
    }
    return (
      task.description +
      drawn
        .slice(0, k)
        .map((j) => shots[j] ?? '')
        .join('')
    );
  });
  return { at: (docId) => prefixes[docId] ?? '' };
}

/** Equal for records with equal fields in any order, as Python compares them. */
function rowKey(row: Row): string {
  return JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function loadPool(task: ChoiceTask, store: DataStore): Promise<LoadedSplit> {
  const { split } = task.fewshot;
  const found = await store.load(task.dataset, split);
  if (found !== undefined) return found;
  const stem = task.dataset.stems[0] ?? task.name;
  throw new MoeError(
    'input',
    'no-fewshot-data',
    `task ${task.name}: few-shot examples come from the ${split} split, which was not found`,
    { field: 'num-fewshot', hint: `Add ${stem}_${split}.jsonl to the data folder, or score 0-shot.` },
  );
}
