/** Globs over tensor and file names, in time proportional to pattern × text whatever the pattern. */

/**
 * Does a glob fit a name, or a tail of it that begins after a dot? `*` stands for any text (dots too), `?` for one
 * character.
 */
export function globMatches(glob: string, name: string): boolean {
  if (fits(glob, name, 0)) return true;
  // A star in front has tried all tails already.
  if (glob.startsWith('*')) return false;
  for (let dot = name.indexOf('.'), tries = 0; dot >= 0 && tries < 64; dot = name.indexOf('.', dot + 1), tries++) {
    if (fits(glob, name, dot + 1)) return true;
  }
  return false;
}

function fits(glob: string, text: string, start: number): boolean {
  let g = 0;
  let t = start;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    const c = glob[g];
    if (c === '*') {
      star = g++;
      resume = t;
    } else if (c !== undefined && (c === '?' || c === text[t])) {
      g++;
      t++;
    } else if (star >= 0) {
      // The last star takes one character more.
      g = star + 1;
      t = ++resume;
    } else return false;
  }
  while (glob[g] === '*') g++;
  return g === glob.length;
}
