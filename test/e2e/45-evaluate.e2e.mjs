// Evaluation from the palette and the Explorer: the sample and an MoE made of it, compared; one run cancelled and resumed; traces.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accessible, openTab, seen } from './pages.mjs';

const DOCS = 40;

/** COPA's shape: a beginning and two endings, one of them right. */
function writeData(ws, count = DOCS, words = 1) {
  mkdirSync(join(ws, 'data'), { recursive: true });
  const rows = Array.from({ length: count }, (_, i) => ({
    query: `The ${i}. cat sat on the mat because `.repeat(words).trim(),
    choices: [`it was number ${i}.`, 'it was tired.'],
    gold: i % 2,
  }));
  writeFileSync(join(ws, 'data/copa_validation.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

const prepare = (ws, fixtures) => {
  fixtures.addSample(ws, 'dense');
  fixtures.cli('upcycle', join(ws, 'dense'), join(ws, 'moe'), '--set', 'experts=4', '--set', 'top_k=2');
  writeData(ws);
};

/** Evaluates a checkpoint of the Explorer on COPA, all documents; gives the results page. */
async function evaluate(w, name, { data = null } = {}) {
  await w.menu(name, 'Evaluate Checkpoint…');
  if (data !== null) {
    // Nothing is known of any data yet.
    await w.pick('Choose a Folder…');
    await w.answer(`${data}/`);
    // The dialog takes Enter only once it has looked at the folder; one too many would answer what comes next.
    let pressed = Date.now();
    await w.until('the tasks of the folder', async () => {
      const title = await w.quick.innerText();
      if (title.includes('Data of Evaluations') && Date.now() - pressed > 2000) {
        pressed = Date.now();
        await w.page.keyboard.press('Enter');
      }
      return title.includes('Evaluate');
    });
  }
  const row = w.quickRows.filter({ hasText: 'copa' }).first();
  await row.waitFor();
  const chosen = () => w.quick.innerText();
  // What was chosen the last time is chosen already.
  if (!/1 Selected/.test(await chosen())) await row.click();
  await w.until('copa chosen', chosen, (text) => /1 Selected/.test(text));
  await w.shot('evaluate-tasks');
  await w.page.keyboard.press('Enter');
  await w.pick('All');
  return resultsOf(w, name);
}

/** The results page of a checkpoint: another one's tab may be in front for a moment yet. */
function resultsOf(w, name) {
  return w.until(
    `results of ${name}`,
    async () => {
      const view = await w.view('results', { ms: 2000 });
      return (await textOf(view)).startsWith(name) ? view : null;
    },
    Boolean,
    { ms: 60_000 },
  );
}

/** Model processes of our jobs. */
function modelProcesses(w) {
  const jobs = new Set(w.processes('job.js'));
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const [, parent] = /\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'));
        return jobs.has(Number(parent)) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/dist/infer.js');
      } catch {
        return false; // It has ended.
      }
    });
}

const textOf = (view) => seen(view.locator('moe-results'), { timeout: 3000 });

/** acc and its standard error as the page shows them. */
async function scores(w, view) {
  const text = await w.until(
    'scores',
    () => textOf(view),
    (is) => /copa\n0\n40\nacc/.test(is),
    { ms: 90_000 },
  );
  const [, acc, stderr] = /acc[^0-9]*(\d\.\d{4})\n(\d\.\d{4})/.exec(text) ?? [];
  return { acc: Number(acc), stderr: Number(stderr), text };
}

export const tests = [
  {
    name: 'dense and MoE, scored and compared question by question',
    seconds: 300,
    prepare,
    async run(w) {
      await w.ready('dense');
      const dense = await evaluate(w, 'dense', { data: join(w.ws, 'data') });
      const first = await scores(w, dense);
      // So many of 40 are right, and the error is that of their mean.
      assert.ok(Math.abs(first.acc * DOCS - Math.round(first.acc * DOCS)) < 1e-2, `acc ${first.acc}`);
      const error = Math.sqrt((first.acc * (1 - first.acc)) / (DOCS - 1));
      assert.ok(Math.abs(first.stderr - error) < 1e-4, `stderr ${first.stderr}, expected ${error}`);
      await w.shot('evaluate-dense');
      const moe = await evaluate(w, 'moe');
      const second = await scores(w, moe);
      // A fresh upcycle computes what the dense model computes.
      assert.equal(second.acc, first.acc);
      await openTab(moe, 'compare');
      const select = moe.locator('moe-select select').first();
      const other = await w.until(
        'the dense parent is offered first',
        () => select.locator('option').allInnerTexts(),
        (all) => all.length === 2 && all[1].includes('dense parent'),
      );
      await select.selectOption({ label: other[1] });
      const compared = await w.until(
        'the comparison',
        () => seen(moe.locator('#panel-compare')),
        (text) => text.includes('questions that both answered'),
      );
      assert.ok(compared.includes(`On ${DOCS} questions that both answered`), compared);
      assert.ok(compared.includes('Both runs give the same answer to every question.'), compared);
      await w.shot('evaluate-compare');
      await openTab(moe, 'experts');
      await moe.locator('moe-traces moe-heat-map').first().waitFor();
      await w.shot('evaluate-experts');
      await moe.locator('moe-traces button').filter({ hasText: 'As a table' }).click();
      const rows = await moe.locator('moe-traces tbody tr').allInnerTexts();
      const loads = rows.slice(0, 8).map((row) => row.match(/[\d.]+(?= %)/g).map(Number));
      for (const load of loads) {
        assert.equal(load.length, 4, `${loads}`);
        const sum = load.reduce((a, b) => a + b, 0);
        assert.ok(Math.abs(sum - 100) < 0.5, `loads of a layer come to ${sum} %`);
      }
      await openTab(moe, 'scores');
      await w.zoomed('evaluate-200');
      await accessible(w, moe, 'results');
      await w.activity().click();
      await w.until(
        'both evaluations are in the Jobs view',
        () => w.treeRows('Jobs'),
        (all) => all.filter((row) => /Evaluate (dense|moe): copa/.test(row) && /done/.test(row)).length === 2,
      );
    },
  },
  {
    name: 'cancelled midway, then resumed from where it was',
    seconds: 300,
    prepare(ws, fixtures) {
      fixtures.addSample(ws, 'dense');
      writeData(ws, 800, 8);
    },
    async run(w) {
      await w.ready('dense');
      const view = await evaluate(w, 'dense', { data: join(w.ws, 'data') });
      await w.until(
        'a running score',
        () => textOf(view),
        (text) => /of 1,600 requests/.test(text) && /Scores so far/.test(text),
        { ms: 60_000 },
      );
      await w.shot('evaluate-running');
      const models = modelProcesses(w);
      assert.equal(models.length, 1, 'the model runs in a process of its own');
      await view.locator('vscode-button').filter({ hasText: 'Cancel' }).click();
      await w.until(
        'cancelled',
        () => textOf(view),
        (text) => /cancelled/.test(text) && /Resume/.test(text),
      );
      await w.until(
        'both processes are gone',
        () => [...w.processes('job.js'), ...models.filter((pid) => existsSync(`/proc/${pid}`))],
        (pids) => pids.length === 0,
      );
      await w.shot('evaluate-cancelled');
      await view.locator('vscode-button').filter({ hasText: 'Resume' }).click();
      const text = await w.until(
        'all documents',
        () => textOf(view),
        (is) => /copa\n0\n800\nacc/.test(is),
        { ms: 150_000 },
      );
      const resumed = /Resumed: (\d+) requests of an earlier run/.exec(text);
      assert.ok(resumed !== null && Number(resumed[1]) > 0, `nothing was resumed: ${text.slice(0, 400)}`);
    },
  },
  {
    name: 'traces of the built-in text, by the palette',
    seconds: 200,
    prepare,
    async run(w) {
      await w.ready('moe');
      await w.command('MoE: Trace Experts…');
      await w.pick('Built-in text');
      await w.pick('moe');
      const view = await w.view('results', { ms: 60_000 });
      const text = await w.until(
        'what the routers did',
        () => textOf(view),
        (is) => is.includes('What the routers did'),
        { ms: 90_000 },
      );
      assert.match(text, /tokens, 8 layers, 4 experts, top-2\./);
      const domains = await w.until(
        'shares by domain',
        () => view.locator('moe-traces moe-heat-map').count(),
        (count) => count === 3,
      );
      assert.equal(domains, 3);
      await w.shot('trace');
      // The checkpoint's own views know of it: viewer, Experts, and the history below the checkpoint.
      await view.locator('h1 button.link').click();
      const viewer = await w.view('viewer');
      await openTab(viewer, 'experts');
      await w.until(
        'what the routers did, in the viewer',
        () => seen(viewer.locator('moe-viewer-traces'), { timeout: 3000 }),
        (is) => is.includes('4 experts, top-2.'),
      );
      await w.activity().click();
      await w.until(
        'the balance of a layer in the Experts view',
        () => w.treeRows('Experts'),
        (rows) => rows.some((row) => /^Layer 0.*MaxVio \d\.\d\d/.test(row)),
      );
      const row = w.pane('Checkpoints').locator('.monaco-list-row').filter({ hasText: 'mixtral' }).first();
      await row.hover();
      await row.locator('.monaco-tl-twistie').click();
      await w.until(
        'the history of the checkpoint',
        () => w.treeRows('Checkpoints'),
        (rows) => rows.some((one) => /^Evaluations ?1/.test(one)),
      );
      await w.shot('trace-views');
    },
  },
  {
    name: 'playground: a text, every token by its first expert, stopped by the button',
    seconds: 200,
    prepare,
    async run(w) {
      await w.ready('moe');
      await w.command('MoE: Open Playground…');
      await w.pick('moe');
      const view = await w.view('playground', { ms: 60_000 });
      const text = () => seen(view.locator('moe-playground'), { timeout: 3000 });
      await w.until('the model', text, (is) => is.includes('4 experts in 8 layers, top-2'), { ms: 60_000 });
      const go = view.locator('vscode-button').filter({ hasText: 'Generate' });
      await view.locator('label.field input').nth(3).fill('12');
      await go.click();
      await w.until('the end', text, (is) => /Ended at the number of tokens\. 12 tokens in/.test(is), { ms: 60_000 });
      const tokens = await view.locator('.token').count();
      const numbers = (await view.locator('.token sub').allInnerTexts()).map(Number);
      // Every token was run, the last one too.
      assert.equal(numbers.length, tokens);
      const words = await view.locator('.token').last().getAttribute('aria-label');
      assert.match(words, /experts of layer 0: \d, \d, router gave the first p [01]\.\d\d$/);
      assert.ok(
        numbers.every((expert) => expert >= 0 && expert < 4),
        `experts ${numbers}`,
      );
      const legend = (await view.locator('.legend li').allInnerTexts()).map((line) =>
        Number(/: (\d+) \(/.exec(line)[1]),
      );
      assert.deepEqual(
        legend,
        [0, 1, 2, 3].map((expert) => numbers.filter((one) => one === expert).length),
      );
      await w.shot('playground');
      await view.locator('label.field input').nth(3).fill('4000');
      await go.click();
      await w.until(
        'more tokens',
        () => view.locator('.token').count(),
        (count) => count > tokens + 5,
      );
      await view.locator('vscode-button').filter({ hasText: 'Stop' }).click();
      await w.until('stopped', text, (is) => is.includes('Stopped.'));
      await accessible(w, view, 'playground');
    },
  },
];
