/** What the file system refuses, in words: a full disk, a quota and a file-size limit are different things to mend. */
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';

/** A MoeError for a failed write to `file`. Errors that are MoeErrors already pass unchanged. */
export function writeFailure(error: unknown, file: string): MoeError {
  if (error instanceof MoeError) return error;
  const code = systemCodeOf(error);
  const cause = { cause: error };
  switch (code) {
    case 'ENOSPC':
      return new MoeError(
        'resources',
        'disk-full',
        `The disk is full: "${file}" could not be written to its end.`,
        { file, hint: 'Free space on that disk or choose an output folder on another one.' },
        cause,
      );
    case 'EDQUOT':
      return new MoeError(
        'resources',
        'quota-exceeded',
        `Your disk quota is used up (the disk itself may have room): "${file}" could not be written to its end.`,
        { file, hint: 'Remove files of yours, ask for a larger quota, or choose an output folder elsewhere.' },
        cause,
      );
    case 'EFBIG':
      return new MoeError(
        'resources',
        'file-too-large',
        `"${file}" is larger than this file system (or ulimit -f) allows.`,
        { file, hint: 'Set output.shard_size below the limit (4GB on FAT32).' },
        cause,
      );
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new MoeError(
        'input',
        'output-not-writable',
        `"${file}" cannot be written: ${messageOf(error)}`,
        { file, hint: 'Choose a folder that you may write to.' },
        cause,
      );
    case 'EMFILE':
    case 'ENFILE':
      return new MoeError(
        'resources',
        'too-many-open-files',
        `Too many open files at "${file}".`,
        { file, hint: 'Raise the limit (ulimit -n) or close other programs.' },
        cause,
      );
    default:
      return new MoeError(
        'resources',
        'write-failed',
        `Writing "${file}" failed: ${messageOf(error)}`,
        { file },
        cause,
      );
  }
}
