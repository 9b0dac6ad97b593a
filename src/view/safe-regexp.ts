/** Regular expressions that users type, run over names that anyone may have written: none that can run for ages. */

const FLAGS = /^[imsu]*$/;

/**
 * Compiles a pattern (always case-insensitive, as all of the filter), or tells why not. Repeats within repeats, and back
 * references, are refused: they are what makes matching take exponential time.
 */
export function compileSafeRegExp(source: string, flags: string): RegExp | string {
  if (source === '') return 'the regular expression is empty';
  if (source.length > 500) return 'the regular expression is longer than 500 characters';
  if (!FLAGS.test(flags)) return `the flags “${flags}” are not known here; i, m, s and u are`;
  let made: RegExp;
  try {
    made = new RegExp(source, [...new Set(`${flags}i`)].join(''));
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^.*?: (?=[A-Z])/s, '') : String(error);
    return `not a regular expression: ${why}`;
  }
  return risk(source) ?? made;
}

/** Why matching could take exponential time, or null. */
function risk(source: string): string | null {
  /** For each open group: does it hold a repeat or a choice? */
  const open: boolean[] = [];
  let closedHolds = false;
  let repeats = 0;
  for (let i = 0; i < source.length; i++) {
    const c = source.charAt(i);
    const groupEnded = closedHolds;
    closedHolds = false;
    if (c === '\\') {
      if (/[1-9k]/.test(source.charAt(i + 1))) return 'back references are not allowed here';
      i++;
    } else if (c === '[') i = classEnd(source, i);
    else if (c === '(') {
      open.push(false);
      // `(?:`, `(?=`, `(?<name>`: the mark after the bracket is no repeat.
      if (source.charAt(i + 1) === '?') i++;
    } else if (c === ')') {
      closedHolds = open.pop() ?? false;
      if (closedHolds && open.length > 0) open[open.length - 1] = true;
    } else if (c === '|' && open.length > 0) open[open.length - 1] = true;
    else if (c === '*' || c === '+' || (c === '{' && /^\{\d+(?:,\d*)?\}/.test(source.slice(i)))) {
      if (groupEnded)
        return 'a repeat of a group that holds a repeat or a choice can run for ages; write it without one';
      if (++repeats > 10) return 'more than 10 repeats';
      if (open.length > 0) open[open.length - 1] = true;
    }
  }
  return null;
}

function classEnd(source: string, from: number): number {
  for (let i = from + 1; i < source.length; i++) {
    if (source.charAt(i) === '\\') i++;
    else if (source.charAt(i) === ']') return i;
  }
  return source.length;
}
