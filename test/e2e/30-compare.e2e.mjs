// Two checkpoints against each other, by the Explorer's own gesture: the dense sample and an MoE made of it.
import { join } from 'node:path';
import { accessible, openTab, seen, tensorsIn } from './pages.mjs';

export const tests = [
  {
    name: 'dense against MoE, expert by expert',
    seconds: 200,
    prepare(ws, fixtures) {
      fixtures.addSample(ws, 'dense');
      fixtures.cli('upcycle', join(ws, 'dense'), join(ws, 'moe'), '--set', 'experts=4', '--set', 'top_k=2');
    },
    async run(w) {
      await w.ready('dense');
      await w.menu('dense', 'Select Checkpoint for Compare');
      await w.menu('moe', 'Compare Checkpoint with Selected');
      const view = await w.view('compare');
      const text = () => seen(view.locator('moe-compare'));
      await w.until('both sides', text, (is) => is.includes('dense') && is.includes('MoE'));
      const moe = tensorsIn(join(w.ws, 'moe'));
      const dense = tensorsIn(join(w.ws, 'dense'));
      await w.until(
        'tensors of both sides',
        text,
        (is) => is.includes(`${dense} tensors`) && is.includes(`${moe} tensors`),
      );
      await w.shot('compare');
      await view.locator('vscode-button').filter({ hasText: 'Compare values' }).click();
      await w.until(
        'values compared',
        () => view.locator('vscode-button').filter({ hasText: 'Compare values' }).count(),
        (count) => count === 0,
        { ms: 60_000 },
      );
      await openTab(view, 'experts');
      await view.locator('moe-heat-map').first().waitFor();
      await w.shot('compare-experts');
      await openTab(view, 'config');
      await w.until(
        'changed config',
        () => seen(view.locator('#panel-config')),
        (is) => is.includes('num_local_experts'),
      );
      await w.shot('compare-config');
      await w.zoomed('compare-200');
      await openTab(view, 'experts');
      await accessible(w, view, 'compare');
    },
  },
];
