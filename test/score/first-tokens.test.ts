/** First tokens of a text: the same as those of the whole text, without reading it all. */
import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { firstTokens } from '../../src/score/first-tokens.ts';
import { tokenizerOf } from '../../src/score/tokenizer.ts';
import { sharedFolder, smollm2Gguf } from './models.ts';

const text = sharedFolder('data', 'text', 'tinyshakespeare.txt');

describe('first tokens', () => {
  const models = [sharedFolder('models', 'stories260K'), smollm2Gguf].filter((model) => model !== null);
  it.skipIf(text === null).each(models)('%s: as of the whole text', async (model) => {
    const { tokenizer } = tokenizerOf(await openCheckpoint(model));
    const whole = fs.readFileSync(text ?? '', 'utf8').slice(0, 60_000);
    const ids = tokenizer.encode(whole);
    let longest = 0;
    const encode = (part: string): number[] => {
      longest = Math.max(longest, part.length);
      return tokenizer.encode(part);
    };
    for (const limit of [1, 7, 100, 999, 3000]) {
      longest = 0;
      expect(firstTokens(encode, whole, limit)).toEqual(ids.slice(0, limit));
      expect(longest).toBeLessThan(whole.length);
    }
    expect(firstTokens(encode, whole, Infinity)).toEqual(ids);
  });

  it('goes on until there are enough', () => {
    // One token per 40 letters: the first beginnings give too few.
    const encode = (part: string): number[] => Array.from({ length: Math.floor(part.length / 40) }, (_, i) => i);
    expect(firstTokens(encode, 'x'.repeat(100_000), 100)).toHaveLength(100);
    expect(firstTokens(encode, 'x'.repeat(400), 100)).toHaveLength(10);
  });
});
