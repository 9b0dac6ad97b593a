/** A small GGUF writer for tests: enough to make right files and, with `raw`, wrong ones. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export const u8 = (n: number): Buffer => Buffer.from([n & 255]);
export function u32(n: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(n >>> 0);
  return bytes;
}
export function u64(n: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(n));
  return bytes;
}
export function f32(n: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(n);
  return bytes;
}
export function str(text: string | Buffer): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  return Buffer.concat([u64(bytes.length), bytes]);
}

/** Key-value pairs by type. */
export const kv = {
  text: (key: string, value: string | Buffer): Buffer => Buffer.concat([str(key), u32(8), str(value)]),
  u32: (key: string, value: number): Buffer => Buffer.concat([str(key), u32(4), u32(value)]),
  u64: (key: string, value: number | bigint): Buffer => Buffer.concat([str(key), u32(10), u64(value)]),
  f32: (key: string, value: number): Buffer => Buffer.concat([str(key), u32(6), f32(value)]),
  bool: (key: string, value: number): Buffer => Buffer.concat([str(key), u32(7), u8(value)]),
  texts: (key: string, values: readonly string[]): Buffer =>
    Buffer.concat([str(key), u32(9), u32(8), u64(values.length), ...values.map((v) => str(v))]),
  floats: (key: string, values: readonly number[]): Buffer =>
    Buffer.concat([str(key), u32(9), u32(6), u64(values.length), ...values.map(f32)]),
  ints: (key: string, values: readonly number[]): Buffer =>
    Buffer.concat([str(key), u32(9), u32(5), u64(values.length), ...values.map(u32)]),
};

/** A row of the tensor table. `ne` is in GGUF order; `offset` counts from the start of the data. */
export function tensorInfo(
  name: string,
  ne: readonly (number | bigint)[],
  type: number,
  offset: number | bigint,
): Buffer {
  return Buffer.concat([str(name), u32(ne.length), ...ne.map(u64), u32(type), u64(offset)]);
}

export interface Parts {
  readonly magic?: string;
  readonly version?: number;
  readonly keys?: readonly Buffer[];
  readonly tensors?: readonly Buffer[];
  readonly data?: Buffer;
  readonly keyCount?: number | bigint;
  readonly tensorCount?: number | bigint;
  readonly alignment?: number;
}

export function gguf(parts: Parts): Buffer {
  const { keys = [], tensors = [], alignment = 32 } = parts;
  const head = Buffer.concat([
    Buffer.from(parts.magic ?? 'GGUF', 'latin1'),
    u32(parts.version ?? 3),
    u64(parts.tensorCount ?? tensors.length),
    u64(parts.keyCount ?? keys.length),
    ...keys,
    ...tensors,
  ]);
  const padding = Buffer.alloc((alignment - (head.length % alignment)) % alignment);
  return Buffer.concat([head, padding, parts.data ?? Buffer.alloc(0)]);
}

/** Files in a folder of their own that goes away after the tests of the file. */
export function scratch(): { readonly folder: string; readonly file: (bytes: Uint8Array, name?: string) => string } {
  const folder = mkdtempSync(join(tmpdir(), 'gguf-test-'));
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  let count = 0;
  return {
    folder,
    file: (bytes, name = `${count++}.gguf`) => {
      const path = join(folder, name);
      writeFileSync(path, bytes);
      return path;
    },
  };
}

/** What `run` throws, or undefined. */
export function caught(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}
