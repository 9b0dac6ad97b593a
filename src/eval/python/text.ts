/**
 * Python's string rules where JavaScript's differ. The harness's prompts are made by Python: `strip()` takes U+0085 but not
 * U+FEFF, `len()` counts code points, `capitalize()` title-cases one character and lower-cases the rest.
 */

/** `str.isspace` for one UTF-16 unit (all of Python's white space lies in the basic plane). */
export function isPythonSpace(unit: number): boolean {
  if (unit <= 0x20) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d) || (unit >= 0x1c && unit <= 0x1f);
  if (unit < 0x1680) return unit === 0x85 || unit === 0xa0;
  return (
    unit === 0x1680 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000
  );
}

/** `str.rstrip()`. */
export function pyRstrip(s: string): string {
  let end = s.length;
  while (end > 0 && isPythonSpace(s.charCodeAt(end - 1))) end--;
  return s.slice(0, end);
}

/** `str.lstrip()`. */
export function pyLstrip(s: string): string {
  let start = 0;
  while (start < s.length && isPythonSpace(s.charCodeAt(start))) start++;
  return s.slice(start);
}

/** `str.strip()`. */
export function pyStrip(s: string): string {
  return pyLstrip(pyRstrip(s));
}

/** `len(s)`: Unicode code points, not UTF-16 units. */
export function codePointLength(s: string): number {
  let n = s.length;
  for (let i = 0; i + 1 < s.length; i++) {
    if (isHigh(s.charCodeAt(i)) && isLow(s.charCodeAt(i + 1))) {
      n--;
      i++;
    }
  }
  return n;
}

/** `len(s.encode("utf-8"))`. */
export function utf8Length(s: string): number {
  return Buffer.byteLength(s, 'utf8');
}

/** `len(re.split(r"\s+", s))`: leading or trailing white space yields empty strings that count as words. */
export function pyWordCount(s: string): number {
  let runs = 0;
  let inside = false;
  for (let i = 0; i < s.length; i++) {
    const space = isPythonSpace(s.charCodeAt(i));
    if (space && !inside) runs++;
    inside = space;
  }
  return runs + 1;
}

/** Lone surrogates become U+FFFD: no tokenizer or UTF-8 writer agrees on anything else. */
export function wellFormed(s: string): string {
  return s.replace(/[\ud800-\udfff]/gu, '\ufffd');
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}

// Title case differs from upper case for digraphs and for Greek letters with iota subscript.
const TITLE: ReadonlyMap<number, string> = new Map([
  ...[0x1c4, 0x1c7, 0x1ca, 0x1f1].flatMap((c): [number, string][] =>
    [0, 1, 2].map((i): [number, string] => [c + i, String.fromCodePoint(c + 1)]),
  ),
  [0x149, '\u02bcN'],
  [0x1fb2, '\u1fba\u0345'],
  [0x1fb4, '\u0386\u0345'],
  [0x1fb7, '\u0391\u0342\u0345'],
  [0x1fc2, '\u1fca\u0345'],
  [0x1fc4, '\u0389\u0345'],
  [0x1fc7, '\u0397\u0342\u0345'],
  [0x1ff2, '\u1ffa\u0345'],
  [0x1ff4, '\u038f\u0345'],
  [0x1ff7, '\u03a9\u0342\u0345'],
  ...[0x1fb3, 0x1fc3, 0x1ff3].flatMap((c): [number, string][] => [
    [c, String.fromCodePoint(c + 9)],
    [c + 9, String.fromCodePoint(c + 9)],
  ]),
]);

function titleCase(char: string, code: number): string {
  const special = TITLE.get(code);
  if (special !== undefined) return special;
  if (code >= 0x1f80 && code <= 0x1faf) return String.fromCodePoint(code | 8);
  if (code >= 0x10d0 && code <= 0x10ff) return char; // Georgian has upper case but no title case
  const upper = [...char.toUpperCase()];
  const first = upper[0] ?? '';
  return upper.length === 1 ? first : first + upper.slice(1).join('').toLowerCase();
}

/** `str.capitalize()`: first character in title case, all others in lower case. */
export function pyCapitalize(s: string): string {
  const code = s.codePointAt(0);
  if (code === undefined) return '';
  const first = String.fromCodePoint(code);
  // Lower-case the whole string so that a final sigma sees its neighbours, then drop the first character's part.
  return titleCase(first, code) + s.toLowerCase().slice(first.toLowerCase().length);
}

/** `str.isdigit()` for the ASCII digits, which is what rendered templates hold. */
export function isAsciiDigits(s: string): boolean {
  return /^[0-9]+$/.test(s);
}
