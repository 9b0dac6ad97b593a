import { MoeError } from '../../common/errors.ts';
import type { Json } from '../python/json.ts';

/** One record of a data file. Read it through `RowReader`: its keys come from the file. */
export type Row = { readonly [key: string]: Json };

/** Where a record stands: the file, and "line 12" (jsonl, 1-based) or "row 11" (parquet, 0-based). */
export interface RowPlace {
  readonly file: string;
  readonly where: string;
}

/** The records of one split with the place of each. */
export interface RowSet {
  readonly rows: readonly Row[];
  readonly files: readonly string[];
  place(index: number): RowPlace;
}

/** A row set over several files in order. */
export function joinRowSets(sets: readonly RowSet[]): RowSet {
  const [only] = sets;
  if (sets.length === 1 && only !== undefined) return only;
  const starts: number[] = [];
  let total = 0;
  for (const set of sets) {
    starts.push(total);
    total += set.rows.length;
  }
  return {
    rows: sets.flatMap((s) => s.rows),
    files: sets.flatMap((s) => s.files),
    place(index) {
      const at = starts.findLastIndex((start) => start <= index);
      const set = sets[at];
      return set?.place(index - (starts[at] ?? 0)) ?? { file: '', where: `row ${index}` };
    },
  };
}

/** The records of `set` at `indices`, keeping their places. */
export function selectRows(set: RowSet, indices: readonly number[]): RowSet {
  return {
    rows: indices.map((i) => set.rows[i]).filter((row) => row !== undefined),
    files: set.files,
    place: (index) => set.place(indices[index] ?? index),
  };
}

/** The JSON type of a value, for messages. */
export function typeName(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value === 'object' ? 'record' : typeof value}`;
}

export function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Typed access to a record: a wrong or missing field fails with the file, the row, the field, and what was expected. */
export class RowReader {
  constructor(
    readonly row: Row,
    readonly place: RowPlace,
    private readonly prefix = '',
  ) {}

  /** A field's value, or undefined; never an inherited property. */
  get(name: string): Json | undefined {
    return Object.hasOwn(this.row, name) ? this.row[name] : undefined;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined && this.get(name) !== null;
  }

  fail(name: string, expected: string, hint?: string): MoeError {
    const field = this.prefix + name;
    const value = this.get(name);
    const shown =
      typeof value === 'string' || typeof value === 'number' ? ` ${JSON.stringify(value).slice(0, 60)}` : '';
    return new MoeError(
      'input',
      'bad-data-field',
      `${this.place.file}, ${this.place.where}: field "${field}" should be ${expected}, found ${typeName(value)}${shown}`,
      { file: this.place.file, field, ...(hint === undefined ? {} : { hint }) },
    );
  }

  string(name: string): string {
    const value = this.get(name);
    if (typeof value !== 'string') throw this.fail(name, 'a text');
    return value;
  }

  /** A non-negative integer below `limit`; text digits are accepted when `fromText` (the Hub's hellaswag labels are text). */
  index(name: string, limit: number, fromText = false): number {
    const value = this.get(name);
    const n = fromText && typeof value === 'string' && /^[0-9]{1,9}$/.test(value) ? Number(value) : value;
    if (typeof n !== 'number' || !Number.isInteger(n) || n < 0 || n >= limit) {
      const hint =
        n === -1 ? 'a label of -1 means that this split has no public answers: use the validation split' : undefined;
      throw this.fail(name, `a whole number from 0 to ${limit - 1}`, hint);
    }
    return n;
  }

  /** A list of at least `min` texts. */
  strings(name: string, min = 1): readonly string[] {
    const value = this.get(name);
    if (!isStringList(value) || value.length < min) throw this.fail(name, `a list of at least ${min} texts`);
    return value;
  }

  record(name: string): RowReader {
    const value = this.get(name);
    if (!isRow(value)) throw this.fail(name, 'a record');
    return new RowReader(value, this.place, `${this.prefix}${name}.`);
  }
}

export function isStringList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((v) => typeof v === 'string');
}
