/** Numbers as people read them. Exact values travel beside them, for copying. No DOM here. */
import { grouped } from '../../src/common/errors.ts';
import { durationText, plural, rangesText, shortCount, visible } from '../../src/report/text.ts';

export { durationText, grouped, plural, rangesText, shortCount, visible };

export type UnitBase = 1000 | 1024;

const UNITS: Readonly<Record<UnitBase, readonly string[]>> = {
  1000: ['B', 'kB', 'MB', 'GB', 'TB', 'PB'],
  1024: ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'],
};

/** `95.0 GB`, or `88.5 GiB` in units of 1024. */
export function bytesText(bytes: number, base: UnitBase = 1000): string {
  let rest = bytes;
  let unit = 0;
  const units = UNITS[base];
  while (Math.abs(rest) >= base * 0.9995 && unit < units.length - 1) {
    rest /= base;
    unit++;
  }
  return `${unit === 0 ? grouped(rest) : rest.toFixed(1)} ${units[unit] ?? ''}`;
}

/** `95.0 GB (94,982,643,712 bytes)`. */
export function bytesLong(bytes: number, base: UnitBase = 1000): string {
  return bytes < base ? `${grouped(bytes)} bytes` : `${bytesText(bytes, base)} (${grouped(bytes)} bytes)`;
}

/** Four significant digits, without an exponent where that is short: `0.01234`, `1234`, `1.234e-7`. */
export function numberText(value: number, digits = 4): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e7) return minus(value.toExponential(digits - 1));
  if (Number.isInteger(value)) return minus(grouped(value));
  return minus(value.toPrecision(digits));
}

/** A true minus sign, which is as wide as a plus and is read as one. */
function minus(text: string): string {
  return text.replaceAll('-', '−');
}

/** `[4096 × 1024]`, `scalar`. */
export function shapeText(shape: readonly number[]): string {
  return shape.length === 0 ? 'scalar' : shape.map(grouped).join(' × ');
}

/** A share of a whole: `12.5 %`; never `0 %` or `100 %` for what is not. */
export function shareText(part: number, whole: number): string {
  if (whole === 0) return '–';
  const percent = (part / whole) * 100;
  if (percent > 0 && percent < 0.1) return '< 0.1 %';
  if (percent < 100 && percent > 99.9) return '> 99.9 %';
  return `${percent.toFixed(1)} %`;
}

/** FLOPs: `3.2 GFLOP`. */
export function flopsText(flops: number): string {
  const steps: [number, string][] = [
    [1e15, 'PFLOP'],
    [1e12, 'TFLOP'],
    [1e9, 'GFLOP'],
    [1e6, 'MFLOP'],
  ];
  for (const [size, unit] of steps) if (flops >= size * 0.9995) return `${(flops / size).toFixed(2)} ${unit}`;
  return `${grouped(Math.round(flops))} FLOP`;
}

/** Shortens in the middle: both ends of a tensor's name tell something. */
export function middle(text: string, max: number): string {
  if (text.length <= max) return text;
  const head = Math.ceil((max - 1) / 2);
  return `${text.slice(0, head)}…${text.slice(text.length - (max - 1 - head))}`;
}

/** A value of a config or recipe, on one line. */
export function jsonText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '–');
}
