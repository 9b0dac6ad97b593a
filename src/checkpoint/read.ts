/** Streaming reads of tensor data in bounded buffers: nothing is mapped, one file is open at a time. */
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { MoeError, grouped, messageOf } from '../common/errors.ts';
import { throwIfAborted } from './errors.ts';
import type { Checkpoint } from './types.ts';

/** Bytes per read: large enough for full disk speed, small enough for two of them in flight. */
export const CHUNK_BYTES = 4 * 2 ** 20;

/**
 * Reads byte ranges of a checkpoint's files. A chunk is valid only until the next one is asked for. Call `close` when done.
 */
export class RangeReader {
  private readonly paths: ReadonlyMap<string, string>;
  private open: { readonly file: string; readonly handle: FileHandle } | undefined;
  /** Two buffers, aligned for views of 8-byte elements: one is filled while the other is looked at. */
  private readonly buffers: [Buffer, Buffer] | undefined;
  private readonly signal: AbortSignal | undefined;

  constructor(
    cp: Checkpoint,
    options: { readonly signal?: AbortSignal | undefined; readonly chunkBytes?: number } = {},
  ) {
    this.paths = new Map(cp.files.map((file) => [file.name, file.path]));
    const size = options.chunkBytes ?? CHUNK_BYTES;
    this.buffers = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)];
    this.signal = options.signal;
  }

  /**
   * Chunks of `bytes` bytes from `begin` on. Each but the last has a length that is a multiple of `unit`. Throws MoeError
   * `file-truncated` where the file ends early, `cancelled` on abort.
   */
  async *chunks(file: string, begin: number, bytes: number, unit = 8): AsyncGenerator<Buffer> {
    const [first, second] = this.buffers ?? [Buffer.alloc(0), Buffer.alloc(0)];
    const step = Math.floor(first.length / unit) * unit;
    const handle = await this.handleOf(file);
    const read = (into: Buffer, offset: number): Promise<Buffer> =>
      readFully(handle, into.subarray(0, Math.min(step, bytes - offset)), begin + offset, file);
    let pending: Promise<Buffer> | null = bytes > 0 ? read(first, 0) : null;
    try {
      for (let offset = 0, turn = 0; pending !== null; turn++) {
        throwIfAborted(this.signal);
        const chunk: Buffer = await pending;
        offset += chunk.length;
        pending = offset < bytes ? read(turn % 2 === 0 ? second : first, offset) : null;
        yield chunk;
      }
    } finally {
      // A consumer that stops early must not leave a read running into a buffer that the next range uses.
      await pending?.catch(() => undefined);
    }
  }

  /** Up to `bytes` bytes as a copy of their own. */
  async bytes(file: string, begin: number, bytes: number): Promise<Buffer> {
    throwIfAborted(this.signal);
    return readFully(await this.handleOf(file), Buffer.allocUnsafe(bytes), begin, file);
  }

  async close(): Promise<void> {
    const { open: current } = this;
    this.open = undefined;
    await current?.handle.close();
  }

  private async handleOf(file: string): Promise<FileHandle> {
    if (this.open?.file === file) return this.open.handle;
    await this.close();
    const path = this.paths.get(file);
    try {
      const handle = await open(path ?? file, 'r');
      this.open = { file, handle };
      return handle;
    } catch (error) {
      throw new MoeError(
        'input',
        'file-unreadable',
        `${file} cannot be opened: ${messageOf(error)}`,
        { file },
        { cause: error },
      );
    }
  }
}

async function readFully(handle: FileHandle, into: Buffer, position: number, file: string): Promise<Buffer> {
  let done = 0;
  while (done < into.length) {
    let got: number;
    try {
      ({ bytesRead: got } = await handle.read(into, done, into.length - done, position + done));
    } catch (error) {
      throw new MoeError(
        'input',
        'io-error',
        `${file} cannot be read at byte ${grouped(position + done)}: ${messageOf(error)}`,
        {
          file,
          byte: position + done,
          hint: 'The disk or the network drive may be failing: copy the file and try again.',
        },
        { cause: error },
      );
    }
    if (got === 0) {
      throw new MoeError(
        'input',
        'file-truncated',
        `${file} ends at byte ${grouped(position + done)}, inside its data`,
        {
          file,
          byte: position + done,
          hint: 'Another program changed it, or it was cut: open it again.',
        },
      );
    }
    done += got;
  }
  return into;
}
