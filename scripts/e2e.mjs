// npm run test:e2e [-- NAME…] : the extension as it ships, in a real VS Code workbench in a headless browser.
//   NAME…       only tests whose file name holds one of these
//   --no-build  pack what lies in dist
//   --strict    a missing tool (browser, registry) is a failure too (also E2E_STRICT=1)
//   --retry     a test that fails is tried once more, and the run says so (for machines that are shared; used by .ci/run)
//   --pictures  after a run without failures, copy the README's pictures from the screenshots to docs/pictures
//   --list      names only
// Tests are test/e2e/*.e2e.mjs, one concern each; screenshots and logs go to test/e2e/out. Where the workbench cannot be
// installed, that is said loudly and the exit code is 0, so that a machine without a browser can still run the rest.
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { installIfNeeded, root } from './lib/run.mjs';

/** Bytes of the VSIX; nearly all of it is ONNX Runtime's library. */
const MOST_PACKED = 25_000_000;
/** Screenshots that the README shows, taken over by --pictures. */
const PICTURES = [
  'plan',
  'experts',
  'viewer-tensors-expanded',
  'compare-experts',
  'sidebar',
  'evaluate-compare',
  'router-lab',
  'playground',
];

const words = process.argv.slice(2);
const flag = (name) => words.includes(name);
const filters = words.filter((word) => !word.startsWith('--'));
const strict = flag('--strict') || process.env.E2E_STRICT === '1';
const folder = join(root, 'test/e2e');
const out = join(folder, 'out');

const files = readdirSync(folder)
  .filter((name) => name.endsWith('.e2e.mjs'))
  .filter((name) => filters.length === 0 || filters.some((filter) => name.includes(filter)))
  .sort();
if (flag('--list')) {
  console.log(files.join('\n'));
  process.exit(0);
}
if (files.length === 0) {
  console.error(
    `no test matches ${filters.join(' ')}; there are ${readdirSync(folder)
      .filter((name) => name.endsWith('.e2e.mjs'))
      .join(', ')}`,
  );
  process.exit(2);
}

installIfNeeded();
// These need the dependencies, so they come after the install.
const { ensureTools, CannotRun, cache } = await import('./lib/e2e-setup.mjs');
const { buildAndPack, checkPacked, installVsix } = await import('./lib/e2e-package.mjs');
const { launchBrowser, openWorkbench, slowness } = await import('./lib/e2e-driver.mjs');
const { makeFixtures } = await import('../test/e2e/fixtures.mjs');

let tools;
try {
  tools = ensureTools();
} catch (error) {
  if (!(error instanceof CannotRun)) throw error;
  cannotRun(error.message);
}

// A run of some tests leaves the pictures of the others.
if (filters.length === 0) rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const results = [];
const start = performance.now();

// ---- the package ---------------------------------------------------------------------------------------------------------
let installed = null;
await record('package', async () => {
  const vsix = buildAndPack(join(cache, 'package'), { build: !flag('--no-build') });
  installed = installVsix(tools, vsix, join(cache, 'installed'));
  const { sizes, problems } = checkPacked(installed.extension);
  const packed = statSync(vsix).size;
  if (packed > MOST_PACKED) problems.push(`the VSIX has ${packed} bytes, over its budget of ${MOST_PACKED}`);
  writeFileSync(join(out, 'package.json'), JSON.stringify(Object.fromEntries(sizes), null, 2));
  for (const [file, bytes] of sizes)
    if (file.startsWith('dist/')) console.log(`  ${file.padEnd(28)} ${String(bytes).padStart(9)} bytes`);
  if (problems.length > 0) throw new Error(problems.join('\n'));
});

// ---- the tests -----------------------------------------------------------------------------------------------------------
if (installed === null) {
  for (const file of files)
    results.push({ name: file, outcome: 'FAILED', seconds: 0, note: 'nothing to test: no package' });
} else {
  let browser;
  try {
    browser = await launchBrowser(tools);
  } catch (error) {
    cannotRun(`Chromium (${tools.chromium}) does not start: ${error.message}`);
  }
  try {
    const fixtures = makeFixtures(join(cache, 'fixtures'), installed.extension);
    for (const file of files) {
      const { tests } = await import(pathToFileURL(join(folder, file)).href);
      for (const test of tests) await runTest(file.replace('.e2e.mjs', ''), test, { browser, fixtures });
    }
  } finally {
    await browser.close();
  }
}
finish();

/**
 * A test: { name, run(w, tools), prepare?(ws, fixtures), settings?, trust?, seconds?, bare? (it opens workbenches itself),
 * skip?(fixtures) → reason or null, allow? (faults that it provokes) }.
 */
async function runTest(group, test, { browser, fixtures }) {
  const name = `${group} › ${test.name}`;
  const reason = test.skip?.(fixtures) ?? null;
  if (reason !== null) {
    console.log(`SKIPPED ${name}: ${reason}`);
    results.push({ name, outcome: 'skipped', seconds: 0, note: reason });
    return;
  }
  const place = join(out, name.replace(/[^a-z0-9]+/gi, '-').toLowerCase());
  const open = (options = {}) =>
    openWorkbench({
      tools,
      browser,
      out: place,
      extensions: installed.extensions,
      prepare: (ws) => test.prepare?.(ws, fixtures),
      settings: test.settings,
      trust: test.trust,
      ...options,
    });
  await record(name, async () => {
    const limit = (test.seconds ?? 120) * slowness;
    const late = new AbortController();
    let w = null;
    try {
      return await Promise.race([
        (async () => {
          if (test.bare === true) return test.run({ open, installed, fixtures, place });
          w = await open();
          const note = await test.run(w, { fixtures, installed });
          const faults = w.faults.filter((fault) => !(test.allow ?? []).some((allowed) => allowed.test(fault)));
          if (faults.length > 0) throw new Error(`faults in the pages:\n${[...new Set(faults)].join('\n')}`);
          return note;
        })(),
        sleep(limit * 1000, null, { signal: late.signal }).then(() => {
          throw new Error(`not done after ${Math.round(limit)} s`);
        }),
      ]);
    } catch (error) {
      if (w !== null) await w.shot(`FAILED-${place.slice(out.length + 1)}`).catch(() => {});
      throw error;
    } finally {
      late.abort();
      await w?.close();
      // Workspaces hold checkpoints of hundreds of megabytes; logs and screenshots are what one reads later.
      if (w !== null) writeFileSync(join(place, 'ws.txt'), readdirSync(w.ws, { recursive: true }).sort().join('\n'));
      if (existsSync(join(place, 'ws'))) rmSync(join(place, 'ws'), { recursive: true, force: true });
    }
  });
}

/** `first`: what the first try failed with, where this is the second. */
async function record(name, action, first = null) {
  const begun = performance.now();
  try {
    const note = await action();
    const second = first === null ? '' : `ON THE SECOND TRY; the first: ${firstLine(first)} `;
    results.push({
      name,
      outcome: 'ok',
      seconds: (performance.now() - begun) / 1000,
      note: `${second}${note ?? ''}`,
      second: first !== null,
    });
    console.log(`ok      ${name}`);
  } catch (error) {
    if (error?.name === 'AbortError') return;
    if (flag('--retry') && first === null && name !== 'package') {
      console.log(`again   ${name}: ${firstLine(error)}`);
      await record(name, action, error);
      return;
    }
    const place = join(out, name.replace(/[^a-z0-9]+/gi, '-').toLowerCase());
    results.push({ name, outcome: 'FAILED', seconds: (performance.now() - begun) / 1000, note: firstLine(error) });
    console.log(`FAILED  ${name}\n${String(error.stack ?? error).replace(/^/gm, '        ')}`);
    if (existsSync(place)) console.log(`        logs: ${place}`);
  }
}

function firstLine(error) {
  return String(error?.message ?? error)
    .split('\n')[0]
    .slice(0, 160);
}

function finish() {
  console.log('\n── end-to-end ──');
  for (const { name, outcome, seconds, note } of results)
    console.log(
      `${outcome.padEnd(8)} ${name.padEnd(58)} ${seconds.toFixed(1).padStart(6)} s${note === '' ? '' : `  ${note}`}`,
    );
  const count = (wanted) => results.filter(({ outcome }) => outcome === wanted).length;
  console.log(
    `\nscreenshots: ${join(out, 'shots')}; ${((performance.now() - start) / 1000).toFixed(0)} s, bounds × ${slowness.toFixed(1)}`,
  );
  const again = results.filter(({ second }) => second === true).length;
  if (again > 0) console.log(`${again} of these only on the second try`);
  console.log(`${count('ok')} passed, ${count('FAILED')} failed, ${count('skipped')} skipped`);
  if (count('FAILED') === 0 && flag('--pictures')) takePictures();
  process.exit(count('FAILED') === 0 ? 0 : 1);
}

function takePictures() {
  const target = join(root, 'docs/pictures');
  mkdirSync(target, { recursive: true });
  for (const name of PICTURES) {
    const shot = join(out, 'shots', `${name}.png`);
    if (existsSync(shot)) copyFileSync(shot, join(target, `${name}.png`));
    else console.log(`no picture ${name}: its test did not run`);
  }
}

function cannotRun(reason) {
  const bar = '!'.repeat(100);
  console.error(
    `\n${bar}\nTHE END-TO-END TESTS DID NOT RUN. Nothing of the extension was tried in a workbench.\n\n${reason}\n${bar}`,
  );
  console.error(
    strict
      ? 'This counts as a failure (--strict or E2E_STRICT=1).'
      : 'With --strict (or E2E_STRICT=1) this would be a failure.',
  );
  console.log(`0 passed, ${strict ? files.length : 0} failed, ${strict ? 0 : files.length} skipped`);
  process.exit(strict ? 1 : 0);
}
