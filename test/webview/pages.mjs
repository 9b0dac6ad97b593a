// Page tests: the built webviews in a real browser, with the policy and theme variables that VS Code gives them and a host
// that answers over the real protocol. Prints what it checked; exits 1 on any failure, and says loudly when it could not run.
// Options: --only viewer,planner; --no-shots; --no-looks (leave out the round through themes and zoom). Screenshots go to test/webview/out.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { bundle, out, PAGES, serve } from './serve.mjs';

const LIMIT = 600_000;
const executablePath = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path) => path && existsSync(path));
if (executablePath === undefined) {
  console.warn('SKIPPED: webview page tests: no Chromium (set CHROMIUM or install it)');
  process.exit(0);
}
const onlyAt = process.argv.indexOf('--only');
const only = onlyAt < 0 ? PAGES : process.argv[onlyAt + 1].split(',');
const shots = !process.argv.includes('--no-shots');
mkdirSync(out, { recursive: true });

const sizes = await bundle(only);
const { url, close } = await serve();
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const axe = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
const failures = [];
let checks = 0;

function check(what, ok, detail = '') {
  checks++;
  if (ok) return;
  failures.push(`${what}${detail === '' ? '' : `: ${detail}`}`);
  console.error(`FAIL ${what} ${detail}`);
}

/** Opens a page and watches it; the callback tests it. */
async function open(page, options, test) {
  const {
    scenario = 'default',
    theme = 'dark',
    zoom = 1,
    width = page === 'heatmap' ? 300 : 1280,
    height = 800,
    motion,
  } = options;
  const name = `${page}/${scenario}/${theme}${zoom === 1 ? '' : `@${zoom * 100}%`}`;
  const context = await browser.newContext({
    viewport: { width: Math.round(width / zoom), height: Math.round(height / zoom) },
    deviceScaleFactor: zoom,
    reducedMotion: motion === 'reduce' ? 'reduce' : 'no-preference',
  });
  const tab = await context.newPage();
  tab.setDefaultTimeout(15_000);
  const noise = [];
  tab.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') noise.push(message.text());
  });
  tab.on('pageerror', (error) => noise.push(error.message));
  tab.on('dialog', (dialog) => {
    noise.push(`a dialog opened: ${dialog.message()}`);
    void dialog.dismiss();
  });
  try {
    await tab.goto(`${url}/${page}?scenario=${scenario}&theme=${theme}${motion ? `&motion=${motion}` : ''}`);
    await tab.waitForFunction(() => document.querySelector('#root > *')?.shadowRoot !== null);
    await test(tab, name);
    const faults = await tab.evaluate(() => globalThis.moeTest.faults);
    check(`${name}: no faults`, faults.length === 0, faults.join(' | '));
  } catch (error) {
    check(`${name}: test ran`, false, error.message.split('\n').slice(0, 3).join(' '));
  }
  check(`${name}: console and policy are quiet`, noise.length === 0, noise.join(' | '));
  await context.close();
}

async function still(tab, ms = 250) {
  await tab.waitForTimeout(ms);
}

async function shoot(tab, name) {
  if (shots) await tab.screenshot({ path: join(out, `${name.replaceAll(/[/@%]/g, '-')}.png`) });
}

async function accessible(tab, name) {
  const found = await tab.evaluate(async (source) => {
    if (globalThis.axe === undefined) (0, eval)(source);
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations.map(
      ({ id, nodes }) =>
        `${id} (${nodes.length}): ${JSON.stringify(nodes[0].target)} ${nodes[0].failureSummary?.split('\n')[1] ?? ''}`,
    );
  }, `${axe};`);
  check(`${name}: axe finds nothing`, found.length === 0, found.join(' | '));
}

async function fits(tab, name) {
  const over = await tab.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const host = document.querySelector('#root > *');
    return scrollWidth > clientWidth || host.scrollWidth > host.clientWidth + 1
      ? `${scrollWidth}/${host.scrollWidth} > ${clientWidth}`
      : '';
  });
  check(`${name}: no horizontal scrolling of the page`, over === '', over);
}

/** The element in focus, through shadow roots. */
const focused = (tab) =>
  tab.evaluate(() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    return element === null
      ? ''
      : `${element.getAttribute('role') ?? element.localName} ${element.getAttribute('aria-label') ?? element.textContent?.trim() ?? ''}`;
  });

/** All text below an element, through shadow roots. */
const textOf = (locator) =>
  locator.evaluate((element) => {
    const read = (node) => {
      if (node.nodeType === 3) return node.data;
      if (node.localName === 'style') return '';
      const inner = node.localName === 'slot' ? node.assignedNodes() : (node.shadowRoot ?? node).childNodes;
      return [...inner].map(read).join('');
    };
    return read(element).replaceAll(/\s+/g, ' ');
  });

const record = async (tab, key) => {
  await tab.waitForTimeout(80);
  return tab.evaluate((name) => globalThis.moeTest[name], key);
};

const THEMES = ['dark', 'light', 'hc', 'hc-light'];

// Every page in four themes and at 200 %: quiet, accessible, without horizontal scrolling, with a picture.
const LOOKS = {
  viewer: [
    ['default', 'overview'],
    ['default', 'tensors'],
    ['default', 'experts'],
    ['default', 'compare'],
    ['partial', 'overview'],
    ['failed', null],
    ['loading', null],
  ],
  planner: [
    ['default', null],
    ['parents', null],
    ['interrupted', null],
    ['proven', null],
    ['differs', null],
    ['unproven', null],
  ],
  compare: [
    ['default', 'tensors'],
    ['default', 'experts'],
    ['default', 'config'],
    ['failed', null],
  ],
  playground: [
    ['default', null],
    ['dense', null],
    ['loading', null],
    ['failed', null],
  ],
  results: [
    ['default', 'scores'],
    ['default', 'subjects'],
    ['default', 'compare'],
    ['default', 'experts'],
    ['running', null],
    ['killed', null],
    ['failed', null],
  ],
  heatmap: [
    ['default', null],
    ['manual', null],
  ],
};

async function toTab(tab, id) {
  if (id !== null) await tab.click(`#tab-${id}`);
  await still(tab, 400);
}

const looks = process.argv.includes('--no-looks') ? [] : only;
for (const page of looks)
  for (const [scenario, tabId] of LOOKS[page])
    for (const [theme, zoom] of [...THEMES.map((each) => [each, 1]), ['dark', 2], ['hc-light', 2]])
      await open(page, { scenario, theme, zoom }, async (tab, name) => {
        await toTab(tab, tabId);
        if (page === 'viewer' && tabId === 'tensors') {
          await tab.locator('moe-virtual-grid .line', { hasText: 'embed_tokens' }).click();
          await still(tab, 500);
        }
        if (page === 'playground' && (scenario === 'default' || scenario === 'dense')) {
          await tab.locator('vscode-button', { hasText: 'Generate' }).click();
          await tab.getByText('Ended at the number of tokens').first().waitFor();
        }
        if (page === 'results' && tabId === 'compare') {
          await tab.locator('moe-select select').first().selectOption('/storage/a.moe-eval.json');
          await still(tab, 400);
        }
        const full = tabId === null ? name : `${name}/${tabId}`;
        await shoot(tab, full);
        await fits(tab, full);
        await accessible(tab, full);
      });

if (only.includes('viewer')) {
  await open('viewer', {}, async (tab, name) => {
    // By keyboard alone: tabs, grid, tree, inspector.
    await tab.keyboard.press('Tab');
    check(`${name}: first Tab reaches the tabs`, (await focused(tab)).startsWith('tab Overview'), await focused(tab));
    await tab.keyboard.press('ArrowRight');
    check(`${name}: arrow goes to Tensors`, (await focused(tab)).startsWith('tab Tensors'), await focused(tab));
    const grid = tab.locator('moe-virtual-grid .view');
    await grid.focus();
    await still(tab);
    await tab.keyboard.press('ArrowDown');
    await tab.keyboard.press('ArrowRight');
    await tab.locator('[role=row][aria-level="2"]').first().waitFor();
    const row = tab.locator('[role=row].active');
    check(`${name}: the group is open`, (await row.getAttribute('aria-expanded')) === 'true');
    check(
      `${name}: place in set`,
      (await row.getAttribute('aria-posinset')) === '2' && (await row.getAttribute('aria-setsize')) === '7',
    );
    await tab.keyboard.press('ArrowRight');
    await tab.keyboard.press('ArrowRight');
    await still(tab);
    await tab.keyboard.press('ArrowRight');
    await tab.keyboard.press('Enter');
    await tab.locator('moe-viewer-inspector h2').waitFor();
    const inspected = await tab.locator('moe-viewer-inspector h2').first().textContent();
    check(`${name}: Enter inspects`, inspected === 'model.layers.0.input_layernorm.weight', inspected);
    await tab.locator('moe-histogram canvas').waitFor();
    check(
      `${name}: NaN is told`,
      (await textOf(tab.locator('moe-viewer-inspector'))).includes('3 of 884,736 values are not finite'),
    );
    await tab.keyboard.press('ArrowLeft');
    await still(tab);
    check(
      `${name}: left goes to the parent`,
      (await tab.locator('[role=row].active').getAttribute('aria-level')) === '2',
    );
    await tab.keyboard.press('End');
    await still(tab);
    check(`${name}: End is the last row`, (await tab.locator('[role=row].active').textContent()).includes('lm_head'));
    await tab.keyboard.press('Home');
    await tab.keyboard.type('norm');
    await still(tab);
    check(
      `${name}: letters find a row`,
      (await tab.locator('[role=row].active').textContent()).includes('norm.weight'),
    );
    // Hostile names are text.
    check(`${name}: no image was made of a name`, (await tab.locator('img').count()) === 0);
    const shown = await textOf(tab.locator('moe-virtual-grid'));
    check(`${name}: the name is shown as it is`, shown.includes('<img src=x onerror=alert(1)>'));
    check(`${name}: reordering characters are made visible`, shown.includes('weight_\\u202egnp.exe'));
    // Filter, problem, reset.
    const field = tab.locator('moe-viewer-tensors vscode-text-field input');
    await field.fill('layer:3 expert:2');
    await tab.locator('.bar [role=status]', { hasText: '3 of 378 tensors' }).waitFor();
    await field.fill('layer:');
    await tab.getByText("'layer:' needs a value").waitFor();
    await field.fill('q_proj');
    await tab.locator('mark').first().waitFor();
    check(`${name}: hits are marked`, (await tab.locator('mark').first().textContent()) === 'q_proj');
    // The state comes back after a reload.
    await still(tab);
    await tab.reload();
    await tab.locator('moe-viewer-inspector h2').waitFor();
    check(`${name}: filter is back after a reload`, (await field.inputValue()) === 'q_proj');
    check(
      `${name}: inspector is back`,
      (await tab.locator('moe-viewer-inspector h2').first().textContent()) === 'model.layers.0.input_layernorm.weight',
    );
    await tab.locator('moe-viewer-inspector moe-copy button').first().click();
    check(
      `${name}: copies the exact name`,
      (await record(tab, 'copied'))[0] === 'model.layers.0.input_layernorm.weight',
    );
    await tab.locator('moe-histogram').getByRole('button', { name: 'log |x|' }).click();
    await tab.locator('moe-histogram').getByText('exactly zero').waitFor();
    await tab.locator('moe-histogram .chart').focus();
    await tab.keyboard.press('ArrowRight');
    check(`${name}: bins by arrow keys`, (await tab.locator('moe-histogram .at').textContent()).includes('values'));
    await tab.locator('moe-histogram').getByRole('button', { name: 'Show as a table' }).click();
    check(`${name}: table twin of the histogram`, (await tab.locator('moe-histogram tbody tr').count()) === 65);
    await shoot(tab, 'viewer-inspector-table');
    // The host leads elsewhere.
    await field.fill('');
    await still(tab, 400);
    await tab.evaluate(() =>
      globalThis.moeTest.say.reveal({
        tab: null,
        tensor: 'model.layers.5.mlp.experts.3.up_proj.weight',
        layer: null,
        expert: null,
      }),
    );
    await tab.locator('[role=row].active', { hasText: 'up_proj' }).waitFor();
    check(`${name}: reveal selects`, (await tab.locator('[role=row].active').getAttribute('aria-selected')) === 'true');
  });

  await open('viewer', { zoom: 2 }, async (tab, name) => {
    await tab.click('#tab-tensors');
    await tab.locator('moe-virtual-grid .view').focus();
    await still(tab);
    await tab.keyboard.press('Enter');
    await tab.locator('moe-viewer-inspector h2').waitFor();
    await still(tab);
    check(
      `${name}: focus goes to the inspector that stands in the list's place`,
      (await focused(tab)).includes('Inspector of'),
      await focused(tab),
    );
    await tab.keyboard.press('Escape');
    await still(tab);
    check(`${name}: Escape goes back to the list`, (await focused(tab)).startsWith('treegrid'), await focused(tab));
  });

  await open('viewer', { scenario: 'slow' }, async (tab, name) => {
    await tab.click('#tab-tensors');
    await tab.locator('.line', { hasText: 'embed_tokens' }).click();
    await tab.locator('moe-viewer-inspector').getByRole('button', { name: 'Cancel' }).click();
    await tab.locator('moe-viewer-inspector vscode-button', { hasText: 'Compute statistics' }).waitFor();
    check(`${name}: statistics can be cancelled`, true);
  });

  await open('viewer', { scenario: 'huge' }, async (tab, name) => {
    await tab.click('#tab-tensors');
    await tab.getByText('494,533 tensors').first().waitFor();
    await tab.locator('button[title="Expand all"]').click();
    await tab.waitForFunction(() => {
      const grid = document
        .querySelector('moe-viewer')
        .shadowRoot.querySelector('moe-viewer-tensors')
        .shadowRoot.querySelector('moe-virtual-grid');
      return grid.total > 600_000;
    });
    const grid = tab.locator('moe-virtual-grid .view');
    await grid.focus();
    await tab.keyboard.press('End');
    await tab.locator('[role=row].active', { hasText: 'lm_head' }).waitFor();
    const rows = await tab.locator('moe-virtual-grid .line').count();
    const head = tab.locator('[role=columnheader]').first();
    check(`${name}: the head stays on top`, ((await head.boundingBox())?.y ?? -1) > 100);
    check(`${name}: only visible rows exist`, rows < 80, String(rows));
    // What a jump costs the page's own script; how long a frame takes is the machine's affair.
    const cost = await tab.evaluate(async () => {
      const grid = document
        .querySelector('moe-viewer')
        .shadowRoot.querySelector('moe-viewer-tensors')
        .shadowRoot.querySelector('moe-virtual-grid');
      const view = grid.shadowRoot.querySelector('.view');
      const times = [];
      for (let step = 0; step < 60; step++) {
        view.scrollTop = (view.scrollHeight / 60) * step;
        const before = performance.now();
        view.dispatchEvent(new Event('scroll'));
        await grid.updateComplete;
        times.push(performance.now() - before);
        await new Promise((done) => setTimeout(done, 30));
      }
      times.sort((a, b) => a - b);
      return { median: times[30], worst: times[59] };
    });
    console.log(`${name}: script per jump: median ${cost.median.toFixed(1)} ms, worst ${cost.worst.toFixed(1)} ms`);
    check(`${name}: scrolling is cheap`, cost.median < 150, String(cost.median));
    await shoot(tab, 'viewer-huge');
  });

  await open('viewer', {}, async (tab, name) => {
    await tab.click('#tab-experts');
    await tab.getByText('Computed in').waitFor();
    const cell = tab.locator('moe-heat-map [role=gridcell]').first();
    await cell.focus();
    for (const key of [
      'ArrowDown',
      'ArrowDown',
      'ArrowDown',
      'ArrowDown',
      'ArrowRight',
      'ArrowRight',
      'ArrowRight',
      'ArrowRight',
      'ArrowRight',
    ])
      await tab.keyboard.press(key);
    const here = await focused(tab);
    check(`${name}: cell in words`, here.includes('Layer 4, expert 5') && here.includes('dead'), here);
    await shoot(tab, 'viewer-experts-focus');
    await tab.keyboard.press('Enter');
    await tab.getByRole('heading', { name: 'Experts of layer 4', exact: true }).waitFor();
    await tab.keyboard.press('Control+End');
    check(
      `${name}: Ctrl+End is the last cell`,
      (await focused(tab)).includes('Layer 11, expert 7'),
      await focused(tab),
    );
    check(
      `${name}: step 0 is explained`,
      (await tab.getByText('identical experts are expected at step 0').count()) === 1,
    );
    await tab.locator('vscode-button', { hasText: 'Compute the matrix' }).click();
    await tab.getByText('Experts 0 and 2 are most alike').waitFor();
    await tab.locator('.wide.row button', { hasText: 'As a table' }).click();
    await tab.locator('moe-virtual-grid[label="Norm"] .line').first().waitFor();
    check(
      `${name}: table twin of the grid`,
      (await tab.locator('moe-virtual-grid[label="Norm"] .view').getAttribute('aria-rowcount')) === '97',
    );
    await still(tab);
    await shoot(tab, 'viewer-experts-table');
    await accessible(tab, `${name}/experts table`);
  });
  await open('viewer', { scenario: 'wide', theme: 'light' }, async (tab, name) => {
    await tab.click('#tab-experts');
    await tab.getByText('Computed in').waitFor();
    await shoot(tab, 'viewer-experts-wide');
    await accessible(tab, `${name}/experts wide`);
  });
  await open('viewer', { scenario: 'restricted' }, async (tab, name) => {
    const upcycle = tab.locator('vscode-button', { hasText: 'Upcycle' });
    check(`${name}: upcycling is off`, (await upcycle.getAttribute('disabled')) !== null);
    await tab.getByRole('button', { name: 'Manage trust' }).click();
    check(`${name}: trust is one click away`, (await record(tab, 'commands'))[0] === 'manageTrust');
    await shoot(tab, 'viewer-restricted');
    await tab.click('#tab-experts');
    await tab.getByText('There are no experts here').waitFor();
    await shoot(tab, 'viewer-dense-experts');
  });
  await open('viewer', { scenario: 'failed' }, async (tab, name) => {
    const text = await textOf(tab.locator('moe-error-page'));
    check(
      `${name}: names byte and file`,
      text.includes('16,384') && text.includes('/home/ada/models/broken/model.safetensors'),
    );
    await tab.locator('vscode-button', { hasText: 'Open as text' }).click();
    check(`${name}: actions go to the host`, (await record(tab, 'commands'))[0] === 'errorAction text');
  });
  await open('viewer', { motion: 'reduce', scenario: 'loading' }, async (tab, name) => {
    const moving = await tab.evaluate(() => document.getAnimations().length);
    check(`${name}: reduced motion`, moving === 0, String(moving));
  });
}

if (only.includes('planner')) {
  await open('planner', {}, async (tab, name) => {
    const field = (label) => tab.locator('moe-recipe-field', { has: tab.locator(`.name:text-is("${label}")`) });
    const experts = field('experts').locator('input');
    await experts.fill('16');
    await experts.press('Enter');
    await tab.getByText('16 experts, top-2').waitFor();
    check(
      `${name}: totals follow`,
      (await tab.locator('.totals').textContent()).includes('1.33B'),
      await tab.locator('.totals').textContent(),
    );
    check(
      `${name}: one small edit`,
      (await record(tab, 'calls')).includes('edit [{"op":"set","path":["experts"],"value":16}]'),
    );
    await experts.fill('many');
    await experts.press('Enter');
    await field('experts').getByText('expected a whole number').waitFor();
    await experts.press('Escape');
    for (let tries = 0; tries < 20 && (await experts.inputValue()) !== '16'; tries++) await still(tab);
    check(`${name}: Escape gives the value back`, (await experts.inputValue()) === '16', await experts.inputValue());
    const topK = field('top_k').locator('input');
    await topK.fill('99');
    await topK.press('Enter');
    await field('top_k').getByText('exceeds experts').waitFor();
    await shoot(tab, 'planner-invalid');
    await accessible(tab, `${name}/invalid`);
    await field('top_k').getByRole('button', { name: 'Back to the default' }).click();
    await tab.getByText('16 experts, top-2').waitFor();
    check(`${name}: reset removes`, (await record(tab, 'calls')).includes('edit [{"op":"remove","path":["top_k"]}]'));
    await field('expert_init.method').locator('select').selectOption('copy');
    await tab.getByText('Bit-exact').waitFor();
    // Rows by keyboard.
    const grid = tab.locator('moe-plan-rows .view');
    await grid.focus();
    await tab.keyboard.press('ArrowDown');
    await tab.keyboard.press('ArrowDown');
    await tab.keyboard.press('ArrowRight');
    await tab.keyboard.press('ArrowRight');
    await tab.locator('moe-plan-rows .details', { hasText: 'rows 0–767 of 1,536' }).waitFor();
    await still(tab);
    await tab.locator('moe-plan-rows').scrollIntoViewIfNeeded();
    await shoot(tab, 'planner-rows');
    await tab.getByRole('button', { name: 'As text' }).click();
    await tab.getByText('llama → mixtral').waitFor();
    await tab.locator('moe-copy[what="the plan as text"] button').click();
    check(
      `${name}: plan as text is copied`,
      (await record(tab, 'copied')).some((text) => text.startsWith('llama → mixtral')),
    );
    await tab.locator('vscode-button', { hasText: 'Run…' }).click();
    await tab.getByText('writing').first().waitFor();
    await shoot(tab, 'planner-running');
    await tab.locator('.job', { hasText: ': done' }).waitFor();
    await tab.locator('vscode-button', { hasText: 'Open the result' }).click();
    check(`${name}: opens the result`, (await record(tab, 'commands')).includes('openResult job-1'));
    await tab.locator('vscode-button', { hasText: 'Run…' }).click();
    await tab.locator('vscode-button', { hasText: 'Cancel' }).click();
    await tab.locator('.job', { hasText: ': cancelled' }).waitFor();
    await tab.evaluate(() => globalThis.moeTest.say.reveal('router.std'));
    await still(tab, 400);
    check(`${name}: reveal focuses the field`, (await focused(tab)).includes('router.std'), await focused(tab));
    await tab.reload();
    await tab.getByText('llama → mixtral').waitFor();
    check(`${name}: text view is back after a reload`, true);
  });
  await open('planner', {}, async (tab, name) => {
    const lab = tab.locator('moe-router-lab');
    await lab.scrollIntoViewIfNeeded();
    await lab.locator('vscode-button', { hasText: 'Start' }).click();
    await lab.getByRole('row', { name: /uniform/ }).waitFor();
    check(`${name}: the built-in text first`, (await record(tab, 'calls')).includes('lab null null'));
    const text = (await lab.locator('table').textContent()) ?? '';
    const about = (await lab.locator('p').allTextContents()).join('\n');
    check(`${name}: infinite where rows depend`, text.includes('∞'), text);
    check(`${name}: what was taken of the text`, about.includes('its first 745 tokens'), about);
    check(
      `${name}: the recipe's own start`,
      (await lab.getByRole('row', { name: /normal/ }).textContent()).includes('in the recipe'),
    );
    await still(tab);
    await shoot(tab, 'planner-lab');
    await accessible(tab, `${name}/lab`);
    await lab.getByRole('button', { name: 'zero', exact: true }).click();
    await lab.getByRole('heading', { name: 'Predicted load with zero' }).waitFor();
    await lab.getByRole('button', { name: 'As a table' }).click();
    await lab.getByRole('columnheader', { name: 'E7' }).waitFor();
    await accessible(tab, `${name}/lab table`);
    await lab.getByRole('button', { name: 'Use uniform in the recipe' }).click();
    await lab
      .getByRole('row', { name: /uniform/ })
      .getByText('in the recipe')
      .waitFor();
    check(
      `${name}: one small edit`,
      (await record(tab, 'calls')).includes('edit [{"op":"set","path":["router","init"],"value":"uniform"}]'),
    );
    check(`${name}: still the same run`, (await lab.locator('.note').count()) === 0);
    await lab.locator('select').first().selectOption('typed');
    await lab.locator('textarea').fill('slow');
    await lab.locator('vscode-button', { hasText: 'Start' }).click();
    const fill = lab.locator('moe-progress .fill');
    await fill.waitFor();
    const motion = () =>
      fill.evaluate((bar) => `${getComputedStyle(bar).transitionDuration} ${getComputedStyle(bar).animationDuration}`);
    check(`${name}: bars move`, (await motion()).startsWith('0.2s'), await motion());
    await tab.emulateMedia({ reducedMotion: 'reduce' });
    check(
      `${name}: and do not where motion is to be reduced`,
      /^0s|^1e-0\d+s|^0\.00\d*s/.test(await motion()),
      await motion(),
    );
    await tab.emulateMedia({ reducedMotion: 'no-preference' });
    await lab.locator('vscode-button', { hasText: 'Cancel' }).click();
    await lab.locator('vscode-button', { hasText: 'Start' }).waitFor();
    check(`${name}: cancelled, the results before stay`, (await lab.locator('table').count()) > 0);
    await lab.locator('vscode-button', { hasText: 'Choose a file…' }).click();
    await lab.locator('vscode-button', { hasText: 'Start' }).click();
    await lab.getByRole('alert').waitFor();
    check(`${name}: why not`, ((await lab.getByRole('alert').textContent()) ?? '').includes('Expected UTF-8'));
    await tab.evaluate(() => globalThis.moeTest.say.reveal('router-lab'));
    await still(tab, 200);
    check(`${name}: reveal shows the lab`, (await lab.getAttribute('class'))?.includes('flash') === true);
  });
  await open('planner', { scenario: 'prompts' }, async (tab, name) => {
    const box = (label) => tab.locator(`moe-prompts vscode-text-area[aria-label="${label}"] textarea`);
    const first = box('Prompts that expert 0 answers');
    await first.scrollIntoViewIfNeeded();
    check(`${name}: one prompt a line`, (await first.inputValue()).startsWith('a story\n'), await first.inputValue());
    await box('Prompts that expert 1 answers').fill('a sum\n12 + 30');
    await box('Prompts that expert 1 answers').blur();
    await still(tab, 200);
    check(
      `${name}: the next expert's prompts are appended`,
      (await record(tab, 'calls')).includes(
        'edit [{"op":"set","path":["router","prompts",1,"positive_prompts"],"value":["a sum","12 + 30"]}]',
      ),
      (await record(tab, 'calls')).join('\n'),
    );
    await shoot(tab, 'planner-prompts');
    await accessible(tab, `${name}/prompts`);
    await first.fill('');
    await first.blur();
    await still(tab, 200);
    check(
      `${name}: the last expert's prompts are taken away`,
      (await record(tab, 'calls')).includes('edit [{"op":"remove","path":["router","prompts"]}]'),
    );
  });
  await open('planner', { scenario: 'parents' }, async (tab, name) => {
    await tab.getByRole('button', { name: 'Add a parent…' }).click();
    await still(tab);
    check(
      `${name}: a parent is added at its place`,
      (await record(tab, 'calls')).some((call) => call.startsWith('edit [{"op":"set","path":["parents",2]')),
      (await record(tab, 'calls')).join(' '),
    );
  });
  await open('planner', { scenario: 'conflict' }, async (tab, name) => {
    const experts = tab.locator('moe-recipe-field', { has: tab.locator('.name:text-is("experts")') }).locator('input');
    await experts.fill('4');
    await experts.press('Enter');
    await tab.getByText('The document changed meanwhile').waitFor();
    check(`${name}: a refused edit is told`, true);
  });
  await open('planner', { scenario: 'restricted' }, async (tab, name) => {
    check(
      `${name}: Run is off`,
      (await tab.locator('vscode-button', { hasText: 'Run…' }).getAttribute('disabled')) !== null,
    );
    await shoot(tab, 'planner-restricted');
  });
  await open('planner', { scenario: 'proven' }, async (tab, name) => {
    const text = await textOf(tab.locator('.logits.ok'));
    for (const part of ['compute the same', 'exact', '3.2e-7 (limit 1.0e-5)', '4.1e-6', '318 of 318', '1.2e-13 nats'])
      check(`${name}: the check says ${part}`, text.includes(part), text);
  });
  await open('planner', { scenario: 'differs' }, async (tab, name) => {
    const text = await textOf(tab.locator('.logits.error'));
    check(`${name}: the check is red`, text.includes('do not compute the same') && text.includes('290 of 318'), text);
  });
  await open('planner', { scenario: 'unproven' }, async (tab, name) => {
    const text = await textOf(tab.locator('.logits.warning'));
    check(`${name}: says why nothing was run`, text.includes('is not compared: the source has 5.3 GB <img'), text);
  });
  await open('planner', { scenario: 'interrupted' }, async (tab, name) => {
    await tab.locator('vscode-button', { hasText: 'Resume' }).click();
    await tab.locator('.job', { hasText: ': done' }).waitFor();
    check(
      `${name}: resume asks for it`,
      (await record(tab, 'calls')).some((call) => call.endsWith('resume')),
    );
  });
  await open('planner', { scenario: 'failed' }, async (tab, name) => {
    await shoot(tab, 'planner-failed');
    await accessible(tab, name);
  });
}

if (only.includes('compare')) {
  await open('compare', { scenario: 'structure' }, async (tab, name) => {
    await tab.locator('vscode-button', { hasText: 'Compare values' }).click();
    await tab.locator('strong', { hasText: '70 changed, 71 added' }).waitFor();
    await tab.getByRole('button', { name: 'changed' }).click();
    await still(tab, 400);
    check(
      `${name}: states filter`,
      (await record(tab, 'calls')).some((call) => call.endsWith('changed')),
    );
    await tab.locator('vscode-text-field input').fill('<img');
    await tab.getByRole('button', { name: 'changed' }).click();
    await tab.getByText('1 row', { exact: true }).waitFor();
    await tab.click('#tab-experts');
    await tab.getByText('48 of 96 experts equal their dense parent').waitFor();
    await tab.locator('moe-heat-map [role=gridcell]').focus();
    await tab.keyboard.press('End');
    check(`${name}: cell in words`, (await focused(tab)).includes('Layer 0, expert 7'), await focused(tab));
    await tab.keyboard.press('Enter');
    await tab.getByText('Relative distance by matrix').waitFor();
    await shoot(tab, 'compare-expert');
    await tab.getByRole('button', { name: 'As a table' }).click();
    await tab.locator('moe-virtual-grid[label="Matched experts"] .line').first().waitFor();
    await accessible(tab, `${name}/table`);
  });
  await open('compare', { scenario: 'huge' }, async (tab, name) => {
    const grid = tab.locator('moe-virtual-grid .view');
    await grid.focus();
    await still(tab);
    await tab.keyboard.press('End');
    await still(tab, 400);
    check(
      `${name}: half a million rows`,
      (await tab.locator('[role=row].active').getAttribute('aria-rowindex')) === '500001',
    );
    check(
      `${name}: the last row is drawn`,
      (await tab.locator('[role=row].active').textContent()).includes('model.layers.'),
    );
  });
}

if (only.includes('compare')) {
  await open('compare', { scenario: 'copies', theme: 'light' }, async (tab, name) => {
    await tab.click('#tab-experts');
    await tab.getByText('All 96 experts equal their dense parent').waitFor();
    await tab.getByText('0 everywhere').waitFor();
    await shoot(tab, 'compare-copies');
    await accessible(tab, name);
  });
  await open('compare', { width: 860, height: 620, zoom: 2 }, async (tab, name) => {
    const header = await tab.locator('header').boundingBox();
    check(`${name}: the header of a low window is low`, header.height <= 160, String(header.height));
    const grid = await tab.locator('moe-virtual-grid').boundingBox();
    check(`${name}: rows have room in a low window`, grid.height >= 250, String(grid.height));
    await fits(tab, name);
    await shoot(tab, 'compare-low');
  });
}

if (only.includes('viewer'))
  await open('viewer', { width: 860, height: 620, zoom: 2 }, async (tab, name) => {
    await tab.click('#tab-tensors');
    await still(tab);
    const grid = await tab.locator('moe-virtual-grid').boundingBox();
    check(`${name}: rows have room in a low window`, grid.height >= 250, String(grid.height));
    await tab.locator('moe-virtual-grid .line', { hasText: 'embed_tokens' }).click();
    await tab.locator('moe-histogram canvas').waitFor();
    await still(tab);
    const inspector = await tab.locator('moe-viewer-inspector').boundingBox();
    check(
      `${name}: the inspector is in sight, and whole`,
      inspector.y < 310 && inspector.height > 400,
      JSON.stringify(inspector),
    );
    await fits(tab, name);
    await shoot(tab, 'viewer-low');
  });

if (only.includes('viewer')) {
  await open('viewer', {}, async (tab, name) => {
    await tab.click('#tab-experts');
    const traces = tab.locator('moe-viewer-traces');
    await traces.locator('moe-heat-map').first().waitFor();
    check(`${name}: loads of the latest run`, (await textOf(traces)).includes('Dead experts: 1'), await textOf(traces));
    await traces.locator('button.link').click();
    await traces.locator('button', { hasText: 'Export JSON' }).click();
    const commands = (await record(tab, 'commands')).join();
    check(`${name}: its results and their export`, commands === 'openResults,exportTraces json', commands);
  });
  await open('viewer', { scenario: 'partial' }, async (tab, name) => {
    await tab.click('#tab-experts');
    const button = tab.locator('moe-viewer-traces vscode-button', { hasText: 'Trace Experts' });
    await button.click();
    check(`${name}: without a run, tracing is offered`, (await record(tab, 'commands')).join() === 'trace');
  });
}

if (only.includes('results')) {
  await open('results', {}, async (tab, name) => {
    const text = await textOf(tab.locator('moe-results'));
    check(`${name}: scores with their errors`, text.includes('0.4240') && text.includes('0.0156'), text.slice(0, 400));
    check(`${name}: a partial run says so`, text.includes('600 of 14,042 documents'));
    check(`${name}: names are text`, text.includes('<img src=x onerror=alert(1)>'));
    check(`${name}: what is not known is said`, text.includes('unknown'));
    await tab.click('#tab-subjects');
    const bar = tab.locator('moe-bars .bar').first();
    await bar.focus();
    await tab.keyboard.press('ArrowDown');
    check(
      `${name}: arrows go through the bars`,
      /^listitem .*: 0\.\d{4} ±/.test(await focused(tab)),
      await focused(tab),
    );
    await tab.locator('#panel-subjects button', { hasText: 'As a table' }).click();
    check(`${name}: the chart has a table`, (await tab.locator('#panel-subjects tbody tr').count()) === 10);
    await tab.click('#tab-compare');
    await tab.locator('moe-select select').first().selectOption('/storage/a.moe-eval.json');
    await tab.getByText('No evidence that one is better').waitFor();
    const compared = await textOf(tab.locator('#panel-compare'));
    check(`${name}: the largest change first`, compared.indexOf('mmlu_abstract') < compared.indexOf('mmlu_virology'));
    check(`${name}: flips are counted`, compared.includes('17 were gained, 13 lost'), compared.slice(0, 300));
    await tab.click('#tab-experts');
    await tab.locator('moe-traces moe-heat-map').first().waitFor();
    check(`${name}: dead experts are counted`, (await textOf(tab.locator('moe-traces'))).includes('Dead experts: 1'));
    await tab.locator('moe-traces button', { hasText: 'Export CSV' }).click();
    await tab.click('#tab-scores');
    await tab.locator('button', { hasText: 'Copy as Markdown' }).click();
    const commands = await record(tab, 'commands');
    check(`${name}: buttons ask the host`, commands.join() === 'exportTraces csv,copyMarkdown', commands.join());
    const calls = await record(tab, 'calls');
    check(`${name}: a layer is asked for once`, calls.filter((call) => call === 'layer 0').length === 1, calls.join());
  });
  await open('results', { scenario: 'running' }, async (tab, name) => {
    const text = await textOf(tab.locator('moe-results'));
    check(`${name}: how far it is`, text.includes('1,008 of 2,400 requests, 2 min 01 s left'), text);
    check(`${name}: running score with its interval`, text.includes('0.211 – 0.319'), text);
    await tab.locator('vscode-button', { hasText: 'Cancel' }).click();
    check(`${name}: cancel is asked for`, (await record(tab, 'commands')).join() === 'cancel');
    await tab.evaluate(() => globalThis.moeTest.say.done());
    await tab.locator('#tab-scores').waitFor();
    check(`${name}: the end is said`, (await textOf(tab.locator('[role=status]'))).includes('Done: mmlu acc'));
  });
  await open('results', { scenario: 'killed' }, async (tab, name) => {
    const text = await textOf(tab.locator('moe-results'));
    check(`${name}: says how it died`, text.includes('was killed (SIGKILL)') && text.includes('memory'), text);
    await tab.locator('vscode-button', { hasText: 'Resume' }).click();
    check(`${name}: resume is asked for`, (await record(tab, 'commands')).join() === 'resume');
  });
}

if (only.includes('playground')) {
  await open('playground', {}, async (tab, name) => {
    await tab.locator('textarea').fill('Once upon a time');
    await tab.locator('label.field input').first().fill('0.8');
    await tab.locator('vscode-button', { hasText: 'Generate' }).click();
    await tab.getByText('Ended at the number of tokens').first().waitFor();
    const tokens = tab.locator('.token');
    check(`${name}: prompt and continuation`, (await tokens.count()) === 14, String(await tokens.count()));
    // Layer 0 of the fake: token i has experts i and i+1, modulo 4; the last token's come after it.
    check(`${name}: coloured by number too`, (await textOf(tokens.nth(5))) === ' there1', await textOf(tokens.nth(5)));
    check(
      `${name}: the last token is coloured too`,
      (await textOf(tokens.nth(13))) === '.1',
      await textOf(tokens.nth(13)),
    );
    check(`${name}: part of a character`, (await textOf(tokens.nth(8))) === '<0xE6>0', await textOf(tokens.nth(8)));
    check(`${name}: text is text`, (await textOf(tab.locator('.text'))).includes('<img src=x onerror=alert(1)>'));
    await tokens.first().focus();
    await tab.keyboard.press('ArrowRight');
    check(
      `${name}: arrows go from token to token`,
      (await focused(tab)).includes('" upon" (1), prompt, experts of layer 0: 1, 2, router gave the first p 0.6'),
      await focused(tab),
    );
    await tab.locator('moe-select select').selectOption('2');
    check(
      `${name}: another layer, other experts`,
      (await textOf(tokens.nth(0))) === 'Once2',
      await textOf(tokens.nth(0)),
    );
    await tab.locator('button', { hasText: 'As a table' }).click();
    check(`${name}: the colours have a table`, (await tab.locator('tbody tr').count()) === 14);
    const [asked] = await record(tab, 'calls');
    check(
      `${name}: asks for what the fields say`,
      asked ===
        JSON.stringify({ prompt: 'Once upon a time', chat: false, maxTokens: 64, temperature: 0.8, topP: 1, seed: 0 }),
      asked,
    );
    await tab.locator('label.field input').nth(1).fill('2');
    check(
      `${name}: a wrong number is said`,
      (await textOf(tab.locator('[role=alert]'))).includes('Top-p must be above 0'),
    );
  });
  await open('playground', { scenario: 'slow' }, async (tab, name) => {
    await tab.locator('vscode-button', { hasText: 'Generate' }).click();
    await tab.locator('.token').nth(8).waitFor();
    await tab.locator('vscode-button', { hasText: 'Stop' }).click();
    await tab.getByText('Stopped.').first().waitFor();
    const count = await tab.locator('.token').count();
    check(`${name}: what was made stays`, count >= 9 && count < 300, String(count));
  });
  await open('playground', { scenario: 'dense' }, async (tab, name) => {
    const text = await textOf(tab.locator('moe-playground'));
    check(`${name}: says that nothing is coloured`, text.includes('dense: tokens have no experts'), text);
    await tab.locator('vscode-button', { hasText: 'Generate' }).click();
    await tab.getByText('Ended at the number of tokens').first().waitFor();
    check(`${name}: no number at any token`, (await tab.locator('.token sub').count()) === 0);
  });
}

if (only.includes('heatmap')) {
  for (const width of [170, 300])
    await open('heatmap', { width, height: 220 }, async (tab, name) => {
      const map = await tab.locator('canvas').boundingBox();
      check(`${name} ${width}: the map is in sight`, map.y < 110, JSON.stringify(map));
      const cut = await tab.evaluate(() => {
        const root = document.querySelector('#root > *').shadowRoot;
        return [...root.querySelectorAll('h1, .why, p')]
          .filter((each) => each.scrollWidth > each.clientWidth + 1)
          .map((each) => each.textContent);
      });
      check(`${name} ${width}: no text is cut`, cut.length === 0, cut.join(' | '));
      await fits(tab, name);
      await shoot(tab, `heatmap-${width}`);
    });
  await open('heatmap', {}, async (tab, name) => {
    await tab.locator('[role=gridcell]').focus();
    await tab.keyboard.press('ArrowDown');
    await tab.keyboard.press('Enter');
    check(
      `${name}: Enter goes to the cell`,
      (await record(tab, 'calls')).includes('select 8 2'),
      (await record(tab, 'calls')).join(' '),
    );
    await tab.locator('ol button').first().click();
    check(`${name}: worst first`, (await record(tab, 'calls')).includes('select 4 5'));
    await tab.locator('select').selectOption('distance');
    await still(tab);
    check(`${name}: metric`, (await record(tab, 'calls')).includes('metric distance'));
  });
  for (const scenario of ['none', 'dense', 'failed', 'wide'])
    await open('heatmap', { scenario }, async (tab, name) => {
      await shoot(tab, name);
      await fits(tab, name);
      await accessible(tab, name);
    });
  await open('heatmap', { scenario: 'manual' }, async (tab, name) => {
    await tab.locator('vscode-button').click();
    await tab.locator('canvas').waitFor();
    check(`${name}: computes on request`, true);
  });
}

for (const [page, bytes] of Object.entries(sizes)) {
  console.log(`${page}.js ${(bytes / 1000).toFixed(0)} kB minified`);
  check(`${page}.js is at most ${LIMIT / 1000} kB`, bytes <= LIMIT, String(bytes));
}
await browser.close();
await close();
console.log(`${checks} checks, ${failures.length} failed, ${(performance.now() / 1000).toFixed(0)} s`);
if (failures.length > 0) process.exit(1);
