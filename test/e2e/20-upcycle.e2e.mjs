// The main job by hand: right-click, quick picks, the plan, changed by its controls and undone, run, and the result.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accessible, digits, openTab, overviewTotals, planTotals, sampleMoe, seen } from './pages.mjs';

const FILE = 'model.safetensors';
const RECIPE = 'tiny-llama-4x.moe.yaml';
const prepare = (ws, fixtures) => {
  fixtures.addSample(ws, 'tiny-llama');
  writeFileSync(join(ws, 'notes.txt'), 'nothing to upcycle');
};

/** From the Explorer to the plan of 4 experts, top-2. */
export async function toPlan(w) {
  await w.menu(FILE, 'Upcycle to MoE');
  await w.pick(/^auto/);
  await w.pick('Plain copies');
  await w.pick(/^4/);
  await w.pick(/^2/);
  const input = w.quick.locator('input.input');
  const offered = await w.until(
    'offered recipe name',
    () => input.inputValue(),
    (value) => value.endsWith('.moe.yaml'),
  );
  assert.ok(offered.startsWith(w.ws), `the recipe is offered outside the workspace: ${offered}`);
  await w.answer(join(w.ws, RECIPE));
  const view = await w.view('planner');
  const expected = sampleMoe(4, 2);
  await w.until(
    'totals of the plan',
    () => planTotals(view),
    (totals) => totals['Total parameters'] === expected.total && totals['Active per token'] === expected.active,
  );
  return view;
}

export const field = (view, label) => view.locator('moe-recipe-field').filter({ hasText: label }).first();

export const tests = [
  {
    name: 'right-click, quick picks, plan, edit, undo, run, result',
    prepare,
    seconds: 300,
    async run(w) {
      await w.ready('tiny-llama');
      // The menu must not offer it for what is no checkpoint.
      await w.row('notes.txt').click({ button: 'right' });
      await w.item('Rename').first().waitFor();
      assert.equal(await w.item('Upcycle to MoE').count(), 0, 'offered for notes.txt');
      await w.page.keyboard.press('Escape');
      await w.row('tiny-llama').click();
      await w.row(FILE).click({ button: 'right' });
      await w.item('Upcycle to MoE').first().waitFor();
      await w.shot('menu');
      await w.page.keyboard.press('Escape');

      let plan = await toPlan(w);
      const recipe = join(w.ws, RECIPE);
      const text = () => readFileSync(recipe, 'utf8');
      assert.match(text(), /experts: 4\n/);
      await w.shot('plan');
      await w.zoomed('plan-200');

      // More experts: the plan and the text of the recipe follow, its comments stay; undo takes one step.
      const experts = field(plan, 'Experts').locator('vscode-text-field input');
      await experts.fill('8');
      await experts.press('Enter');
      const eight = sampleMoe(8, 2);
      await w.until(
        'totals for 8 experts',
        () => planTotals(plan),
        (totals) => totals['Total parameters'] === eight.total,
      );
      await w.shot('plan-edited');
      await w.command('File: Save');
      await w.until('8 experts in the recipe file', text, (is) => /experts: 8\n/.test(is) && /^#/m.test(is));
      await w.command('Undo');
      const four = sampleMoe(4, 2);
      await w.until(
        'totals after undo',
        () => planTotals(plan),
        (totals) => totals['Total parameters'] === four.total,
      );
      await w.command('Redo');
      await w.until(
        'totals after redo',
        () => planTotals(plan),
        (totals) => totals['Total parameters'] === eight.total,
      );

      // Top-k of more than there are experts is refused where it is typed.
      const topK = field(plan, 'Experts per token').locator('vscode-text-field input');
      await topK.fill('9');
      await topK.press('Enter');
      const bad = field(plan, 'Experts per token').locator('.bad');
      await w.until(
        'problem at top-k 9',
        () => seen(bad.first(), { timeout: 1000 }),
        (text) => /\b8\b/.test(text),
      );
      await w.shot('plan-problem');
      await topK.fill('2');
      await topK.press('Enter');
      await w.until(
        'plan after the mend',
        () => planTotals(plan),
        (totals) => totals['Total parameters'] === eight.total,
      );
      await accessible(w, plan, 'planner');
      await w.command('File: Save');

      // Run to the end: the result opens.
      await plan.locator('vscode-button').filter({ hasText: /^Run/ }).click();
      const viewer = await w.view('viewer', { ms: 120_000 });
      await w.until(
        'the MoE in the viewer',
        () => overviewTotals(viewer),
        (totals) => digits(totals.Parameters ?? '') === eight.total,
        { ms: 60_000 },
      );
      const totals = await overviewTotals(viewer);
      assert.equal(digits(totals['Active per token'] ?? ''), eight.active, JSON.stringify(totals));
      const out = join(w.ws, 'tiny-llama-4x');
      assert.ok(existsSync(join(out, 'config.json')), `nothing at ${out}`);
      await w.shot('result-overview');

      await openTab(viewer, 'experts');
      const compute = viewer.locator('moe-viewer-experts vscode-button').filter({ hasText: /^Compute/ });
      await compute.first().waitFor();
      await compute.first().click();
      await w.until(
        'identical experts explained',
        () => seen(viewer.locator('moe-viewer-experts')),
        (is) => is.includes('identical experts are expected at step 0'),
      );
      await viewer.locator('moe-viewer-experts moe-heat-map').first().waitFor();
      await w.shot('experts');
      await w.zoomed('experts-200');
      await accessible(w, viewer, 'experts');

      // The side bar: layers and experts, mini heat map, the job as done.
      await w.activity().click();
      await w.until(
        'job in the jobs view',
        () => w.treeRows('Jobs'),
        (rows) => rows.some((row) => /done/.test(row)),
      );
      await w.until(
        'experts in the tree',
        () => w.treeRows('Experts'),
        (rows) => rows.length >= 8,
      );
      const heat = await w.view('heatmap');
      await heat.locator('moe-heat-map, vscode-button').first().waitFor();
      await w.shot('sidebar');
      assert.deepEqual(await w.axe(heat), [], 'axe, side bar');
    },
  },
];
