// Names and metadata from a file are text, whatever they say.
import assert from 'node:assert/strict';
import { HOSTILE, writeHostile } from './fixtures.mjs';
import { gridNames, openTab, seen } from './pages.mjs';

export const tests = [
  {
    name: 'hostile names and metadata stay text',
    prepare: writeHostile,
    async run(w) {
      await w.ready('hostile.safetensors');
      const view = await w.open('hostile.safetensors', 'viewer');
      const overview = view.locator('moe-viewer-overview');
      await w.until(
        'metadata as text',
        () => seen(overview, { timeout: 1000 }),
        (text) => text.split(HOSTILE).length >= 3,
      );
      await w.shot('hostile-overview');
      await openTab(view, 'tensors');
      await view.getByTitle('Show as a tree').click();
      const names = await w.until(
        'all names',
        () => gridNames(view),
        (rows) => rows.length === 4,
      );
      for (const wanted of [HOSTILE, '__proto__', 'constructor'])
        assert.ok(
          names.some((name) => name.includes(wanted)),
          `${wanted} is not among ${JSON.stringify(names)}`,
        );
      await w.shot('hostile-tensors');
      await view.locator('moe-virtual-grid .line').filter({ hasText: '<img' }).first().click();
      await w.until(
        'inspector',
        () => view.locator('moe-viewer-inspector h2').innerText(),
        (text) => text.includes(HOSTILE),
      );
      const broken = await view.evaluate(() => [
        document.body.dataset.broken ?? null,
        document.querySelectorAll('img').length,
      ]);
      assert.deepEqual(broken, [null, 0], 'markup of a file was taken as markup');
      // The workbench's own surfaces as well: tabs, status bar, tree.
      assert.equal(await w.page.evaluate(() => document.body.dataset.broken ?? null), null);
      await w.shot('hostile-inspector');
    },
  },
];
