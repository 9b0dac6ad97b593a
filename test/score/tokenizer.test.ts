/** Tokenizers of opened checkpoints against the reference libraries' ids. */
import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { evalTokenizer, tokenizerOf } from '../../src/score/tokenizer.ts';
import { sharedFolder, smollm2Folder, smollm2Gguf } from './models.ts';

interface Goldens {
  readonly items: readonly { readonly text: string; readonly ids: number[]; readonly ids_digits_first?: number[] }[];
}

const goldenFile = sharedFolder('data', 'goldens', 'smollm2-135m.tokens.json');
const tokenizerFolder = sharedFolder('models', 'smollm2-135m');
const items = goldenFile === null ? [] : (JSON.parse(fs.readFileSync(goldenFile, 'utf8')) as Goldens).items;

describe('tokenizer of a checkpoint', () => {
  it.skipIf(smollm2Folder === null || items.length === 0)('a folder: all golden strings of SmolLM2', async () => {
    const { tokenizer } = tokenizerOf(await openCheckpoint(smollm2Folder ?? ''));
    expect(items.length).toBeGreaterThan(50);
    for (const { text, ids } of items) expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids });
  });

  it.skipIf(smollm2Gguf === null || items.length === 0)('a GGUF: digits are split first', async () => {
    const { tokenizer } = tokenizerOf(await openCheckpoint(smollm2Gguf ?? ''));
    expect(items.some((item) => item.ids_digits_first !== undefined)).toBe(true);
    for (const { text, ids, ids_digits_first: digits } of items)
      expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids: digits ?? ids });
  });

  it.skipIf(tokenizerFolder === null)('evaluation is told that SmolLM2 splits after newlines', async () => {
    const eot = evalTokenizer(tokenizerOf(await openCheckpoint(tokenizerFolder ?? '')));
    expect(eot).toMatchObject({ bosId: 1, eosId: 2, splitsAfterNewline: true });
    expect(eot.encode('a', { addSpecial: true })).toEqual(eot.encode('a', { addSpecial: false }));
  });

  it('a checkpoint without one is named', async () => {
    const folder = new URL('../forward/fixtures/qwen2_moe', import.meta.url).pathname;
    const opened = await openCheckpoint(folder);
    expect(() => tokenizerOf(opened)).toThrow(
      expect.objectContaining({ code: 'no-tokenizer', message: expect.stringContaining(folder) as string }) as Error,
    );
  });
});
