/** One job process as its parent sees it: forked, asked, watched, and turned into an error when it dies. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { existsSync } from 'node:fs';
import { childEnvironment } from '../common/child-environment.ts';
import { MoeError, messageOf } from '../common/errors.ts';
import { processEndpoint } from '../protocol/host.ts';
import type { Endpoint } from '../protocol/host.ts';
import { jobCancel, jobHeartbeat, jobHello, jobLog, jobQuit, jobStart } from '../protocol/job.ts';
import type { JobLogLine, JobParams, JobProgress, JobResult, JobUsage } from '../protocol/jobs.ts';
import { exitError } from './exit.ts';

export interface JobProcessOptions {
  /** The job's entry: dist/job.js. */
  readonly entry: string;
  /** Node, or Electron (which is told to behave as Node). */
  readonly execPath?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Seconds without a heartbeat after which the process counts as dead and is killed. */
  readonly silentSeconds?: number;
  /** Seconds that a cancelled job has to come to an orderly end before it is killed. */
  readonly cancelSeconds?: number;
}

export interface JobHooks {
  readonly onProgress?: (progress: JobProgress) => void;
  readonly onUsage?: (usage: JobUsage) => void;
  readonly onLog?: (line: JobLogLine) => void;
}

const STDERR_KEPT = 8192;

/** Runs one job and ends. Memory goes back to the system, and a crash takes nobody with it. */
export class JobProcess {
  readonly pid: number | null;
  private readonly child: ChildProcess;
  private readonly endpoint: Endpoint;
  private readonly exited: Promise<void>;
  private stderr = '';
  private code: number | null = null;
  private signal: string | null = null;
  private spawnError: Error | null = null;
  private progress: JobProgress | null = null;
  private usage: JobUsage | null = null;
  private killed: 'silent' | 'cancel' | null = null;
  private silentFor = 0;
  private gone = false;
  private readonly silentLimit: number;
  private readonly cancelLimit: number;
  private cancelTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    options: JobProcessOptions,
    private readonly hooks: JobHooks = {},
  ) {
    if (!existsSync(options.entry))
      throw new MoeError('internal', 'job-entry-missing', `The job program ${options.entry} is missing`, {
        file: options.entry,
        hint: 'Install the extension again.',
      });
    this.silentLimit = options.silentSeconds ?? 60;
    this.cancelLimit = options.cancelSeconds ?? 60;
    this.child = fork(options.entry, [], {
      execPath: options.execPath ?? process.execPath,
      // An extension host's own flags (--inspect…) are not the job's.
      execArgv: [],
      env: { ...childEnvironment(), ...options.env },
      serialization: 'advanced',
      // fd 4: heartbeats, from a thread that beats while the main one computes.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
    });
    this.pid = this.child.pid ?? null;
    if (this.pid !== null) lowerPriority(this.pid);
    this.endpoint = processEndpoint(this.child, {
      peer: 'the job process',
      also: this.child.stdio[4] ?? null,
      onFault: ({ method, message }) => {
        this.log('warning', method === '' ? message : `${method}: ${message}`);
      },
    });
    this.endpoint.on(jobHello, ({ pid, version, node }) => {
      this.log('debug', `Job process ${String(pid)}, version ${version}, node ${node}`);
    });
    this.endpoint.on(jobLog, ({ line }) => {
      this.hooks.onLog?.(line);
    });
    this.endpoint.on(jobHeartbeat, ({ usage }) => {
      this.silentFor = 0;
      this.usage = usage;
      this.hooks.onUsage?.(usage);
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.log('info', text.trimEnd());
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_KEPT);
      this.log('warning', text.trimEnd());
    });
    this.exited = this.watchExit();
    this.watchSilence();
  }

  private log(level: JobLogLine['level'], message: string): void {
    if (message !== '') this.hooks.onLog?.({ time: new Date().toISOString(), level, message });
  }

  private watchExit(): Promise<void> {
    return new Promise((resolve) => {
      let done = false;
      const finish = (): void => {
        if (done) return;
        done = true;
        this.gone = true;
        if (this.cancelTimer !== null) clearTimeout(this.cancelTimer);
        this.endpoint.close('it has ended');
        resolve();
      };
      this.child.on('error', (error) => {
        this.spawnError ??= error;
        if (this.child.pid === undefined) finish();
      });
      this.child.on('exit', (code, signal) => {
        this.code = code;
        this.signal = signal;
        // Its last words may still be in the pipe; somebody else may hold the pipe open for ever.
        setTimeout(finish, 500).unref();
      });
      this.child.on('close', finish);
    });
  }

  /** Counts our own ticks: a machine that slept did not tick either. */
  private watchSilence(): void {
    const timer = setInterval(() => {
      if (this.gone) clearInterval(timer);
      else if (++this.silentFor > this.silentLimit && this.killed === null) {
        this.killed = 'silent';
        this.child.kill('SIGKILL');
      }
    }, 1000);
    timer.unref();
  }

  /**
   * Runs the job. Rejects with the job's own MoeError, or, where the process ends before the job does, with what its end
   * means (`job-killed`, `job-crashed`, `job-out-of-memory`, `job-silent`…). The process is gone when this settles.
   */
  async run(id: string, params: JobParams): Promise<JobResult> {
    const resumable = params.kind === 'upcycle' || params.kind === 'eval';
    try {
      const answer = this.endpoint.request(
        jobStart,
        { id, params },
        {
          onProgress: (progress) => {
            this.progress = progress;
            this.hooks.onProgress?.(progress);
          },
        },
      );
      // A dead process gives no answer; its exit says more than the closed connection.
      const result = await Promise.race([answer, this.exited.then(() => null)]);
      if (result !== null) return result;
      answer.catch(() => undefined);
      throw this.death(resumable);
    } catch (error) {
      if (error instanceof MoeError && !error.code.startsWith('rpc-')) throw error;
      // The pipe broke: the exit is on its way.
      await Promise.race([this.exited, delay(3000)]);
      if (this.gone) throw this.death(resumable);
      throw error;
    } finally {
      await this.quit();
    }
  }

  private death(resumable: boolean): MoeError {
    if (this.spawnError !== null && this.pid === null)
      return new MoeError(
        'internal',
        'job-not-started',
        `The job process could not be started: ${messageOf(this.spawnError)}`,
        {
          hint: 'Is memory or the number of processes used up?',
        },
      );
    return exitError({
      code: this.code,
      signal: this.signal,
      stderr: this.stderr.trim(),
      progress: this.progress,
      usage: this.usage,
      killed: this.killed,
      silentSeconds: this.silentLimit,
      resumable,
    });
  }

  /** Asks for an orderly end; kills where none comes in time. `run` then rejects with kind `cancelled`. */
  cancel(id: string, keepPartial: boolean | null): void {
    if (this.gone || this.cancelTimer !== null) return;
    this.cancelTimer = setTimeout(() => {
      if (this.gone) return;
      this.killed ??= 'cancel';
      this.child.kill('SIGKILL');
    }, this.cancelLimit * 1000);
    this.cancelTimer.unref();
    this.endpoint.request(jobCancel, { id, keepPartial }, { timeoutMs: null }).catch(() => undefined);
  }

  /** Ends the process, whatever it does. */
  kill(): void {
    if (!this.gone) this.child.kill('SIGKILL');
  }

  private async quit(): Promise<void> {
    if (!this.gone) {
      this.endpoint.request(jobQuit, {}).catch(() => undefined);
      await Promise.race([this.exited, delay(5000)]);
      this.kill();
    }
    await this.exited;
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((done) => {
    setTimeout(done, ms).unref();
  });
}

/** The editor goes first. */
function lowerPriority(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // Not allowed here, or already gone: the job runs as it is.
  }
}
