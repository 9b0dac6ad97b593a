/**
 * The output's weight files while they are written: positional writes on the thread pool, few descriptors open at a time,
 * never through a link.
 */
import { close, constants, fstat, fsync, open, write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeFailure } from './failure.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);
const fsyncAsync = promisify(fsync);
const fstatAsync = promisify(fstat);

/** Absent on Windows, where links need rights that few have. */
const NO_FOLLOW: number = (constants as { readonly O_NOFOLLOW?: number }).O_NOFOLLOW ?? 0;
const MAX_OPEN = 200;

interface Handle {
  readonly fd: Promise<number>;
  pending: number;
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
    const handle = { fd, pending: 0 };
    this.handles.set(name, handle);
    return handle;
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
      await writeFully(await handle.fd, bytes, position);
    } catch (error) {
      throw writeFailure(error, name);
    } finally {
      handle.pending -= 1;
    }
  }

  /** Makes a file durable and closes it; gives its size and time as they are now. */
  async finish(name: string): Promise<{ readonly size: number; readonly mtimeMs: number }> {
    const handle = this.handle(name);
    try {
      const fd = await handle.fd;
      await fsyncAsync(fd);
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
    await Promise.all(open.map(({ fd }) => fd.then(closeAsync, () => undefined)));
  }
}
