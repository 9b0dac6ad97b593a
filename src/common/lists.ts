/** Lists of any length: a call with a spread list fails from some hundred thousand items on ("Maximum call stack size exceeded"). */

/** Adds items at the end of a list. */
export function append<T>(list: T[], items: Iterable<T>): void {
  for (const item of items) list.push(item);
}

/** The largest of the values and `least`; NaN where one of them is. */
export function largest(values: Iterable<number>, least = -Infinity): number {
  let top = least;
  for (const value of values) top = Math.max(top, value);
  return top;
}

/** The smallest of the values and `most`; NaN where one of them is. */
export function smallest(values: Iterable<number>, most = Infinity): number {
  let low = most;
  for (const value of values) low = Math.min(low, value);
  return low;
}
