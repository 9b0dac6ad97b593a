/** What lies in a folder: links followed, dead links named, nothing opened but tiny text files that may stand for links. */
import { lstat, open, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { MoeError, grouped, messageOf, systemCodeOf } from '../common/errors.ts';
import { forEachLimited } from './limited.ts';

/** More entries than any checkpoint's folder has; keeps a folder of millions from filling memory. */
const MAX_ENTRIES = 50_000;

export interface Entry {
  /** Name in the folder (the link's own, where it is one). */
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'dangling' | 'special';
  /** Size of a file; 0 for everything else. */
  readonly bytes: number;
  /** Path to read from, links resolved. For a dangling link: where it points. */
  readonly real: string;
  /** Target of a link as it is written, or undefined. */
  readonly link?: string;
  /** A link that git stored as a text file (a checkout without symbolic links). */
  readonly linkAsText?: true;
}

/** Lists a folder, sorted by name. Throws MoeError when it cannot be listed. */
export async function listFolder(folder: string): Promise<Entry[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw new MoeError(
      'input',
      'folder-unreadable',
      `${folder} cannot be listed: ${messageOf(error)}`,
      { file: folder, details: { systemCode: systemCodeOf(error) ?? null } },
      { cause: error },
    );
  }
  if (names.length > MAX_ENTRIES) {
    throw new MoeError(
      'input',
      'folder-too-large',
      `${folder} has ${grouped(names.length)} entries; this is no checkpoint`,
      {
        file: folder,
      },
    );
  }
  names.sort();
  const entries = new Map<string, Entry>();
  await forEachLimited(names, 16, async (name) => {
    entries.set(name, await entryOf(folder, name));
  });
  return names.flatMap((name) => entries.get(name) ?? []);
}

/** One entry of a folder; a name that does not exist gives a dangling entry without a link. */
export async function entryOf(folder: string, name: string): Promise<Entry> {
  const path = join(folder, name);
  try {
    const facts = await stat(path);
    const kind = facts.isFile() ? 'file' : facts.isDirectory() ? 'folder' : 'special';
    const isLink = (await lstat(path)).isSymbolicLink();
    if (kind === 'file' && !isLink) {
      const asText = await textLink(path, facts.size);
      if (asText !== null) return asText;
    }
    return {
      name,
      kind,
      bytes: kind === 'file' ? facts.size : 0,
      real: isLink ? await realpath(path) : path,
      ...(isLink ? { link: await readlink(path) } : {}),
    };
  } catch (error) {
    const link = await readlink(path).catch(() => undefined);
    if (link === undefined) {
      const code = systemCodeOf(error);
      // Gone since it was listed, or not ours to see: shown as something that is not a readable file.
      return { name, kind: code === 'ENOENT' ? 'dangling' : 'special', bytes: 0, real: path };
    }
    return { name, kind: 'dangling', bytes: 0, real: resolve(folder, link), link };
  }
}

/**
 * A hub snapshot whose links became text files that hold the target's path (git, or an unpacker, on a system without
 * symbolic links). Followed only inside a hub cache and only into its own `blobs/`: a text file elsewhere leads nowhere.
 */
async function textLink(path: string, bytes: number): Promise<Entry | null> {
  if (bytes === 0 || bytes > 300) return null;
  const snapshot = dirname(path);
  if (basename(dirname(snapshot)) !== 'snapshots') return null;
  const handle = await open(path, 'r');
  let text: string;
  try {
    text = (await handle.readFile()).toString('latin1');
  } finally {
    await handle.close();
  }
  if (!/^(?:[\w.-]+\/)+blobs\/[\w.-]+$/.test(text)) return null;
  const name = basename(path);
  const target = resolve(snapshot, text);
  const blobs = join(dirname(dirname(snapshot)), 'blobs') + sep;
  const base = { name, link: text, linkAsText: true } as const;
  try {
    const facts = await stat(target);
    const real = await realpath(target);
    if (target.startsWith(blobs) && facts.isFile()) return { ...base, kind: 'file', bytes: facts.size, real };
  } catch {
    // Falls through: the target is not there.
  }
  return { ...base, kind: 'dangling', bytes: 0, real: target };
}
