import { readFile, stat } from 'node:fs/promises';
import { MoeError, systemCodeOf } from '../../common/errors.ts';
import { MAX_DATA_BYTES, readJsonRows, tooLarge } from './jsonl.ts';
import type { DatasetSpec, LocatedSplit, SplitName } from './locate.ts';
import { hubCacheRoots, locateInFolder, locateInHubCache } from './locate.ts';
import { readParquetRows } from './parquet.ts';
import type { RowSet } from './rows.ts';
import { joinRowSets } from './rows.ts';

/** Where to look for data: a file, a folder, or nothing (then only the Hub cache is searched). */
export interface DataSource {
  /** File or folder that the user named. A file serves as the scored split of the one data set that is asked for. */
  readonly path?: string;
  /** Search the Hub cache when the folder has nothing; default true. */
  readonly hubCache?: boolean;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface LoadedSplit extends RowSet {
  readonly origin: 'file' | 'folder' | 'hub-cache';
  readonly notes: readonly string[];
}

/** Reads splits, each file once: the 57 MMLU subjects share one. */
export class DataStore {
  readonly #files = new Map<string, Promise<RowSet>>();
  #fileUsedBy: string | undefined;

  constructor(private readonly source: DataSource) {}

  /** The rows of a split, or undefined when no file holds it. */
  async load(spec: DatasetSpec, split: SplitName): Promise<LoadedSplit | undefined> {
    const located = await this.#locate(spec, split);
    if (located === undefined) return undefined;
    const sets = await Promise.all(located.files.map((file) => this.#read(file)));
    const joined = joinRowSets(sets);
    return { ...joined, place: (i) => joined.place(i), origin: located.origin, notes: located.notes };
  }

  /** Where a split lies, or undefined when no file holds it; nothing is read. */
  async where(spec: DatasetSpec, split: SplitName): Promise<readonly string[] | undefined> {
    return (await this.#locate(spec, split))?.files;
  }

  /** Like `load`, but absence is an error that lists what was searched for. */
  async need(spec: DatasetSpec, split: SplitName, task: string): Promise<LoadedSplit> {
    const found = await this.load(spec, split);
    if (found !== undefined) return found;
    const stem = spec.stems[0] ?? task;
    const where = this.source.path ?? 'the Hub cache';
    throw new MoeError('input', 'data-not-found', `task ${task}: no ${split} data found in ${where}`, {
      ...(this.source.path === undefined ? {} : { file: this.source.path }),
      hint: `Put ${stem}_${split}.jsonl or .parquet there, or ${stem}/${split}.jsonl, or download ${spec.hubId} into the Hub cache.`,
    });
  }

  async #locate(
    spec: DatasetSpec,
    split: SplitName,
  ): Promise<(Omit<LocatedSplit, 'origin'> & { origin: LoadedSplit['origin'] }) | undefined> {
    const { path } = this.source;
    const named = spec.files?.[split];
    if (named !== undefined) {
      await kindOf(named);
      return { files: [named], origin: 'file', notes: [] };
    }
    if (path !== undefined) {
      const kind = await kindOf(path);
      if (kind === 'file') {
        if (split === 'train' || split === 'dev') return undefined;
        this.#fileUsedBy ??= spec.hubId;
        if (this.#fileUsedBy !== spec.hubId) {
          const message = `${path} is one file, but several data sets are asked for (${this.#fileUsedBy}, ${spec.hubId})`;
          throw new MoeError('usage', 'data-is-one-file', message, {
            file: path,
            hint: 'Point to the folder that holds them.',
          });
        }
        return { files: [path], origin: 'file', notes: [] };
      }
      const inside = (await locateInFolder(path, spec, split)) ?? (await locateInHubCache(path, spec, split));
      if (inside !== undefined) return inside;
    }
    if (this.source.hubCache === false) return undefined;
    for (const root of hubCacheRoots(this.source.env ?? process.env)) {
      const cached = await locateInHubCache(root, spec, split);
      if (cached === undefined) continue;
      const note = `${spec.hubId}: ${split} split taken from the Hub cache, ${root}`;
      return { ...cached, notes: path === undefined ? cached.notes : [note, ...cached.notes] };
    }
    return undefined;
  }

  #read(file: string): Promise<RowSet> {
    let rows = this.#files.get(file);
    if (rows === undefined) {
      rows = readRows(file);
      this.#files.set(file, rows);
    }
    return rows;
  }
}

/** Reads a jsonl, json, parquet or txt file, told apart by the name. A txt file is one record, `{ page: its text }`. */
export async function readRows(file: string): Promise<RowSet> {
  // A pipe would be waited for without end.
  if (!(await stat(file)).isFile())
    throw new MoeError('input', 'not-a-file', `${file} is no regular file`, {
      file,
      hint: 'Name a file of documents.',
    });
  if (/\.parquet$/i.test(file)) return readParquetRows(file);
  return /\.txt$/i.test(file) ? readTextPage(file) : readJsonRows(file);
}

async function readTextPage(file: string): Promise<RowSet> {
  const { size } = await stat(file);
  if (size > MAX_DATA_BYTES) throw tooLarge(file, size);
  try {
    const page = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(file));
    return { rows: [{ page }], files: [file], place: () => ({ file, where: 'row 0' }) };
  } catch (cause) {
    throw new MoeError('input', 'bad-text-file', `${file} is not valid UTF-8 text`, { file }, { cause });
  }
}

async function kindOf(path: string): Promise<'file' | 'folder'> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (cause) {
    if (systemCodeOf(cause) !== 'ENOENT') throw cause;
    throw new MoeError(
      'usage',
      'no-such-data',
      `${path} does not exist`,
      { file: path, hint: 'Give the file or folder of the evaluation data.' },
      { cause },
    );
  }
}
