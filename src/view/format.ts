/**
 * Numbers for people, in one place: bytes, counts, measured values, shapes, times. No Node, no DOM: views and hosts use it
 * alike. What is copied is `exactText`, never a rounded one.
 */

export type UnitBase = 1000 | 1024;

const DECIMAL_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `95.0 GB` or `88.5 GiB`. */
export function bytesShort(bytes: number, base: UnitBase = 1000): string {
  const { value, unit } = scaled(bytes, base, base === 1000 ? DECIMAL_UNITS : BINARY_UNITS);
  return `${unit === 'B' ? String(Math.round(value)) : value.toFixed(1)} ${unit}`;
}

/** `95.0 GB (94,982,643,712 bytes)`. */
export function bytesLong(bytes: number, base: UnitBase = 1000): string {
  return bytes < base
    ? `${group(bytes)} ${bytes === 1 ? 'byte' : 'bytes'}`
    : `${bytesShort(bytes, base)} (${group(bytes)} bytes)`;
}

/** `47.49B`, `1.24M`, `512`: parameters and elements. */
export function countShort(count: number): string {
  const { value, unit } = scaled(count, 1000, ['', 'K', 'M', 'B', 'T', 'Q']);
  return `${unit === '' ? String(Math.round(value * 100) / 100) : value.toFixed(2)}${unit}`;
}

/** `47.49B (47,491,321,856)`; `unknown` for null. */
export function countLong(count: number | null): string {
  if (count === null) return 'unknown';
  return count < 10_000 ? group(count) : `${countShort(count)} (${group(count)})`;
}

/** `1,234,567`. */
export function group(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 20 });
}

/**
 * A measured value with `digits` significant digits: `0.01234`, `1.2e−7`, `NaN`, `∞`. A true minus sign, so that columns of
 * numbers line up; use `exactText` to copy.
 */
export function valueText(value: number, digits = 4): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  if (value === 0) return '0';
  const size = Math.abs(value);
  const text =
    size >= 1e-4 && size < 1e6
      ? String(Number(value.toPrecision(digits)))
      : shortExponent(value.toExponential(digits - 1));
  return text.replace(/-/g, '−');
}

function shortExponent(text: string): string {
  return text.replace(/\.?0+e/, 'e').replace('e+', 'e');
}

/** The shortest text that is this very number again, without units: what *Copy* takes. */
export function exactText(value: number): string {
  return String(value);
}

/** `12.3 %`; shares below 0.05 % that are not zero are `< 0.1 %`. */
export function shareText(share: number): string {
  if (!Number.isFinite(share)) return '–';
  const percent = share * 100;
  return percent > 0 && percent < 0.05 ? '< 0.1 %' : `${percent.toFixed(1)} %`;
}

/** `4096 × 14336`; `scalar` for []. */
export function shapeText(shape: readonly number[]): string {
  return shape.length === 0 ? 'scalar' : shape.join(' × ');
}

/** `0.8 s`, `2 min 05 s`, `3 h 20 min`. */
export function secondsText(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${String(whole)} s`;
  if (whole < 3600) return `${String(Math.floor(whole / 60))} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${String(Math.floor(whole / 3600))} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
}

function scaled(value: number, step: number, units: readonly string[]): { value: number; unit: string } {
  let rest = value;
  let unit = 0;
  // What would be shown as 1000.0 is shown in the next unit.
  while (Math.abs(rest) >= step * 0.99995 && unit < units.length - 1) {
    rest /= step;
    unit++;
  }
  return { value: rest, unit: units[unit] ?? '' };
}
