import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkOutputs, writeOutput } from '../../src/cli/outputs.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'moe-outputs-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('files that a command is going to write', () => {
  it('may be new, or take the place of a result', async () => {
    await writeFile(join(dir, 'old.json'), '{"results": {}}');
    await writeFile(join(dir, 'old.jsonl'), '');
    await writeFile(join(dir, 'experts.csv'), 'layer,expert\n');
    await checkOutputs({
      output: join(dir, 'old.json'),
      samples: join(dir, 'old.jsonl'),
      trace: join(dir, 'new.json'),
    });
    await checkOutputs({ csv: join(dir, 'experts.csv') }, 'csv');
    await checkOutputs({ output: undefined });
    expect((await readdir(dir)).sort()).toEqual(['experts.csv', 'old.json', 'old.jsonl']);
  });

  it('are refused where their folder is missing or is none, before any work', async () => {
    const path = join(dir, 'no/o.json');
    await expect(checkOutputs({ output: path })).rejects.toMatchObject({
      code: 'cannot-write',
      message: `${path} cannot be written: there is no folder ${join(dir, 'no')}`,
    });
    await writeFile(join(dir, 'file'), '{');
    await expect(checkOutputs({ output: join(dir, 'file/o') })).rejects.toMatchObject({ code: 'cannot-write' });
    await mkdir(join(dir, 'folder'));
    await expect(checkOutputs({ output: join(dir, 'folder') })).rejects.toThrow(/it is a folder/);
  });

  it('never take the place of weights, configs or texts', async () => {
    for (const [name, content] of [
      ['model.safetensors', '\u0010\0\0\0\0\0\0\0{}'],
      ['config.json', '{}'],
      ['model.safetensors.index.json', '{}'],
      ['moe-manifest.json', '{}'],
      ['notes.txt', 'dear diary'],
    ] as const) {
      await writeFile(join(dir, name), content);
      await expect(checkOutputs({ output: join(dir, name) }), name).rejects.toMatchObject({
        code: 'output-would-replace',
      });
    }
  });

  it('are not the same file twice', async () => {
    const path = join(dir, 'o.json');
    await expect(checkOutputs({ output: path, samples: path })).rejects.toMatchObject({ code: 'same-output' });
    // A device takes both.
    await checkOutputs({ output: '/dev/null', samples: '/dev/null' });
  });

  it('are written whole; a link is replaced, a device or pipe is written to', async () => {
    await writeFile(join(dir, 'kept'), 'kept');
    await symlink(join(dir, 'kept'), join(dir, 'link.json'));
    await writeOutput(join(dir, 'link.json'), ['a', 'b']);
    expect(await readFile(join(dir, 'link.json'), 'utf8')).toBe('ab');
    expect(await readFile(join(dir, 'kept'), 'utf8')).toBe('kept');
    await writeOutput('/dev/null', ['a', 'b']);
    expect((await stat('/dev/null')).isCharacterDevice()).toBe(true);
    await expect(writeOutput(join(dir, 'no/x'), 'x')).rejects.toMatchObject({ code: 'cannot-write' });
    expect((await readdir(dir)).sort()).toEqual(['kept', 'link.json']);
  });
});
