/**
 * A file of JSON lines that several processes append to and read. Appending is done under a lock (see mutex.ts). A line that
 * a crash cut off is closed by the next append and skipped by readers, who count it.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { systemCodeOf } from '../common/errors.ts';

/** Longer lines are not ours. */
const MAX_LINE = 8 << 20;
const BLOCK = 1 << 20;
const HEAD = 128;

/** Appends one value as a line, in one write. Throws the system's error where the disk refuses. */
export function appendLine(path: string, value: unknown): void {
  const file = openSync(path, 'a+', 0o600);
  try {
    const { size } = fstatSync(file);
    const last = Buffer.alloc(1);
    const torn = size > 0 && readSync(file, last, 0, 1, size - 1) === 1 && last[0] !== 0x0a;
    const bytes = Buffer.from(`${torn ? '\n' : ''}${JSON.stringify(value)}\n`);
    let done = 0;
    while (done < bytes.length) done += writeSync(file, bytes, done);
  } finally {
    closeSync(file);
  }
}

export interface Tail {
  readonly lines: readonly string[];
  /** The file is another one (compacted, deleted): the lines are those from its beginning. */
  readonly restarted: boolean;
  /** Lines left out because they are longer than any of ours. */
  readonly tooLong: number;
}

/** Reads a growing file from where the last read ended. */
export class LineReader {
  private offset = 0;
  /** How the file began when it was first read: a file that begins otherwise is another one (inodes are used again). */
  private head: Buffer = Buffer.alloc(0);

  constructor(private readonly path: string) {}

  /** New whole lines. An absent file is an empty one. */
  async read(): Promise<Tail> {
    const file = await open(this.path, 'r').catch((error: unknown) => {
      if (systemCodeOf(error) === 'ENOENT') return null;
      throw error;
    });
    if (file === null) {
      const restarted = this.offset > 0;
      this.forget();
      return { lines: [], restarted, tooLong: 0 };
    }
    try {
      const { size } = await file.stat();
      const { bytesRead: headBytes, buffer: head } = await file.read(Buffer.alloc(HEAD), 0, HEAD, 0);
      const known = this.head.length;
      const restarted = this.offset > 0 && (size < this.offset || !head.subarray(0, known).equals(this.head));
      if (restarted) this.forget();
      if (this.head.length < HEAD) this.head = head.subarray(0, headBytes);
      const lines: string[] = [];
      let tooLong = 0;
      let skipping = false;
      let rest: Buffer = Buffer.alloc(0);
      let position = this.offset;
      for (;;) {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(BLOCK), 0, BLOCK, position);
        if (bytesRead === 0) break;
        position += bytesRead;
        let block = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        for (let end = block.indexOf(0x0a); end >= 0; end = block.indexOf(0x0a)) {
          if (skipping) skipping = false;
          else if (end > 0) lines.push(block.toString('utf8', 0, end));
          block = block.subarray(end + 1);
        }
        if (block.length > MAX_LINE || skipping) {
          if (!skipping) tooLong++;
          skipping = true;
          block = Buffer.alloc(0);
        }
        rest = block;
      }
      // What stands after the last newline is read again when it is whole.
      this.offset = position - rest.length;
      return { lines, restarted, tooLong };
    } finally {
      await file.close();
    }
  }

  private forget(): void {
    this.offset = 0;
    this.head = Buffer.alloc(0);
  }
}
