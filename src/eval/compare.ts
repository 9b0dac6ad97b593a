import { MoeError } from '../common/errors.ts';
import { hashString } from './digests.ts';
import { mean, meanStderr } from './metrics.ts';
import { pyJsonDumps } from './python/json.ts';
import type { EvaluationRun } from './run-types.ts';
import { requestTexts } from './score-task.ts';

/** One document's outcome, from a run of ours or from a samples file. */
export interface ComparableDoc {
  readonly task: string;
  readonly docId: number;
  /** sha256 of the document and of the prompt; null when unknown. */
  readonly docHash: string | null;
  readonly promptHash: string | null;
  readonly values: ReadonlyMap<string, number>;
}

/** The documents of a run, for `compareRuns`. */
export function comparableDocs(run: EvaluationRun): ComparableDoc[] {
  return run.tasks.flatMap((task) => {
    if (task.kind === 'rolling') return [];
    return task.docs.map((scored) => ({
      task: task.task.name,
      docId: scored.source.docId,
      docHash: hashString(pyJsonDumps(scored.source.parts.doc)),
      promptHash: hashString(requestTexts(task.task, scored.source)[0]?.context ?? ''),
      values: new Map(Object.entries(scored.values)),
    }));
  });
}

/** Paired outcome over the documents that both runs scored. */
export interface PairedCounts {
  readonly documents: number;
  readonly bothRight: number;
  readonly bothWrong: number;
  /** Wrong in A, right in B. */
  readonly gained: number;
  /** Right in A, wrong in B. */
  readonly lost: number;
  readonly scoreA: number;
  readonly scoreB: number;
  /** B minus A with its paired standard error (null for fewer than two documents). */
  readonly difference: number;
  readonly differenceStderr: number | null;
  /** McNemar's exact two-sided p: how likely flips this uneven are if neither run is better. 1 when nothing flipped. */
  readonly p: number;
}

export interface Flip {
  readonly task: string;
  readonly docId: number;
  readonly direction: 'gained' | 'lost';
}

export interface RunComparison {
  readonly metric: string;
  readonly overall: PairedCounts;
  /** By task (for MMLU: by subject), in the order of A. */
  readonly byTask: ReadonlyMap<string, PairedCounts>;
  readonly flips: readonly Flip[];
  /** What could not be paired, and what makes the pairs doubtful. */
  readonly notes: readonly string[];
}

/** Compares two runs question by question on a 0/1 metric. Fails when they share no document. */
export function compareRuns(a: readonly ComparableDoc[], b: readonly ComparableDoc[], metric = 'acc'): RunComparison {
  const keyOf = (doc: ComparableDoc): string => `${doc.task}\u0000${doc.docId}`;
  const others = new Map(b.map((doc) => [keyOf(doc), doc]));
  const pairs = new Map<string, { docId: number; a: number; b: number }[]>();
  const paired = new Set<string>();
  let differentDocs = 0;
  let differentPrompts = 0;
  let unusable = 0;
  for (const doc of a) {
    const other = others.get(keyOf(doc));
    if (other === undefined) continue;
    if (doc.docHash !== null && other.docHash !== null && doc.docHash !== other.docHash) {
      differentDocs++;
      continue;
    }
    const [va, vb] = [doc.values.get(metric), other.values.get(metric)];
    if ((va !== 0 && va !== 1) || (vb !== 0 && vb !== 1)) {
      unusable++;
      continue;
    }
    if (doc.promptHash !== null && other.promptHash !== null && doc.promptHash !== other.promptHash) differentPrompts++;
    paired.add(keyOf(doc));
    const list = pairs.get(doc.task) ?? [];
    list.push({ docId: doc.docId, a: va, b: vb });
    pairs.set(doc.task, list);
  }
  const all = [...pairs.values()].flat();
  if (all.length === 0) {
    const message = `the two runs have no document with ${metric} in common`;
    throw new MoeError('input', 'nothing-to-compare', message, {
      hint: 'Compare runs of the same tasks and data, with samples.',
    });
  }
  const flips = [...pairs].flatMap(([task, list]) =>
    list.flatMap(({ docId, a: va, b: vb }): Flip[] =>
      va === vb ? [] : [{ task, docId, direction: vb > va ? 'gained' : 'lost' }],
    ),
  );
  const notes: string[] = [];
  const aloneA = a.length - paired.size - differentDocs - unusable;
  const aloneB = b.filter((doc) => !paired.has(keyOf(doc))).length - differentDocs - unusable;
  if (aloneA > 0 || aloneB > 0) notes.push(`${aloneA} documents are only in A, ${aloneB} only in B; they are left out`);
  if (differentDocs > 0)
    notes.push(`${differentDocs} documents have the same number but other contents; they are left out`);
  if (unusable > 0) notes.push(`${unusable} documents have no ${metric} of 0 or 1; they are left out`);
  if (differentPrompts > 0) {
    notes.push(
      `${differentPrompts} documents were asked with different prompts (few-shots or rules differ): the comparison is not of the models alone`,
    );
  }
  return {
    metric,
    overall: count(all),
    byTask: new Map([...pairs].map(([task, list]) => [task, count(list)])),
    flips,
    notes,
  };
}

function count(pairs: readonly { readonly a: number; readonly b: number }[]): PairedCounts {
  const tally = (a: number, b: number): number => pairs.filter((p) => p.a === a && p.b === b).length;
  const gained = tally(0, 1);
  const lost = tally(1, 0);
  const differences = pairs.map((p) => p.b - p.a);
  return {
    documents: pairs.length,
    bothRight: tally(1, 1),
    bothWrong: tally(0, 0),
    gained,
    lost,
    scoreA: mean(pairs.map((p) => p.a)),
    scoreB: mean(pairs.map((p) => p.b)),
    difference: mean(differences),
    differenceStderr: meanStderr(differences),
    p: mcnemarExact(gained, lost),
  };
}

/** McNemar's exact test: two-sided binomial p of b against c flips at probability 1/2, `min(1, 2·P(X ≤ min(b, c)))`. */
export function mcnemarExact(b: number, c: number): number {
  const n = b + c;
  const m = Math.min(b, c);
  if (n === 0) return 1;
  // log of C(n, m) / 2^n, then smaller terms by their ratio: exact to rounding for any n.
  let log = -n * Math.LN2;
  for (let i = 1; i <= m; i++) log += Math.log((n - m + i) / i);
  let term = 1;
  let sum = 1;
  for (let k = m; k > 0 && term > 1e-18; k--) {
    term *= k / (n - k + 1);
    sum += term;
  }
  return Math.min(1, 2 * Math.exp(log) * sum);
}
