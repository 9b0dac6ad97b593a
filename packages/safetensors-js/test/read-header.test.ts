import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { headerOfBytes, parseLfsPointer, readHeader, readHeaderSync, recognise } from '../src/index.ts';
import { errorOf, fileOf, rejectionOf, temporaryFolder } from './helpers.ts';

const folder = temporaryFolder();
afterAll(folder.remove);
const at = (name: string): string => join(folder.path, name);

/** Both entry points; they must not differ. */
async function refused(path: string, options = {}): ReturnType<typeof rejectionOf> {
  const error = await rejectionOf(readHeader(path, options));
  const sync = errorOf(() => readHeaderSync(path, options));
  expect([sync.code, sync.message]).toEqual([error.code, error.message]);
  expect(error.file).toBe(path);
  return error;
}

function huge(name: string, headerBytes: number, first = '{'): string {
  const length = Buffer.alloc(9, first);
  length.writeBigUInt64LE(BigInt(headerBytes));
  writeFileSync(at(name), length);
  truncateSync(at(name), 8 + headerBytes + 10);
  return at(name);
}

describe('readHeader', () => {
  test('G3-09: a header over the readers’ limit is not called damaged, and not read', async () => {
    // The report's own length: its first byte is that of '['.
    const path = huge('big.safetensors', 110_877_787);
    const before = process.memoryUsage().arrayBuffers;
    const error = await refused(path);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    expect(error.code).toBe('header-too-large');
    expect(error.message).toContain("the header is 110,877,787 bytes; the format's readers stop at 100,000,000");
    expect(error.message).toContain('a valid file with too many tensors, split it');
    expect(error.message).not.toMatch(/corrupt|damage|lfs/i);
    expect(error.details).toMatchObject({ headerBytes: 110_877_787, limit: 100_000_000 });
  });

  test('every length over the limit is told so, whatever its bytes look like', async () => {
    for (const low of [0x5b, 0x7b, 0x1f8b, 0x0280, 0x4b50, 0x20, 0x3c]) {
      const length = 120_000_000 - (120_000_000 % 65536) + (low > 255 ? ((low & 255) << 8) | (low >> 8) : low);
      expect((await refused(huge('big.safetensors', length))).message).toContain('a valid file with too many tensors');
    }
  });

  test('a limit of the caller’s own is named as such', async () => {
    const error = await refused(huge('mid.safetensors', 30_000_000), {
      maxHeaderBytes: 25_000_000,
      limitName: 'moe.maxHeaderBytes',
    });
    expect(error.message).toContain('30,000,000 bytes; the limit set here is 25,000,000 (moe.maxHeaderBytes)');
    expect(error.hint).toContain('moe.maxHeaderBytes');
  });

  test('a higher limit reads what other readers refuse', () => {
    const json = Buffer.alloc(100_000_001, ' ');
    json.write('{}');
    const file = fileOf(json);
    expect(errorOf(() => headerOfBytes(file)).code).toBe('header-too-large');
    expect(headerOfBytes(file, 'x', { maxHeaderBytes: 200_000_000 }).headerBytes).toBe(100_000_001);
  });

  test.each([
    ['gguf', Buffer.from('GGUF\x03\0\0\0\x20\0\0\0')],
    ['zip', Buffer.from('PK\x03\x04\0\0\0\0\0\0archive/data.pkl')],
    ['pickle', Buffer.from([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9])],
    ['html', Buffer.from('<!DOCTYPE html><html>Not found')],
    ['json', Buffer.from('{"error":"not found"}')],
    ['text', Buffer.from('Invalid username or password.')],
    ['hdf5', Buffer.from('\x89HDF\r\n\x1a\n\0\0\0\0', 'latin1')],
  ])('recognises %s', async (kind, bytes) => {
    writeFileSync(at(`${kind}.safetensors`), bytes);
    const error = await refused(at(`${kind}.safetensors`));
    expect(error.code).toBe('not-safetensors');
    expect(error.details?.['looksLike']).toBe(kind);
    expect(error.message).toContain('looks like');
  });

  test('a large pickle is refused by its first bytes, a header of the same length is not', async () => {
    const length = Buffer.from('PK\x03\x04\0\0\0\0', 'latin1');
    writeFileSync(at('pytorch_model.bin'), Buffer.concat([length, Buffer.alloc(8)]));
    truncateSync(at('pytorch_model.bin'), 70_000_000);
    expect((await refused(at('pytorch_model.bin'))).code).toBe('not-safetensors');
    const json = Buffer.alloc(Number(length.readBigUInt64LE()), ' ');
    json.write('{}');
    expect(headerOfBytes(Buffer.concat([length, json])).headerBytes).toBe(67_324_752);
  });

  test('a file of zeros', async () => {
    writeFileSync(at('zeros.safetensors'), Buffer.alloc(64));
    const error = await refused(at('zeros.safetensors'));
    expect([error.code, error.details?.['looksLike']]).toEqual(['not-safetensors', 'zeros']);
  });

  test('what is no file', async () => {
    mkdirSync(at('folder.safetensors'));
    expect((await refused(at('folder.safetensors'))).code).toBe('not-a-file');
    expect((await refused(at('absent.safetensors'))).code).toBe('file-not-found');
    symlinkSync(at('nowhere'), at('dangling.safetensors'));
    expect((await refused(at('dangling.safetensors'))).code).toBe('file-not-found');
  });

  test.skipIf(process.platform === 'win32')('a pipe is refused, not waited for', async () => {
    expect(spawnSync('mkfifo', [at('pipe.safetensors')]).status).toBe(0);
    expect((await refused(at('pipe.safetensors'))).code).toBe('not-a-file');
  });

  test.skipIf(process.platform === 'win32' || process.getuid?.() === 0)('a file without read permission', async () => {
    writeFileSync(at('secret.safetensors'), fileOf('{}'));
    chmodSync(at('secret.safetensors'), 0);
    expect((await refused(at('secret.safetensors'))).code).toBe('permission-denied');
  });

  test('errors inside the header name the file', async () => {
    writeFileSync(at('bad.safetensors'), fileOf('{"a":1}'));
    const error = await refused(at('bad.safetensors'));
    expect(error.message).toMatch(/^bad\.safetensors: tensor "a": /);
    expect([error.tensor, error.byte]).toEqual(['a', 8 + 5]);
  });

  test('an error with a header prints without it', async () => {
    writeFileSync(at('trailing.safetensors'), fileOf('{}', 3));
    const error = await refused(at('trailing.safetensors'));
    expect(error.header?.tensors.size).toBe(0);
    expect(Object.keys(error)).not.toContain('header');
  });
});

describe('parseLfsPointer', () => {
  const oid = '4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393';
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize 12345\n`;

  test('the specification’s example, also with Windows line ends and extensions', () => {
    expect(parseLfsPointer(Buffer.from(pointer))).toEqual({ oid, size: 12345 });
    expect(parseLfsPointer(Buffer.from(pointer.replaceAll('\n', '\r\n')))).toEqual({ oid, size: 12345 });
    expect(parseLfsPointer(Buffer.from(pointer.replace('\noid', '\next-0-foo sha256:00\noid')))).toEqual({
      oid,
      size: 12345,
    });
  });

  test('what is none', () => {
    expect(parseLfsPointer(Buffer.from('version 1\n'))).toBeUndefined();
    expect(parseLfsPointer(Buffer.from(pointer.replace(/oid.*\n/, '')))).toBeUndefined();
    expect(parseLfsPointer(Buffer.from(pointer.replace('12345', '1e9')))).toBeUndefined();
    expect(recognise(Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]))).toBeUndefined();
  });
});
