/** Filters over the tensors of a table: which hold, and where the text was hit. */
import { globMatches } from './glob.ts';
import { parseFilter } from './filter-parse.ts';
import type { FilterProblem, NumberTest, Term, Test } from './filter-parse.ts';
import { severityOf } from './tensor-table.ts';
import type { TensorTable } from './tensor-table.ts';

export type { FilterProblem } from './filter-parse.ts';
export { parseFilter } from './filter-parse.ts';

export interface Filtered {
  /** Numbers of the tensors that are let through, ascending; null: all of them. */
  readonly ids: Int32Array | null;
  readonly terms: readonly Term[];
  readonly problem: FilterProblem | null;
}

/** Longest time that one filter may take over all names. */
const MAX_MS = 5000;

/** Applies a filter text. A faulty one lets all through and is told in `problem`. */
export function filterTensors(table: TensorTable, text: string, now: () => number = Date.now): Filtered {
  const parsed = parseFilter(text);
  if (!parsed.ok) return { ids: null, terms: [], problem: parsed.problem };
  const { terms } = parsed;
  if (terms.length === 0) return { ids: null, terms, problem: null };
  // Cheap tests first: they spare the costly ones.
  const tests = [...terms].sort((a, b) => COST[a.test.kind] - COST[b.test.kind]).map((term) => compile(term, table));
  const ids = new Int32Array(table.count);
  const deadline = now() + MAX_MS;
  let found = 0;
  for (let i = 0; i < table.count; i++) {
    if ((i & 1023) === 0 && now() > deadline) {
      const message = `the filter takes longer than ${String(MAX_MS / 1000)} s over ${String(table.count)} names; use a simpler one`;
      return { ids: null, terms: [], problem: { message, from: 0, to: text.length } };
    }
    if (tests.every((test) => test(i))) ids[found++] = i;
  }
  return { ids: ids.slice(0, found), terms, problem: null };
}

const COST: Readonly<Record<Test['kind'], number>> = { number: 0, words: 1, shape: 2, text: 3, glob: 4, regexp: 5 };

function compile({ test, not }: Term, table: TensorTable): (i: number) => boolean {
  const holds = testOf(test, table);
  return not ? (i) => !holds(i) : holds;
}

function testOf(test: Test, table: TensorTable): (i: number) => boolean {
  switch (test.kind) {
    case 'text':
      return (i) => table.tensor(i).name.toLowerCase().includes(test.text);
    case 'regexp':
      return (i) => test.regexp.test(table.tensor(i).name);
    case 'glob':
      return test.of === 'name'
        ? (i) => globMatches(test.glob, table.tensor(i).name.toLowerCase())
        : byFile(table, (file) => globMatches(test.glob, file));
    case 'words':
      return wordTest(test, table);
    case 'shape':
      return (i) => test.any.some((wanted) => shapeFits(table.tensor(i).shape, wanted));
    case 'number':
      return (i) => test.any.some((one) => numberFits(one, numberOf(test.field, i, table)));
  }
}

/** Judged once per file, not per tensor. */
function byFile(table: TensorTable, fits: (file: string) => boolean): (i: number) => boolean {
  const known = new Map<string, boolean>();
  return (i) => {
    const { file } = table.tensor(i);
    let verdict = known.get(file);
    if (verdict === undefined) known.set(file, (verdict = fits(file.toLowerCase())));
    return verdict;
  };
}

function wordTest({ field, words }: Extract<Test, { kind: 'words' }>, table: TensorTable): (i: number) => boolean {
  switch (field) {
    case 'dtype':
      // `f8` and `q4` stand for the whole group.
      return (i) => {
        const dtype = table.tensor(i).dtype.toLowerCase();
        return words.some((word) => dtype === word || dtype.startsWith(`${word}_`));
      };
    case 'role':
      return (i) => words.includes(table.role(i));
    case 'file':
      return byFile(table, (file) => words.some((word) => file.includes(word)));
    case 'problem':
      return (i) => {
        const severity = severityOf(table.severity[i] ?? 0);
        return words.some((word) => (word === 'any' ? severity !== null : word === (severity ?? 'none')));
      };
  }
}

function numberOf(
  field: Extract<Test, { kind: 'number' }>['field'],
  i: number,
  table: TensorTable,
): number | string | null {
  switch (field) {
    case 'layer':
      return table.layer(i);
    case 'expert':
      return table.expert(i);
    case 'size':
      return table.tensor(i).bytes;
    case 'elements':
      return table.elements[i] ?? 0;
    case 'rank':
      return table.tensor(i).shape.length;
  }
}

function numberFits(test: NumberTest, value: number | string | null): boolean {
  if (test.kind === 'word') return test.word === 'any' ? value !== null : (value ?? 'none') === test.word;
  return typeof value === 'number' && value >= test.from && value <= test.to;
}

function shapeFits(shape: readonly number[], wanted: readonly (number | null)[]): boolean {
  return shape.length === wanted.length && wanted.every((dim, at) => dim === null || dim === shape[at]);
}

/** Places of a text where the terms hit it, merged and ascending: [from, to) pairs. */
export function hitsIn(label: string, terms: readonly Term[]): [number, number][] {
  const found: [number, number][] = [];
  const lower = label.toLowerCase();
  // Lower-casing may change the length (İ): then places would be wrong.
  const sameLength = lower.length === label.length;
  for (const { test, not } of terms) {
    if (not || found.length > 100) continue;
    if (test.kind === 'text' && sameLength) {
      for (
        let at = lower.indexOf(test.text);
        at >= 0 && found.length <= 100;
        at = lower.indexOf(test.text, at + test.text.length)
      ) {
        found.push([at, at + test.text.length]);
      }
    } else if (test.kind === 'regexp') {
      const match = test.regexp.exec(label);
      if (match !== null && match[0] !== '') found.push([match.index, match.index + match[0].length]);
    }
  }
  found.sort(([a], [b]) => a - b);
  const merged: [number, number][] = [];
  for (const [from, to] of found) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}
