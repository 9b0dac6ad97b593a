/** Shared blocks on XFS and Btrfs (loop devices; needs root and mkfs), and the same files without them elsewhere. */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyOutput } from '../../src/verify/index.ts';
import { canClone, executePlan } from '../../src/write/index.ts';
import { hashes, newFolder, planOf, writeDense } from './dense.ts';

function mounted(kind: 'xfs' | 'btrfs'): { folder: string; release: () => void } | string {
  if (process.getuid?.() !== 0) return 'needs root';
  if (spawnSync('which', [`mkfs.${kind}`]).status !== 0) return `mkfs.${kind} is not installed`;
  const base = newFolder();
  const image = join(base, 'image');
  const folder = join(base, 'mnt');
  mkdirSync(folder);
  const fd = openSync(image, 'w');
  ftruncateSync(fd, 400 << 20);
  closeSync(fd);
  if (spawnSync(`mkfs.${kind}`, [image]).status !== 0) return `mkfs.${kind} failed`;
  if (spawnSync('mount', ['-o', 'loop', image, folder]).status !== 0) return 'loop devices cannot be mounted';
  return {
    folder,
    release: () => {
      spawnSync('umount', [folder]);
    },
  };
}

const used = (folder: string): number => {
  spawnSync('sync', ['-f', folder]);
  const { blocks, bfree, bsize } = statfsSync(folder);
  return (blocks - bfree) * bsize;
};
// 9.4 MB of experts per layer set; eight equal experts.
const big = { config: { hidden_size: 512, intermediate_size: 1024, head_dim: 128 } };

describe.each(['xfs', 'btrfs'] as const)('%s', (kind) => {
  it('equal experts share their blocks; the files are those of a plain copy', async () => {
    const place = mounted(kind);
    if (typeof place === 'string') {
      console.warn(`SKIPPED: cloning on ${kind} (${place})`);
      return;
    }
    try {
      expect(await canClone(place.folder)).toBe(true);
      const dense = writeDense(big, join(place.folder, 'dense'));
      const { plan, sources } = await planOf([dense]);
      const out = join(place.folder, 'moe');
      const before = used(place.folder);
      const report = await executePlan(plan, sources, out);
      const taken = used(place.folder) - before;
      expect(report.clonedFiles).toBe(7);
      expect(taken).toBeLessThan(report.bytes / 3);
      expect(report.sharedBytes).toBeGreaterThan(report.bytes / 2);
      expect((await verifyOutput(out, { sources })).problems).toEqual([]);

      // Without cloning, elsewhere and here: byte for byte the same.
      const plain = join(place.folder, 'plain');
      const copied = await executePlan(plan, sources, plain, { clone: false });
      expect([copied.clonedFiles, copied.sharedBytes]).toEqual([0, 0]);
      expect(hashes(plain)).toEqual(hashes(out));

      // Killed after the first of the group is finished: the others are still cloned from it.
      const resumed = join(place.folder, 'resumed');
      const leader = plan.files.find(({ cloneOf }) => cloneOf !== undefined)?.cloneOf ?? '';
      await executePlan(plan, sources, resumed, {
        onStep: (step) => {
          if (step === 'manifest') throw new Error('stop');
        },
      }).catch(() => undefined);
      const staging = join(place.folder, `.resumed.moe-partial-${tagOf(resumed)}`);
      spawnSync('sh', ['-c', `cd '${staging}/out' && ls | grep safetensors | grep -v '${leader}' | xargs rm`]);
      const again = await executePlan(plan, sources, resumed, { resume: true });
      expect([again.resumedFiles, again.clonedFiles]).toEqual([1, 7]);
      expect(hashes(resumed)).toEqual(hashes(out));
    } finally {
      place.release();
    }
  });
});

function tagOf(out: string): string {
  return spawnSync('sh', ['-c', `printf %s '${out}' | sha256sum | cut -c1-12`], { encoding: 'utf8' }).stdout.trim();
}

describe('where blocks cannot be shared', () => {
  it('canClone says no, leaves nothing behind, and looks at the nearest parent of a folder that is not there', async () => {
    const folder = newFolder();
    const here = await canClone(folder);
    expect(await canClone(join(folder, 'a', 'b', 'c'))).toBe(here);
    expect(spawnSync('ls', ['-A', folder], { encoding: 'utf8' }).stdout).toBe('');
    expect(await canClone('/proc')).toBe(false);
    expect(dirname(folder)).not.toBe('');
  });
});
