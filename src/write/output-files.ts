/**
 * The output's weight files while they are written: positional writes on the thread pool, few descriptors open at a time,
 * never through a link.
 */
import { close, constants, fdatasync, fstat, fsync, open, write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeFailure } from './failure.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);
const fsyncAsync = promisify(fsync);
const fdatasyncAsync = promisify(fdatasync);
const fstatAsync = promisify(fstat);

/** Absent on Windows, where links need rights that few have. */
const NO_FOLLOW: number = (constants as { readonly O_NOFOLLOW?: number }).O_NOFOLLOW ?? 0;
const MAX_OPEN = 200;
/** A file's data is sent to disk whenever this much has come together, while more is produced. */
const FLUSH_BYTES = 16 << 20;
/** Files made durable at once: one thread of the pool's four is left for everything else. */
const MAX_FINISHING = 3;

interface Handle {
  readonly fd: Promise<number>;
  pending: number;
  /** Bytes written since the last flush. */
  unflushed: number;
  /** The flush under way, or the last one. */
  flushed: Promise<void>;
  finishing: boolean;
}

/** Writes all of `bytes` at `position`. */
export function writeFully(fd: number, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (done: number): void => {
      write(fd, bytes, done, bytes.length - done, position + done, (error, n) => {
        if (error !== null) reject(error);
        else if (done + n < bytes.length) step(done + n);
        else resolve();
      });
    };
    if (bytes.length === 0) resolve();
    else step(0);
  });
}

export class OutputFiles {
  private readonly handles = new Map<string, Handle>();
  private readonly created = new Set<string>();
  private flushing = false;
  private finishing = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly folder: string) {}

  private handle(name: string): Handle {
    const known = this.handles.get(name);
    if (known !== undefined) {
      this.handles.delete(name);
      this.handles.set(name, known);
      return known;
    }
    if (this.handles.size >= MAX_OPEN) this.closeIdle();
    const flags = this.created.has(name)
      ? constants.O_WRONLY | NO_FOLLOW
      : constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW;
    this.created.add(name);
    const fd = openAsync(join(this.folder, name), flags, 0o644);
    // Met by whoever awaits it; must not count as unhandled before that.
    fd.catch(() => undefined);
    const handle: Handle = { fd, pending: 0, unflushed: 0, flushed: Promise.resolve(), finishing: false };
    this.handles.set(name, handle);
    return handle;
  }

  /** Takes over a file that was made by other means (a clone). */
  adopt(name: string): void {
    this.created.add(name);
  }

  private closeIdle(): void {
    for (const [name, handle] of this.handles) {
      if (handle.pending > 0) continue;
      this.handles.delete(name);
      void handle.fd.then(closeAsync, () => undefined);
      return;
    }
  }

  /** Writes `bytes` at `position` of a file, creating it at the first write. */
  async write(name: string, bytes: Buffer, position: number): Promise<void> {
    const handle = this.handle(name);
    handle.pending += 1;
    try {
      const fd = await handle.fd;
      await writeFully(fd, bytes, position);
      handle.unflushed += bytes.length;
      if (handle.unflushed >= FLUSH_BYTES) this.flushSome();
    } catch (error) {
      throw writeFailure(error, name);
    } finally {
      handle.pending -= 1;
    }
  }

  /** Starts writing the file with most waiting data to disk while more is produced; one at a time. */
  private flushSome(): void {
    if (this.flushing) return;
    let most: Handle | undefined;
    for (const handle of this.handles.values()) {
      if (handle.unflushed >= (most?.unflushed ?? FLUSH_BYTES) && !handle.finishing) most = handle;
    }
    if (most === undefined) return;
    const handle = most;
    this.flushing = true;
    handle.pending += 1;
    handle.unflushed = 0;
    handle.flushed = handle.fd
      .then(fdatasyncAsync)
      // A failure shows again, and counts, when the file is finished.
      .catch(() => undefined)
      .then(() => {
        handle.pending -= 1;
        this.flushing = false;
        this.flushSome();
      });
  }

  /** Makes a file durable and closes it; gives its size and time as they are now. */
  async finish(name: string): Promise<{ readonly size: number; readonly mtimeMs: number }> {
    const handle = this.handle(name);
    handle.pending += 1;
    handle.finishing = true;
    try {
      const fd = await handle.fd;
      // The descriptor must not be closed, and its number given away, under a flush.
      await handle.flushed;
      while (this.finishing >= MAX_FINISHING) await new Promise<void>((resolve) => this.waiting.push(resolve));
      this.finishing += 1;
      try {
        await fsyncAsync(fd);
      } finally {
        this.finishing -= 1;
        this.waiting.shift()?.();
      }
      const { size, mtimeMs } = await fstatAsync(fd);
      this.handles.delete(name);
      await closeAsync(fd);
      return { size, mtimeMs };
    } catch (error) {
      throw writeFailure(error, name);
    }
  }

  /** Closes whatever is open. */
  async close(): Promise<void> {
    const open = [...this.handles.values()];
    this.handles.clear();
    await Promise.all(
      open.map(async ({ fd, flushed }) => {
        await flushed;
        await fd.then(closeAsync, () => undefined);
      }),
    );
  }
}
