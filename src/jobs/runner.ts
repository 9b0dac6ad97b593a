/** Takes jobs from the queue and runs them, one after the other, each in a process of its own. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { MoeError, messageOf } from '../common/errors.ts';
import { toWireError } from '../protocol/errors.ts';
import type { JobLogLine, JobOutcome, JobProgress, JobResult, JobUsage } from '../protocol/jobs.ts';
import { JobLog } from './logs.ts';
import { JobProcess } from './process.ts';
import type { JobProcessOptions } from './process.ts';
import { interruptedError } from './store.ts';
import type { JobClaim, JobStore } from './store.ts';

export interface RunnerOptions extends JobProcessOptions {
  /** Jobs at one time, over all windows. */
  readonly concurrency?: number;
  /** Something went wrong around a job (a log that cannot be written): for the output channel. */
  readonly onFault?: (message: string, error: unknown) => void;
  /** Progress, usage or log of a job of this window. */
  readonly onActivity?: (id: string) => void;
  readonly onLog?: (id: string, line: JobLogLine) => void;
}

/** The moving part of a running job. */
export interface LiveJob {
  readonly progress: JobProgress | null;
  readonly usage: JobUsage | null;
}

interface Running {
  readonly claim: JobClaim;
  readonly process: JobProcess;
  live: LiveJob;
  written: number;
  cancelSent: boolean;
}

/** How often other windows are told of progress, by file. */
const LIVE_MS = 250;

export class JobRunner {
  private readonly running = new Map<string, Running>();
  private readonly listening: { dispose(): void };
  private active = false;
  private stopped = false;
  private looking = false;
  private again = false;
  private readonly idleWaiters = new Set<() => void>();

  constructor(
    private readonly store: JobStore,
    private readonly options: RunnerOptions,
  ) {
    this.listening = store.onChange(() => {
      this.sendCancels();
      this.look();
    });
  }

  /** Begins to take jobs. Not called in a workspace that is not trusted. */
  start(): void {
    this.active = true;
    this.look();
  }

  /** Takes no more jobs; those that run go on. */
  pause(): void {
    this.active = false;
  }

  live(id: string): LiveJob | null {
    return this.running.get(id)?.live ?? null;
  }

  /** Ids of the jobs that this window runs. */
  get mine(): readonly string[] {
    return [...this.running.keys()];
  }

  /** Resolves once this window runs nothing. */
  async idle(): Promise<void> {
    if (this.running.size === 0 && !this.looking) return;
    await new Promise<void>((done) => this.idleWaiters.add(done));
  }

  /** Looks for something to do; a look during a look is made after it. */
  private look(): void {
    if (!this.active || this.stopped) return;
    if (this.looking) {
      this.again = true;
      return;
    }
    const queued = this.store.list().some((job) => job.status === 'queued');
    const free = this.running.size < (this.options.concurrency ?? 1);
    if (!queued || !free) return;
    this.looking = true;
    this.store
      .claimNext(this.options.concurrency ?? 1)
      .then((claim) => {
        if (claim === null) return;
        this.again = true;
        if (this.stopped) claim.release();
        else void this.runClaim(claim);
      })
      .catch((error: unknown) => {
        this.options.onFault?.(`The queue could not be read: ${messageOf(error)}`, error);
      })
      .finally(() => {
        this.looking = false;
        if (this.again) {
          this.again = false;
          this.look();
        }
        this.tellIdle();
      });
  }

  private async runClaim(claim: JobClaim): Promise<void> {
    const { job } = claim;
    const { store, options } = this;
    const log = new JobLog(
      store.layout.log(job.id),
      (error) => options.onFault?.(`The log of ${job.id} cannot be written: ${messageOf(error)}`, error),
      (line) => options.onLog?.(job.id, line),
    );
    log.add('info', `${job.title}: started`);
    try {
      await this.execute(claim, log);
    } catch (error) {
      // The end could not be recorded. The lock goes free, so the next reconcile marks the job as interrupted.
      options.onFault?.(`The end of ${job.id} could not be recorded: ${messageOf(error)}`, error);
    } finally {
      this.running.delete(job.id);
      claim.release();
      rmSync(store.layout.live(job.id), { force: true });
      options.onActivity?.(job.id);
      this.look();
      this.tellIdle();
    }
  }

  private async execute(claim: JobClaim, log: JobLog): Promise<void> {
    const { job } = claim;
    const { store } = this;
    try {
      const entry: { value: Running | null } = { value: null };
      const child = new JobProcess(this.options, {
        onProgress: (progress) => {
          if (entry.value !== null) this.moved(entry.value, { progress });
        },
        onUsage: (usage) => {
          if (entry.value !== null) this.moved(entry.value, { usage });
        },
        onLog: (line) => {
          log.line(line);
          this.options.onActivity?.(job.id);
        },
      });
      entry.value = { claim, process: child, live: { progress: null, usage: null }, written: 0, cancelSent: false };
      this.running.set(job.id, entry.value);
      this.sendCancels();
      const result = await child.run(job.id, job.params);
      store.saveResult(job.id, result);
      log.add(result.ok ? 'info' : 'error', result.summary);
      await store.end(job.id, result.ok ? 'done' : 'checked-bad', outcomeOf(result), null);
    } catch (error) {
      // Stopped because the window closes, not because somebody wished it.
      const closing = this.stopped && store.get(job.id)?.cancel === null;
      const wire = closing ? interruptedError() : toWireError(error);
      log.add(wire.kind === 'cancelled' ? 'info' : 'error', withHint(wire.message, wire.place.hint));
      if (!(error instanceof MoeError) && error instanceof Error && error.stack !== undefined)
        log.add('debug', error.stack);
      const status = closing ? 'interrupted' : wire.kind === 'cancelled' ? 'cancelled' : 'failed';
      await store.end(job.id, status, null, wire);
    }
  }

  private moved(running: Running, change: Partial<LiveJob>): void {
    running.live = { ...running.live, ...change };
    const { id } = running.claim.job;
    this.options.onActivity?.(id);
    const now = performance.now();
    if (now - running.written < LIVE_MS) return;
    running.written = now;
    const path = this.store.layout.live(id);
    try {
      writeFileSync(`${path}.tmp`, JSON.stringify(running.live));
      renameSync(`${path}.tmp`, path);
    } catch {
      // Other windows then see the job without its progress; the job itself is not concerned.
    }
  }

  /** Passes on what any window asked for. */
  private sendCancels(): void {
    for (const [id, running] of this.running) {
      const asked = this.store.get(id)?.cancel ?? null;
      if (asked === null || running.cancelSent) continue;
      running.cancelSent = true;
      running.process.cancel(id, asked.keepPartial);
    }
  }

  private tellIdle(): void {
    if (this.running.size > 0 || this.looking) return;
    for (const done of this.idleWaiters) done();
    this.idleWaiters.clear();
  }

  /** Stops taking jobs and ends the running processes in an orderly way: the window closes. */
  async dispose(): Promise<void> {
    this.stopped = true;
    this.listening.dispose();
    for (const [id, running] of this.running) {
      running.cancelSent = true;
      running.process.cancel(id, true);
    }
    await this.idle();
  }
}

function withHint(message: string, hint: string | undefined): string {
  return hint === undefined ? message : `${message} ${hint}`;
}

/** What lists show of a result. */
function outcomeOf({ ok, summary, logits }: JobResult): JobOutcome {
  return { ok, summary, ...(logits === undefined ? {} : { logits }) };
}
