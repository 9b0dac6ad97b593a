/**
 * Positional reads of tensors. Nothing is mapped, and unless asked to, no file stays open: others may rename or replace it.
 */
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { constants } from 'node:buffer';
import { SafetensorsError, byteCount, grouped, quoted } from './errors.ts';
import type { SafetensorsHeader, TensorInfo } from './header.ts';
import { guarded, readHeaderFrom, refuseNonFile } from './read-header.ts';
import type { ReadHeaderOptions } from './read-header.ts';

export interface OpenOptions extends ReadHeaderOptions {
  /** Keep the file open until `close()` (default false: it is opened for each read). */
  readonly keepOpen?: boolean;
}

/** What must not change between reads. */
interface Stamp {
  readonly size: number;
  readonly mtimeMs: number;
  readonly ino: number;
}

/** One read call may not ask for more (Node's limit is 2^31-1). */
const MAX_READ = 1 << 30;

/** Opens a file for positional reads; its header is read and checked as `readHeader` does. */
export async function openSafetensors(path: string, options: OpenOptions = {}): Promise<SafetensorsFile> {
  return guarded(path, async () => {
    refuseNonFile(path, await stat(path));
    const handle = await open(path, 'r');
    try {
      const header = await readHeaderFrom(handle, path, options);
      const { size, mtimeMs, ino } = await handle.stat();
      const kept = options.keepOpen === true ? handle : undefined;
      if (kept === undefined) await handle.close();
      return new SafetensorsFile(path, header, { size, mtimeMs, ino }, kept);
    } catch (error) {
      await handle.close().catch(() => undefined);
      throw error;
    }
  });
}

export class SafetensorsFile {
  readonly path: string;
  readonly header: SafetensorsHeader;
  private readonly stamp: Stamp;
  private handle: FileHandle | undefined;
  private closed = false;

  /** Use `openSafetensors`. */
  constructor(path: string, header: SafetensorsHeader, stamp: Stamp, handle: FileHandle | undefined) {
    this.path = path;
    this.header = header;
    this.stamp = stamp;
    this.handle = handle;
  }

  /** A tensor's entry; throws `tensor-not-found`. */
  tensor(name: string): TensorInfo {
    const info = this.header.tensors.get(name);
    if (info === undefined) {
      throw new SafetensorsError('tensor-not-found', `${basename(this.path)} has no tensor ${quoted(name)}`, {
        file: this.path,
        tensor: name,
      });
    }
    return info;
  }

  /**
   * Bytes [byteBegin, byteEnd) of a tensor, counted from its first byte; into `into` if given (which must be long enough).
   * Throws `tensor-not-found`, `invalid-slice`, `file-changed` (the file is another one since it was opened).
   */
  async readSlice(name: string, byteBegin: number, byteEnd: number, into?: Uint8Array): Promise<Uint8Array> {
    const info = this.tensor(name);
    const length = info.end - info.begin;
    if (
      !Number.isSafeInteger(byteBegin) ||
      !Number.isSafeInteger(byteEnd) ||
      byteBegin < 0 ||
      byteEnd < byteBegin ||
      byteEnd > length
    ) {
      throw this.invalidSlice(name, `bytes [${String(byteBegin)}, ${String(byteEnd)}) of ${byteCount(length)}`);
    }
    const wanted = byteEnd - byteBegin;
    if (into !== undefined && into.byteLength < wanted) {
      throw this.invalidSlice(name, `${byteCount(wanted)} into a buffer of ${grouped(into.byteLength)}`);
    }
    if (into === undefined && wanted > constants.MAX_LENGTH) {
      throw this.invalidSlice(name, `${byteCount(wanted)} at once; read it in slices`);
    }
    const target = into === undefined ? Buffer.allocUnsafeSlow(wanted) : into.subarray(0, wanted);
    if (wanted > 0) await this.readAt(this.header.dataStart + info.begin + byteBegin, target, name);
    return target;
  }

  /** All bytes of a tensor. */
  async readTensor(name: string, into?: Uint8Array): Promise<Uint8Array> {
    const info = this.tensor(name);
    return this.readSlice(name, 0, info.end - info.begin, into);
  }

  /** Closes the file if it is kept open; later reads throw. */
  async close(): Promise<void> {
    this.closed = true;
    const { handle } = this;
    this.handle = undefined;
    await handle?.close();
  }

  private invalidSlice(tensor: string, what: string): SafetensorsError {
    return new SafetensorsError('invalid-slice', `tensor ${quoted(tensor)}: cannot read ${what}`, {
      file: this.path,
      tensor,
    });
  }

  private async readAt(position: number, target: Uint8Array, tensor: string): Promise<void> {
    if (this.closed) {
      throw new SafetensorsError('invalid-argument', `${basename(this.path)} was closed`, { file: this.path, tensor });
    }
    await guarded(this.path, async () => {
      if (this.handle !== undefined) {
        await this.fill(this.handle, position, target, tensor);
        return;
      }
      const handle = await open(this.path, 'r');
      try {
        const { size, mtimeMs, ino } = await handle.stat();
        if (size !== this.stamp.size || mtimeMs !== this.stamp.mtimeMs || ino !== this.stamp.ino) {
          throw this.changed(tensor);
        }
        await this.fill(handle, position, target, tensor);
      } finally {
        await handle.close();
      }
    });
  }

  private async fill(handle: FileHandle, position: number, target: Uint8Array, tensor: string): Promise<void> {
    let filled = 0;
    while (filled < target.byteLength) {
      const length = Math.min(target.byteLength - filled, MAX_READ);
      const { bytesRead } = await handle.read(target, filled, length, position + filled);
      if (bytesRead === 0) throw this.changed(tensor);
      filled += bytesRead;
    }
  }

  private changed(tensor: string): SafetensorsError {
    return new SafetensorsError('file-changed', `${basename(this.path)} was changed since its header was read`, {
      file: this.path,
      tensor,
      hint: 'Another program wrote it: open it again.',
    });
  }
}
