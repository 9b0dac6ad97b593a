/** Room on the disk: told beforehand where it can be, and survived where it cannot. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { executePlan, fitsPipeline, freeBytes } from '../../src/write/index.ts';
import { writeFailure } from '../../src/write/failure.ts';
import { gigabytes, requireSpace } from '../../src/write/space.ts';
import { newFolder, planOf, writeDense } from './dense.ts';

const FIELD = fileURLToPath(new URL('../../../shared/field/inputs/G8-06/request.json', import.meta.url));
const GB = 1e9;

describe('a pipeline’s peak (G8-06)', () => {
  const steps = [
    { name: 'merged 16-bit safetensors', bytes: 63 * GB, kept: true },
    { name: 'BF16 GGUF (2 shards)', bytes: 60 * GB, kept: true },
    { name: 'Q4_K_M', bytes: 18 * GB, kept: true },
  ];

  it('is the sum where all is kept: 141 of 132 GB, 9 GB short', () => {
    expect(fitsPipeline(steps, 132 * GB)).toEqual({ peak: 141 * GB, fits: false, short: 9 * GB, peakStep: 'Q4_K_M' });
    expect(gigabytes(9 * GB)).toBe('9.0 GB');
  });

  it('is 123 GB where the first goes after the second', () => {
    const removed = steps.map((step, i) => (i === 0 ? { ...step, kept: false } : step));
    expect(fitsPipeline(removed, 132 * GB)).toEqual({
      peak: 123 * GB,
      fits: true,
      short: 0,
      peakStep: 'BF16 GGUF (2 shards)',
    });
  });

  it('agrees with the field case', () => {
    if (!existsSync(FIELD)) {
      console.warn('SKIPPED: shared/field is not here');
      return;
    }
    const request = JSON.parse(readFileSync(FIELD, 'utf8')) as {
      disk_free_gb: number;
      steps: { name: string; gb: number; kept: boolean }[];
    };
    const verdict = fitsPipeline(
      request.steps.map(({ name, gb, kept }) => ({ name, bytes: gb * GB, kept })),
      request.disk_free_gb * GB,
    );
    expect([verdict.peak / GB, verdict.short / GB]).toEqual([141, 9]);
  });

  it('of nothing is nothing', () => {
    expect(fitsPipeline([], 0)).toEqual({ peak: 0, fits: true, short: 0, peakStep: '' });
  });
});

describe('failures in words', () => {
  const of = (code: string): MoeError => writeFailure(Object.assign(new Error(code), { code }), 'model.safetensors');
  it('tells a quota from a full disk, and both from a size limit', () => {
    expect([of('ENOSPC').code, of('EDQUOT').code, of('EFBIG').code]).toEqual([
      'disk-full',
      'quota-exceeded',
      'file-too-large',
    ]);
    expect(of('EDQUOT').message).toMatch(/quota/);
    expect(of('ENOSPC').message).not.toMatch(/quota/);
    for (const code of ['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO']) expect(of(code).kind).toBe('resources');
    expect(of('EROFS').kind).toBe('input');
  });
});

describe('preflight', () => {
  it('refuses with the numbers what cannot fit', async () => {
    const folder = newFolder();
    const free = await freeBytes(folder);
    const error = await requireSpace(folder, free + 5 * GB, 'It').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(MoeError);
    if (!(error instanceof MoeError)) return;
    expect([error.kind, error.code]).toEqual(['resources', 'disk-full']);
    expect(Number(error.place.details?.['shortBytes'])).toBeGreaterThan(4 * GB);
    expect(error.message).toMatch(/needs .* has .* free: .* short\. Nothing was written\./);
  });
});

/** Mounts a small tmpfs, or says why not. */
function smallDisk(bytes: number): string | null {
  const folder = newFolder();
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${String(bytes)}`, 'tmpfs', folder]);
  if (mounted.status === 0) return folder;
  console.warn('SKIPPED: a small disk cannot be mounted here (needs root); disk-full is tested by simulation alone');
  return null;
}

describe('a small disk', () => {
  it('is refused before the first byte; when it fills up during the run nothing stands under the final name', async () => {
    const disk = smallDisk(24 << 20);
    if (disk === null) return;
    try {
      // 8 experts of 3 · 512 · 1024 · 2 bytes in 2 layers: 50 MB.
      const dense = writeDense({ config: { hidden_size: 512, intermediate_size: 1024, head_dim: 128 } });
      const { plan, sources } = await planOf([dense], { output: { dtype: 'same', shard_size: 1 << 20, clone: false } });
      expect(plan.target.fileBytes).toBeGreaterThan(50 << 20);
      const early = await executePlan(plan, sources, join(disk, 'moe')).catch((thrown: unknown) => thrown);
      if (!(early instanceof MoeError)) throw new Error('expected a refusal');
      expect([early.kind, early.code]).toEqual(['resources', 'disk-full']);
      expect(early.message).toMatch(/Nothing was written/);
      expect(readdirSync(disk)).toEqual([]);

      // A plan that fits, and another program that takes the room meanwhile.
      const small = await planOf([dense], { experts: 2, output: { dtype: 'same', shard_size: 1 << 20, clone: false } });
      const hog = async (step: string): Promise<void> => {
        if (step !== 'journal') return;
        const free = await freeBytes(disk);
        writeFileSync(join(disk, 'hog'), Buffer.alloc(Math.max(0, free - (9 << 20))));
      };
      const late = await executePlan(small.plan, small.sources, join(disk, 'moe'), { onStep: hog }).catch(
        (thrown: unknown) => thrown,
      );
      if (!(late instanceof MoeError)) throw new Error('expected a failure');
      expect([late.kind, late.code]).toEqual(['resources', 'disk-full']);
      expect(existsSync(join(disk, 'moe'))).toBe(false);
      expect(late.place.hint).toMatch(/Free space/);
      // Once there is room again, it goes on.
      spawnSync('rm', [join(disk, 'hog')]);
      const report = await executePlan(small.plan, small.sources, join(disk, 'moe'), { resume: true });
      expect(report.files).toBe(small.plan.files.length);
      expect(readdirSync(disk)).toEqual(['moe']);
    } finally {
      spawnSync('umount', [disk]);
    }
  });

  it('reports a read-only place as input, not as a full disk', async () => {
    const disk = smallDisk(1 << 20);
    if (disk === null) return;
    try {
      spawnSync('mount', ['-o', 'remount,ro', disk]);
      const { plan, sources } = await planOf([writeDense()]);
      const error = await executePlan(plan, sources, join(disk, 'moe')).catch((thrown: unknown) => thrown);
      if (!(error instanceof MoeError)) throw new Error('expected a refusal');
      expect([error.kind, error.code]).toEqual(['input', 'output-not-writable']);
    } finally {
      spawnSync('umount', [disk]);
    }
    expect(dirname(disk)).not.toBe('');
  });
});
