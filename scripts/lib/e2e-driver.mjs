// One workbench in one browser page, with a fresh profile: what a test does to it and asks of it. Every wait has a bound and its
// failure says what was seen last; known wrong outcomes (text editor, failed activation, dead server) fail by their own name.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { startServer } from './e2e-server.mjs';

/** On a busy machine everything takes longer; bounds grow with the load so far, within reason. */
export let slowness = 1;
const look = () => {
  slowness = Math.max(slowness, Math.min(4, loadavg()[0] / availableParallelism()));
};
look();
setInterval(look, 5_000).unref();
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const EXTENSION = 'moe-workbench.moe-workbench';
const ICON = 'MoE';
/** Requests that stay on this machine: the last is answered by VS Code's service worker. */
const INSIDE =
  /^(data:|blob:|http:\/\/127\.0\.0\.1:|ws:\/\/127\.0\.0\.1:|https:\/\/[^/]*\.vscode-resource\.vscode-cdn\.net\/)/;

export const THEMES = [
  { name: 'Dark 2026', kind: 'vscode-dark' },
  { name: 'Default High Contrast', kind: 'vscode-high-contrast' },
  { name: 'Default High Contrast Light', kind: 'vscode-high-contrast-light' },
  { name: 'Light 2026', kind: 'vscode-light' },
];

export async function launchBrowser(tools) {
  const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
  args.push('--disable-background-networking', '--disable-component-update', '--disable-sync');
  return chromium.launch({ executablePath: tools.chromium, args });
}

/**
 * Polls `get` until `ok` holds for its value; throws with the last value (or error) seen. `watch` may throw to give up at once:
 * a wrong outcome that no waiting will mend.
 */
export async function until(what, get, ok = Boolean, { ms = 20_000, watch = () => {} } = {}) {
  const start = Date.now();
  for (let last; ;) {
    await watch();
    try {
      last = await get();
      if (ok(last)) return last;
    } catch (error) {
      last = `error: ${error.message.split('\n')[0]}`;
    }
    if (Date.now() > start + ms * slowness)
      throw new Error(`${what}: not so after ${Math.round(ms * slowness)} ms; last seen ${shorten(last)}`);
    await sleep(50);
  }
}

function shorten(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 1500 ? `${text.slice(0, 1500)}…` : text;
}

/**
 * `out`: folder of this test, emptied; `prepare(ws)` fills the workspace folder; `trust`: ask for workspace trust.
 * What it returns is the vocabulary of the tests.
 */
export async function openWorkbench({ tools, extensions, browser, out, prepare, settings, trust = false, viewport }) {
  rmSync(out, { recursive: true, force: true });
  const ws = join(out, 'ws');
  mkdirSync(join(ws, '.vscode'), { recursive: true });
  // Only a settings file that is there when the page opens is watched promptly.
  writeFileSync(join(ws, '.vscode/settings.json'), '{}');
  await prepare?.(ws);
  const server = await startServer(tools, { folder: out, extensions, settings, trust, timeout: 60_000 * slowness });
  const w = new Workbench({ server, ws, out, extensions });
  try {
    w.context = await browser.newContext({ viewport: viewport ?? { width: 1280, height: 800 } });
    await w.context.grantPermissions(['clipboard-read', 'clipboard-write']);
    w.attach(await w.context.newPage());
    await w.page.goto(`${server.url}/?folder=${encodeURIComponent(ws)}`);
    await w.page.locator('.monaco-workbench').waitFor();
    return w;
  } catch (error) {
    await w.close();
    throw error;
  }
}

class Workbench {
  context = null;
  page = null;
  /** What must not happen in a page: errors nobody caught, requests that leave the machine, breaches of the CSP. */
  faults = [];
  console = [];
  #logChecked = 0;

  constructor({ server, ws, out, extensions }) {
    Object.assign(this, { server, ws, out, extensions, user: server.user });
  }

  attach(page) {
    this.page = page;
    page.setDefaultTimeout(20_000 * slowness);
    page.on('console', (message) => {
      const line = `${message.type()} ${message.text()}`;
      this.console.push(line);
      // The toolkit's style elements are known to be refused, without effect; scripts, pictures and fonts are ours.
      if (
        /Content Security Policy/.test(line) &&
        /(script|img|font|connect)-src/.test(line) &&
        /webview/i.test(message.location().url)
      )
        this.faults.push(`CSP ${line}`);
    });
    page.on('pageerror', (error) => this.faults.push(`pageerror ${error.message}`));
    page.on('request', (request) => {
      if (!INSIDE.test(request.url())) this.faults.push(`external request ${request.url()}`);
    });
    page.on('response', (response) => {
      if (response.fromServiceWorker() && response.status() >= 400)
        this.faults.push(`webview resource ${response.status()} ${response.url()}`);
    });
  }

  /** The same folder in a second window of the same user: its own extension host, the same storage. Closed with this one. */
  async secondWindow() {
    const other = new Workbench({ server: this.server, ws: this.ws, out: this.out, extensions: this.extensions });
    // What goes wrong there counts here.
    Object.assign(other, { context: this.context, faults: this.faults, console: this.console });
    other.attach(await this.context.newPage());
    await other.page.goto(this.page.url());
    await other.page.locator('.monaco-workbench').waitFor();
    return other;
  }

  /** Closes everything; logs are kept in `out`. */
  async close() {
    await this.context?.close().catch(() => {});
    await this.server.stop();
    writeFileSync(join(this.out, 'server.log'), this.server.log());
    writeFileSync(join(this.out, 'console.log'), this.console.join('\n'));
  }

  until(what, get, ok, options = {}) {
    return until(what, get, ok, { watch: () => this.watch(), ...options });
  }

  /** Throws when something has gone wrong for good. */
  watch() {
    if (Date.now() - this.#logChecked < 1000) return;
    this.#logChecked = Date.now();
    const failed = new RegExp(`Activating extension ${EXTENSION.replace('.', '\\.')} failed.*(\\n.*){0,3}`).exec(
      this.hostLog(),
    );
    if (failed !== null) throw new Error(`the extension did not activate: ${failed[0]}`);
  }

  /** Text of the extension host's own log, over all page loads. */
  hostLog() {
    return this.logs((name) => name.endsWith('remoteexthost.log'));
  }

  /** The extension's own output channel. */
  extensionLog() {
    return this.logs((name) => name.endsWith('MoE Workbench.log'));
  }

  logs(wanted) {
    const folder = join(this.user, 'logs');
    if (!existsSync(folder)) return '';
    return readdirSync(folder, { recursive: true })
      .filter(wanted)
      .sort()
      .map((file) => readFileSync(join(folder, file), 'utf8'))
      .join('');
  }

  // ---- workbench -------------------------------------------------------------------------------------------------------

  get dialog() {
    return this.page.locator('.monaco-dialog-box');
  }
  get quick() {
    return this.page.locator('.quick-input-widget');
  }
  get quickRows() {
    return this.quick.locator('.monaco-list-row');
  }
  row(name) {
    return this.page.locator(`.explorer-folders-view .monaco-list-row[aria-label="${name}"]`);
  }
  item(text) {
    return this.page.locator('.monaco-menu .action-item .action-label').filter({ hasText: text });
  }
  toast(text) {
    return this.page.locator('.notifications-toasts .notification-list-item').filter({ hasText: text });
  }
  status(text) {
    return this.page.locator('.statusbar-item').filter({ hasText: text });
  }
  tab(name) {
    return this.page.locator(`.tabs-container .tab[data-resource-name="${name}"]`);
  }

  /**
   * The Explorer shows `name`, the extension is known and the workbench can route files to its editors. The fixed wait is the
   * only one of these tests: nothing that can be asked tells when the routing works.
   */
  async ready(name) {
    await this.row(name).waitFor();
    if ((await this.dialog.count()) > 0) throw new Error(`unexpected dialog: ${await this.dialog.first().innerText()}`);
    await this.activity().waitFor();
    await this.page.waitForFunction(() => performance.getEntriesByName('code/didLoadExtensions').length > 0);
    await sleep(2500);
  }

  activity() {
    return this.page.locator(`.activitybar a.action-label[aria-label^="${ICON}"]`);
  }

  /** Opens a file as a user does, and requires that it comes up in the custom editor whose page is `kind` (viewer, planner …). */
  async open(name, kind) {
    await this.row(name).dblclick();
    return this.editorOf(kind, name);
  }

  /** The page `kind` of the active editor; a plain text editor in its place is named as such. */
  async editorOf(kind, name = 'the file') {
    const text = this.page.locator('.editor-group-container.active .monaco-editor .view-lines').first();
    return this.view(kind, {
      watch: async () => {
        this.watch();
        if (name !== 'the file' && (await this.tab(name).count()) > 0 && (await text.count()) > 0)
          throw new Error(`${name} opened in the TEXT editor`);
      },
    });
  }

  /** The frame of a page of ours, found by its script (dist/webview/KIND.js): frames carry no other mark. */
  async view(kind, { ms = 30_000, watch } = {}) {
    return this.until(
      `webview page "${kind}"`,
      async () => {
        for (const frame of this.page.frames()) {
          if (frame.name() !== 'pending-frame') continue;
          const there = await frame.locator(`script[src$="/dist/webview/${kind}.js"]`).count();
          if (there > 0 && (await this.#isShown(frame))) return frame;
        }
        return null;
      },
      Boolean,
      { ms, ...(watch === undefined ? {} : { watch }) },
    );
  }

  async #isShown(frame) {
    const outer = frame.parentFrame();
    if (outer === null) return false;
    const element = await outer.frameElement();
    return element.isVisible();
  }

  /**
   * Takes an item of the context menu of an Explorer row. Enter, not a click: an early click is lost. An open menu does not
   * notice that an item has become possible, so it is opened again until the item is there.
   */
  async menu(name, text) {
    await this.until(`"${text}" in the menu of ${name}`, async () => {
      await this.page.keyboard.press('Escape');
      await this.row(name).click({ button: 'right' });
      // Always there: the menu is complete.
      await this.item('Rename').first().waitFor({ timeout: 3000 });
      return this.item(text).count();
    });
    await this.item(text).first().hover();
    await this.page.keyboard.press('Enter');
  }

  /** Runs a command by its exact title in the palette. */
  async command(title) {
    await this.page.keyboard.press('F1');
    await this.quick.locator('input.input').fill(`>${title}`);
    // The first row need not be the wanted one: "File: Save" also finds "File: Compare Active File with Saved".
    const row = this.quick.locator(
      `.monaco-list-row[aria-label="${title}"], .monaco-list-row[aria-label^="${title}, "]`,
    );
    await row.first().click();
  }

  /** Texts of the rows of the quick pick that is open. */
  async picks() {
    return (await this.quickRows.allInnerTexts()).map((text) => text.replace(/\s+/g, ' ').trim());
  }

  /** Types into the quick pick (when given) and takes the row that shows `text`. */
  async pick(text, typed) {
    await this.quickRows.filter({ hasText: text }).first().waitFor();
    if (typed !== undefined) await this.quick.locator('input.input').fill(typed);
    const row = this.quickRows.filter({ hasText: text }).first();
    await row.click();
  }

  /** Fills an input box, open dialog or save dialog and accepts. */
  async answer(value) {
    const input = this.quick.locator('input.input');
    await input.waitFor();
    await input.fill(value);
    await this.page.keyboard.press('Enter');
  }

  async clearToasts() {
    for (const all = this.toast(/./); (await all.count()) > 0;) {
      await all.first().hover();
      await all.first().locator('.codicon-notifications-clear').click();
    }
  }

  /** Rows of a tree view (trimmed), by the title of its section. */
  async treeRows(section) {
    const rows = this.pane(section).locator('.pane-body .monaco-list-row');
    return (await rows.allInnerTexts()).map((text) => text.replace(/\s+/g, ' ').trim());
  }

  pane(section) {
    return this.page
      .locator('.split-view-view')
      .filter({ has: this.page.locator(`.pane-header[aria-label*="${section}"]`) });
  }

  /** Workspace settings are watched; user settings are read when the page loads. */
  workspaceSettings(values) {
    writeFileSync(join(this.ws, '.vscode/settings.json'), JSON.stringify(values));
  }

  async theme({ name, kind }, frame) {
    this.workspaceSettings({ 'workbench.colorTheme': name });
    await this.until(
      `theme ${name}`,
      () => frame.evaluate(() => document.body.dataset.vscodeThemeKind),
      (is) => is === kind,
    );
  }

  /** Violations of axe in a page, as "rule: element"; the page must have been worth checking. */
  async axe(frame) {
    await frame.evaluate(axeSource);
    const { violations, passes } = await frame.evaluate(async () => {
      const found = await axe.run(document.body, { resultTypes: ['violations', 'passes'] });
      return {
        violations: found.violations.flatMap(({ id, nodes }) =>
          nodes
            .slice(0, 5)
            .map(({ target, failureSummary }) => `${id}: ${target.flat().join(' > ')} — ${failureSummary}`),
        ),
        passes: found.passes.map(({ id }) => id),
      };
    });
    assert.ok(passes.includes('color-contrast'), `axe saw no text in the page; it passed only ${passes.join(', ')}`);
    return violations;
  }

  async shot(name) {
    // Icons are letters of a font, which may still be on its way.
    const fonts = (frame) => frame.evaluate(() => document.fonts.ready.then(() => null)).catch(() => null);
    await Promise.all(this.page.frames().map(fonts));
    return this.#keep(name, await this.page.screenshot());
  }

  #keep(name, picture) {
    const path = join(dirname(this.out), 'shots', `${name}.png`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, picture);
    return path;
  }

  /**
   * A screenshot at 200 % zoom (the layout gets half the pixels, as with Ctrl +), after `action` in that state; its value.
   * Playwright's own screenshot would undo the emulation.
   */
  async zoomed(name, action = () => null) {
    const session = await this.context.newCDPSession(this.page);
    const metrics = { width: 640, height: 400, deviceScaleFactor: 2, mobile: false };
    await session.send('Emulation.setDeviceMetricsOverride', metrics);
    try {
      await this.page.waitForFunction(() => window.innerWidth === 640);
      const value = await action();
      const { data } = await session.send('Page.captureScreenshot', { format: 'png' });
      this.#keep(name, Buffer.from(data, 'base64'));
      return value;
    } finally {
      await session.send('Emulation.clearDeviceMetricsOverride');
      await session.detach();
      await this.page.waitForFunction(() => window.innerWidth === 1280);
    }
  }

  /**
   * Waits until the workbench has stored `text` (the state of a page, say) for the next start. In the browser it does so every
   * few seconds and not while the page goes away.
   */
  async stored(text) {
    const holds = async (wanted) => {
      for (const { name } of await indexedDB.databases()) {
        if (name === undefined || !name.startsWith('vscode-web-state-db')) continue;
        const found = await new Promise((resolve, reject) => {
          const opening = indexedDB.open(name);
          opening.onerror = () => reject(opening.error);
          opening.onsuccess = () => {
            const database = opening.result;
            const [store] = database.objectStoreNames;
            const all = database.transaction(store).objectStore(store).getAll();
            all.onerror = () => reject(all.error);
            all.onsuccess = () => {
              database.close();
              resolve(all.result.some((value) => String(value).includes(wanted)));
            };
          };
        });
        if (found) return true;
      }
      return false;
    };
    await this.until(`"${text}" stored by the workbench`, () => this.page.evaluate(holds, text), Boolean, {
      ms: 30_000,
    });
  }

  /** Loads the page anew: a new extension host with empty memory. */
  async reload() {
    await this.page.reload();
    await this.page.locator('.monaco-workbench').waitFor();
  }

  /** Process ids under our server whose command line names the built file `entry` (job.js …) of the installed extension. */
  processes(entry) {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
          return line.includes(this.extensions) && line.includes(`/dist/${entry}`);
        } catch {
          return false; // It has ended.
        }
      })
      .map(Number);
  }
}
