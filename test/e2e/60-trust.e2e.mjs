// Restricted Mode: everything can be looked at, nothing runs; trusting the folder makes it run, without a reload.
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { overviewTotals, planTotals, seen } from './pages.mjs';

const RECIPE = 'tiny-4x.moe.yaml';

export const tests = [
  {
    name: 'Restricted Mode shows but refuses to run',
    trust: true,
    settings: { 'security.workspace.trust.startupPrompt': 'never' },
    seconds: 180,
    prepare(ws, fixtures) {
      fixtures.addSample(ws, 'tiny-llama');
      writeFileSync(join(ws, RECIPE), 'base: tiny-llama\nexperts: 4\ntop_k: 2\n');
    },
    async run(w) {
      await w.ready(RECIPE);
      const badge = w.status('Restricted Mode');
      await badge.waitFor();
      await w.row('tiny-llama').click();
      const view = await w.open('model.safetensors', 'viewer');
      await w.until(
        'counts in Restricted Mode',
        () => overviewTotals(view),
        (totals) => 'Parameters' in totals,
      );
      await w.until(
        'it says so',
        () => seen(view.locator('moe-viewer-overview')),
        (text) => text.includes('Restricted Mode'),
      );
      const upcycle = view.locator('moe-viewer-overview vscode-button').filter({ hasText: 'Upcycle' });
      assert.notEqual(await upcycle.getAttribute('disabled'), null, 'Upcycle can be clicked in Restricted Mode');
      await w.shot('restricted-viewer');

      // In the palette commands that run jobs are absent while others of the extension are there.
      await w.page.keyboard.press('F1');
      await w.quick.locator('input.input').fill('>MoE: ');
      const command = (text) => w.quickRows.filter({ hasText: text });
      await command('Open the Sample Checkpoint').first().waitFor();
      for (const name of ['Verify Checkpoint', 'Evaluate Checkpoint', 'Trace Experts', 'Open Playground', 'Run Recipe'])
        assert.equal(await command(name).count(), 0, `${name} is offered in Restricted Mode`);
      await w.page.keyboard.press('Escape');

      await w.menu(RECIPE, 'Preview Plan');
      const plan = await w.view('planner');
      await w.until(
        'the plan shows',
        () => planTotals(plan),
        (totals) => totals['Total parameters'] > 0,
      );
      const run = plan.locator('header vscode-button').filter({ hasText: /^Run/ });
      assert.notEqual(await run.getAttribute('disabled'), null, 'Run can be clicked in Restricted Mode');
      const lab = plan.locator('moe-router-lab vscode-button').filter({ hasText: /^Start/ });
      assert.notEqual(await lab.getAttribute('disabled'), null, 'the router lab can be started in Restricted Mode');
      assert.equal(w.processes('job.js').length, 0);
      assert.equal(w.processes('infer.js').length, 0);
      assert.ok(!existsSync(join(w.ws, 'tiny-4x')));
      await w.shot('restricted-plan');

      await w.command('Workspaces: Manage Workspace Trust');
      await w.page
        .locator('.workspace-trust-editor .monaco-button')
        .filter({ hasText: /^Trust$/ })
        .click();
      await badge.waitFor({ state: 'detached' });
      await w.menu(RECIPE, 'Preview Plan');
      const trusted = await w.view('planner');
      const allowed = trusted.locator('header vscode-button').filter({ hasText: /^Run/ });
      await w.until(
        'Run can be clicked',
        () => allowed.getAttribute('disabled'),
        (is) => is === null,
      );
      await allowed.click();
      await w.until('the result', () => existsSync(join(w.ws, 'tiny-4x', 'config.json')), Boolean, { ms: 60_000 });
    },
  },
];
