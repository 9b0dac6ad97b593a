/**
 * How fast an upcycle is, measured against `cp --reflink=never` of the very bytes that it writes: wall time of a process of
 * its own, each followed by one `sync`, interleaved ABBA, medians (sharding.md §8.5). Nothing is verified in the timed part.
 *
 *   npm run bench -- copy [--rounds=5] [--folder=DIR] [--width=1] [--ext4-only]
 *
 * --width multiplies hidden and intermediate size: 2 is a dense model of 0.85 GB, 5.1 GB as E8.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild } from './copy/child.ts';
import type { ChildResult } from './copy/child.ts';
import { writeDense } from './copy/dense.ts';
import { fileSystemOf, loopDevice } from './copy/filesystems.ts';
import type { Place } from './copy/filesystems.ts';

const argument = (name: string): string | undefined =>
  process.argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);

function sync(): void {
  spawnSync('sync');
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** Used bytes once they stand still: some file systems give deleted files' room back with delay. */
function usedBytes(folder: string): number {
  let last = NaN;
  for (let attempt = 0; attempt < 40; attempt++) {
    const { blocks, bfree, bsize } = statfsSync(folder);
    const used = (blocks - bfree) * bsize;
    if (used === last) return used;
    last = used;
    spawnSync('sleep', ['0.25']);
  }
  return last;
}

function folderBytes(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

interface Case {
  readonly name: string;
  readonly recipe: object;
}

const CASES: readonly Case[] = [
  { name: 'E8 copy', recipe: {} },
  { name: 'E16 copy', recipe: { experts: 16 } },
  { name: 'E8 G4 (32 experts)', recipe: { experts: 32, top_k: 8, granularity: 4 } },
  { name: 'E8 granitemoe (stacked)', recipe: { target: 'granitemoe' } },
];

function measure(place: Place, dense: string, denseBytes: number, { name, recipe }: Case, rounds: number): void {
  const out = join(place.folder, 'out');
  const reference = join(place.folder, 'reference');
  const copy = join(place.folder, 'copy');
  const clear = (folder: string): void => {
    rmSync(folder, { recursive: true, force: true });
    sync();
  };
  const ours = (target: string): ChildResult & { wall: number } => {
    const start = performance.now();
    const child = spawnSync(
      'node',
      [fileURLToPath(import.meta.url), '--child', dense, target, JSON.stringify(recipe)],
      {
        encoding: 'utf8',
      },
    );
    if (child.status !== 0) throw new Error(child.stderr);
    sync();
    return { ...(JSON.parse(child.stdout) as ChildResult), wall: performance.now() - start };
  };
  const cp = (): number => {
    const start = performance.now();
    const child = spawnSync('cp', ['-r', '--reflink=never', reference, copy]);
    if (child.status !== 0) throw new Error(String(child.stderr));
    sync();
    return performance.now() - start;
  };
  ours(reference);
  const bytes = folderBytes(reference);
  const times = { ours: [] as number[], cp: [] as number[] };
  let last: ChildResult | undefined;
  let physical = 0;
  let rss = 0;
  const takeOurs = (): void => {
    const before = usedBytes(place.folder);
    const result = ours(out);
    physical = usedBytes(place.folder) - before;
    times.ours.push(result.wall);
    rss = Math.max(rss, result.rssBytes);
    last = result;
    clear(out);
  };
  const takeCp = (): void => {
    times.cp.push(cp());
    clear(copy);
  };
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) {
      takeOurs();
      takeCp();
    } else {
      takeCp();
      takeOurs();
    }
  }
  clear(reference);
  const a = median(times.ours);
  const b = median(times.cp);
  const list = (values: readonly number[]): string => values.map((ms) => ms.toFixed(0)).join(' ');
  console.log(
    `${place.name.padEnd(6)} ${name.padEnd(24)} ratio ${(a / b).toFixed(2)}  ours ${a.toFixed(0)} ms, cp ${b.toFixed(0)} ms  ` +
      `(${(bytes / 1e9).toFixed(2)} GB; ${(bytes / a / 1e6).toFixed(2)} GB/s; physical ${(physical / bytes).toFixed(3)}; ` +
      `read ${((last?.sourceBytesRead ?? 0) / denseBytes).toFixed(3)} × source; peak RSS ${(rss / 1e6).toFixed(0)} MB; ` +
      `clones ${String(last?.clonedFiles ?? 0)})`,
  );
  console.log(`       ours: ${list(times.ours)}   cp: ${list(times.cp)}`);
}

function main(): void {
  const rounds = Number(argument('rounds') ?? 5);
  const width = Number(argument('width') ?? 1);
  const scratch = mkdtempSync(join(argument('folder') ?? tmpdir(), 'moe-copy-'));
  const places: Place[] = [];
  try {
    const here = join(scratch, 'plain');
    mkdirSync(here);
    places.push({ name: fileSystemOf(here).replace('ext2/ext3', 'ext4'), folder: here, release: () => undefined });
    for (const kind of process.argv.includes('--ext4-only') ? [] : (['xfs', 'btrfs'] as const)) {
      const place = loopDevice(scratch, kind, 14e9 * width * width);
      if (typeof place === 'string') console.log(`SKIPPED ${kind}: ${place}`);
      else places.push(place);
    }
    for (const place of places) {
      const dense = join(place.folder, 'dense');
      const denseBytes = writeDense(dense, undefined, width);
      sync();
      for (const item of CASES) measure(place, dense, denseBytes, item, rounds);
    }
  } finally {
    for (const place of places) place.release();
    rmSync(scratch, { recursive: true, force: true });
  }
}

const child = process.argv.indexOf('--child');
if (child >= 0) {
  const [source = '', out = '', recipe = '{}'] = process.argv.slice(child + 1);
  await runChild(source, out, recipe);
} else {
  main();
}
