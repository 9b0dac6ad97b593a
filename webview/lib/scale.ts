/** Values to colours and words, for heat maps. No DOM. */

export type Rgb = readonly [number, number, number];

/** Place of a value between the extremes, 0 to 1; null where it is not a number. All the same: the low end. */
export function place(value: number, min: number, max: number): number | null {
  if (!Number.isFinite(value)) return null;
  // Not the middle: half way between two colours is a grey that reads as "no value".
  if (max <= min) return 0;
  return Math.min(1, Math.max(0, (value - min) / (max - min)));
}

/** A straight mix of two colours. */
export function mix(from: Rgb, to: Rgb, share: number): Rgb {
  const one = (a: number, b: number): number => Math.round(a + (b - a) * share);
  return [one(from[0], to[0]), one(from[1], to[1]), one(from[2], to[2])];
}

/** Relative luminance (WCAG). */
export function luminance([r, g, b]: Rgb): number {
  const linear = (channel: number): number => {
    const c = channel / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

/** Black or white, whichever reads better on a colour. */
export function inkOn(colour: Rgb): Rgb {
  return luminance(colour) > 0.18 ? [0, 0, 0] : [255, 255, 255];
}

/** `#1a2b3c`, `#123`, `rgb(1, 2, 3)` or `rgba(…)` as numbers; null where it is none of these. */
export function parseColour(text: string): Rgb | null {
  const trimmed = text.trim();
  const hex = /^#([0-9a-f]{3,8})$/iu.exec(trimmed)?.[1];
  if (hex !== undefined) {
    const wide = hex.length <= 4 ? [...hex].map((digit) => digit + digit).join('') : hex;
    const at = (from: number): number => Number.parseInt(wide.slice(from, from + 2), 16);
    return wide.length >= 6 ? [at(0), at(2), at(4)] : null;
  }
  const parts = /^rgba?\(([^)]+)\)$/iu
    .exec(trimmed)?.[1]
    ?.split(/[\s,/]+/u)
    .map(Number);
  const [r, g, b] = parts ?? [];
  return r === undefined || g === undefined || b === undefined || [r, g, b].some(Number.isNaN) ? null : [r, g, b];
}

/**
 * The values that the ends of a colour scale stand for: the extremes of what is not set apart (a dead expert at 0 would
 * leave one colour for all the others), or of everything where all is.
 */
export function colourDomain(
  values: ArrayLike<number>,
  apart: (at: number) => boolean,
): { readonly min: number; readonly max: number } {
  const kept = new Float64Array(values.length);
  for (let at = 0; at < values.length; at++) kept[at] = apart(at) ? NaN : (values[at] ?? NaN);
  const range = extremes(kept) ?? extremes(values);
  return { min: range?.min ?? 0, max: range?.max ?? 0 };
}

/** The middle of a label over its column, moved inwards where its ends would be cut off. */
export function tickPlace(middle: number, label: string, across: number): number {
  const half = label.length * 3.3 + 1;
  return Math.max(half, Math.min(across - half, middle));
}

export interface Extremes {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** Values that are numbers, and those that are not. */
  readonly known: number;
  readonly unknown: number;
  readonly minAt: number;
  readonly maxAt: number;
}

/** Extremes and mean of the finite values; null where there are none. */
export function extremes(values: ArrayLike<number>): Extremes | null {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  let known = 0;
  let minAt = 0;
  let maxAt = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? NaN;
    if (!Number.isFinite(value)) continue;
    known++;
    sum += value;
    if (value < min) {
      min = value;
      minAt = i;
    }
    if (value > max) {
      max = value;
      maxAt = i;
    }
  }
  if (known === 0) return null;
  return { min, max, mean: sum / known, known, unknown: values.length - known, minAt, maxAt };
}
