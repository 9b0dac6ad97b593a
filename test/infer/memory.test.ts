/** The model process with a real bf16 model: two bytes per parameter, in the file's pages. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { InferProcess } from '../../src/infer/client.ts';
import { scratch } from '../cli/helpers.ts';
import { smollm2Folder } from '../score/models.ts';
import { bundleInfer } from './entry.ts';

let inferEntry = '';
const [folder, remove] = scratch();
beforeAll(async () => {
  inferEntry = await bundleInfer();
}, 60_000);
afterAll(remove);
vi.setConfig({ testTimeout: 240_000 });

const MIB = 1 << 20;

/** A number of /proc/PID/status in MiB. */
function status(pid: number, name: 'RssAnon' | 'VmHWM'): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (match?.[1] === undefined) throw new Error(`no ${name}`);
  return Number(match[1]) / 1024;
}

if (process.platform !== 'linux')
  console.warn('SKIPPED: memory of the model process (read from /proc, which only Linux has)');
describe.skipIf(process.platform !== 'linux' || smollm2Folder === null)('memory of the model process', () => {
  it('SmolLM2-135M in bf16: peak memory is the file, one widened matrix and what a run needs', async () => {
    const weights = fs.statSync(path.join(smollm2Folder ?? '', 'model.safetensors')).size / MIB;
    // 134.5 million parameters at two bytes each.
    expect(weights).toBeCloseTo(256.6, 0);
    const child = new InferProcess({ entry: inferEntry });
    try {
      const pid = child.pid ?? 0;
      const model = await child.open(smollm2Folder ?? '', { cacheFolder: folder, weights: 'stored', threads: 2 });
      const before = status(pid, 'RssAnon');
      let anonymous = 0;
      const timer = setInterval(() => {
        anonymous = Math.max(anonymous, status(pid, 'RssAnon'));
      }, 5);
      const ids = Array.from({ length: 400 }, (_, i) => (i * 7919) % 49152);
      const scorer = model.scorer({ encode: () => [], decode: () => '', splitsAfterNewline: false });
      for (let run = 0; run < 3; run++) {
        await scorer.loglikelihoods([{ contextIds: ids.slice(0, 399), continuationIds: ids.slice(399) }], {});
      }
      clearInterval(timer);
      // Opening reads nothing of the weights. A float32 copy would be 513 MiB; the head alone, widened, is 108.
      // Measured: 22, 193 and 515 MiB.
      expect(before).toBeLessThan(60);
      expect(anonymous).toBeGreaterThan(100);
      expect(anonymous).toBeLessThan(280);
      expect(status(pid, 'VmHWM')).toBeLessThan(weights + 380);
    } finally {
      await child.close();
    }
  });
});
