import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readGgufHeader } from '../../src/gguf/header.ts';
import { mapTensors, requireComplete } from '../../src/gguf/names.ts';
import { openGgufModel } from '../../src/gguf/split.ts';
import { readSource } from '../../src/gguf/tensor-data.ts';
import { caught, gguf, kv, scratch, tensorInfo, u32 } from './build.ts';

const models = fileURLToPath(new URL('./fixtures/models/', import.meta.url));
const part = (i: number): string => `split-0000${i}-of-00003.gguf`;
const { folder } = scratch();
let folders = 0;

/** A folder with the given files: path to copy, or bytes. */
function folderOf(files: Readonly<Record<string, string | Buffer>>): string {
  const path = join(folder, String(folders++));
  mkdirSync(path);
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === 'string') copyFileSync(content, join(path, name));
    else writeFileSync(join(path, name), content);
  }
  return path;
}

/** A part with one tensor. */
function made(no: number, count: number, tensor: string, more: readonly Buffer[] = []): Buffer {
  const keys = [kv.u32('split.no', no), kv.u32('split.count', count), ...more];
  return gguf({ keys, tensors: [tensorInfo(tensor, [1], 0, 0)], data: u32(0) });
}

describe('openGgufModel', () => {
  it('opens all parts from any of them, as the whole model', () => {
    const whole = mapTensors(readGgufHeader(join(models, 'llama.gguf')));
    for (const i of [1, 2, 3]) {
      const model = openGgufModel(join(models, part(i)));
      expect(model.parts).toHaveLength(3);
      expect(model.notes).toEqual([]);
      const mapping = mapTensors(model);
      requireComplete(model, mapping);
      expect([...mapping.sources.keys()].sort()).toEqual([...whole.sources.keys()].sort());
      for (const [name, source] of whole.sources) {
        const same = mapping.sources.get(name);
        expect(same === undefined ? undefined : readSource(same)).toEqual(readSource(source));
      }
    }
  });

  it('opens a model that is not split', () => {
    const model = openGgufModel(join(models, 'llama.gguf'));
    expect(model.parts.map((header) => header.path)).toEqual([join(models, 'llama.gguf')]);
  });

  it('names missing parts', () => {
    const path = folderOf({ [part(1)]: join(models, part(1)), [part(3)]: join(models, part(3)) });
    expect(caught(() => openGgufModel(join(path, part(1))))).toMatchObject({
      code: 'gguf-split-missing',
      place: { details: { missing: [part(2)] } },
    });
  });

  it.each<[string, Readonly<Record<string, string | Buffer>>, string]>([
    ['a part under a name of its own', { 'model.gguf': join(models, part(1)) }, 'model.gguf'],
    ['a part under the name of another', { [part(1)]: join(models, part(2)) }, part(1)],
    [
      'another model among the parts',
      { [part(1)]: join(models, part(1)), [part(2)]: join(models, 'qwen2.gguf'), [part(3)]: join(models, part(3)) },
      part(1),
    ],
    [
      'a tensor in two parts',
      { 'm-00001-of-00002.gguf': made(0, 2, 'x'), 'm-00002-of-00002.gguf': made(1, 2, 'x') },
      'm-00001-of-00002.gguf',
    ],
    [
      'another number of tensors than announced',
      {
        'm-00001-of-00002.gguf': made(0, 2, 'x', [kv.u32('split.tensors.count', 3)]),
        'm-00002-of-00002.gguf': made(1, 2, 'y'),
      },
      'm-00002-of-00002.gguf',
    ],
  ])('refuses %s', (_name, files, open) => {
    const path = folderOf(files);
    expect(caught(() => openGgufModel(join(path, open)))).toMatchObject({ code: 'gguf-split', kind: 'input' });
  });
});

describe('a part alone', () => {
  it('says that it is one', () => {
    expect(readGgufHeader(join(models, part(2))).notes.map((note) => note.code)).toEqual(['gguf-split']);
  });
});
