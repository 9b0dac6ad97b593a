/**
 * The jobs of all windows, on disk. Every change is an appended line, made under a lock; every window reads the same file.
 * A job is started by whoever makes its claim file, which is made once and never again.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { randomBytes } from 'node:crypto';
import { MoeError, systemCodeOf } from '../common/errors.ts';
import { toWireError } from '../protocol/errors.ts';
import type { WireError } from '../protocol/errors.ts';
import { jobResult } from '../protocol/jobs.ts';
import type { JobOutcome, JobParams, JobResult } from '../protocol/jobs.ts';
import { writeFailure } from '../write/failure.ts';
import type { Lock } from '../write/lock.ts';
import { applyEvent, eventsOf, jobEvent } from './events.ts';
import type { EndStatus, JobEvent, JobRecord } from './events.ts';
import { appendLine, LineReader } from './json-lines.ts';
import { tryJson } from './json-files.ts';
import { newJobId, StorageLayout } from './layout.ts';
import { exclusively, tryLock } from './mutex.ts';
import { outputOf, titleOf } from './titles.ts';
import { FolderWatcher } from './watching.ts';

export interface StoreOptions {
  /** Names this window in the history. */
  readonly window?: string;
  /** Ended jobs that are kept; older ones are forgotten with their logs. */
  readonly keep?: number;
  /** How often the file is looked at, beside being watched. */
  readonly pollMs?: number;
}

/** The right to run a job: this window's, until it is released. */
export interface JobClaim {
  readonly job: JobRecord;
  release(): void;
}

export interface AddOptions {
  readonly title?: string;
  readonly repeats?: string;
}

/** The history is written anew when it has this many more lines than it needs. */
const SLACK_LINES = 500;

export class JobStore {
  readonly layout: StorageLayout;
  private jobs = new Map<string, JobRecord>();
  private readonly reader: LineReader;
  private readonly listeners = new Set<() => void>();
  private readonly window: string;
  private readonly keep: number;
  private readonly held = new Map<string, Lock>();
  private lineCount = 0;
  private skipped = 0;
  private reading: Promise<boolean> | null = null;
  private readonly watcher: FolderWatcher;

  private constructor(folder: string, options: StoreOptions) {
    this.layout = new StorageLayout(folder);
    this.reader = new LineReader(this.layout.history);
    this.window = options.window ?? randomBytes(4).toString('hex');
    this.keep = options.keep ?? 200;
    this.watcher = new FolderWatcher(this.layout.folder, 'jobs.jsonl', options.pollMs ?? 1000, () => {
      // A folder that has gone shows itself when something is to be written.
      this.refresh().catch(() => undefined);
    });
  }

  /** Opens the store in `folder` (made if need be). Throws MoeError where it cannot be written to. */
  static async open(folder: string, options: StoreOptions = {}): Promise<JobStore> {
    let store: JobStore;
    try {
      store = new JobStore(folder, options);
    } catch (error) {
      throw writeFailure(error, folder);
    }
    await store.refresh();
    return store;
  }

  /** Jobs, oldest first, as of the last refresh. */
  list(): readonly JobRecord[] {
    return [...this.jobs.values()];
  }

  get(id: string): JobRecord | null {
    return this.jobs.get(id) ?? null;
  }

  /** Lines of the history that could not be read (cut off, or of a newer version) and were passed over. */
  get skippedLines(): number {
    return this.skipped;
  }

  /** Whether this window runs the job. */
  holds(id: string): boolean {
    return this.held.has(id);
  }

  /** Reads what others have written. True if anything changed. */
  async refresh(): Promise<boolean> {
    this.reading ??= this.read().finally(() => {
      this.reading = null;
    });
    return this.reading;
  }

  private async read(): Promise<boolean> {
    const { lines, restarted, tooLong } = await this.reader.read();
    if (restarted) {
      this.jobs = new Map();
      this.lineCount = 0;
      this.skipped = 0;
    }
    this.skipped += tooLong;
    for (const line of lines) {
      this.lineCount++;
      const event = parseEvent(line);
      if (event === null) this.skipped++;
      else applyEvent(this.jobs, event);
    }
    const changed = restarted || lines.length > 0;
    if (changed) for (const listener of this.listeners) listener();
    return changed;
  }

  /** Calls back after every change, this window's and others'. The file is watched as long as anyone listens. */
  onChange(listener: () => void): { dispose(): void } {
    this.listeners.add(listener);
    this.watcher.start();
    return {
      dispose: () => {
        this.listeners.delete(listener);
        if (this.listeners.size === 0) this.watcher.stop();
      },
    };
  }

  /** Appends under the lock, after reading what others wrote: `decide` sees the present. */
  private async change<T>(decide: () => { readonly events: readonly JobEvent[]; readonly value: T }): Promise<T> {
    return exclusively(this.layout.lock, async () => {
      await this.settle();
      const { events, value } = decide();
      try {
        for (const event of events) appendLine(this.layout.history, event);
      } catch (error) {
        throw writeFailure(error, this.layout.history);
      }
      await this.settle();
      this.compactIfLong();
      return value;
    });
  }

  /** Reads to the end of the file as it is now, also where a read was under way. */
  private async settle(): Promise<void> {
    if (this.reading !== null) await this.reading.catch(() => false);
    await this.refresh();
  }

  /**
   * Puts a job at the end of the queue. Throws `job-output-busy` where a job that is queued or running writes to the same
   * place.
   */
  async add(params: JobParams, options: AddOptions = {}): Promise<JobRecord> {
    const id = newJobId();
    const target = outputOf(params);
    await this.change(() => {
      const clash = this.list().find((job) => isOpen(job) && target !== null && outputOf(job.params) === target);
      if (clash !== undefined)
        throw new MoeError(
          'usage',
          'job-output-busy',
          `"${clash.title}" is ${clash.status} and writes to ${target ?? ''} too`,
          {
            ...(target === null ? {} : { file: target }),
            hint: 'Wait for it or cancel it, or choose another output folder.',
            details: { job: clash.id },
          },
        );
      const event: JobEvent = {
        type: 'created',
        id,
        time: now(),
        title: options.title ?? titleOf(params),
        params,
        repeats: options.repeats ?? null,
      };
      return { events: [event], value: undefined };
    });
    return this.known(id);
  }

  private known(id: string): JobRecord {
    const job = this.jobs.get(id);
    if (job === undefined) throw new MoeError('usage', 'job-unknown', `There is no job ${id} (any more)`);
    return job;
  }

  /**
   * Claims the first queued job for this window, unless `concurrency` jobs are running in any window. Jobs whose window is
   * gone are marked interrupted first. Null where there is nothing to start.
   */
  async claimNext(concurrency = 1): Promise<JobClaim | null> {
    let lock: Lock | null = null;
    const id = await this.change<string | null>(() => {
      const events = this.interrupted();
      const gone = new Set(events.map((event) => event.id));
      const running = this.list().filter((job) => job.status === 'running' && !gone.has(job.id));
      if (running.length >= concurrency) return { events, value: null };
      for (const job of this.list()) {
        if (job.status !== 'queued') continue;
        lock = tryLock(this.layout.running(job.id), job.title);
        if (lock === null) continue;
        if (!this.makeClaim(job.id)) {
          // Somebody made the claim and vanished before saying so.
          lock.release();
          lock = null;
          events.push(vanished(job.id));
          continue;
        }
        const owner = { pid: process.pid, host: hostname(), window: this.window };
        return { events: [...events, { type: 'started', id: job.id, time: now(), owner }], value: job.id };
      }
      return { events, value: null };
    }).catch((error: unknown) => {
      lock?.release();
      throw error;
    });
    if (id === null || lock === null) return null;
    const own: Lock = lock;
    this.held.set(id, own);
    return {
      job: this.known(id),
      release: () => {
        if (this.held.get(id) !== own) return;
        this.held.delete(id);
        own.release();
      },
    };
  }

  /** Exclusive creation: true for exactly one caller over all processes and all time. */
  private makeClaim(id: string): boolean {
    try {
      writeFileSync(this.layout.claim(id), JSON.stringify({ pid: process.pid, host: hostname(), time: now() }), {
        flag: 'wx',
      });
      return true;
    } catch (error) {
      if (systemCodeOf(error) === 'EEXIST') return false;
      throw writeFailure(error, this.layout.claim(id));
    }
  }

  /** Events for running jobs whose window is gone: their lock is free although nobody said that they ended. */
  private interrupted(): JobEvent[] {
    const events: JobEvent[] = [];
    for (const job of this.list()) {
      if (job.status !== 'running' || this.held.has(job.id)) continue;
      const lock = tryLock(this.layout.running(job.id), job.title);
      if (lock === null) continue;
      lock.release();
      events.push(vanished(job.id));
    }
    return events;
  }

  /** Marks the running jobs of windows that are gone. Returns those. */
  async reconcile(): Promise<readonly JobRecord[]> {
    const ids = await this.change(() => {
      const events = this.interrupted();
      return { events, value: events.map((event) => event.id) };
    });
    return ids.flatMap((id) => this.get(id) ?? []);
  }

  /** Ends a job that this window runs (or a queued one, by `cancelled`). */
  async end(id: string, status: EndStatus, outcome: JobOutcome | null, error: WireError | null): Promise<void> {
    await this.change(() => ({
      events: [{ type: 'ended', id, time: now(), status, outcome, error }],
      value: undefined,
    }));
  }

  /** Asks for cancelling. A queued job ends at once; a running one when its window has stopped it. False: it had ended. */
  async cancel(id: string, keepPartial: boolean | null): Promise<boolean> {
    return this.change<boolean>(() => {
      const job = this.known(id);
      if (!isOpen(job)) return { events: [], value: false };
      const asked: JobEvent = { type: 'cancel', id, time: now(), keepPartial };
      if (job.status === 'running') return { events: job.cancel === null ? [asked] : [], value: true };
      const error = toWireError(new MoeError('cancelled', 'cancelled', 'Cancelled before it began'));
      return {
        events: [asked, { type: 'ended', id, time: now(), status: 'cancelled', outcome: null, error }],
        value: true,
      };
    });
  }

  /** Forgets an ended job with its log. Throws `job-running` for one that has not ended. */
  async remove(id: string): Promise<void> {
    await this.change(() => {
      const job = this.known(id);
      if (isOpen(job)) throw new MoeError('usage', 'job-running', `"${job.title}" is ${job.status}; cancel it first`);
      this.layout.forget(id);
      return { events: [{ type: 'removed', id, time: now() }], value: undefined };
    });
  }

  /** Forgets all ended jobs. Returns how many. */
  async clear(): Promise<number> {
    return this.change(() => {
      const ended = this.list().filter((job) => !isOpen(job));
      for (const job of ended) this.layout.forget(job.id);
      return { events: ended.map(({ id }) => ({ type: 'removed', id, time: now() })), value: ended.length };
    });
  }

  /** Drops the oldest ended jobs beyond `keep`, and writes the history anew where it has grown far beyond its need. */
  private compactIfLong(): void {
    const ended = this.list().filter((job) => !isOpen(job));
    const excess = ended.slice(0, Math.max(0, ended.length - this.keep));
    const needed = eventsOf(this.jobs.values());
    // Some slack, so that the file is not written anew at every end of a job.
    if (excess.length <= this.keep / 10 && this.lineCount < needed.length + SLACK_LINES) return;
    const dropped = new Set(excess.map(({ id }) => id));
    const kept = this.list().filter(({ id }) => !dropped.has(id));
    const temporary = `${this.layout.history}.${String(process.pid)}.tmp`;
    try {
      const first: JobEvent = { type: 'rewritten', id: newJobId(), time: now() };
      const text = [first, ...eventsOf(kept)].map((event) => `${JSON.stringify(event)}\n`);
      writeFileSync(temporary, text.join(''), { mode: 0o600 });
      renameSync(temporary, this.layout.history);
    } catch {
      // A history that is longer than it need be is no harm; the next change tries again.
      rmSync(temporary, { force: true });
      return;
    }
    for (const id of dropped) this.layout.forget(id);
  }

  saveResult(id: string, result: JobResult): void {
    try {
      writeFileSync(this.layout.result(id), JSON.stringify(result), { mode: 0o600 });
    } catch (error) {
      throw writeFailure(error, this.layout.result(id));
    }
  }

  /** The whole result of a job that came to its end; null where there is none (any more). */
  async result(id: string): Promise<JobResult | null> {
    let text: string;
    try {
      text = await readFile(this.layout.result(this.known(id).id), 'utf8');
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return null;
      throw error;
    }
    const read = jobResult.safeParse(tryJson(text));
    return read.success ? (read.data as JobResult) : null;
  }

  /** Lets go of everything: running jobs of this window count as interrupted from then on. */
  dispose(): void {
    this.listeners.clear();
    this.watcher.stop();
    for (const lock of this.held.values()) lock.release();
    this.held.clear();
  }
}

export function isOpen(job: JobRecord): boolean {
  return job.status === 'queued' || job.status === 'running';
}

/** The error of a job whose window went away. */
export function interruptedError(): WireError {
  const message = 'The window that ran it was closed, reloaded or ended before the job was done';
  return toWireError(new MoeError('internal', 'job-interrupted', message, { hint: 'Resume it, or run it again.' }));
}

function vanished(id: string): JobEvent {
  return { type: 'ended', id, time: now(), status: 'interrupted', outcome: null, error: interruptedError() };
}

function parseEvent(line: string): JobEvent | null {
  const read = jobEvent.safeParse(tryJson(line));
  return read.success ? (read.data as JobEvent) : null;
}

function now(): string {
  return new Date().toISOString();
}
