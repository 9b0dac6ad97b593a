// Damaged files open as a page that says what is wrong and what to do. One workbench, one file after the other.
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, existsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { damagedFiles, shared, writeSafetensors } from './fixtures.mjs';
import { accessible, seen } from './pages.mjs';

const OURS = ['short.safetensors', 'empty.safetensors', 'pointer.safetensors', 'text.gguf'];

/** Files of our own: cut short, empty, a Git LFS pointer, a GGUF that is none. */
function writeOurs(ws) {
  const short = join(ws, 'short.safetensors');
  writeSafetensors(short, [{ name: 'a', dtype: 'F32', shape: [1000] }]);
  truncateSync(short, statSync(short).size - 100);
  writeFileSync(join(ws, 'empty.safetensors'), '');
  writeFileSync(
    join(ws, 'pointer.safetensors'),
    `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 4976698672\n`,
  );
  writeFileSync(join(ws, 'text.gguf'), 'not a GGUF file at all, just words of some length\n'.repeat(10));
}

async function errorPage(w, name) {
  const view = await w.open(name, 'viewer');
  const page = view.locator('moe-error-page');
  const text = await w.until(
    `error page of ${name}`,
    () => seen(page, { timeout: 1000 }),
    (is) => is.length > 40,
  );
  return { view, text };
}

/** Closes the editor that is looked at and waits until its page is gone. */
async function close(w, name) {
  await w.command('View: Close Editor');
  await w.tab(name).waitFor({ state: 'detached' });
}

export const tests = [
  {
    name: 'our damaged files show what is wrong and what to do',
    seconds: 180,
    prepare: writeOurs,
    async run(w) {
      await w.ready('empty.safetensors');
      const wanted = {
        'short.safetensors': /byte/i,
        'empty.safetensors': /0 bytes|empty/i,
        'pointer.safetensors': /Git LFS pointer/i,
        'text.gguf': /GGUF/,
      };
      for (const name of OURS) {
        const { view, text } = await errorPage(w, name);
        assert.match(text, wanted[name], `${name}: ${text}`);
        assert.ok(text.includes(name), `${name} does not name its file: ${text}`);
        await w.shot(`damaged-${name}`);
        if (name === OURS[0]) await accessible(w, view, 'error-page');
        await close(w, name);
      }
    },
  },
  {
    name: 'the shared malformed files show their page',
    seconds: 300,
    skip: () => (damagedFiles().length === 0 ? '../shared/data/safetensors/malformed is not there' : null),
    prepare(ws) {
      for (const { name, from } of damagedFiles()) copyFileSync(from, join(ws, name));
    },
    async run(w) {
      const files = damagedFiles();
      await w.ready(files[0].name);
      const silent = [];
      for (const { name } of files) {
        const view = await w.open(name, 'viewer');
        // A file that is readable beyond doubt but unhealthy may show its overview, with the problem on it.
        const state = await w.until(
          `page of ${name}`,
          async () => {
            if ((await view.locator('moe-error-page').count()) > 0)
              return { error: await seen(view.locator('moe-error-page')) };
            if ((await view.locator('moe-problems').count()) > 0)
              return { problems: await seen(view.locator('moe-problems').first()) };
            if ((await view.locator('moe-viewer-overview').count()) > 0)
              return { fine: await seen(view.locator('moe-viewer-overview')) };
            return null;
          },
          (is) => is !== null && Object.values(is).some((text) => text.length > 20),
        );
        if ('fine' in state) silent.push(`${name}: ${state.fine.slice(0, 300)}`);
        await close(w, name);
      }
      assert.deepEqual(silent, [], 'opened as if nothing were wrong');
    },
  },
  {
    name: 'field reports: a pointer beside a whole shard, bytes missing, a dead link',
    seconds: 200,
    skip: () => (existsSync(join(shared, 'field/inputs/G3-07')) ? null : '../shared/field is not there'),
    prepare(ws) {
      for (const id of ['G3-07', 'G3-08']) cpSync(join(shared, 'field/inputs', id), join(ws, id), { recursive: true });
    },
    async run(w) {
      await w.ready('G3-07');
      await w.row('G3-07').click();
      const short = await errorPage(w, 'short6.safetensors');
      assert.match(short.text, /\b6\b/, `six bytes are missing: ${short.text}`);
      await w.shot('field-short');
      await close(w, 'short6.safetensors');
      const trailing = await w.open('trailing8.safetensors', 'viewer');
      const overview = await w.until(
        'eight bytes too many',
        () => seen(trailing.locator('moe-viewer')),
        (text) => /\b8\b[^\n]*byte/i.test(text),
      );
      assert.ok(!/could not be opened/.test(overview), overview);
      await w.shot('field-trailing');
      await close(w, 'trailing8.safetensors');
      const good = await w.open('good.safetensors', 'viewer');
      await good.locator('moe-viewer-overview').waitFor();
      assert.equal(await good.locator('moe-problems').count(), 0, 'problems in a whole file');
      await close(w, 'good.safetensors');
      await w.row('G3-07').click();
      await w.row('G3-08').click();
      const shard = await w.open('model-00001-of-00002.safetensors', 'viewer');
      const text = await w.until(
        'the pointer is named',
        () => seen(shard.locator('moe-viewer')),
        (is) => /LFS/.test(is),
      );
      assert.match(text, /git lfs pull/i);
      await w.shot('field-pointer');
    },
  },
];
