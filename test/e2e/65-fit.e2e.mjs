// How the extension fits into the workbench: Problems and their code actions, tasks, the walkthrough, exports.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bf16Values, digits, headerOf, openTab, overviewTotals, sampleMoe } from './pages.mjs';

const FILE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** The 4-bytes-a-value data of a .npy file (format 1.0), read by its published layout. */
function npy(path) {
  const bytes = readFileSync(path);
  assert.equal(bytes.subarray(0, 6).toString('latin1'), '\x93NUMPY');
  const length = bytes.readUInt16LE(8);
  const header = bytes.subarray(10, 10 + length).toString('latin1');
  return { header, data: bytes.subarray(10 + length) };
}

export const tests = [
  {
    name: 'a stale index is a problem, and its code action mends it',
    seconds: 150,
    prepare(ws, fixtures) {
      fixtures.addSample(ws, 'stale');
      const { tensors } = headerOf(join(ws, 'stale', FILE));
      const weight_map = Object.fromEntries([...tensors.keys()].map((name) => [name, FILE]));
      writeFileSync(join(ws, 'stale', INDEX), JSON.stringify({ metadata: { total_size: 12345 }, weight_map }, null, 2));
    },
    async run(w) {
      await w.ready('stale');
      await w.command('Problems: Focus on Problems View');
      const problems = w.page.locator('.markers-panel-container .monaco-list-row');
      const problem = problems.filter({ hasText: '12,345' });
      await problem.first().waitFor();
      await w.shot('problems');
      // The lightbulb of the row; it asks for actions when the row is entered, and the key does nothing before they have come.
      const fix = w.page
        .locator('.action-widget .monaco-list-row, .monaco-menu .action-label')
        .filter({ hasText: 'Rebuild the index' });
      const [done, not] = [() => true, () => false];
      const rebuild = w.dialog.locator('.monaco-button').filter({ hasText: 'Rebuild' }).first();
      // Menus of the workbench come and go on their own: whatever is there now is taken one step further.
      await w.until(
        'the question whether to rebuild',
        async () => {
          if (await rebuild.isVisible()) return true;
          await problem.first().click({ timeout: 2000 }).then(done, not);
          await w.page.keyboard.press('Control+.');
          if (!(await fix.first().waitFor({ timeout: 2000 }).then(done, not))) return false;
          await w.shot('problems-actions');
          await fix.first().click({ timeout: 2000 }).then(done, not);
          return rebuild.waitFor({ timeout: 3000 }).then(done, not);
        },
        Boolean,
        { ms: 40_000 },
      );
      const bytes = [...headerOf(join(w.ws, 'stale', FILE)).tensors.values()].reduce(
        (sum, { data_offsets: [from, to] }) => sum + to - from,
        0,
      );
      await w.until(
        'the index on disk',
        async () => {
          await rebuild.click({ timeout: 2000 }).then(done, not);
          return JSON.parse(readFileSync(join(w.ws, 'stale', INDEX), 'utf8')).metadata.total_size;
        },
        (size) => size === bytes,
        { ms: 40_000 },
      );
      await w.command('Problems: Focus on Problems View');
      await w.until(
        'no problem left',
        () => problem.count(),
        (count) => count === 0,
      );
    },
  },
  {
    name: 'a task of tasks.json upcycles in a terminal',
    seconds: 150,
    prepare(ws, fixtures) {
      fixtures.addSample(ws, 'tiny-llama');
      writeFileSync(join(ws, 'six.moe.yaml'), 'base: tiny-llama\nexperts: 6\ntop_k: 2\n');
      writeFileSync(
        join(ws, '.vscode/tasks.json'),
        JSON.stringify({
          version: '2.0.0',
          tasks: [
            { type: 'moe', action: 'upcycle', recipe: 'six.moe.yaml', out: 'made', label: 'make six' },
            { type: 'moe', action: 'verify', path: 'made', sources: ['tiny-llama'], logits: true, label: 'prove six' },
          ],
        }),
      );
    },
    async run(w) {
      await w.ready('tiny-llama');
      await w.command('Tasks: Run Task');
      // Tasks of tasks.json are listed at the top; this one is told by its label.
      await w.pick('make six');
      const config = join(w.ws, 'made/config.json');
      await w.until('the result', () => existsSync(config), Boolean, { ms: 60_000 });
      assert.equal(JSON.parse(readFileSync(config, 'utf8')).num_local_experts, 6);
      await w.until(
        'the MoE in the viewer',
        async () => digits((await overviewTotals(await w.view('viewer'))).Parameters ?? ''),
        (total) => total === sampleMoe(6, 2).total,
        { ms: 60_000 },
      );
      await w.shot('task');
      const proof = () => JSON.parse(readFileSync(join(w.ws, 'made/moe-manifest.json'), 'utf8')).proof;
      const before = (await w.until('the proof of the upcycle', proof, Boolean, { ms: 60_000 })).at;
      await w.command('Tasks: Run Task');
      await w.pick('prove six');
      const { ok, at } = await w.until('the proof of the task', proof, (is) => is.at !== before, { ms: 60_000 });
      assert.ok(ok && at > before);
    },
  },
  {
    name: 'the walkthrough opens the sample',
    seconds: 120,
    prepare(ws) {
      writeFileSync(join(ws, 'notes.txt'), 'an empty workspace');
    },
    async run(w) {
      await w.page.locator('.monaco-workbench').waitFor();
      await w.ready('notes.txt');
      await w.command('Welcome: Open Walkthrough...');
      await w.pick('Get Started with MoE Workbench', 'MoE');
      const step = w.page.locator('.gettingStartedContainer .step-list-container .getting-started-step');
      await w.until(
        'steps of the walkthrough',
        () => step.count(),
        (count) => count >= 5,
      );
      await w.shot('walkthrough');
      await w.page
        .locator('.gettingStartedContainer .monaco-button')
        .filter({ hasText: 'Open the Sample' })
        .first()
        .click();
      const viewer = await w.view('viewer', { ms: 60_000 });
      await w.until(
        'the sample in the viewer',
        async () => digits((await overviewTotals(viewer)).Parameters ?? ''),
        (total) => total === sampleMoe(0, 0).dense,
      );
    },
  },
  {
    name: 'a tensor is exported as .npy',
    seconds: 120,
    prepare: (ws, fixtures) => fixtures.addSample(ws, 'tiny-llama'),
    async run(w) {
      await w.ready('tiny-llama');
      await w.row('tiny-llama').click();
      const view = await w.open(FILE, 'viewer');
      await view.locator('#tab-tensors').waitFor();
      await openTab(view, 'tensors');
      await view.locator('moe-viewer-tensors vscode-text-field input').fill('model.norm.weight');
      const grid = view.locator('moe-virtual-grid .view');
      await grid.locator('.line').filter({ hasText: 'norm.weight' }).first().waitFor();
      await grid.focus();
      await w.page.keyboard.press('End');
      await w.page.keyboard.press('Enter');
      const inspector = view.locator('moe-viewer-inspector');
      await inspector.locator('vscode-button').filter({ hasText: 'Export .npy' }).click();
      await w.until(
        'the offered name',
        () => w.quick.locator('input.input').inputValue(),
        (value) => value.endsWith('model.norm.weight.npy'),
      );
      const target = join(w.ws, 'norm.npy');
      await w.quick.locator('input.input').fill(target);
      // The dialog first goes to the folder that was typed; an early Enter is lost.
      await w.until(
        'the file',
        async () => {
          if (await w.quick.isVisible()) await w.page.keyboard.press('Enter');
          return existsSync(target);
        },
        Boolean,
      );
      const values = bf16Values(join(w.ws, 'tiny-llama', FILE), 'model.norm.weight');
      const { header, data } = npy(target);
      assert.match(header, /'descr': '<f4'/);
      assert.match(header, new RegExp(`'shape': \\(${values.length},\\)`));
      const read = Array.from({ length: data.length / 4 }, (_, i) => data.readFloatLE(4 * i));
      assert.deepEqual(read, Array.from(values));
    },
  },
];
