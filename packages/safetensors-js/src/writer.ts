/**
 * A streaming writer: header first, from the list of tensors; then their bytes, in any chunking. It counts, so that a file
 * that does not hold exactly what its header says is never finished.
 */
import { open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { encodeHeader } from './encode.ts';
import type { EncodeOptions, TensorRange, TensorSpec } from './encode.ts';
import { SafetensorsError, byteCount, grouped, quoted } from './errors.ts';
import { guarded } from './read-header.ts';

export interface WriterOptions extends EncodeOptions {
  /** Replace an existing file (default false: refuse). */
  readonly overwrite?: boolean;
  /** Flush to the disk in `finish()` (default true). */
  readonly fsync?: boolean;
}

/** One write call may not hand over more (Node's limit is 2^31-1). */
const MAX_WRITE = 1 << 30;

type WriterState = 'open' | 'finished' | 'aborted' | 'failed';

export class SafetensorsWriter {
  readonly path: string;
  /** Bytes before the data section. */
  readonly dataStart: number;
  /** Bytes the data section must get. */
  readonly dataBytes: number;
  /** Where each tensor goes, relative to the data section. */
  readonly offsets: ReadonlyMap<string, TensorRange>;
  private readonly handle: FileHandle;
  private readonly fsync: boolean;
  private readonly names: readonly string[];
  /** Index of the tensor that the next byte belongs to (empty ones passed over). */
  private next = 0;
  private written = 0;
  private state: WriterState = 'open';
  private busy = false;

  private constructor(
    path: string,
    handle: FileHandle,
    dataStart: number,
    dataBytes: number,
    offsets: ReadonlyMap<string, TensorRange>,
    fsync: boolean,
  ) {
    this.path = path;
    this.handle = handle;
    this.dataStart = dataStart;
    this.dataBytes = dataBytes;
    this.offsets = offsets;
    this.names = [...offsets.keys()];
    this.fsync = fsync;
  }

  /** Creates the file and writes its header. Throws as `encodeHeader`, and `io-error` if the file exists. */
  static async create(
    path: string,
    specs: readonly TensorSpec[],
    options: WriterOptions = {},
  ): Promise<SafetensorsWriter> {
    const { bytes, offsets, dataBytes } = encodeHeader(specs, options);
    const handle = await guarded(path, () => open(path, options.overwrite === true ? 'w' : 'wx'));
    const writer = new SafetensorsWriter(path, handle, bytes.length, dataBytes, offsets, options.fsync !== false);
    try {
      await writer.put(bytes, 0);
      return writer;
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  /** Data bytes written so far. */
  get bytesWritten(): number {
    return this.written;
  }

  /** The next bytes of the data section, wherever tensors begin and end in them. Await it before the next call. */
  async write(chunk: Uint8Array): Promise<void> {
    this.enter();
    try {
      if (this.written + chunk.byteLength > this.dataBytes) {
        throw new SafetensorsError(
          'write-size',
          `${basename(this.path)}: ${byteCount(this.written + chunk.byteLength)} of data for a header of ${grouped(this.dataBytes)}`,
          { file: this.path, details: { dataBytes: this.dataBytes, given: this.written + chunk.byteLength } },
        );
      }
      await this.put(chunk, this.dataStart + this.written);
      this.written += chunk.byteLength;
    } finally {
      this.busy = false;
    }
  }

  /** All bytes of one tensor, which must be the next in order. Throws `write-order`, `write-size`, `tensor-not-found`. */
  async writeTensor(name: string, bytes: Uint8Array): Promise<void> {
    const range = this.offsets.get(name);
    if (range === undefined) {
      throw new SafetensorsError('tensor-not-found', `${quoted(name)} is not in the header of ${basename(this.path)}`, {
        file: this.path,
        tensor: name,
      });
    }
    if (bytes.byteLength !== range.end - range.begin) {
      throw new SafetensorsError(
        'write-size',
        `tensor ${quoted(name)} has ${byteCount(range.end - range.begin)}, but ${grouped(bytes.byteLength)} were given`,
        { file: this.path, tensor: name },
      );
    }
    const { next } = this;
    if (range.begin !== this.written || !this.isNext(name)) {
      this.next = next;
      throw new SafetensorsError('write-order', `tensor ${quoted(name)} is not the next one to write`, {
        file: this.path,
        tensor: name,
        details: { expectedOffset: range.begin, writtenBytes: this.written },
      });
    }
    await this.write(bytes);
  }

  /** Empty tensors take no bytes and may be written or passed over. */
  private isNext(name: string): boolean {
    for (; this.next < this.names.length; this.next++) {
      const candidate = this.names[this.next];
      if (candidate === name) return true;
      const range = candidate === undefined ? undefined : this.offsets.get(candidate);
      if (range !== undefined && range.end > this.written) return false;
    }
    return false;
  }

  /** Checks that exactly the announced bytes were written, flushes and closes. Throws `write-size` if not. */
  async finish(): Promise<void> {
    this.enter();
    try {
      if (this.written !== this.dataBytes) {
        throw new SafetensorsError(
          'write-size',
          `${basename(this.path)}: ${byteCount(this.written)} of data written, the header says ${grouped(this.dataBytes)}`,
          { file: this.path, details: { dataBytes: this.dataBytes, given: this.written } },
        );
      }
      // If the flush fails, what is on the disk is unknown.
      this.state = 'failed';
      await guarded(this.path, async () => {
        if (this.fsync) await this.handle.sync();
        await this.handle.close();
      });
      this.state = 'finished';
    } finally {
      this.busy = false;
    }
  }

  /** Closes and removes the file, whatever its state; does nothing after `finish()`. */
  async abort(): Promise<void> {
    if (this.state === 'finished' || this.state === 'aborted') return;
    this.state = 'aborted';
    await this.handle.close().catch(() => undefined);
    await unlink(this.path).catch(() => undefined);
  }

  private enter(): void {
    if (this.state !== 'open') {
      throw new SafetensorsError('writer-closed', `${basename(this.path)}: the writer is ${this.state}`, {
        file: this.path,
      });
    }
    if (this.busy) {
      throw new SafetensorsError('write-order', `${basename(this.path)}: await one write before the next`, {
        file: this.path,
      });
    }
    this.busy = true;
  }

  private async put(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0;
    try {
      await guarded(this.path, async () => {
        while (done < bytes.byteLength) {
          const length = Math.min(bytes.byteLength - done, MAX_WRITE);
          const { bytesWritten } = await this.handle.write(bytes, done, length, position + done);
          done += bytesWritten;
        }
      });
    } catch (error) {
      // What reached the disk is unknown: nothing may follow.
      this.state = 'failed';
      throw error;
    }
  }
}
