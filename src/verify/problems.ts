/** What a verification finds: every problem counted, the first ones named. */

export interface VerifyProblem {
  readonly code: string;
  readonly message: string;
  readonly file?: string;
  readonly tensor?: string;
  /** Absolute offset of the first difference in the file. */
  readonly byte?: number;
}

export interface VerifyCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export class Findings {
  readonly problems: VerifyProblem[] = [];
  readonly checks: VerifyCheck[] = [];
  readonly proven: string[] = [];
  readonly notProven: string[] = [];
  count = 0;

  constructor(private readonly limit: number) {}

  problem(problem: VerifyProblem): void {
    this.count += 1;
    if (this.problems.length < this.limit) this.problems.push(problem);
  }

  check(name: string, ok: boolean, detail: string): void {
    this.checks.push({ name, ok, detail });
  }
}

/** Index of the first byte in which two buffers differ; the shorter length where one is a prefix; -1 if equal. */
export function firstDifference(a: Buffer, b: Buffer): number {
  if (a.equals(b)) return -1;
  const length = Math.min(a.length, b.length);
  let low = 0;
  // Halving by native compares; then at most 64 bytes by hand.
  let high = length;
  while (high - low > 64) {
    const middle = (low + high) >>> 1;
    if (a.subarray(low, middle).equals(b.subarray(low, middle))) low = middle;
    else high = middle;
  }
  for (let i = low; i < high; i++) if (a[i] !== b[i]) return i;
  return length;
}

/** `bit 3` where exactly one bit differs, else the two bytes in hex. */
export function describeByte(expected: number | undefined, found: number | undefined): string {
  if (expected === undefined || found === undefined) return 'the file ends there';
  const delta = expected ^ found;
  const bit = Math.log2(delta);
  const hex = (byte: number): string => `0x${byte.toString(16).padStart(2, '0')}`;
  return `${hex(expected)} expected, ${hex(found)} found${Number.isInteger(bit) ? `, bit ${String(bit)} flipped` : ''}`;
}
