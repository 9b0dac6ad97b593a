import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PlanRow, WirePlanTensor } from '../../src/protocol/planning.ts';
import { cellMove, treeMove, Typeahead } from '../../webview/lib/keys.ts';
import { Pages } from '../../webview/lib/pages.ts';
import { PlanLines } from '../../webview/lib/plan-rows.ts';
import { boxHeight, MAX_PIXELS, scrollTo, windowAt } from '../../webview/lib/window.ts';

const ROW = 24;
const size = fc.integer({ min: 1, max: 3_000_000 });

describe('window over a long list', () => {
  test('holds every row that is on screen, at its place, and few more', () => {
    fc.assert(
      fc.property(
        size,
        fc.integer({ min: 100, max: 1500 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (total, view, share) => {
          const height = boxHeight(total, ROW);
          const scroll = share * Math.max(0, height - view);
          const { first, end, top } = windowAt(scroll, view, ROW, total);
          expect(end - first).toBeLessThanOrEqual(Math.ceil(view / ROW) + 14);
          expect(end).toBeLessThanOrEqual(total);
          // The screen is covered from its upper edge, and to its lower one unless the list ends before.
          expect(top).toBeLessThanOrEqual(scroll + 1e-6);
          const bottom = top + (end - first) * ROW;
          expect(end === total || bottom >= scroll + view - 1e-6).toBe(true);
        },
      ),
    );
  });

  test('the box is never higher than browsers can lay out', () => {
    expect(boxHeight(10_000_000, ROW)).toBe(MAX_PIXELS);
    expect(boxHeight(100, ROW)).toBe(2400);
  });

  test('a row that is gone to is wholly on screen, with the box scaled or not', () => {
    fc.assert(
      fc.property(size, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(3_000_000), (total, share, wanted) => {
        const view = 600;
        const index = wanted % total;
        const from = share * Math.max(0, boxHeight(total, ROW) - view);
        const scroll = scrollTo(index, from, view, ROW, total);
        const { first, end, top } = windowAt(scroll, view, ROW, total);
        expect(index).toBeGreaterThanOrEqual(first);
        expect(index).toBeLessThan(end);
        const y = top + (index - first) * ROW;
        expect(y).toBeGreaterThanOrEqual(scroll - 0.01);
        if (total * ROW > view) expect(y + ROW).toBeLessThanOrEqual(scroll + view + 0.01);
      }),
    );
  });
});

describe('pages', () => {
  const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
  function made(keep = 3) {
    const asked: number[] = [];
    const failures: unknown[] = [];
    const pages = new Pages<number, { start: number; rows: readonly number[] }>({
      size: 10,
      keep,
      fetch: async (start, count) => {
        asked.push(start);
        if (start === 90) throw new Error('no');
        return Promise.resolve({ start, rows: Array.from({ length: count }, (_, at) => start + at) });
      },
      arrived: () => undefined,
      failed: (error) => failures.push(error),
    });
    return { pages, asked, failures };
  }

  test('fetches each page once and gives its rows', async () => {
    const { pages, asked } = made();
    pages.want(5, 25);
    pages.want(5, 25);
    await settled();
    expect(asked).toEqual([0, 10, 20]);
    expect([pages.at(5), pages.at(24), pages.at(30)]).toEqual([5, 24, null]);
  });

  test('keeps the pages used last', async () => {
    const { pages, asked } = made(2);
    pages.want(0, 1);
    await settled();
    pages.want(10, 11);
    await settled();
    pages.want(0, 1);
    pages.want(20, 21);
    await settled();
    expect([pages.at(0), pages.at(10), pages.at(20)]).toEqual([0, null, 20]);
    pages.want(10, 11);
    await settled();
    expect(asked).toEqual([0, 10, 20, 10]);
  });

  test('what was asked for before a reset never arrives', async () => {
    const { pages } = made();
    pages.want(0, 1);
    pages.reset();
    await settled();
    expect(pages.at(0)).toBeNull();
    pages.want(0, 1);
    await settled();
    expect(pages.at(0)).toBe(0);
  });

  test('a failure is told and can be tried again', async () => {
    const { pages, failures, asked } = made();
    pages.want(90, 91);
    await settled();
    pages.want(90, 91);
    await settled();
    expect(failures).toHaveLength(2);
    expect(asked).toEqual([90, 90]);
  });

  test('loaded rows are walked from a place on and around', async () => {
    const { pages } = made();
    pages.want(0, 20);
    await settled();
    const seen = [...pages.loadedAfter(17, 20)].map(([index]) => index);
    expect(seen.slice(0, 3)).toEqual([18, 19, 0]);
    expect(seen).toHaveLength(20);
  });
});

describe('keys', () => {
  const spot = { index: 5, total: 100, page: 10, level: 2, expanded: null };
  test('a tree goes as the ARIA pattern says', () => {
    expect(treeMove('ArrowDown', spot)).toEqual({ kind: 'go', index: 6 });
    expect(treeMove('PageUp', spot)).toEqual({ kind: 'go', index: 0 });
    expect(treeMove('End', spot)).toEqual({ kind: 'go', index: 99 });
    expect(treeMove('ArrowRight', { ...spot, expanded: false })).toEqual({ kind: 'toggle', expand: true });
    expect(treeMove('ArrowRight', { ...spot, expanded: true })).toEqual({ kind: 'go', index: 6 });
    expect(treeMove('ArrowRight', spot)).toBeNull();
    expect(treeMove('ArrowLeft', { ...spot, expanded: true })).toEqual({ kind: 'toggle', expand: false });
    expect(treeMove('ArrowLeft', spot)).toEqual({ kind: 'parent' });
    expect(treeMove('ArrowLeft', { ...spot, level: 1 })).toBeNull();
    expect(treeMove(' ', { ...spot, expanded: true })).toEqual({ kind: 'toggle', expand: false });
    expect(treeMove('q', spot)).toEqual({ kind: 'type', text: 'q' });
    expect(treeMove('F5', spot)).toBeNull();
  });

  test('a cell never leaves its grid', () => {
    const keys = ['ArrowDown', 'ArrowUp', 'ArrowLeft', 'ArrowRight', 'Home', 'End', 'PageDown', 'PageUp'];
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...keys), fc.boolean())),
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 70 }),
        (moves, rows, columns) => {
          let cell = { row: 0, column: 0 };
          for (const [key, ctrl] of moves) {
            cell = cellMove(key, ctrl, cell, rows, columns) ?? cell;
            expect(cell.row >= 0 && cell.row < rows && cell.column >= 0 && cell.column < columns).toBe(true);
          }
        },
      ),
    );
    expect(cellMove('End', true, { row: 0, column: 0 }, 4, 9)).toEqual({ row: 3, column: 8 });
    expect(cellMove('Tab', false, { row: 0, column: 0 }, 4, 9)).toBeNull();
  });

  test('letters within a second make a word; the same letter steps on', () => {
    const typed = new Typeahead();
    expect(typed.add('n', 0)).toBe('n');
    expect(typed.add('O', 500)).toBe('no');
    expect(typed.busy(600)).toBe(true);
    expect(typed.add('x', 2000)).toBe('x');
    expect(typed.add('x', 2100)).toBe('x');
    expect(typed.busy(3200)).toBe(false);
  });
});

describe('lines of a plan', () => {
  const row = (id: string, tensors: number): PlanRow => ({
    id,
    layers: '',
    source: id,
    target: id,
    experts: '',
    how: 'copy',
    tensors,
    bytes: 1,
    copied: true,
  });
  test('index by index they are what walking the rows gives', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(6), fc.boolean()), { maxLength: 30 }), (spec) => {
        const rows = spec.map(([tensors], at) => row(`r${String(at)}`, tensors));
        const open = new Set(rows.filter((_, at) => spec[at]?.[1] === true).map(({ id }) => id));
        const lines = new PlanLines(rows, open, (each, at): WirePlanTensor => tensor(`${each.id}.${String(at)}`));
        const walked = rows.flatMap((each) => [
          each.id,
          ...(open.has(each.id) ? Array.from({ length: each.tensors }, (_, at) => `${each.id}.${String(at)}`) : []),
        ]);
        expect(lines.total).toBe(walked.length);
        const told = walked.map((_, at) => {
          const line = lines.lineAt(at);
          return line === null ? null : line.kind === 'pattern' ? line.row.id : line.tensor?.name;
        });
        expect(told).toEqual(walked);
        expect(lines.lineAt(walked.length)).toBeNull();
      }),
    );
  });
  const tensor = (name: string): WirePlanTensor => ({
    name,
    dtype: 'F32',
    shape: [],
    bytes: 4,
    file: 'f',
    how: 'copy',
    sources: [],
  });
});
