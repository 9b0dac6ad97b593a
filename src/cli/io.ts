/** What a command may touch of its process: streams, environment, cancellation. Tests give their own. */
import { COLOURED, PLAIN } from '../report/text.ts';
import type { Style } from '../report/text.ts';

export interface CliIo {
  /** Standard output: the report or the JSON, nothing else. Resolves once the text may be followed by more. */
  readonly out: (text: string) => Promise<void>;
  /** Standard error: logs, progress, errors for people. */
  readonly err: (text: string) => void;
  readonly outIsTty: boolean;
  readonly errIsTty: boolean;
  /** Columns of the terminal behind standard error. */
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** All of standard input, as it is. */
  readonly input: () => Promise<Uint8Array>;
  /** The program that runs models (dist/infer.js), forked when a command needs it. */
  readonly inferEntry: string;
  /** Aborted by Ctrl-C or termination. */
  readonly signal: AbortSignal;
}

/** Colours where the stream is a terminal and NO_COLOR is not set; FORCE_COLOR asks for them anyway. */
export function styleFor(io: CliIo, isTty: boolean): Style {
  const { NO_COLOR: no, FORCE_COLOR: force, TERM: term } = io.env;
  if (no !== undefined && no !== '') return PLAIN;
  if (force !== undefined && force !== '' && force !== '0') return COLOURED;
  return isTty && term !== 'dumb' ? COLOURED : PLAIN;
}
