/** What the extension uses: the jobs of all windows, and this window's part in them. */
import { MoeError } from '../common/errors.ts';
import * as z from 'zod/mini';
import { jobProgress, jobUsage } from '../protocol/jobs.ts';
import type { JobParams, JobResult, JobView } from '../protocol/jobs.ts';
import type { JobRecord } from './events.ts';
import { readLog } from './logs.ts';
import type { LogPiece } from './logs.ts';
import { JobRunner } from './runner.ts';
import type { LiveJob, RunnerOptions } from './runner.ts';
import { readJsonNow } from './json-files.ts';
import { isOpen, JobStore } from './store.ts';
import type { AddOptions, StoreOptions } from './store.ts';

export interface JobServiceOptions extends Omit<RunnerOptions, 'onActivity'> {
  /** Folder in the extension's global storage. */
  readonly folder: string;
  readonly store?: StoreOptions;
  /** Changes are told at most this often. */
  readonly tellMs?: number;
}

const liveFile = z.object({ progress: z.nullable(jobProgress), usage: z.nullable(jobUsage) });

export class JobService {
  private readonly listeners = new Set<() => void>();
  private readonly runner: JobRunner;
  private readonly subscriptions: { dispose(): void }[] = [];
  private told: ReturnType<typeof setTimeout> | null = null;
  private readonly elsewhere: ReturnType<typeof setInterval>;

  private constructor(
    readonly store: JobStore,
    private readonly options: JobServiceOptions,
  ) {
    this.runner = new JobRunner(store, {
      ...options,
      onActivity: () => {
        this.tell();
      },
    });
    this.subscriptions.push(
      store.onChange(() => {
        this.tell();
      }),
    );
    // Progress of other windows' jobs lies in files, and a window that dies says nothing.
    this.elsewhere = setInterval(() => {
      void this.lookElsewhere();
    }, 2000);
    this.elsewhere.unref();
  }

  /** Opens the storage and marks jobs of dead windows as interrupted. Runs nothing before `start`. */
  static async open(options: JobServiceOptions): Promise<JobService> {
    const store = await JobStore.open(options.folder, options.store);
    await store.reconcile();
    return new JobService(store, options);
  }

  private async lookElsewhere(): Promise<void> {
    const others = this.store.list().some((job) => job.status === 'running' && !this.store.holds(job.id));
    if (!others) return;
    try {
      await this.store.reconcile();
    } catch (error) {
      this.options.onFault?.('Jobs of other windows could not be checked', error);
    }
    this.tell();
  }

  /** Begins to take jobs from the queue. Only in a trusted workspace. */
  start(): void {
    this.runner.start();
  }

  pause(): void {
    this.runner.pause();
  }

  /** Calls back after changes of any window: new jobs, progress, ends. At most five times a second. */
  onDidChange(listener: () => void): { dispose(): void } {
    this.listeners.add(listener);
    return { dispose: () => void this.listeners.delete(listener) };
  }

  private tell(): void {
    if (this.told !== null) return;
    this.told = setTimeout(() => {
      this.told = null;
      for (const listener of this.listeners) listener();
    }, this.options.tellMs ?? 200);
    this.told.unref();
  }

  /** All jobs, newest first. */
  list(): JobView[] {
    const jobs = this.store.list();
    const places = new Map(jobs.filter((job) => job.status === 'queued').map((job, i) => [job.id, i + 1]));
    return jobs.map((job) => this.view(job, places.get(job.id) ?? null)).reverse();
  }

  get(id: string): JobView | null {
    return this.list().find((job) => job.id === id) ?? null;
  }

  private view(job: JobRecord, place: number | null): JobView {
    const live = job.status === 'running' ? (this.runner.live(job.id) ?? this.liveElsewhere(job.id)) : null;
    return {
      id: job.id,
      kind: job.params.kind,
      title: job.title,
      status: job.status,
      params: job.params,
      created: job.created,
      started: job.started,
      ended: job.ended,
      progress: live?.progress ?? null,
      usage: live?.usage ?? null,
      outcome: job.outcome,
      resultFile: job.outcome === null ? null : this.store.layout.result(job.id),
      error: job.error,
      cancelling: job.status === 'running' && job.cancel !== null,
      mine: this.store.holds(job.id),
      place,
      resumable: isResumable(job),
      repeats: job.repeats,
      logFile: this.store.layout.log(job.id),
    };
  }

  private liveElsewhere(id: string): LiveJob | null {
    const read = liveFile.safeParse(readJsonNow(this.store.layout.live(id)));
    return read.success ? (read.data as LiveJob) : null;
  }

  /** Puts a job in the queue. Throws `job-output-busy` where another one writes to the same place. */
  async add(params: JobParams, options: AddOptions = {}): Promise<JobView> {
    const job = await this.store.add(params, options);
    return this.need(job.id);
  }

  private need(id: string): JobView {
    const view = this.get(id);
    if (view === null) throw new MoeError('usage', 'job-unknown', `There is no job ${id} (any more)`);
    return view;
  }

  /**
   * Cancels a queued or running job, of any window. `keepPartial`: keep finished files for a resume, or null for what the
   * job says. False: it had ended already.
   */
  async cancel(id: string, keepPartial: boolean | null = null): Promise<boolean> {
    return this.store.cancel(id, keepPartial);
  }

  /** A new job that goes on where an upcycle or an evaluation stopped. Throws `job-not-resumable`. */
  async resume(id: string): Promise<JobView> {
    const job = this.need(id);
    const { params } = job;
    if (!job.resumable || (params.kind !== 'upcycle' && params.kind !== 'eval'))
      throw new MoeError('usage', 'job-not-resumable', `"${job.title}" cannot be resumed`, {
        hint: 'Run it again instead.',
      });
    return this.add({ ...params, resume: true }, { title: job.title, repeats: id });
  }

  /** A new job with the same parameters, from the beginning. */
  async rerun(id: string): Promise<JobView> {
    const job = this.need(id);
    const { params: same } = job;
    const params = same.kind === 'upcycle' || same.kind === 'eval' ? { ...same, resume: false } : same;
    return this.add(params, { title: job.title, repeats: id });
  }

  async remove(id: string): Promise<void> {
    await this.store.remove(id);
  }

  /** Forgets all jobs that have ended. Returns how many. */
  async clear(): Promise<number> {
    return this.store.clear();
  }

  async result(id: string): Promise<JobResult | null> {
    return this.store.result(id);
  }

  /** A piece of the log from byte `from`; read on from `next`. */
  async log(id: string, from = 0): Promise<LogPiece> {
    return readLog(this.store.layout.log(id), from);
  }

  /** Resolves with the job once it has ended, in whatever way and window. Aborting stops the waiting, not the job. */
  async ended(id: string, signal?: AbortSignal): Promise<JobView> {
    // Another window may just have made it.
    await this.store.refresh();
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        listening.dispose();
        signal?.removeEventListener('abort', aborted);
      };
      const aborted = (): void => {
        stop();
        reject(new MoeError('cancelled', 'cancelled', 'No longer waited for'));
      };
      const look = (): void => {
        const job = this.store.get(id);
        if (job !== null && isOpen(job)) return;
        stop();
        if (job === null) reject(new MoeError('usage', 'job-unknown', `There is no job ${id} (any more)`));
        else resolve(this.need(id));
      };
      const listening = this.store.onChange(look);
      signal?.addEventListener('abort', aborted, { once: true });
      if (signal?.aborted === true) aborted();
      else look();
    });
  }

  /** Lines of running jobs of this window go to `options.onLog` as they come; older ones are in `log`. */
  get runningHere(): readonly string[] {
    return this.runner.mine;
  }

  /** The window closes: running jobs come to an orderly end and can be resumed. */
  async dispose(): Promise<void> {
    clearInterval(this.elsewhere);
    if (this.told !== null) clearTimeout(this.told);
    this.listeners.clear();
    await this.runner.dispose();
    for (const subscription of this.subscriptions) subscription.dispose();
    this.store.dispose();
  }
}

/** What such a job has finished when it does not end well lies beside its output. */
export function canResume({ kind }: JobParams): boolean {
  return kind === 'upcycle' || kind === 'eval';
}

export function isResumable(job: JobRecord): boolean {
  return canResume(job.params) && ['failed', 'cancelled', 'interrupted'].includes(job.status);
}
