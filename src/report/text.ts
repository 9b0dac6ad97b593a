/** Shared pieces of the plain-text reports: numbers with units, aligned tables, wrapping, optional colour. */
import { grouped } from '../common/errors.ts';
import { largest } from '../common/lists.ts';

/** Colours, or none: every function of the reports takes one of these. */
export interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
}

const same = (text: string): string => text;
export const PLAIN: Style = { bold: same, dim: same, red: same, green: same, yellow: same };

const sgr =
  (open: number, close: number) =>
  (text: string): string =>
    text === '' ? '' : `\u001b[${open}m${text}\u001b[${close}m`;
export const COLOURED: Style = {
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  red: sgr(31, 39),
  green: sgr(32, 39),
  yellow: sgr(33, 39),
};

/** `95.0 GB (94,982,643,712 bytes)`; decimal units, as disks and Hugging Face count. */
export function bytesText(bytes: number): string {
  return bytes < 1000 ? `${bytes} bytes` : `${shortBytes(bytes)} (${grouped(bytes)} bytes)`;
}

/** `95.0 GB`. */
export function shortBytes(bytes: number): string {
  return scaled(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], ' ');
}

/** `47.49B (47,491,321,856)`. */
export function countText(count: number | null): string {
  if (count === null) return 'unknown';
  return count < 10_000 ? grouped(count) : `${shortCount(count)} (${grouped(count)})`;
}

/** `47.49B`. */
export function shortCount(count: number): string {
  return scaled(count, 1000, ['', 'K', 'M', 'B', 'T', 'Q'], '', 2);
}

function scaled(value: number, step: number, units: readonly string[], gap: string, digits = 1): string {
  let rest = value;
  let unit = 0;
  while (Math.abs(rest) >= step * 0.9995 && unit < units.length - 1) {
    rest /= step;
    unit++;
  }
  return `${unit === 0 ? String(rest) : rest.toFixed(digits)}${gap}${units[unit] ?? ''}`;
}

/** `3 tensors`, `1 tensor`. */
export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${grouped(count)} ${count === 1 ? noun : many}`;
}

/** `1 h 02 min`, `3 min 20 s`, `4.2 s`, `12 ms`. */
export function durationText(seconds: number): string {
  if (seconds > 0 && seconds < 0.05) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
}

/** Numbers as ranges: `0–3, 6`. */
export function rangesText(numbers: Iterable<number>, dash = '–'): string {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  const runs: string[] = [];
  for (let i = 0; i < sorted.length;) {
    let j = i;
    while (j + 1 < sorted.length && sorted[j + 1] === (sorted[j] ?? 0) + 1) j++;
    const [first = 0, last = 0] = [sorted[i], sorted[j]];
    runs.push(first === last ? `${first}` : last === first + 1 ? `${first}, ${last}` : `${first}${dash}${last}`);
    i = j + 1;
  }
  return runs.join(', ');
}

/** Control characters of names from files made visible: a report is text, never a terminal command. */
export function visible(text: string): string {
  let out = '';
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const hidden = code < 0x20 || (code >= 0x7f && code < 0xa0) || BIDI.has(code);
    out += hidden ? `\\u${code.toString(16).padStart(4, '0')}` : character;
  }
  return out;
}

/** Characters that reorder what follows them on screen. */
const BIDI = new Set([
  0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, 0x2028, 0x2029,
]);

export interface Column {
  readonly title: string;
  readonly right?: boolean;
  /** Longer cells are cut in the middle. */
  readonly max?: number;
}

/** An aligned table; the last column is not padded. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], style: Style): string {
  const cells = rows.map((row) => columns.map((column, i) => cut(visible(row[i] ?? ''), column.max ?? Infinity)));
  const widths = columns.map((column, i) =>
    largest(
      cells.map((row) => width(row[i] ?? '')),
      width(column.title),
    ),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => {
        const gap = ' '.repeat(Math.max(0, (widths[i] ?? 0) - width(cell)));
        return columns[i]?.right === true ? gap + cell : i === row.length - 1 ? cell : cell + gap;
      })
      .join('  ')
      .trimEnd();
  const titles = columns.map((column) => column.title);
  const head = titles.some((title) => title !== '') ? [style.dim(line(titles))] : [];
  return [...head, ...cells.map(line)].join('\n');
}

function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const left = Math.ceil((max - 1) / 2);
  return `${text.slice(0, left)}…${text.slice(text.length - (max - 1 - left))}`;
}

/** Columns on screen: code points, East Asian wide ones counted twice. */
function width(text: string): number {
  let columns = 0;
  for (const character of text) columns += WIDE.test(character) ? 2 : 1;
  return columns;
}
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}]/u;

/** Lines `label  value`, labels of one width; values that are null are left out. */
export function fields(pairs: readonly (readonly [string, string | null])[]): string {
  const shown = pairs.filter((pair): pair is readonly [string, string] => pair[1] !== null);
  const wide = largest(
    shown.map(([label]) => label.length),
    0,
  );
  return shown.map(([label, value]) => wrap(value, 110, label.padEnd(wide + 2))).join('\n');
}

/** Wraps at words; the first line begins with `lead`, the others with as many spaces. */
export function wrap(text: string, columns: number, lead = ''): string {
  const indent = ' '.repeat(lead.length);
  const lines: string[] = [];
  for (const part of text.split('\n')) {
    let line = '';
    for (const word of part.split(' ')) {
      if (line !== '' && indent.length + line.length + 1 + word.length > columns) {
        lines.push(line);
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines.map((line, i) => (i === 0 ? lead : indent) + line).join('\n');
}

/** A list with dashes. */
export function bullets(items: readonly string[], mark = '- '): string {
  return items.map((item) => wrap(item, 110, mark)).join('\n');
}
