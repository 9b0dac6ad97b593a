/** What a paired comparison needs of every document, small enough to lie in the results file itself. */
import { isJsonObject } from '../common/json.ts';
import type { ComparableDoc } from './compare.ts';
import { comparableDocs } from './compare.ts';
import type { Json } from './python/json.ts';
import type { EvaluationRun } from './run-types.ts';

/** Hexadecimal digits that are kept of a hash: enough to tell documents and prompts of one number apart. */
const HASH_DIGITS = 16;
const METRICS = ['acc', 'acc_norm'] as const;

/** By task: numbers of the documents, whether each was right, and the beginnings of their hashes. */
export function documentsJson(run: EvaluationRun): Record<string, Json> {
  const tasks = new Map<string, ComparableDoc[]>();
  for (const doc of shortHashes(comparableDocs(run))) {
    const list = tasks.get(doc.task) ?? [];
    list.push(doc);
    tasks.set(doc.task, list);
  }
  const out: Record<string, Json> = {};
  for (const [task, docs] of tasks) {
    const metrics: Record<string, Json> = {};
    for (const name of METRICS)
      if (docs.every(({ values }) => values.has(name))) metrics[name] = docs.map(({ values }) => values.get(name) ?? 0);
    out[task] = {
      doc_id: docs.map(({ docId }) => docId),
      doc_hash: docs.map(({ docHash }) => docHash),
      prompt_hash: docs.map(({ promptHash }) => promptHash),
      ...metrics,
    };
  }
  return out;
}

/** Reads what `documentsJson` wrote; what has another shape is left out. */
export function readDocuments(value: unknown): ComparableDoc[] {
  if (!isJsonObject(value)) return [];
  return Object.entries(value).flatMap(([task, entry]) => {
    if (!isJsonObject(entry)) return [];
    const column = (name: string): readonly unknown[] => {
      const list = entry[name];
      return Array.isArray(list) ? list : [];
    };
    const ids = column('doc_id');
    const [docHashes, promptHashes] = [column('doc_hash'), column('prompt_hash')];
    const hash = (list: readonly unknown[], i: number): string | null => {
      const found = list[i];
      return typeof found === 'string' ? found : null;
    };
    return ids.flatMap((docId, i): ComparableDoc[] => {
      if (typeof docId !== 'number') return [];
      const values = new Map<string, number>();
      for (const name of METRICS) {
        const found = column(name)[i];
        if (typeof found === 'number') values.set(name, found);
      }
      return [{ task, docId, docHash: hash(docHashes, i), promptHash: hash(promptHashes, i), values }];
    });
  });
}

/** The same documents with hashes as short as in results files, so that samples files can be held against them. */
export function shortHashes(docs: readonly ComparableDoc[]): ComparableDoc[] {
  return docs.map((doc) => ({
    ...doc,
    docHash: doc.docHash?.slice(0, HASH_DIGITS) ?? null,
    promptHash: doc.promptHash?.slice(0, HASH_DIGITS) ?? null,
  }));
}
