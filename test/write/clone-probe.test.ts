import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { canClone } from '../../src/write/clone.ts';

it('leaves nothing behind, and takes away what killed runs left', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'probe-'));
  try {
    // A process that has ended: its id is free (or of a process younger than this test).
    const gone = String(spawnSync(process.execPath, ['-e', '']).pid);
    const live = String(process.ppid);
    const put = (name: string, age = 0): void => {
      writeFileSync(join(folder, name), 'x');
      const when = new Date(Date.now() - age);
      utimesSync(join(folder, name), when, when);
    };
    put(`.moe-clone-probe-${gone}-0123456789ab`);
    put(`.moe-clone-probe-${gone}-0123456789ab-copy`);
    put(`.moe-clone-probe-${live}-0123456789ab`);
    put(`.moe-clone-probe-${live}-ba9876543210`, 3_600_000);
    put('.moe-clone-probe-of-mine');
    await canClone(folder);
    expect(readdirSync(folder).sort()).toEqual([`.moe-clone-probe-${live}-0123456789ab`, '.moe-clone-probe-of-mine']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
