/**
 * Activation by VS Code's own report (Developer: Show Running Extensions), in a real workbench: the packed extension against the
 * extensions that VS Code brings with it and that start in the same window, start by start.
 *
 *   npm run bench -- activation
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const OWN = 'MoE Workbench';
const PEERS = ['Git', 'Emmet'];
const STARTS = 7;

const scratch = mkdtempSync(join(tmpdir(), 'moe-activation-'));
try {
  const file = join(scratch, 'times.json');
  const { status } = spawnSync('node', ['scripts/e2e.mjs', '12-activation', '--strict'], {
    env: { ...process.env, MOE_STARTS: String(STARTS), MOE_ACTIVATION: file },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) throw new Error('the workbench did not run: npm run test:e2e -- 12-activation says why');
  // The first start reads everything from the disk; it is shown and not counted.
  const starts = JSON.parse(readFileSync(file, 'utf8'));
  for (const start of starts)
    console.log(
      Object.entries(start)
        .map(([name, ms]) => `${name} ${ms}`)
        .join(', '),
    );
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const warm = starts.slice(1);
  console.log(`${OWN}: median ${median(warm.map((start) => start[OWN]))} ms of ${warm.length} starts`);
  for (const peer of PEERS) {
    const both = warm.filter((start) => start[peer] > 0);
    if (both.length > 0)
      console.log(
        `  over ${peer}: ${median(both.map((start) => start[OWN] / start[peer])).toFixed(2)} (${both.length} starts)`,
      );
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
