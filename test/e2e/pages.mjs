// What the tests ask of the extension's pages, and numbers to hold them against: counted here from files, not by the product.
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { THEMES } from '../../scripts/lib/e2e-driver.mjs';

/** Header of a safetensors file, read on its own: tensors with shape, dtype and place, and the sum of their elements. */
export function headerOf(path) {
  const file = openSync(path, 'r');
  try {
    const length = Buffer.alloc(8);
    readSync(file, length, 0, 8, 0);
    const text = Buffer.alloc(Number(length.readBigUInt64LE()));
    readSync(file, text, 0, text.length, 8);
    const { __metadata__: metadata = {}, ...entries } = JSON.parse(text.toString('utf8'));
    const tensors = new Map(Object.entries(entries));
    const elements = ({ shape }) => shape.reduce((a, b) => a * b, 1);
    const parameters = [...tensors.values()].reduce((sum, tensor) => sum + elements(tensor), 0);
    return { metadata, tensors, parameters, start: 8 + text.length };
  } finally {
    closeSync(file);
  }
}

/** Number of tensors in all files of a checkpoint folder. */
export function tensorsIn(folder) {
  const files = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  return files.reduce((sum, name) => sum + headerOf(join(folder, name)).tensors.size, 0);
}

/** Values of a bfloat16 tensor. */
export function bf16Values(path, name) {
  const { tensors, start } = headerOf(path);
  const [from, to] = tensors.get(name).data_offsets;
  const bytes = Buffer.alloc(to - from);
  const file = openSync(path, 'r');
  readSync(file, bytes, 0, bytes.length, start + from);
  closeSync(file);
  const bits = Uint32Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i) << 16);
  return new Float32Array(bits.buffer);
}

/** The shape of the built-in sample: what an upcycle of every layer comes to, by arithmetic. */
const SAMPLE = { layers: 8, hidden: 128, intermediate: 352, dense: 1_509_760 };
export function sampleMoe(experts, topK) {
  const { layers, hidden, intermediate, dense } = SAMPLE;
  const expert = 3 * hidden * intermediate;
  const rest = dense - layers * expert + layers * experts * hidden;
  return { dense, total: rest + layers * experts * expert, active: rest + layers * topK * expert };
}

/** Every digit of a text as one number: "1,509,760 parameters" → 1509760. */
export function digits(text) {
  return Number(text.replace(/[^0-9]/g, ''));
}

/** Text of an element as it is seen, with what its custom elements show: innerText stops at shadow roots. */
export async function seen(locator, options = {}) {
  return locator.evaluate(
    (root) => {
      const text = (node) => {
        if (node.nodeType === Node.TEXT_NODE) return node.data;
        if (node instanceof HTMLSlotElement) return node.assignedNodes({ flatten: true }).map(text).join('');
        if (node instanceof Element) {
          if (node.tagName === 'STYLE' || node.tagName === 'SCRIPT') return '';
          const { display, visibility } = getComputedStyle(node);
          if (display === 'none' || visibility === 'hidden') return '';
          const inner = [...(node.shadowRoot ?? node).childNodes].map(text).join('');
          return /^(inline|contents)/.test(display) ? inner : `\n${inner}\n`;
        }
        return '';
      };
      return text(root)
        .replace(/[ \t]+/g, ' ')
        .replace(/\s*\n\s*/g, '\n')
        .trim();
    },
    null,
    options,
  );
}

/** Tiles of the overview's totals: label → text of the tile. */
export async function overviewTotals(view) {
  const tiles = await view.locator('moe-viewer-overview .totals .total').all();
  const entries = await Promise.all(
    tiles.map(async (tile) => {
      const [label, note] = await tile.locator('.dim').allInnerTexts();
      // The exact number is what its copy button copies.
      const copy = tile.locator('moe-copy');
      const exact = (await copy.count()) > 0 ? await copy.getAttribute('text') : null;
      return [label.trim(), exact ?? note.trim()];
    }),
  );
  return Object.fromEntries(entries);
}

export async function openTab(view, id) {
  await view.locator(`#tab-${id}`).click();
  await view.locator(`#panel-${id}`).waitFor();
}

/** Names in the rows of a grid that are on screen. */
export async function gridNames(view) {
  const rows = view.locator('moe-virtual-grid .line:not(.wait)');
  return (await rows.locator('.cell').first().count()) === 0
    ? []
    : rows.evaluateAll((lines) =>
        lines.map((line) => line.querySelector('.cell')?.innerText.replace(/\s+/g, ' ').trim()),
      );
}

/** Number of rows of the grid, collapsed groups as one. */
export async function gridRows(view) {
  return Number(await view.locator('moe-virtual-grid .view').getAttribute('aria-rowcount')) - 1;
}

/** Exact totals of the plan page by label, from the titles of its tiles. */
export async function planTotals(view) {
  const tiles = await view.locator('moe-planner .totals > div').all();
  const entries = await Promise.all(
    tiles.map(async (tile) => [
      (await tile.locator('dt').innerText()).trim(),
      digits((await tile.locator('strong').getAttribute('title')) ?? ''),
    ]),
  );
  return Object.fromEntries(entries);
}

/** No violation in any theme; all of them are reported at once. */
export async function accessible(w, view, what) {
  const found = [];
  for (const theme of THEMES) {
    await w.theme(theme, view);
    for (const violation of await w.axe(view)) found.push(`${theme.kind}: ${violation}`);
    await w.shot(`${what}-${theme.kind}`);
  }
  assert.deepEqual(found, [], `axe, ${what}`);
}
