// The harness itself: extensions broken on purpose must fail it, each at the right step and with the right words.
import assert from 'node:assert/strict';
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { seen } from './pages.mjs';

const FILE = 'model.safetensors';
const prepare = (ws, fixtures) => fixtures.addSample(ws, '.');

/** Copies the installed extensions, breaks the copy and opens a workbench with it; resolves with what the check threw. */
async function broken({ open, installed, place }, breakIt, check) {
  const extensions = join(place, 'broken');
  cpSync(installed.extensions, extensions, { recursive: true });
  breakIt(join(extensions, basename(installed.extension)));
  const w = await open({ extensions, out: join(place, 'run') });
  try {
    await check(w);
  } catch (error) {
    return error;
  } finally {
    await w.close();
    for (const folder of [extensions, w.ws]) rmSync(folder, { recursive: true, force: true });
  }
  return null;
}

async function openFile(w) {
  await w.ready(FILE);
  const view = await w.open(FILE, 'viewer');
  await w.until(
    'counts',
    () => seen(view.locator('moe-viewer-overview'), { timeout: 500 }),
    (text) => text.includes('1,509,760'),
    { ms: 3000 },
  );
}

export const tests = [
  {
    name: 'an activation that throws is named',
    bare: true,
    prepare,
    async run(parts) {
      const error = await broken(
        parts,
        (extension) => {
          const main = join(extension, 'dist/extension.js');
          writeFileSync(main, `throw new Error('broken on purpose');\n${readFileSync(main, 'utf8')}`);
        },
        openFile,
      );
      assert.match(String(error?.message), /did not activate[^]*broken on purpose/);
    },
  },
  {
    name: 'a part of the extension that is missing is told of in the tab that needs it',
    bare: true,
    prepare,
    async run(parts) {
      const error = await broken(
        parts,
        (extension) => {
          const folder = join(extension, 'dist/extension');
          const part = readdirSync(folder).find((name) => name.startsWith('viewer-host-'));
          rmSync(join(folder, part));
        },
        async (w) => {
          await w.ready(FILE);
          await w.row(FILE).click();
          await w.until(
            'the words in the tab',
            async () => {
              for (const frame of w.page.frames()) {
                const text = await frame
                  .locator('body')
                  .innerText({ timeout: 500 })
                  .catch(() => '');
                if (/This tab cannot be filled/.test(text)) return text;
              }
              return '';
            },
            (text) => text.includes('Install the extension again'),
          );
          await w.shot('missing-part');
        },
      );
      assert.equal(error, null);
    },
  },
  {
    name: 'a page that never draws is named',
    bare: true,
    prepare,
    async run(parts) {
      const error = await broken(
        parts,
        (extension) => {
          writeFileSync(join(extension, 'dist/webview/viewer.js'), '');
        },
        openFile,
      );
      assert.match(String(error?.message), /^counts: not so after/);
    },
  },
  {
    name: 'an editor that is not the default one is named',
    bare: true,
    prepare,
    async run(parts) {
      const error = await broken(
        parts,
        (extension) => {
          const path = join(extension, 'package.json');
          const manifest = JSON.parse(readFileSync(path, 'utf8'));
          manifest.contributes.customEditors = manifest.contributes.customEditors.filter(
            ({ viewType }) => viewType !== 'moe.checkpoint',
          );
          writeFileSync(path, JSON.stringify(manifest));
        },
        openFile,
      );
      // A binary file gets the editor's own placeholder, text the text editor.
      assert.match(String(error?.message), /TEXT editor|webview page "viewer": not so/);
    },
    seconds: 300,
  },
  {
    name: 'an error that a page throws is a fault',
    bare: true,
    prepare,
    async run(parts) {
      let faults = [];
      await broken(
        parts,
        (extension) => {
          appendFileSync(
            join(extension, 'dist/webview/viewer.js'),
            ";setTimeout(()=>{throw new Error('thrown on purpose')},0);",
          );
        },
        async (w) => {
          await openFile(w);
          ({ faults } = w);
          await w.until(
            'the fault',
            () => faults.join('\n'),
            (text) => text.includes('thrown on purpose'),
          );
        },
      );
      assert.ok(
        faults.some((fault) => fault.includes('thrown on purpose')),
        `faults: ${JSON.stringify(faults)}`,
      );
    },
  },
];
