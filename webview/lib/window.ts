/** Which rows of a long list are on screen. Pure arithmetic; no DOM. */

/** Browsers cannot lay out boxes of any height; beyond this, scrolling is scaled. */
export const MAX_PIXELS = 8_000_000;

export interface Window {
  /** First and one past the last row to draw. */
  readonly first: number;
  readonly end: number;
  /** Where the first drawn row goes, in the scrolled box. */
  readonly top: number;
  /** Height of the scrolled box. */
  readonly height: number;
}

/** Height of the box that scrolls over `total` rows. */
export function boxHeight(total: number, rowHeight: number): number {
  return Math.min(total * rowHeight, MAX_PIXELS);
}

/** Rows to draw at a scroll position, with `over` more on both sides. */
export function windowAt(scroll: number, view: number, rowHeight: number, total: number, over = 6): Window {
  const height = boxHeight(total, rowHeight);
  const whole = total * rowHeight;
  const shown = Math.ceil(view / rowHeight) + 1;
  if (whole <= MAX_PIXELS) {
    const first = clamp(Math.floor(scroll / rowHeight) - over, 0, Math.max(0, total - 1));
    const end = Math.min(total, first + shown + 2 * over);
    return { first, end, top: first * rowHeight, height };
  }
  // Scaled: the share scrolled decides the row on top; rows are drawn at their own height around it.
  const room = Math.max(1, height - view);
  const share = clamp(scroll / room, 0, 1);
  const exact = (share * (whole - view)) / rowHeight;
  const onTop = Math.floor(exact);
  const first = Math.max(0, onTop - over);
  const end = Math.min(total, onTop + shown + over);
  return { first, end, top: scroll - (exact - first) * rowHeight, height };
}

/** Scroll position that brings a row into view, or the old one where it is in view. */
export function scrollTo(index: number, scroll: number, view: number, rowHeight: number, total: number): number {
  const whole = total * rowHeight;
  const height = boxHeight(total, rowHeight);
  const scaled = whole > MAX_PIXELS;
  const now = scaled ? clamp(scroll / Math.max(1, height - view), 0, 1) * (whole - view) : scroll;
  const top = index * rowHeight;
  let target = now;
  if (top < now) target = top;
  else if (top + rowHeight > now + view) target = top + rowHeight - view;
  if (target === now) return scroll;
  return scaled ? (target / Math.max(1, whole - view)) * Math.max(1, height - view) : target;
}

export function clamp(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value;
}
