/**
 * Errors for people. Every failure that a user can meet is a `MoeError`: it names what went wrong, where, and what to do.
 * Its `kind` decides the CLI's exit code.
 */

/** What kind of failure: decides the exit code (usage 2, input 3, resources 4, cancelled 130; check 1). */
export type ErrorKind = 'check' | 'usage' | 'input' | 'resources' | 'cancelled' | 'internal';

/** Where a failure lies and what the reader can do about it. All optional: give whatever is known. */
export interface ErrorPlace {
  /** File concerned, as the user would name it. */
  readonly file?: string;
  readonly tensor?: string;
  /** Absolute byte offset in the file. */
  readonly byte?: number;
  /** Field of a config or recipe, dotted. */
  readonly field?: string;
  /** What to do, one sentence. */
  readonly hint?: string;
  /** More data for `--json`; must be plain JSON. */
  readonly details?: Readonly<Record<string, unknown>>;
}

export const EXIT_CODES: Readonly<Record<ErrorKind, number>> = {
  check: 1,
  usage: 2,
  input: 3,
  resources: 4,
  cancelled: 130,
  internal: 70,
};

/** A failure with a stable code (kebab-case, e.g. `top-k-exceeds-experts`), a message for people and a place. */
export class MoeError extends Error {
  override readonly name = 'MoeError';
  constructor(
    readonly kind: ErrorKind,
    readonly code: string,
    message: string,
    readonly place: ErrorPlace = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** `n` as "1,234,567": for messages; JSON carries plain numbers. */
export function grouped(n: number): string {
  return n.toLocaleString('en-US');
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The system error code (`ENOSPC`, `ENOENT`…) of anything thrown, if it has one. */
export function systemCodeOf(error: unknown): string | undefined {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string')
    return error.code;
  return undefined;
}
