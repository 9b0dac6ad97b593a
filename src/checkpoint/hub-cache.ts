/** The Hugging Face hub's cache: `models--owner--name/{blobs,refs,snapshots}`. */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MoeError } from '../common/errors.ts';
import { listed } from './errors.ts';
import { listFolder } from './listing.ts';
import type { Entry } from './listing.ts';

/** Is this the folder of one model in a hub cache? */
export function isHubModel(folder: string, entries: readonly Entry[]): boolean {
  const has = (name: string): boolean => entries.some((entry) => entry.name === name && entry.kind === 'folder');
  return has('snapshots') && (has('blobs') || has('refs') || /^(?:models|datasets|spaces)--/.test(basename(folder)));
}

/**
 * The snapshot to open: the one that refs/main names, else the newest that is not empty. Throws MoeError `empty-snapshot`
 * or `no-snapshot`.
 */
export async function chooseSnapshot(folder: string): Promise<string> {
  const snapshots = join(folder, 'snapshots');
  const names = (await listFolder(snapshots)).filter((entry) => entry.kind === 'folder').map((entry) => entry.name);
  const main = await readFile(join(folder, 'refs', 'main'), 'utf8').then(
    (text) => text.trim(),
    () => null,
  );
  if (main !== null && names.includes(main)) return join(snapshots, main);
  const dated: { readonly path: string; readonly time: number; readonly full: boolean }[] = [];
  for (const name of names) {
    const path = join(snapshots, name);
    const full = (await listFolder(path)).some((entry) => !entry.name.startsWith('.'));
    dated.push({ path, time: (await stat(path)).mtimeMs, full });
  }
  dated.sort((a, b) => Number(b.full) - Number(a.full) || b.time - a.time || (a.path < b.path ? -1 : 1));
  const [best] = dated;
  if (best === undefined) {
    throw new MoeError('input', 'no-snapshot', `${folder} is a hub cache without any snapshot`, {
      file: folder,
      hint: 'Download the model again.',
    });
  }
  return best.path;
}

/** The error for a folder without files: a snapshot of a hub cache has a reason of its own. */
export function emptyFolder(folder: string): MoeError {
  if (basename(dirname(folder)) === 'snapshots') {
    return new MoeError(
      'input',
      'empty-snapshot',
      `${folder} is an empty snapshot; files may be under blobs/ because links could not be made`,
      {
        file: folder,
        hint: 'Download again where links are allowed (on Windows: developer mode), or with local_dir instead of the cache.',
        details: { blobs: join(dirname(dirname(folder)), 'blobs') },
      },
    );
  }
  return new MoeError('input', 'empty-folder', `${folder} is empty`, {
    file: folder,
    hint: 'Name a folder with a model.',
  });
}

/** The error for the cache as a whole, where one model must be named. */
export function severalModels(folder: string, models: readonly string[]): MoeError {
  return new MoeError('input', 'hub-cache-root', `${folder} is a hub cache with several models: ${listed(models)}`, {
    file: folder,
    hint: `Open one of them, for example ${join(folder, models[0] ?? '')}.`,
  });
}
