/**
 * Opening half a million tensors in 200 sparse shards as the editor does: by the worker process. Says when there is something to
 * show (folder and config), when all of it, and what the extension host's process and the worker hold.
 *
 *   npm run build && npm run bench -- open
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WorkerClient } from '../src/extension/worker-client.ts';
import { workerFacts, workerOpen, workerPeek, workerRows } from '../src/protocol/worker.ts';
import type { SparseOptions } from './open/sparse.ts';
import { writeSparse } from './open/sparse.ts';

const entry = join(process.cwd(), 'dist/worker.js');
const VIEW = { filter: '', order: 'name', descending: false, shape: 'tree', toggled: [], open: 'default' } as const;
const ROUNDS = 3;

/** Highest resident memory of this process, MB; null where the system does not tell. */
function peak(): string {
  const line = existsSync('/proc/self/status')
    ? /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))
    : null;
  return line?.[1] === undefined ? '?' : String(Math.round(Number(line[1]) / 1000));
}

async function once(folder: string): Promise<string> {
  const client = new WorkerClient({ entry, log: () => undefined });
  const start = performance.now();
  const since = (): string => `${((performance.now() - start) / 1000).toFixed(2)} s`;
  try {
    const peeking = client.request(workerPeek, { path: folder }).then(since);
    const { handle, overview } = await client.request(workerOpen, { path: folder, lenient: false, fresh: false });
    const opened = since();
    await client.request(workerRows, { handle, view: VIEW, start: 0, count: 60 });
    const rows = since();
    const { rssBytes } = await client.request(workerFacts, {});
    return `${String(overview.tensorCount)} tensors: first facts ${await peeking}, all of them ${opened}, rows ${rows}; this process at most ${peak()} MB, worker ${String(Math.round(rssBytes / 1e6))} MB`;
  } finally {
    await client.dispose();
  }
}

const make = process.env['MAKE'];
if (make !== undefined) {
  const { folder, options } = JSON.parse(make) as { folder: string; options: SparseOptions };
  writeSparse(folder, options);
} else if (!existsSync(entry)) {
  console.log('SKIPPED: dist/worker.js is missing; npm run build makes it');
} else {
  const scratch = mkdtempSync(join(tmpdir(), 'moe-open-'));
  try {
    for (const [name, options] of [
      ['mixtral', { layers: 128, experts: 1299, shards: 200 }],
      ['llama', { layers: 55_555, experts: 0, shards: 200 }],
    ] as const) {
      const folder = join(scratch, name);
      // In a process of its own: what making it takes is not counted.
      const [, script = ''] = process.argv;
      spawnSync(process.execPath, [script], { env: { ...process.env, MAKE: JSON.stringify({ folder, options }) } });
      for (let round = 0; round < ROUNDS; round++) console.log(`${name.padEnd(8)} ${await once(folder)}`);
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
