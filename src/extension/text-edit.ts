/** The smallest single replacement that turns one text into another. Pure. */

export interface Replacement {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** Null where the texts are equal. Never cuts a surrogate pair or a CR LF. */
export function replacementOf(before: string, after: string): Replacement | null {
  if (before === after) return null;
  const most = Math.min(before.length, after.length);
  let head = 0;
  while (head < most && before.charCodeAt(head) === after.charCodeAt(head)) head++;
  while (head > 0 && isSecondHalf(before, head)) head--;
  let tail = 0;
  while (
    tail < most - head &&
    before.charCodeAt(before.length - 1 - tail) === after.charCodeAt(after.length - 1 - tail)
  )
    tail++;
  while (tail > 0 && isSecondHalf(before, before.length - tail)) tail--;
  return { from: head, to: before.length - tail, text: after.slice(head, after.length - tail) };
}

/** Does position `at` lie inside a pair? */
function isSecondHalf(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  const before = text.charCodeAt(at - 1);
  return (code >= 0xdc00 && code <= 0xdfff && before >= 0xd800 && before <= 0xdbff) || (code === 10 && before === 13);
}
