/** Files that share their blocks (reflinks): XFS, Btrfs, APFS, ZFS, bcachefs, NFS 4.2. */
import { copyFile, constants as fs, open, readdir, rm, stat } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemCodeOf } from '../common/errors.ts';

/** Clones a file to a new name; throws where the file system does not share blocks. */
export async function cloneFile(from: string, to: string): Promise<void> {
  await copyFile(from, to, fs.COPYFILE_EXCL | fs.COPYFILE_FICLONE_FORCE);
}

const PROBE = '.moe-clone-probe-';
/** A probe lives for milliseconds; one this old belongs to nobody, whichever machine made it. */
const STALE_MS = 60_000;

/** Takes away the probes of runs that were killed while they probed. */
async function sweepProbes(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const match = /^\.moe-clone-probe-(\d{1,10})-[0-9a-f]{12}(?:-copy)?$/.exec(name);
    if (match === null || Number(match[1]) === process.pid) continue;
    const path = join(folder, name);
    const made = (await stat(path).catch(() => null))?.mtimeMs ?? Infinity;
    if (isGone(Number(match[1])) || Date.now() - made > STALE_MS)
      await rm(path, { force: true }).catch(() => undefined);
  }
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return systemCodeOf(error) === 'ESRCH';
  }
}

/**
 * Whether files in `folder` (or, while it does not exist, in its nearest existing parent) can be cloned: tried with 4 KiB.
 * False also where nothing can be written at all.
 */
export async function canClone(folder: string): Promise<boolean> {
  let place = folder;
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place);
  await sweepProbes(place);
  const probe = join(place, `${PROBE}${String(process.pid)}-${randomBytes(6).toString('hex')}`);
  const copy = `${probe}-copy`;
  try {
    const file = await open(probe, 'wx');
    try {
      await file.write(Buffer.alloc(4096, 1));
      await file.sync();
    } finally {
      await file.close();
    }
    await cloneFile(probe, copy);
    return true;
  } catch {
    return false;
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
    await rm(copy, { force: true }).catch(() => undefined);
  }
}
