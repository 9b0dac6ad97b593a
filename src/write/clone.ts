/** Files that share their blocks (reflinks): XFS, Btrfs, APFS, ZFS, bcachefs, NFS 4.2. */
import { copyFile, constants as fs, open, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemCodeOf } from '../common/errors.ts';

const CANNOT = new Set([
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EXDEV',
  'EINVAL',
  'ENOTTY',
  'EPERM',
  'EACCES',
  'EBADF',
  'EMLINK',
]);

/** True where the error of a forced clone means "not here" rather than a failure of the disk. */
export function cloneUnsupported(error: unknown): boolean {
  return CANNOT.has(systemCodeOf(error) ?? '');
}

/** Clones a file to a new name; throws where the file system does not share blocks. */
export async function cloneFile(from: string, to: string): Promise<void> {
  await copyFile(from, to, fs.COPYFILE_EXCL | fs.COPYFILE_FICLONE_FORCE);
}

/**
 * Whether files in `folder` (or, while it does not exist, in its nearest existing parent) can be cloned: tried with 4 KiB.
 * False also where nothing can be written at all.
 */
export async function canClone(folder: string): Promise<boolean> {
  let place = folder;
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place);
  const probe = join(place, `.moe-clone-probe-${randomBytes(6).toString('hex')}`);
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
