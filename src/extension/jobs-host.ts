/** The jobs of this window: opened on first need, held back in Restricted Mode. No vscode here. */
import { MoeError } from '../common/errors.ts';
import type { AddOptions, JobService, LogPiece } from '../jobs/index.ts';
import type { JobLogLine, JobParams, JobResult, JobView } from '../protocol/jobs.ts';
import { Emitter } from './emitter.ts';

export interface JobsHostOptions {
  /** dist/job.js */
  readonly entry: string;
  readonly folder: string;
  readonly concurrency: number;
  readonly keep: number;
  readonly trusted: () => boolean;
  readonly log: (level: 'debug' | 'info' | 'warning' | 'error', message: string) => void;
}

export class JobsHost {
  private readonly changed = new Emitter();
  private readonly endedJob = new Emitter<JobView>();
  private readonly lines = new Emitter<{ readonly id: string; readonly line: JobLogLine }>();
  /** Jobs, their progress or their order changed; at most five times a second. */
  readonly onDidChange = this.changed.event;
  /** A job that this window asked for has ended. */
  readonly onDidEnd = this.endedJob.event;
  readonly onLog = this.lines.event;
  private opening: Promise<JobService> | null = null;
  private service: JobService | null = null;
  private readonly asked = new Set<string>();
  private failure: unknown = null;

  constructor(private readonly options: JobsHostOptions) {}

  /** Why the job storage cannot be used, if so. */
  get problem(): unknown {
    return this.failure;
  }

  /** Opens the storage; takes jobs from the queue where that is allowed. */
  async open(): Promise<JobService> {
    this.opening ??= this.make().catch((error: unknown) => {
      this.opening = null;
      this.failure = error;
      this.changed.fire();
      throw error;
    });
    return this.opening;
  }

  private async make(): Promise<JobService> {
    const { entry, folder, concurrency, keep, log } = this.options;
    // Loaded when first needed, after activation.
    const jobs = await import('../jobs/index.ts');
    const service = await jobs.JobService.open({
      entry,
      folder,
      concurrency,
      store: { keep },
      onFault: (message, error) => {
        log('error', `${message}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      },
      onLog: (id, line) => {
        this.lines.fire({ id, line });
        log(line.level, `[${service.get(id)?.title ?? id}] ${line.message}`);
      },
    });
    this.service = service;
    this.failure = null;
    service.onDidChange(() => {
      this.lookForEnds(service);
      this.changed.fire();
    });
    if (this.options.trusted()) service.start();
    this.changed.fire();
    return service;
  }

  /** The workspace has become trusted. */
  trustGranted(): void {
    this.service?.start();
    this.changed.fire();
  }

  private lookForEnds(service: JobService): void {
    for (const id of this.asked) {
      const job = service.get(id);
      if (job !== null && (job.status === 'queued' || job.status === 'running')) continue;
      this.asked.delete(id);
      if (job !== null) this.endedJob.fire(job);
    }
  }

  /** All jobs, newest first; empty until the storage is open. */
  list(): readonly JobView[] {
    return this.service?.list() ?? [];
  }

  get(id: string): JobView | null {
    return this.service?.get(id) ?? null;
  }

  async add(params: JobParams, options: AddOptions = {}): Promise<JobView> {
    this.requireTrust();
    return this.follow(await (await this.open()).add(params, options));
  }

  async resume(id: string): Promise<JobView> {
    this.requireTrust();
    return this.follow(await (await this.open()).resume(id));
  }

  async rerun(id: string): Promise<JobView> {
    this.requireTrust();
    return this.follow(await (await this.open()).rerun(id));
  }

  private follow(job: JobView): JobView {
    this.asked.add(job.id);
    this.changed.fire();
    return job;
  }

  async cancel(id: string, keepPartial: boolean | null = null): Promise<boolean> {
    return (await this.open()).cancel(id, keepPartial);
  }

  async remove(id: string): Promise<void> {
    await (await this.open()).remove(id);
  }

  async clear(): Promise<number> {
    return (await this.open()).clear();
  }

  async result(id: string): Promise<JobResult | null> {
    return (await this.open()).result(id);
  }

  async log(id: string, from = 0): Promise<LogPiece> {
    return (await this.open()).log(id, from);
  }

  async ended(id: string, signal?: AbortSignal): Promise<JobView> {
    return (await this.open()).ended(id, signal);
  }

  /** Throws `restricted-mode` where jobs may not run. */
  requireTrust(): void {
    if (this.options.trusted()) return;
    throw new MoeError(
      'usage',
      'restricted-mode',
      'Jobs do not run in Restricted Mode: they read what this workspace says and write files',
      { hint: 'Trust the workspace to run them; viewing works without.' },
    );
  }

  async dispose(): Promise<void> {
    this.changed.dispose();
    this.endedJob.dispose();
    this.lines.dispose();
    await this.service?.dispose();
  }
}
