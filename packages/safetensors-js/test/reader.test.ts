import { appendFileSync, existsSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { openSafetensors } from '../src/index.ts';
import { errorOf, fileOf, rejectionOf, temporaryFolder } from './helpers.ts';

const folder = temporaryFolder();
afterAll(folder.remove);
const path = join(folder.path, 'm.safetensors');
const data = Buffer.from(Array.from({ length: 12 }, (_, i) => i + 100));
const JSON_TEXT =
  '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U16","shape":[4],"data_offsets":[4,12]},' +
  '"none":{"dtype":"F32","shape":[0],"data_offsets":[12,12]}}';

/** Paths of this process's open files, where the system tells. */
function openFiles(): string[] {
  if (!existsSync('/proc/self/fd')) return [];
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

beforeEach(() => writeFileSync(path, fileOf(JSON_TEXT, data)));

describe('openSafetensors', () => {
  test('reads tensors and slices of them', async () => {
    const file = await openSafetensors(path);
    expect([...(await file.readTensor('a'))]).toEqual([100, 101, 102, 103]);
    expect([...(await file.readSlice('b', 2, 5))]).toEqual([106, 107, 108]);
    expect((await file.readTensor('none')).byteLength).toBe(0);
    expect((await file.readSlice('a', 4, 4)).byteLength).toBe(0);
  });

  test('reads into a given buffer and returns the part that was filled', async () => {
    const file = await openSafetensors(path);
    const into = new Uint8Array(10);
    const filled = await file.readSlice('b', 0, 8, into.subarray(1));
    expect([...into]).toEqual([0, 104, 105, 106, 107, 108, 109, 110, 111, 0]);
    expect(filled.buffer).toBe(into.buffer);
    expect(filled.byteLength).toBe(8);
  });

  test('refuses slices that are none', async () => {
    const file = await openSafetensors(path);
    for (const [begin, end] of [
      [-1, 2],
      [0, 5],
      [3, 2],
      [0.5, 2],
      [0, NaN],
    ] as const) {
      expect((await rejectionOf(file.readSlice('a', begin, end))).code).toBe('invalid-slice');
    }
    expect((await rejectionOf(file.readTensor('a', new Uint8Array(3)))).code).toBe('invalid-slice');
    const unknown = errorOf(() => file.tensor('zz'));
    expect([unknown.code, unknown.tensor, unknown.file]).toEqual(['tensor-not-found', 'zz', path]);
  });

  test('keeps nothing open unless asked', async () => {
    const file = await openSafetensors(path);
    await file.readTensor('a');
    expect(openFiles()).not.toContain(path);
    const kept = await openSafetensors(path, { keepOpen: true });
    if (existsSync('/proc/self/fd')) expect(openFiles()).toContain(path);
    await kept.close();
    expect(openFiles()).not.toContain(path);
    expect((await rejectionOf(kept.readTensor('a'))).code).toBe('invalid-argument');
  });

  test('closes the file when the header is refused', async () => {
    appendFileSync(path, 'x');
    expect((await rejectionOf(openSafetensors(path))).code).toBe('trailing-bytes');
    expect(openFiles()).not.toContain(path);
  });

  test('notices that the file is another one now', async () => {
    const file = await openSafetensors(path);
    writeFileSync(`${path}.new`, fileOf(JSON_TEXT, Buffer.alloc(12)));
    renameSync(`${path}.new`, path);
    expect((await rejectionOf(file.readTensor('a'))).code).toBe('file-changed');
  });

  test('a kept file goes on reading what it opened', async () => {
    const file = await openSafetensors(path, { keepOpen: true });
    writeFileSync(`${path}.new`, fileOf(JSON_TEXT, Buffer.alloc(12)));
    renameSync(`${path}.new`, path);
    expect([...(await file.readTensor('a'))]).toEqual([100, 101, 102, 103]);
    await file.close();
  });
});
