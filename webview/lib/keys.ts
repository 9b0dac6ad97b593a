/** What a key does in a list, a tree or a grid of cells. No DOM: the caller gives the key and gets the move. */
import { clamp } from './window.ts';

export interface TreeSpot {
  readonly index: number;
  readonly total: number;
  /** Rows that fit on screen. */
  readonly page: number;
  /** Null: not a group. */
  readonly expanded: boolean | null;
  readonly level: number;
}

export type TreeMove =
  | { readonly kind: 'go'; readonly index: number }
  | { readonly kind: 'toggle'; readonly expand: boolean }
  | { readonly kind: 'parent' }
  | { readonly kind: 'activate' }
  | { readonly kind: 'siblings' }
  | { readonly kind: 'type'; readonly text: string };

/** The ARIA tree-grid keys, rows in focus. Null: not ours. */
export function treeMove(key: string, spot: TreeSpot): TreeMove | null {
  const last = Math.max(0, spot.total - 1);
  const go = (index: number): TreeMove => ({ kind: 'go', index: clamp(index, 0, last) });
  switch (key) {
    case 'ArrowDown':
      return go(spot.index + 1);
    case 'ArrowUp':
      return go(spot.index - 1);
    case 'PageDown':
      return go(spot.index + spot.page);
    case 'PageUp':
      return go(spot.index - spot.page);
    case 'Home':
      return go(0);
    case 'End':
      return go(last);
    case 'ArrowRight':
      if (spot.expanded === false) return { kind: 'toggle', expand: true };
      return spot.expanded === true ? go(spot.index + 1) : null;
    case 'ArrowLeft':
      if (spot.expanded === true) return { kind: 'toggle', expand: false };
      return spot.level > 1 ? { kind: 'parent' } : null;
    case 'Enter':
      return { kind: 'activate' };
    case ' ':
      return spot.expanded === null ? { kind: 'activate' } : { kind: 'toggle', expand: !spot.expanded };
    case '*':
      return { kind: 'siblings' };
    default:
      return [...key].length === 1 ? { kind: 'type', text: key } : null;
  }
}

export interface Cell {
  readonly row: number;
  readonly column: number;
}

/** Arrows, Home/End (row), Ctrl+Home/End (all), Page keys (ten rows). Null: not ours. */
export function cellMove(key: string, ctrl: boolean, at: Cell, rows: number, columns: number): Cell | null {
  const to = (row: number, column: number): Cell => ({
    row: clamp(row, 0, Math.max(0, rows - 1)),
    column: clamp(column, 0, Math.max(0, columns - 1)),
  });
  switch (key) {
    case 'ArrowDown':
      return to(at.row + 1, at.column);
    case 'ArrowUp':
      return to(at.row - 1, at.column);
    case 'ArrowRight':
      return to(at.row, at.column + 1);
    case 'ArrowLeft':
      return to(at.row, at.column - 1);
    case 'Home':
      return ctrl ? to(0, 0) : to(at.row, 0);
    case 'End':
      return ctrl ? to(rows, columns) : to(at.row, columns);
    case 'PageDown':
      return to(at.row + 10, at.column);
    case 'PageUp':
      return to(at.row - 10, at.column);
    default:
      return null;
  }
}

/** Type-ahead: letters within a second make a word. */
export class Typeahead {
  private word = '';
  private at = -Infinity;

  /** The word so far; a repeated letter stays that letter, so that it steps on. */
  add(letter: string, now: number): string {
    this.word = now - this.at > 1000 ? letter : this.word + letter;
    this.at = now;
    if ([...this.word].every((each) => each === letter)) this.word = letter;
    return this.word.toLowerCase();
  }

  /** Letters are being typed: a space belongs to the word. */
  busy(now: number): boolean {
    return this.word !== '' && now - this.at <= 1000;
  }
}
