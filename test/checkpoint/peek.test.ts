import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { filesOf } from '../../src/checkpoint/files-of.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { peekCheckpoint } from '../../src/checkpoint/peek.ts';
import type { SourceTensor } from '../../src/checkpoint/types.ts';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-peek-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('peekCheckpoint', () => {
  it('tells of a folder what listing and config tell, and as much by its index or config', async () => {
    const path = join(folder, 'tiny');
    await writeSampleCheckpoint(path);
    const { files } = await openCheckpoint(path);
    const facts = {
      files: 1,
      bytes: files[0]?.bytes,
      modelType: 'llama',
      layers: 8,
      hidden: 128,
      experts: null,
      topK: null,
    };
    expect(await peekCheckpoint(path)).toEqual(facts);
    expect(await peekCheckpoint(join(path, 'config.json'))).toEqual(facts);
    expect(await peekCheckpoint(join(path, 'model.safetensors'))).toEqual(facts);
  });

  it('looks into text_config and takes no nonsense from a config', async () => {
    const path = mkdtempSync(join(folder, 'odd-'));
    writeFileSync(
      join(path, 'config.json'),
      JSON.stringify({
        model_type: 'x'.repeat(1000),
        text_config: { num_hidden_layers: -3, hidden_size: 1.5, num_experts: 64, num_experts_per_tok: '8' },
      }),
    );
    expect(await peekCheckpoint(path)).toEqual({
      files: 0,
      bytes: 0,
      modelType: 'x'.repeat(100),
      layers: null,
      hidden: null,
      experts: 64,
      topK: null,
    });
  });

  it('is silent where there is nothing, or nothing to be read', async () => {
    expect(await peekCheckpoint(join(folder, 'absent'))).toBeNull();
    const path = mkdtempSync(join(folder, 'broken-'));
    writeFileSync(join(path, 'config.json'), '{"model_type": ');
    expect(await peekCheckpoint(path)).toMatchObject({ files: 0, modelType: null });
  });
});

describe('filesOf', () => {
  it('is the map that it stands for', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(fc.string(), fc.string()), { selector: ([name]) => name }), (pairs) => {
        const tensors = new Map(
          pairs.map(([name, file]): [string, SourceTensor] => [
            name,
            { name, dtype: 'F32', shape: [], file, begin: 0, bytes: 4 },
          ]),
        );
        const map = filesOf(tensors);
        const plain = new Map(pairs);
        expect([...map]).toEqual([...plain]);
        expect([...map.values()]).toEqual([...plain.values()]);
        expect([...map.keys()]).toEqual([...plain.keys()]);
        expect(map.size).toBe(plain.size);
        for (const name of [...plain.keys(), 'stranger']) {
          expect(map.get(name)).toBe(plain.get(name));
          expect(map.has(name)).toBe(plain.has(name));
        }
        const seen: [string, string][] = [];
        map.forEach((file, name) => seen.push([name, file]));
        expect(seen).toEqual([...plain]);
      }),
    );
  });
});
