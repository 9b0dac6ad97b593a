import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { writeWhole } from '../../src/common/write-whole.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-whole-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('writeWhole', () => {
  it('writes chunks one after the other and counts their bytes', async () => {
    const path = join(folder, 'a.json');
    expect(await writeWhole(path, ['{"é":', '1}', '\n'])).toBe(9);
    expect(readFileSync(path, 'utf8')).toBe('{"é":1}\n');
    await writeWhole(path, 'short');
    expect(readFileSync(path, 'utf8')).toBe('short');
  });

  it('leaves the old file, and nothing besides, where the text fails on the way', async () => {
    const path = join(folder, 'b.json');
    await writeWhole(path, 'old');
    const before = readdirSync(folder);
    function* broken(): Generator<string> {
      yield 'new';
      throw new Error('no more');
    }
    await expect(writeWhole(path, broken())).rejects.toThrow('no more');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder)).toEqual(before);
  });

  it.skipIf(process.platform === 'win32')('replaces a link and never writes through it', async () => {
    const target = join(folder, 'precious');
    const link = join(folder, 'link');
    writeFileSync(target, 'precious');
    symlinkSync(target, link);
    await writeWhole(link, 'other');
    expect(readFileSync(target, 'utf8')).toBe('precious');
    expect(readFileSync(link, 'utf8')).toBe('other');
  });
});
