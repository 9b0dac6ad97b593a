// A window that is loaded anew gets a new extension host: what was open and where one was must come back.
import assert from 'node:assert/strict';
import { gridNames, headerOf, openTab } from './pages.mjs';
import { join } from 'node:path';

const FILE = 'model.safetensors';

export const tests = [
  {
    name: 'reloading the window restores the editor, its tab and its filter',
    prepare: (ws, fixtures) => fixtures.addSample(ws, 'tiny-llama'),
    seconds: 150,
    async run(w) {
      await w.ready('tiny-llama');
      await w.row('tiny-llama').click();
      let view = await w.open(FILE, 'viewer');
      await view.locator('#tab-tensors').waitFor();
      await openTab(view, 'tensors');
      const all = headerOf(join(w.ws, 'tiny-llama', FILE)).tensors.size;
      const filter = 'layer:5 up_proj';
      const status = () => view.locator('moe-viewer-tensors .bar [role=status]').innerText();
      await view.locator('moe-viewer-tensors vscode-text-field input').fill(filter);
      await w.until('filtered', status, (text) => text.startsWith(`1 of ${all} tensors`));
      await w.stored(filter);
      await w.reload();
      view = await w.view('viewer', { ms: 60_000 });
      await w.until(
        'the tab after the reload',
        () => view.locator('#tab-tensors').getAttribute('aria-selected'),
        (is) => is === 'true',
      );
      assert.equal(await view.locator('moe-viewer-tensors vscode-text-field input').inputValue(), filter);
      await w.until('still filtered', status, (text) => text.startsWith(`1 of ${all} tensors`));
      await w.until(
        'its row',
        () => gridNames(view),
        (names) => names.some((name) => name?.includes('up_proj')),
      );
      await w.shot('reloaded');
    },
  },
];
