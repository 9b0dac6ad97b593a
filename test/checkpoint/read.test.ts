import { readdirSync, readlinkSync, renameSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { RangeReader } from '../../src/checkpoint/read.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { failure, readJson, shared, temporaryFolder, writeModel } from './files.ts';

async function checkpointOf(bytes: Uint8Array): Promise<{ cp: Checkpoint; file: string }> {
  const folder = temporaryFolder();
  const file = join(folder, 'model.safetensors');
  writeModel(file, [{ name: 'w.weight', shape: [bytes.length], dtype: 'U8', values: bytes }]);
  return { cp: await openCheckpoint(folder), file };
}

describe('reading ranges', () => {
  it('gives the bytes, whatever the chunk, unit and place', async () => {
    const data = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 251);
    const { cp } = await checkpointOf(data);
    const begin = cp.tensors.get('w.weight')?.begin ?? 0;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(999),
        fc.nat(1000),
        fc.integer({ min: 8, max: 300 }),
        fc.integer({ min: 1, max: 8 }),
        async (from, length, chunkBytes, unit) => {
          const bytes = Math.min(length, 1000 - from);
          const reader = new RangeReader(cp, { chunkBytes });
          const parts: Buffer[] = [];
          for await (const chunk of reader.chunks('model.safetensors', begin + from, bytes, unit)) {
            expect(chunk.byteOffset % 8).toBe(0);
            parts.push(Buffer.from(chunk));
          }
          for (const part of parts.slice(0, -1)) expect(part.length % unit).toBe(0);
          expect(Buffer.concat(parts).equals(data.subarray(from, from + bytes))).toBe(true);
          await reader.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('says where a file ends that became shorter', async () => {
    const { cp, file } = await checkpointOf(new Uint8Array(100));
    const begin = cp.tensors.get('w.weight')?.begin ?? 0;
    truncateSync(file, begin + 40);
    const reader = new RangeReader(cp);
    const short = await failure(() => reader.bytes('model.safetensors', begin, 100));
    expect(short).toMatchObject({ code: 'file-truncated', place: { byte: begin + 40 } });
    await reader.close();
  });

  it('leaves no file open (G3-11: others may rename and replace it)', async () => {
    const { cp, file } = await checkpointOf(new Uint8Array(100));
    const reader = new RangeReader(cp);
    await reader.bytes('model.safetensors', 0, 8);
    await reader.close();
    if (process.platform === 'linux') {
      const open = readdirSync('/proc/self/fd').map((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`);
        } catch {
          return '';
        }
      });
      expect(open).not.toContain(file);
    }
    renameSync(file, `${file}.old`);
  });
});

const CORPUS = shared('data/safetensors');

describe.skipIf(CORPUS === null)('the corpus of safetensors files', () => {
  const cases = CORPUS === null ? [] : (readJson(join(CORPUS, 'expected.json')) as { file: string; verdict: string }[]);

  it.each(cases.map(({ file, verdict }) => [file, verdict] as const))('%s is %s', async (file, verdict) => {
    const path = join(CORPUS ?? '', file);
    if (verdict === 'valid') {
      const cp = await openCheckpoint(path);
      expect(cp.format).toBe('safetensors');
    } else {
      const refused = await failure(() => openCheckpoint(path));
      expect(refused.kind).toBe('input');
      expect(refused.place['file']).toBe(file.split('/').at(-1));
    }
  });
});
