import { readFile, readdir, realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join, relative, sep } from 'node:path';
import { MoeError, systemCodeOf } from '../../common/errors.ts';
import { append } from '../../common/lists.ts';

export type SplitName = 'test' | 'validation' | 'train' | 'dev';

/** Where a task's data may lie: under which names in a plain folder, and as which data set on the Hub. */
export interface DatasetSpec {
  /** File or folder name beginnings, e.g. `hellaswag` for hellaswag_validation_1000.jsonl; the first is preferred. */
  readonly stems: readonly string[];
  readonly hubId: string;
  /** Configuration on the Hub, a folder of the repository; null when it has none. */
  readonly hubConfig: string | null;
  /** Names of parts (MMLU's subjects) that may each have a file or folder of its own where no combined file exists. */
  readonly parts?: readonly string[];
  /** Files named by a task file; they go before any search. */
  readonly files?: Readonly<Partial<Record<SplitName, string>>>;
}

/** The files of one split, in order, and what was guessed to find them. */
export interface LocatedSplit {
  readonly files: readonly string[];
  readonly origin: 'folder' | 'hub-cache';
  readonly notes: readonly string[];
}

const WORDS: Readonly<Record<SplitName, readonly string[]>> = {
  test: ['test'],
  validation: ['validation', 'valid', 'val', 'dev'],
  train: ['train', 'training'],
  dev: ['dev'],
};
const ANY_SPLIT = new Set(['test', 'validation', 'valid', 'val', 'dev', 'train', 'training']);
const DATA_FILE = /\.(jsonl|json|parquet|txt)$/i;
const SHARD = /-(\d{5})-of-(\d{5})(?=\.)/;
const MAX_ENTRIES = 20_000;

/** All data files below `root`, at most three folders deep, as sorted relative paths with `/`. */
async function listDataFiles(root: string): Promise<string[]> {
  const found: string[] = [];
  let seen = 0;
  const walk = async (folder: string, depth: number): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (++seen > MAX_ENTRIES) {
        const message = `${root} holds more than ${MAX_ENTRIES} entries`;
        throw new MoeError('usage', 'data-folder-too-large', message, {
          file: root,
          hint: 'Point to the folder of the data alone.',
        });
      }
      if (entry.name.startsWith('.')) continue;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (depth < 3) await walk(path, depth + 1);
      } else if (DATA_FILE.test(entry.name)) {
        found.push(relative(root, path).split(sep).join('/'));
      }
    }
  };
  await walk(root, 0);
  return found;
}

const normal = (s: string): string => s.toLowerCase().replaceAll('-', '_');

/** The words of a relative path that could name a split. */
function splitWords(path: string): string[] {
  return path
    .toLowerCase()
    .split(/[/_.\-\s]+/)
    .filter((w) => ANY_SPLIT.has(w));
}

/** Does `path` belong to a data set whose files or folder begin with `stem`? */
function hasStem(path: string, stem: string): boolean {
  const parts = normal(path).split('/');
  const want = normal(stem);
  return parts.some((part, i) => {
    const name = i === parts.length - 1 ? part.replace(DATA_FILE, '') : part;
    return name === want || (i === parts.length - 1 && name.startsWith(`${want}_`));
  });
}

/** Picks the files of one split among candidates, or explains why it cannot. `tail` strips what the data set itself is called. */
function pickSplit(
  paths: readonly string[],
  split: SplitName,
  root: string,
  tail: (path: string) => string,
): { readonly files: string[]; readonly notes: string[] } | undefined {
  const words = WORDS[split];
  for (const word of words) {
    const hits = paths.filter((p) => splitWords(tail(p)).includes(word));
    const complete = onePerSplit(hits, root, split);
    if (complete !== undefined) return { files: complete, notes: [] };
  }
  if (split === 'train' || split === 'dev') return undefined; // few-shot data are never guessed
  const unnamed = onePerSplit(
    paths.filter((p) => splitWords(tail(p)).length === 0),
    root,
    split,
  );
  if (unnamed !== undefined) {
    return { files: unnamed, notes: [`${unnamed.join(', ')}: the name says no split; taken as ${split}`] };
  }
  const other = split === 'test' ? 'validation' : 'test';
  for (const word of WORDS[other].filter((w) => w !== 'dev' || split !== 'test')) {
    const hits = onePerSplit(
      paths.filter((p) => splitWords(tail(p)).includes(word)),
      root,
      split,
    );
    if (hits !== undefined) {
      return {
        files: hits,
        notes: [`${hits.join(', ')}: ${other} split used; the harness scores ${split}, so scores are not comparable`],
      };
    }
  }
  return undefined;
}

/** One file, or all shards of one file; ambiguity and missing shards are errors. */
function onePerSplit(hits: readonly string[], root: string, split: SplitName): string[] | undefined {
  if (hits.length === 0) return undefined;
  const families = new Map<string, string[]>();
  for (const hit of hits) {
    const key = hit.replace(SHARD, '').replace(DATA_FILE, '');
    families.set(key, [...(families.get(key) ?? []), hit]);
  }
  const [first] = families.values();
  if (families.size > 1 || first === undefined) {
    throw new MoeError(
      'usage',
      'ambiguous-data',
      `${root} holds several files that could be the ${split} split: ${hits.slice(0, 6).join(', ')}`,
      { file: root, hint: 'Keep one of them in the folder, or point to the file itself.' },
    );
  }
  const shard = SHARD.exec(first[0] ?? '');
  if (shard === null) {
    if (first.length > 1) {
      const message = `${root} holds the ${split} split in two formats: ${first.join(', ')}`;
      throw new MoeError('usage', 'ambiguous-data', message, { file: root, hint: 'Keep one of them.' });
    }
    return first;
  }
  const total = Number(shard[2]);
  const have = new Set(first.map((p) => Number(SHARD.exec(p)?.[1])));
  const missing = Array.from({ length: Math.min(total, 10_000) }, (_, i) => i).filter((i) => !have.has(i));
  if (missing.length > 0) {
    throw new MoeError(
      'input',
      'missing-data-shard',
      `${root}: the ${split} split has ${total} parts, ${missing.length} are missing (first: part ${missing[0]})`,
      { file: root, hint: 'Finish the download of the data set.' },
    );
  }
  return first.sort();
}

/** Like `pickSplit`, but where no combined file exists joins the files of the parts; absent parts are noted. */
function pickSplitOrParts(
  paths: readonly string[],
  spec: DatasetSpec,
  split: SplitName,
  root: string,
  tail: (path: string) => string,
): { readonly files: readonly string[]; readonly notes: readonly string[] } | undefined {
  const parts = spec.parts ?? [];
  const combined = pickSplit(
    paths.filter((p) => !parts.some((part) => hasStem(p, part))),
    split,
    root,
    tail,
  );
  if (combined !== undefined || parts.length === 0) return combined;
  const files: string[] = [];
  const absent: string[] = [];
  for (const part of parts) {
    const mine = paths.filter((p) => hasStem(p, part) && WORDS[split].some((w) => splitWords(tail(p)).includes(w)));
    const found = onePerSplit(mine, root, split);
    if (found === undefined) absent.push(part);
    else append(files, found);
  }
  if (files.length === 0) return undefined;
  const notes =
    absent.length === 0 ? [] : [`${root}: no ${split} data for ${absent.length} parts: ${absent.join(', ')}`];
  return { files, notes };
}

/** Finds a split in a user's folder laid out by file names (`<stem>_<split>.jsonl` or `<stem>/<split>.jsonl`). */
export async function locateInFolder(
  dir: string,
  spec: DatasetSpec,
  split: SplitName,
): Promise<LocatedSplit | undefined> {
  const self = basename(dir); // the folder may itself be the data set's
  const all = (await listDataFiles(dir)).map((p) => `${self}/${p}`);
  for (const stem of spec.stems) {
    const mine = all.filter((p) => hasStem(p, stem));
    const tail = (path: string): string => normal(path).slice(self.length).replaceAll(normal(stem), '');
    const picked = pickSplitOrParts(mine, spec, split, dir, tail);
    if (picked !== undefined) {
      const files = picked.files.map((f) => join(dir, f.slice(self.length + 1)));
      return { files, origin: 'folder', notes: picked.notes };
    }
  }
  return undefined;
}

/** Folders that may be the Hub cache, most specific first (local-cache documentation of the Hub). */
export function hubCacheRoots(env: Readonly<Record<string, string | undefined>>, home = homedir()): string[] {
  const given = env['HF_HUB_CACHE'] ?? env['HUGGINGFACE_HUB_CACHE'];
  if (given !== undefined && given !== '') return [given];
  if (env['HF_HOME'] !== undefined && env['HF_HOME'] !== '') return [join(env['HF_HOME'], 'hub')];
  const cache = env['XDG_CACHE_HOME'];
  return [join(cache === undefined || cache === '' ? join(home, '.cache') : cache, 'huggingface', 'hub')];
}

/** Finds a split in a Hub cache; links are followed, a dangling one is an error that names its target. */
export async function locateInHubCache(
  root: string,
  spec: DatasetSpec,
  split: SplitName,
): Promise<LocatedSplit | undefined> {
  const repo = join(root, `datasets--${spec.hubId.replaceAll('/', '--')}`);
  const snapshot = await snapshotOf(repo);
  if (snapshot === undefined) return undefined;
  const all = await listDataFiles(snapshot.path);
  const config = spec.hubConfig;
  const inConfig = all.filter((p) => config === null || p.split('/').slice(0, -1).includes(config));
  // A repository without configuration folders keeps its files at the top or in data/. Never take another configuration's.
  const flat = all.filter((p) => !p.includes('/') || p.startsWith('data/'));
  const tail = (path: string): string => basename(path);
  const picked =
    pickSplit(inConfig.length > 0 ? inConfig : flat, split, snapshot.path, tail) ??
    (spec.parts === undefined ? undefined : pickSplitOrParts(all, spec, split, snapshot.path, tail));
  if (picked === undefined) return undefined;
  const files = picked.files.map((f) => join(snapshot.path, f));
  for (const file of files) {
    try {
      await realpath(file);
    } catch (cause) {
      const message = `${file} is a link to a file that does not exist`;
      throw new MoeError('input', 'dangling-link', message, { file, hint: 'Download the data set again.' }, { cause });
    }
  }
  return { files, origin: 'hub-cache', notes: [...snapshot.notes, ...picked.notes] };
}

async function snapshotOf(repo: string): Promise<{ readonly path: string; readonly notes: string[] } | undefined> {
  const folder = join(repo, 'snapshots');
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const commit = (await readFile(join(repo, 'refs', 'main'), 'utf8')).trim();
    if (/^[0-9a-f]{40}$/.test(commit) && names.includes(commit)) return { path: join(folder, commit), notes: [] };
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
  const dated = await Promise.all(
    names.map(async (name) => ({ name, time: (await stat(join(folder, name))).mtimeMs })),
  );
  const newest = dated.sort((a, b) => b.time - a.time || (a.name < b.name ? -1 : 1))[0];
  if (newest === undefined) return undefined;
  return {
    path: join(folder, newest.name),
    notes: [`${repo}: no refs/main; snapshot ${newest.name.slice(0, 8)} used`],
  };
}
