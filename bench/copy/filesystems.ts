/** Places to measure in: a plain folder, and loop devices with other file systems where root and mkfs are at hand. */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';

export interface Place {
  readonly name: string;
  readonly folder: string;
  release(): void;
}

function run(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** The type of the file system under a folder. */
export function fileSystemOf(folder: string): string {
  return spawnSync('stat', ['-f', '-c', '%T', folder], { encoding: 'utf8' }).stdout.trim();
}

/** Mounts a fresh loop device; null (and why) where that is not possible. */
export function loopDevice(scratch: string, kind: 'xfs' | 'btrfs' | 'ext4', bytes: number): Place | string {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!run('which', `mkfs.${kind}`)) return `mkfs.${kind} is not installed`;
  const image = join(scratch, `${kind}.img`);
  const folder = join(scratch, `${kind}.mnt`);
  const fd = openSync(image, 'w');
  ftruncateSync(fd, bytes);
  closeSync(fd);
  mkdirSync(folder);
  if (!run(`mkfs.${kind}`, ...(kind === 'ext4' ? ['-q'] : []), image)) return `mkfs.${kind} failed`;
  if (!run('mount', '-o', 'loop', image, folder)) return `mounting ${kind} on a loop device failed`;
  return {
    name: kind,
    folder,
    release: () => {
      run('umount', folder);
      run('rm', '-f', image);
    },
  };
}
