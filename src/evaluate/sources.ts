/**
 * Bytes of source tensors. Reads go through a small cache of file blocks, so that neighbouring reads (column slices of the
 * same rows, several experts from the same weights) touch the disk once; every tensor is hashed while its blocks pass by.
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, read as readCallback, statSync } from 'node:fs';
import type { Checkpoint, SourceTensor } from '../checkpoint/types.ts';
import { throwIfCancelled } from './cancel.ts';
import { MoeError, grouped, messageOf, systemCodeOf } from '../common/errors.ts';

const BLOCK = 1 << 20;

/** What identifies the state of a file: if any of it changes during a run, the source was changed under us. */
export interface FileState {
  readonly size: number;
  readonly mtimeMs: number;
}

interface OpenFile {
  readonly fd: number;
  readonly state: FileState;
  readonly name: string;
  readonly path: string;
}

/** A hash that is fed with a tensor's bytes in order, as far as they have passed by. */
interface RunningDigest {
  readonly hash: Hash;
  next: number;
}

function tensorKey(from: number, tensor: string): string {
  return `${String(from)}\u0000${tensor}`;
}

export class SourceSet {
  private readonly files = new Map<string, OpenFile>();
  private readonly blocks = new Map<string, Buffer>();
  private readonly running = new Map<string, RunningDigest>();
  private readonly digests = new Map<string, string>();
  /** Bytes read from disk so far. */
  bytesRead = 0;

  constructor(
    readonly checkpoints: readonly Checkpoint[],
    private readonly cacheBytes = 16 * BLOCK,
  ) {}

  /** The tensor of that physical name in parent `from`. */
  tensor(from: number, name: string): SourceTensor {
    const tensor = this.checkpoints[from]?.tensors.get(name);
    if (tensor === undefined) {
      throw new MoeError(
        'input',
        'source-tensor-missing',
        `The source has no tensor "${name}", which the plan reads.`,
        {
          tensor: name,
          hint: 'The plan belongs to another checkpoint, or this one lost a file: plan again.',
        },
      );
    }
    return tensor;
  }

  /** Opens the tensor's file (once) and returns what is needed to read from it. */
  private open(from: number, tensor: SourceTensor): OpenFile {
    const key = tensorKey(from, tensor.file);
    const known = this.files.get(key);
    if (known !== undefined) return known;
    const file = this.checkpoints[from]?.files.find((candidate) => candidate.name === tensor.file);
    if (file === undefined || tensor.begin < 0) {
      throw new MoeError('input', 'source-file-missing', `The weight file "${tensor.file}" is not at hand.`, {
        file: tensor.file,
        tensor: tensor.name,
        hint: 'Only config and index were found; get the weights to write or verify.',
      });
    }
    let fd: number;
    try {
      fd = openSync(file.path, 'r');
    } catch (error) {
      throw new MoeError('input', 'source-unreadable', `Cannot read "${file.name}": ${messageOf(error)}`, {
        file: file.name,
      });
    }
    const { size, mtimeMs } = fstatSync(fd);
    const opened: OpenFile = { fd, state: { size, mtimeMs }, name: file.name, path: file.path };
    this.files.set(key, opened);
    if (size !== file.bytes) this.changed(opened, `${grouped(file.bytes)} bytes when opened, ${grouped(size)} now`);
    return opened;
  }

  private changed(file: OpenFile, what: string): never {
    throw new MoeError('input', 'source-changed', `The source file "${file.name}" changed during the run (${what}).`, {
      file: file.name,
      hint: 'Let nothing write to the source while it is read, then run again.',
    });
  }

  /** Size and time of every source file that these tensors lie in, to recognise the same source on resume. */
  fileStates(tensors: Iterable<readonly [number, string]>): Map<string, FileState> {
    const states = new Map<string, FileState>();
    for (const [from, name] of tensors) {
      const tensor = this.tensor(from, name);
      const label = `${String(from)}/${tensor.file}`;
      if (!states.has(label)) states.set(label, this.open(from, tensor).state);
    }
    return states;
  }

  /** Throws `source-changed` if a file that was read has another size or time than when it was opened. */
  checkUnchanged(): void {
    for (const file of this.files.values()) {
      let size: number;
      let mtimeMs: number;
      try {
        ({ size, mtimeMs } = statSync(file.path));
      } catch (error) {
        this.changed(file, messageOf(error));
      }
      if (size !== file.state.size) {
        this.changed(file, `${grouped(file.state.size)} bytes before, ${grouped(size)} now`);
      }
      if (mtimeMs !== file.state.mtimeMs) this.changed(file, 'its modification time is newer');
    }
  }

  private short(file: OpenFile, at: number): never {
    throw new MoeError('input', 'source-truncated', `"${file.name}" ends at byte ${grouped(at)}, inside a tensor.`, {
      file: file.name,
      byte: at,
    });
  }

  private failed(file: OpenFile, error: unknown, at: number): never {
    if (error instanceof MoeError) throw error;
    throw new MoeError('input', 'source-unreadable', `Reading "${file.name}" failed: ${messageOf(error)}`, {
      file: file.name,
      byte: at,
      details: { system: systemCodeOf(error) ?? null },
    });
  }

  private fill(file: OpenFile, out: Buffer, at: number): void {
    try {
      for (let done = 0; done < out.length;) {
        const n = readSync(file.fd, out, done, out.length - done, at + done);
        if (n === 0) this.short(file, at + done);
        done += n;
        this.bytesRead += n;
      }
    } catch (error) {
      this.failed(file, error, at);
    }
  }

  /** Fills `out` with the tensor's bytes from `begin` (relative to the tensor), through the block cache. */
  readCached(from: number, tensor: SourceTensor, begin: number, out: Buffer): void {
    const file = this.open(from, tensor);
    for (let done = 0; done < out.length;) {
      const position = begin + done;
      const index = Math.floor(position / BLOCK);
      const block = this.block(from, tensor, file, index);
      const inBlock = position - index * BLOCK;
      done += block.copy(out, done, inBlock, Math.min(block.length, inBlock + out.length - done));
    }
  }

  /** Fills `out` past the cache: for reads that will not come again, in any order. */
  readDirect(from: number, tensor: SourceTensor, begin: number, out: Buffer): void {
    this.fill(this.open(from, tensor), out, tensor.begin + begin);
  }

  /** Like `readDirect`, on the thread pool. Does not feed the digest: the caller calls `digestPassing` in order. */
  readAsync(from: number, tensor: SourceTensor, begin: number, out: Buffer): Promise<void> {
    const file = this.open(from, tensor);
    return new Promise((resolve, reject) => {
      const step = (done: number): void => {
        readCallback(file.fd, out, done, out.length - done, tensor.begin + begin + done, (error, n) => {
          try {
            if (error !== null) this.failed(file, error, tensor.begin + begin + done);
            if (n === 0) this.short(file, tensor.begin + begin + done);
          } catch (failure) {
            reject(failure instanceof Error ? failure : new Error(messageOf(failure)));
            return;
          }
          this.bytesRead += n;
          if (done + n < out.length) step(done + n);
          else resolve();
        });
      };
      if (out.length === 0) resolve();
      else step(0);
    });
  }

  private block(from: number, tensor: SourceTensor, file: OpenFile, index: number): Buffer {
    const key = `${tensorKey(from, tensor.name)}\u0000${String(index)}`;
    const known = this.blocks.get(key);
    if (known !== undefined) {
      // Most recently used last.
      this.blocks.delete(key);
      this.blocks.set(key, known);
      return known;
    }
    const begin = index * BLOCK;
    const length = Math.min(BLOCK, tensor.bytes - begin);
    let block: Buffer | undefined;
    if ((this.blocks.size + 1) * BLOCK > this.cacheBytes) {
      const oldest = this.blocks.entries().next().value;
      if (oldest !== undefined) {
        this.blocks.delete(oldest[0]);
        // Reusing its memory keeps the resident size flat.
        if (oldest[1].buffer.byteLength >= length) block = Buffer.from(oldest[1].buffer, 0, length);
      }
    }
    block ??= Buffer.from(new ArrayBuffer(length));
    this.fill(file, block, tensor.begin + begin);
    this.blocks.set(key, block);
    this.digestPassing(from, tensor, begin, block);
    return block;
  }

  /** Feeds the tensor's digest with bytes that were read anyway; those that do not continue it are left to `digest`. */
  digestPassing(from: number, tensor: SourceTensor, begin: number, bytes: Buffer): void {
    const key = tensorKey(from, tensor.name);
    if (this.digests.has(key)) return;
    let running = this.running.get(key);
    if (running === undefined) {
      running = { hash: createHash('sha256'), next: 0 };
      this.running.set(key, running);
    }
    const end = begin + bytes.length;
    if (running.next < begin || (running.next >= end && end !== tensor.bytes)) return;
    running.hash.update(running.next === begin ? bytes : bytes.subarray(running.next - begin));
    running.next = end;
    if (end === tensor.bytes) {
      this.digests.set(key, running.hash.digest('hex'));
      this.running.delete(key);
    }
  }

  /** The digest if every byte of the tensor has passed by already. */
  knownDigest(from: number, name: string): string | undefined {
    return this.digests.get(tensorKey(from, name));
  }

  /** Takes a digest over from an earlier run of the same, unchanged source. */
  restoreDigest(from: number, name: string, hex: string): void {
    this.digests.set(tensorKey(from, name), hex);
  }

  /** sha256 (hex) over the tensor's bytes on disk; reads whatever has not passed by yet. */
  async digest(from: number, name: string, signal?: AbortSignal): Promise<string> {
    const known = this.knownDigest(from, name);
    if (known !== undefined) return known;
    const tensor = this.tensor(from, name);
    const buffer = Buffer.from(new ArrayBuffer(Math.min(BLOCK, tensor.bytes)));
    for (;;) {
      const hex = this.knownDigest(from, name);
      if (hex !== undefined) return hex;
      throwIfCancelled(signal);
      const next = this.running.get(tensorKey(from, name))?.next ?? 0;
      const chunk = buffer.subarray(0, Math.min(buffer.length, tensor.bytes - next));
      await this.readAsync(from, tensor, next, chunk);
      this.digestPassing(from, tensor, next, chunk);
    }
  }

  /** Closes every file. */
  close(): void {
    for (const file of this.files.values()) closeSync(file.fd);
    this.files.clear();
    this.blocks.clear();
  }
}
