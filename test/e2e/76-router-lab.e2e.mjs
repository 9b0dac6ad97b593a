// The router lab: from the palette to the plan, the ways to start the router on a text, one of them put into the recipe.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accessible, seen } from './pages.mjs';

const RECIPE = `# kept as it is
base: tiny-llama
experts: 4 # few
`;

export const tests = [
  {
    name: 'the router lab shows what each start would do, and puts one into the recipe',
    prepare: (ws, fixtures) => {
      fixtures.addSample(ws, 'tiny-llama');
      writeFileSync(join(ws, 'tiny.moe.yaml'), RECIPE);
    },
    seconds: 240,
    async run(w) {
      await w.ready('tiny-llama');
      await w.row('tiny.moe.yaml').click();
      await w.command('MoE: Router Lab…');
      const plan = await w.view('planner');
      const lab = plan.locator('moe-router-lab');
      await lab.locator('vscode-button', { hasText: 'Start' }).waitFor();
      // The command leads to it, though it stands far below in a tab that was only just opened.
      await w.until(
        'the lab in view',
        () => lab.evaluate((part) => part.getBoundingClientRect().top < window.innerHeight),
        Boolean,
      );
      await w.until(
        'the plan to be ready',
        () => lab.locator('vscode-button', { hasText: 'Start' }).getAttribute('disabled'),
        (is) => is === null,
      );
      await lab.locator('vscode-button', { hasText: 'Start' }).click();
      const text = await w.until(
        'the starts',
        () => seen(lab, { timeout: 2000 }),
        (is) => is.includes('orthogonal') && is.includes('zero'),
        { ms: 120_000 },
      );
      for (const word of ['MaxVio', 'Entropy', 'Condition', 'Ties', 'Drops ×1.25', '4 experts, top-2', 'in the recipe'])
        assert.ok(text.includes(word), `${word} in ${text}`);
      await lab.getByRole('heading', { name: 'Predicted load with normal 0.02' }).waitFor();
      await lab.scrollIntoViewIfNeeded();
      await w.shot('router-lab');
      await accessible(w, plan, 'router-lab');
      await lab.getByRole('button', { name: 'As a table' }).click();
      await lab.getByRole('columnheader', { name: 'E3' }).waitFor();
      await w.zoomed('router-lab-200');
      await lab.getByRole('button', { name: 'Use uniform in the recipe' }).click();
      await lab
        .getByRole('row', { name: /uniform/ })
        .getByText('in the recipe')
        .waitFor();
      await w.page.keyboard.press('Control+s');
      const saved = await w.until(
        'the recipe',
        () => readFileSync(join(w.ws, 'tiny.moe.yaml'), 'utf8'),
        (is) => is.includes('uniform'),
      );
      assert.equal(saved, `${RECIPE}router:\n  init: uniform\n`);
    },
  },
];
