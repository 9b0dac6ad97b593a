// Opening a checkpoint: counts, tensors, filter, keyboard, statistics; themes and zoom.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import {
  accessible,
  bf16Values,
  digits,
  gridNames,
  gridRows,
  headerOf,
  openTab,
  overviewTotals,
  seen,
} from './pages.mjs';

const FILE = 'model.safetensors';
const prepare = (ws, fixtures) => fixtures.addSample(ws, 'tiny-llama');

async function openSample(w) {
  await w.ready('tiny-llama');
  await w.row('tiny-llama').click();
  return w.open(FILE, 'viewer');
}

export const tests = [
  {
    name: 'the overview counts what the file holds',
    prepare,
    async run(w) {
      const view = await openSample(w);
      const header = headerOf(join(w.ws, 'tiny-llama', FILE));
      const totals = await w.until(
        'totals of the overview',
        () => overviewTotals(view),
        (is) => digits(is.Parameters ?? '') === header.parameters,
      );
      assert.ok(Object.keys(totals).length >= 3, `totals: ${JSON.stringify(totals)}`);
      assert.equal(await view.locator('h1').first().innerText(), 'tiny-llama');
      assert.equal(digits(await view.locator('#tab-tensors .badge').innerText()), header.tensors.size);
      const text = await seen(view.locator('moe-viewer-overview'));
      for (const word of ['llama', FILE, 'bf16', 'KV cache', 'Metadata'])
        assert.ok(
          text.toLowerCase().includes(word.toLowerCase()),
          `the overview does not mention ${word}: ${text.slice(0, 2000)}`,
        );
      await w.shot('viewer-overview');
      await w.zoomed('viewer-overview-200');
      await w.until(
        'checkpoint in the status bar',
        () => w.status('llama').count(),
        (count) => count > 0,
      );
      await accessible(w, view, 'overview');
    },
    seconds: 150,
  },
  {
    name: 'tensors expand, filter and answer to the keyboard',
    prepare,
    async run(w) {
      const view = await openSample(w);
      const path = join(w.ws, 'tiny-llama', FILE);
      const header = headerOf(path);
      await view.locator('#tab-tensors').waitFor();
      await openTab(view, 'tensors');
      const collapsed = await w.until(
        'rows of the tree',
        () => gridRows(view),
        (rows) => rows > 0,
      );
      assert.ok(
        collapsed < header.tensors.size,
        `${collapsed} rows for ${header.tensors.size} tensors: nothing is collapsed`,
      );
      await w.shot('viewer-tensors-collapsed');

      // Keyboard alone: into the grid, to a group, open, close.
      const grid = view.locator('moe-virtual-grid .view');
      await grid.focus();
      await w.page.keyboard.press('Home');
      const first = grid.locator('.line[aria-expanded]').first();
      const index = Number(await first.getAttribute('aria-rowindex')) - 2;
      for (let at = 0; at < index; at++) await w.page.keyboard.press('ArrowDown');
      const was = await first.getAttribute('aria-expanded');
      await w.page.keyboard.press(was === 'true' ? 'ArrowLeft' : 'ArrowRight');
      await w.until(
        'group toggled by keyboard',
        () => gridRows(view),
        (rows) => rows !== collapsed,
      );
      await view.getByTitle('Expand all').click();
      await w.until(
        'all expanded',
        () => gridRows(view),
        (rows) => rows > header.tensors.size,
      );
      await w.shot('viewer-tensors-expanded');
      await view.getByTitle('Collapse all').click();

      // Filter by field and text: counted from the header.
      const names = [...header.tensors.keys()];
      const wanted = names.filter((name) => /\.layers\.3\..*proj/.test(name)).length;
      const filter = view.locator('moe-viewer-tensors vscode-text-field input');
      await filter.fill('layer:3 dtype:bf16 proj');
      await w.until(
        'count of the filter',
        () => view.locator('moe-viewer-tensors .bar [role=status]').innerText(),
        (text) => text.startsWith(`${wanted} of ${header.tensors.size} tensors`),
      );
      await w.shot('viewer-tensors-filtered');
      await filter.fill('size:>');
      await view.locator('moe-viewer-tensors .problem[role=alert]').waitFor();
      await w.shot('viewer-tensors-filter-problem');
      await filter.fill('model.norm.weight');
      await w.until(
        'the one row',
        () => gridNames(view),
        (rows) => rows.some((row) => row?.endsWith('norm.weight') === true),
      );

      // To the tensor and into the inspector, by keyboard; statistics against the file's own values.
      await grid.focus();
      await w.page.keyboard.press('End');
      await w.page.keyboard.press('Enter');
      const inspector = view.locator('moe-viewer-inspector');
      await w.until(
        'inspector',
        () => inspector.locator('h2').innerText(),
        (name) => name === 'model.norm.weight',
      );
      const values = bf16Values(path, 'model.norm.weight');
      const stat = (label) =>
        inspector.locator('.stats div').filter({ hasText: label }).locator('dd').first().getAttribute('title');
      await w.until(
        'minimum',
        async () => Number(await stat('Minimum')),
        (is) => is === Math.min(...values),
      );
      assert.equal(Number(await stat('Maximum')), Math.max(...values));
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      assert.ok(Math.abs(Number(await stat('Mean')) - mean) < 1e-6, `mean ${await stat('Mean')}, expected ${mean}`);
      await w.shot('viewer-inspector');
      await inspector.locator('vscode-button').filter({ hasText: 'Copy as Python' }).click();
      const python = await w.until(
        'Python in the clipboard',
        () => w.page.evaluate(() => navigator.clipboard.readText()),
        (text) => text.includes('safe_open'),
      );
      assert.ok(python.includes('model.norm.weight'), python);
      await w.command('MoE: Copy Diagnostics');
      const diagnostics = JSON.parse(
        await w.until(
          'diagnostics in the clipboard',
          () => w.page.evaluate(() => navigator.clipboard.readText()),
          (text) => text.startsWith('{'),
        ),
      );
      assert.equal(diagnostics.trusted, true);
      assert.equal(diagnostics.checkpoint.status, 'ready');
      assert.ok(diagnostics.worker.rssBytes > 0, JSON.stringify(diagnostics.worker));
      await w.zoomed('viewer-inspector-200');
      await accessible(w, view, 'tensors');
    },
    seconds: 180,
  },
];
