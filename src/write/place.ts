/**
 * Where an output comes to stand, and the working folder beside it. Nothing appears under the final name before it is whole:
 *
 *   PARENT/.NAME.moe-partial-HASH/   lock, journal.jsonl, README.txt
 *     out/                           the files under their final names
 *     old/                           what an overwritten output held, until the new one stands
 */
import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, realpath, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, parse, relative, resolve, sep } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { syncFolder } from './documents.ts';
import { writeFailure } from './failure.ts';

export interface Place {
  /** The final folder, its parent's links resolved. */
  readonly out: string;
  /** As the user gave it, for messages. */
  readonly shown: string;
  readonly parent: string;
  readonly work: string;
  /** Where the files are written. */
  readonly staging: string;
  readonly journal: string;
  readonly lock: string;
  readonly old: string;
  /** What stands at `out` now. */
  readonly present: 'nothing' | 'empty' | 'full';
}

async function statOf(path: string): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return null;
    throw writeFailure(error, path);
  }
}

/** True if `inner` is `outer` or lies in it. */
function within(inner: string, outer: string): boolean {
  const path = relative(outer, inner);
  return path === '' || (path !== '..' && !path.startsWith(`..${sep}`) && !/^[A-Za-z]:/.test(path));
}

async function realOf(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path));
}

/** Finds the place for `shown`. Creates missing parents. Refuses links, files, and nesting with a source either way. */
export async function findPlace(shown: string, sources: readonly Checkpoint[]): Promise<Place> {
  const wanted = resolve(shown);
  if (wanted === parse(wanted).root) {
    throw new MoeError('usage', 'output-invalid', 'The root folder cannot be an output.', { file: shown });
  }
  try {
    await mkdir(dirname(wanted), { recursive: true });
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST' || systemCodeOf(error) === 'ENOTDIR') {
      throw new MoeError('input', 'output-parent-not-a-folder', `The parent of "${shown}" is not a folder.`, {
        file: shown,
      });
    }
    throw writeFailure(error, dirname(shown));
  }
  const parent = await realpath(dirname(wanted));
  const out = join(parent, basename(wanted));
  const facts = await statOf(out);
  if (facts?.isSymbolicLink() === true) {
    throw new MoeError('input', 'output-is-link', `"${shown}" is a symbolic link; nothing is written through links.`, {
      file: shown,
      hint: 'Name the folder itself, or a new one.',
    });
  }
  if (facts !== null && !facts.isDirectory()) {
    throw new MoeError('input', 'output-exists', `"${shown}" exists and is not a folder.`, { file: shown });
  }
  await refuseNesting(out, shown, sources);
  const present = facts === null ? 'nothing' : (await readdir(out)).length === 0 ? 'empty' : 'full';
  const tag = createHash('sha256').update(out).digest('hex').slice(0, 12);
  const work = join(parent, `.${basename(out).slice(0, 180)}.moe-partial-${tag}`);
  return {
    out,
    shown,
    parent,
    work,
    staging: join(work, 'out'),
    journal: join(work, 'journal.jsonl'),
    lock: join(work, 'lock'),
    old: join(work, 'old'),
    present,
  };
}

async function refuseNesting(out: string, shown: string, sources: readonly Checkpoint[]): Promise<void> {
  const real = existsSync(out) ? await realOf(out) : out;
  for (const source of sources) {
    const root = await realOf(source.root);
    // A lone file's folder may hold anything; a model folder is the model.
    if (real === root || (source.format === 'hf' && within(real, root))) {
      throw new MoeError(
        'input',
        'output-in-source',
        `The output "${shown}" lies in the source folder "${source.path}".`,
        {
          file: shown,
          hint: 'Choose a folder outside of it; the source is never changed.',
        },
      );
    }
    const files = await Promise.all([source.path, ...source.files.map(({ path }) => path)].map(realOf));
    if (within(root, real) || files.some((file) => within(file, real))) {
      throw new MoeError(
        'input',
        'source-in-output',
        `The source "${source.path}" lies in the output folder "${shown}".`,
        {
          file: shown,
          hint: 'Choose another output folder.',
        },
      );
    }
  }
}

/** Refuses an output folder with contents, or, when overwriting, one that does not look like a checkpoint. */
export async function refuseOccupied(place: Place, overwrite: boolean, hint: string): Promise<void> {
  if (place.present !== 'full') return;
  if (!overwrite) {
    throw new MoeError('input', 'output-exists', `"${place.shown}" exists and is not empty.`, {
      file: place.shown,
      hint,
    });
  }
  const names = await readdir(place.out);
  if (!names.some((name) => name === 'config.json' || name === 'moe-manifest.json' || name.endsWith('.safetensors'))) {
    throw new MoeError(
      'input',
      'output-not-a-checkpoint',
      `"${place.shown}" holds other things than a checkpoint and is not overwritten.`,
      { file: place.shown, hint: 'Choose another folder, or delete this one yourself.' },
    );
  }
}

/** Makes the working folder (a link in its place is refused). */
export async function makeWorkFolder(place: Place): Promise<void> {
  try {
    await mkdir(place.work);
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw writeFailure(error, place.work);
  }
  const facts = await statOf(place.work);
  if (facts?.isDirectory() !== true) {
    throw new MoeError('input', 'output-is-link', `"${place.work}" should be the working folder and is none.`, {
      file: place.work,
      hint: 'Delete it and run again.',
    });
  }
}

/** The note in the working folder, and an empty staging folder. */
export async function startStaging(place: Place, resumeHint: string): Promise<void> {
  const text = [
    `Unfinished output of MoE Workbench for ${place.out}`,
    '',
    resumeHint,
    'It is safe to delete this folder when no such run is under way.',
    '',
  ].join('\n');
  await rm(join(place.work, 'README.txt'), { force: true });
  await writeFile(join(place.work, 'README.txt'), text, { flag: 'wx' });
  await mkdir(place.staging);
}

/** Gives an overwritten output back if a run was killed between taking it away and putting the new one there. */
export async function restoreOld(place: Place): Promise<boolean> {
  if (!existsSync(place.old)) return false;
  if (existsSync(place.out)) return false;
  await renameSoon(place.old, place.out);
  return true;
}

/** Removes everything in the working folder but the lock. */
export async function clearWork(place: Place): Promise<void> {
  for (const name of await readdir(place.work)) {
    if (join(place.work, name) !== place.lock) await rm(join(place.work, name), { recursive: true, force: true });
  }
}

/** Puts the finished staging folder under the final name, durably, and takes the working folder away. */
export async function publish(place: Place): Promise<void> {
  await syncFolder(place.staging);
  const facts = await statOf(place.out);
  if (facts !== null) {
    if (!facts.isDirectory()) {
      throw new MoeError('input', 'output-exists', `"${place.shown}" came to be during the run and is not a folder.`, {
        file: place.shown,
      });
    }
    // An empty folder goes away (some systems do not rename onto one), a full one moves aside: overwriting was asked for.
    if (place.present === 'full') await renameSoon(place.out, place.old);
    else await removeEmpty(place);
  }
  await renameSoon(place.staging, place.out);
  await syncFolder(place.parent);
}

async function removeEmpty(place: Place): Promise<void> {
  try {
    await rmdir(place.out);
  } catch (error) {
    throw new MoeError(
      'input',
      'output-exists',
      `Something was put into "${place.shown}" during the run: ${messageOf(error)}`,
      {
        file: place.shown,
        hint: `The finished output is kept in ${place.work}; empty the folder and run again with --resume.`,
      },
    );
  }
}

const BUSY = new Set(['EPERM', 'EBUSY', 'EACCES', 'ENOTEMPTY']);

/** Renames, trying again for a while where another program (a viewer, a virus scanner) still holds a file open. */
export async function renameSoon(from: string, to: string): Promise<void> {
  for (let wait = 50; ; wait *= 2) {
    try {
      await rename(from, to);
      return;
    } catch (error) {
      const code = systemCodeOf(error) ?? '';
      if (BUSY.has(code) && wait <= 1600) {
        await new Promise((done) => setTimeout(done, wait));
        continue;
      }
      if (!BUSY.has(code)) throw writeFailure(error, to);
      throw new MoeError(
        'resources',
        'output-busy',
        `"${to}" could not be put in place: another program has a file in it open (${code}).`,
        {
          file: to,
          hint: `Close viewers, editors and Python sessions that use it. The finished files are in ${from}.`,
        },
        { cause: error },
      );
    }
  }
}
