import { describe, expect, it } from 'vitest';
import { collect } from '../../src/cli/values.ts';

describe('texts from outside', () => {
  it('are collected whole', async () => {
    async function* parts(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('a\u00e9');
      yield await Promise.resolve(Buffer.from('b'));
    }
    expect((await collect(parts(), 'x')).toString('utf8')).toBe('a\u00e9b');
  });

  it('without end are refused after a bounded amount', async () => {
    let given = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      const chunk = new Uint8Array(2 ** 24);
      for (;;) {
        given += chunk.length;
        yield await Promise.resolve(chunk);
      }
    }
    await expect(collect(endless(), '/dev/zero')).rejects.toMatchObject({
      code: 'text-too-large',
      message: '/dev/zero holds more than 256 MiB of text',
    });
    expect(given).toBeLessThan(2 ** 28 + 2 ** 26);
  });
});
