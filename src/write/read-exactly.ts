import { closeSync, openSync, readSync } from 'node:fs';
import { MoeError, grouped } from '../common/errors.ts';

/** Bytes [begin, begin + length) of a file. Throws `file-too-short` when it ends before. */
export function readExactly(path: string, begin: number, length: number): Buffer {
  const fd = openSync(path, 'r');
  try {
    const out = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const n = readSync(fd, out, done, length - done, begin + done);
      if (n === 0) {
        throw new MoeError('input', 'file-too-short', `"${path}" ends at byte ${grouped(begin + done)}.`, {
          file: path,
        });
      }
      done += n;
    }
    return out;
  } finally {
    closeSync(fd);
  }
}
