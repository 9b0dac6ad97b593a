// One queue for all windows: a job asked for in one is seen, not started again, and can be cancelled in the other.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeLasting } from './fixtures.mjs';
import { planTotals } from './pages.mjs';

const RECIPE = 'lasting-8x.moe.yaml';

export const tests = [
  {
    name: 'two windows see one queue and run a job once',
    seconds: 240,
    prepare(ws) {
      writeLasting(join(ws, 'lasting'), { layers: 20 });
      // Random numbers take their time, so that the job can be met midway.
      writeFileSync(join(ws, RECIPE), 'base: lasting\nexperts: 8\ntop_k: 2\nexpert_init: noise\n');
    },
    async run(w) {
      await w.ready(RECIPE);
      // The page comes first: the workbench in a browser does not always draw one while another tab registers its service worker.
      await w.menu(RECIPE, 'Preview Plan');
      const plan = await w.view('planner');
      await w.until(
        'a plan',
        () => planTotals(plan),
        (totals) => totals['Total parameters'] > 0,
      );
      const other = await w.secondWindow();
      await other.ready(RECIPE);
      await other.activity().click();
      await w.page.bringToFront();
      await plan.locator('vscode-button').filter({ hasText: /^Run/ }).click();
      const [pid] = await w.until(
        'a job process',
        () => w.processes('job.js'),
        (pids) => pids.length === 1,
      );

      await other.page.bringToFront();
      await other.until(
        'the job in the second window',
        () => other.treeRows('Jobs'),
        (rows) => rows.some((row) => /Upcycle lasting.*another window/.test(row)),
      );
      assert.deepEqual(w.processes('job.js'), [pid], 'the second window started the job again');
      await other.shot('second-window');
      const row = other.pane('Jobs').locator('.monaco-list-row').filter({ hasText: 'Upcycle lasting' }).first();
      await row.hover();
      await row.locator('.action-label[aria-label*="Cancel"]').first().click();
      await other.until(
        'cancelled in the second window',
        () => other.treeRows('Jobs'),
        (rows) => rows.some((row) => /Upcycle lasting.*cancelled/.test(row)),
      );
      await w.page.bringToFront();
      await w.activity().click();
      await w.until(
        'cancelled in the first window',
        () => w.treeRows('Jobs'),
        (rows) => rows.some((row) => /Upcycle lasting.*cancelled/.test(row)),
      );
      await w.until(
        'no job process',
        () => w.processes('job.js'),
        (pids) => pids.length === 0,
      );
    },
  },
];
