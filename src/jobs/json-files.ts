/** JSON that may be cut off, absent or being replaced: undefined, never an error. */
import { readFileSync } from 'node:fs';

/** A text as JSON; undefined where it is none. */
export function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Reads a small JSON file; undefined where it is not there or is being replaced. */
export function readJsonNow(path: string): unknown {
  try {
    return tryJson(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
