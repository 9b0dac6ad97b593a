/** Free space, for messages that ask the user to fetch something. */
import { statfs } from 'node:fs/promises';

/** Bytes that this user may still write at a path; null where the system does not say. */
export async function freeBytes(path: string): Promise<number | null> {
  try {
    const facts = await statfs(path);
    return facts.bavail * facts.bsize;
  } catch {
    return null;
  }
}

/** "4.98 GB": decimal units, three digits. */
export function inUnits(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit] ?? ''}`;
}

/** What to do about Git LFS pointers, with what it takes and what there is. */
export function pullHint(neededBytes: number, files: number, free: number | null): string {
  const room =
    free === null
      ? ''
      : `; ${inUnits(free)} are free here${free < neededBytes ? `, ${inUnits(neededBytes - free)} too little` : ''}`;
  return (
    'Run git lfs pull in the folder (git lfs install first, if Git LFS is new here). ' +
    `It needs about ${inUnits(neededBytes)} for ${files === 1 ? '1 file' : `${String(files)} files`}${room}.`
  );
}
