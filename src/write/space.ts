/** Whether the disk has room, told before the first byte is written. */
import { statfs } from 'node:fs/promises';
import { MoeError, grouped } from '../common/errors.ts';

/** One step of a job that writes files: how much, and whether it stays (`false`: gone once the next step has used it). */
export interface SpaceStep {
  readonly name: string;
  readonly bytes: number;
  readonly kept: boolean;
}

export interface SpaceVerdict {
  /** The largest amount on disk at any moment; it, not the total or the last step, decides. */
  readonly peak: number;
  readonly fits: boolean;
  /** Missing bytes; 0 if it fits. */
  readonly short: number;
  /** Step during which the peak is reached. */
  readonly peakStep: string;
}

/** Peak space of steps run one after the other: a step that is not kept is removed after the step that follows it. */
export function fitsPipeline(steps: readonly SpaceStep[], free: number): SpaceVerdict {
  let onDisk = 0;
  let peak = 0;
  let peakStep = '';
  let removable = 0;
  for (const step of steps) {
    onDisk += step.bytes;
    if (onDisk > peak) {
      peak = onDisk;
      peakStep = step.name;
    }
    onDisk -= removable;
    removable = step.kept ? 0 : step.bytes;
  }
  return { peak, fits: peak <= free, short: Math.max(0, peak - free), peakStep };
}

/** "9.0 GB", decimal as disks are sold. */
export function gigabytes(bytes: number): string {
  if (bytes < 1e6) return `${grouped(bytes)} bytes`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** Bytes that this user may still write to the file system of `folder`. A quota is not visible here. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Throws `disk-full` (kind resources) with the numbers if `needed` bytes do not fit into `folder`. */
export async function requireSpace(folder: string, needed: number, what: string): Promise<void> {
  const free = await freeBytes(folder);
  if (needed <= free) return;
  throw new MoeError(
    'resources',
    'disk-full',
    `${what} needs ${gigabytes(needed)}, the disk has ${gigabytes(free)} free: ${gigabytes(needed - free)} short. Nothing was written.`,
    {
      file: folder,
      hint: 'Free space, choose an output folder on another disk, or one whose file system clones (xfs, btrfs, APFS).',
      details: { neededBytes: needed, freeBytes: free, shortBytes: needed - free },
    },
  );
}
