// Jobs that do not run to their end: cancelled midway, and killed midway and resumed. The source is big enough to be met midway.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeLasting } from './fixtures.mjs';
import { headerOf, planTotals, seen } from './pages.mjs';

const RECIPE = 'lasting-4x.moe.yaml';
const prepare = (ws) => {
  writeLasting(join(ws, 'lasting'));
  writeFileSync(
    join(ws, RECIPE),
    'base: lasting\nexperts: 4\ntop_k: 2\n# Random numbers take their time, so that the job can be met midway.\nexpert_init: noise\n',
  );
};

/** Opens the plan from the Explorer and starts it; resolves while the job writes. */
async function start(w) {
  await w.ready(RECIPE);
  await w.menu(RECIPE, 'Preview Plan');
  const plan = await w.view('planner');
  await w.until(
    'a plan',
    () => planTotals(plan),
    (totals) => totals['Total parameters'] > 0,
  );
  await plan.locator('vscode-button').filter({ hasText: /^Run/ }).click();
  const [pid] = await w.until(
    'a job process',
    () => w.processes('job.js'),
    (pids) => pids.length === 1,
  );
  return { plan, pid };
}

const jobText = (plan) => seen(plan.locator('section.job'), { timeout: 2000 });

/** Everything in the workspace, by name, that may hold weights. */
function entries(ws) {
  return readdirSync(ws)
    .filter((name) => name !== '.vscode')
    .sort();
}

export const tests = [
  {
    name: 'cancel midway leaves nothing',
    prepare,
    seconds: 150,
    async run(w) {
      const { plan } = await start(w);
      const before = ['lasting', RECIPE].sort();
      await w.until(
        'writing, with progress',
        () => jobText(plan),
        (text) => /writing/.test(text) && / of [\d.]+ MB/.test(text),
      );
      await w.shot('job-running');
      await plan.locator('section.job vscode-button').filter({ hasText: 'Cancel' }).click();
      await w.until(
        'cancelled',
        () => jobText(plan),
        (text) => /cancelled/.test(text),
      );
      await w.until(
        'job process gone',
        () => w.processes('job.js'),
        (pids) => pids.length === 0,
      );
      assert.deepEqual(entries(w.ws), before, 'something is left of the cancelled job');
      await w.shot('job-cancelled');
      await w.activity().click();
      await w.until(
        'cancelled in the jobs view',
        () => w.treeRows('Jobs'),
        (rows) => rows.length === 1 && /cancelled/.test(rows[0]),
      );
      assert.equal(await w.status('writing').count(), 0);
    },
  },
  {
    name: 'killed midway: an error, the host lives on, resume completes',
    prepare,
    seconds: 240,
    async run(w) {
      const { plan, pid } = await start(w);
      await w.until(
        'writing, with progress',
        () => jobText(plan),
        (text) => /writing/.test(text) && / of [\d.]+ MB/.test(text),
      );
      process.kill(pid, 'SIGKILL');
      const failed = await w.until(
        'a clear error',
        () => jobText(plan),
        (text) => /failed|interrupted/.test(text) && /SIGKILL|killed|signal/i.test(text),
      );
      assert.ok(
        !existsSync(join(w.ws, 'lasting-4x', 'config.json')),
        `a killed job left a finished-looking result: ${failed}`,
      );
      await w
        .toast(/SIGKILL|killed|signal/i)
        .first()
        .waitFor();
      await w.shot('job-killed');
      // The host lives: the plan still answers.
      const experts = plan.locator('moe-recipe-field').filter({ hasText: 'Experts' }).first();
      assert.equal(await experts.locator('vscode-text-field input').inputValue(), '4');
      await plan.locator('section.job vscode-button').filter({ hasText: 'Resume' }).click();
      await w.view('viewer', { ms: 150_000 });
      const out = join(w.ws, 'lasting-4x');
      const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
      assert.equal(config.num_local_experts, 4);
      const shards = readdirSync(out).filter((name) => name.endsWith('.safetensors'));
      const experts0 = shards
        .flatMap((name) => [...headerOf(join(out, name)).tensors.keys()])
        .filter((name) => /layers\.0\..*experts\.\d+\.w1/.test(name));
      assert.equal(experts0.length, 4, `experts of layer 0: ${experts0}`);
      assert.deepEqual(entries(w.ws), ['lasting', 'lasting-4x', RECIPE].sort());
      await w.shot('job-resumed');
    },
  },
];
