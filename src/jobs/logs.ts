/** Logs of jobs: JSON lines, bounded, read in pieces. */
import { open } from 'node:fs/promises';
import { systemCodeOf } from '../common/errors.ts';
import { jobLogLine } from '../protocol/jobs.ts';
import type { JobLogLine } from '../protocol/jobs.ts';
import { appendLine } from './json-lines.ts';

/** A log ends here, saying so: a job that writes without end must not fill the disk. */
const MAX_BYTES = 8 << 20;
const MAX_MESSAGE = 16_384;

/** Appends to the log of one job; only the window that runs the job does. */
export class JobLog {
  private bytes = 0;
  private full = false;

  constructor(
    private readonly path: string,
    /** Called once where the disk refuses: a log is no reason to fail a job, but it is not passed over in silence. */
    private readonly onFailure: (error: unknown) => void,
    private readonly onLine: (line: JobLogLine) => void = () => undefined,
    private readonly maxBytes = MAX_BYTES,
  ) {}

  add(level: JobLogLine['level'], message: string): void {
    this.line({ time: new Date().toISOString(), level, message });
  }

  line(line: JobLogLine): void {
    const cut = line.message.length > MAX_MESSAGE;
    const kept = cut ? { ...line, message: `${line.message.slice(0, MAX_MESSAGE)}… (cut)` } : line;
    this.onLine(kept);
    if (this.full) return;
    this.bytes += kept.message.length + 64;
    let written: JobLogLine = kept;
    if (this.bytes > this.maxBytes) {
      this.full = true;
      written = { time: line.time, level: 'warning', message: 'The log is full; what follows is not kept.' };
    }
    try {
      appendLine(this.path, written);
    } catch (error) {
      this.full = true;
      this.onFailure(error);
    }
  }
}

export interface LogPiece {
  readonly lines: readonly JobLogLine[];
  /** Where to read on. */
  readonly next: number;
  readonly end: boolean;
}

/** Reads a piece of a log from byte `from` on. No log is an empty one. */
export async function readLog(path: string, from = 0, maxBytes = 256 << 10): Promise<LogPiece> {
  const file = await open(path, 'r').catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  });
  if (file === null) return { lines: [], next: 0, end: true };
  try {
    const { size } = await file.stat();
    const start = Math.min(from, size);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, start);
    const piece = buffer.subarray(0, bytesRead);
    const whole = piece.lastIndexOf(0x0a) + 1;
    const lines = piece
      .toString('utf8', 0, whole)
      .split('\n')
      .flatMap((text) => {
        if (text === '') return [];
        const read = jobLogLine.safeParse(parse(text));
        return read.success ? [read.data as JobLogLine] : [];
      });
    // A line longer than the piece cannot come from us: passed over, so that reading comes to an end.
    const next = whole > 0 ? start + whole : bytesRead === maxBytes ? start + bytesRead : start;
    return { lines, next, end: start + bytesRead >= size };
  } finally {
    await file.close();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
