/** The worker process as the extension sees it: forked on first use, forked anew after a crash. No vscode here. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { childEnvironment } from '../common/child-environment.ts';
import { MoeError } from '../common/errors.ts';
import type { RequestDef } from '../protocol/define.ts';
import type { CallOptions, Endpoint } from '../protocol/host.ts';

export interface WorkerClientOptions {
  /** dist/worker.js */
  readonly entry: string;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Megabytes of the worker's heap; a checkpoint that needs more ends the worker, not the extension host. */
  readonly heapMegabytes?: number;
}

interface Running {
  readonly worker: ChildProcess;
  readonly endpoint: Endpoint;
}

export class WorkerClient {
  private running: Running | null = null;
  private starting: Promise<Running> | null = null;
  private readonly lostListeners = new Set<(reason: string) => void>();
  private losses = 0;
  private disposed = false;

  constructor(private readonly options: WorkerClientOptions) {}

  /** Changes as soon as a worker is lost: its handles mean nothing to the next. */
  get generation(): number {
    return this.losses;
  }

  /** Calls back when the worker has died; the next request starts another. */
  onLost(listener: (reason: string) => void): { dispose(): void } {
    this.lostListeners.add(listener);
    return { dispose: () => void this.lostListeners.delete(listener) };
  }

  async request<P, R, G>(def: RequestDef<P, R, G>, params: P, options: CallOptions<G> = {}): Promise<R> {
    const { endpoint } = this.running ?? (await this.start());
    return endpoint.request(def, params, options);
  }

  private start(): Promise<Running> {
    this.starting ??= this.make().finally(() => {
      this.starting = null;
    });
    return this.starting;
  }

  private async make(): Promise<Running> {
    const { entry, log } = this.options;
    // Loaded with the first request: activation does without.
    const { processEndpoint } = await import('../protocol/host.ts');
    if (this.disposed) throw new MoeError('cancelled', 'cancelled', 'The window is closing');
    if (!existsSync(entry))
      throw new MoeError('internal', 'worker-entry-missing', `The worker ${entry} is missing`, {
        file: entry,
        hint: 'Install the extension again.',
      });
    const worker = fork(entry, [], {
      // An extension host's own flags (--inspect…) are not the worker's.
      execArgv: [`--max-old-space-size=${String(this.options.heapMegabytes ?? 2048)}`],
      env: childEnvironment(),
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    worker.stdout?.setEncoding('utf8').on('data', (text: string) => {
      log('info', `worker: ${text.trimEnd()}`);
    });
    worker.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log('warn', `worker: ${text.trimEnd()}`);
    });
    const endpoint = processEndpoint(worker, {
      peer: 'the worker',
      onFault: ({ method, message, error }) => {
        log('warn', `${method}: ${error instanceof Error ? (error.stack ?? message) : message}`);
      },
    });
    worker.once('error', (error) => {
      endpoint.close(`it could not be started: ${error.message}`);
    });
    worker.once('exit', (code, signal) => {
      endpoint.close(signal === null ? `it ended with code ${String(code)}` : `it was ended by ${signal}`);
    });
    const running = { worker, endpoint };
    this.running = running;
    endpoint.onClose((reason) => {
      if (this.running !== running) return;
      this.running = null;
      this.losses++;
      if (this.disposed) return;
      log('error', `The worker has ended: ${reason}`);
      for (const listener of this.lostListeners) listener(reason);
    });
    return running;
  }

  /** Ends the worker; the next request starts another. For a worker that is lost in a computation. */
  async kill(): Promise<void> {
    await this.starting?.catch(() => null);
    await end(this.running?.worker);
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    this.lostListeners.clear();
    const { running } = this;
    this.running = null;
    if (running === null) return;
    running.endpoint.close('the window is closing');
    await end(running.worker);
  }
}

function end(worker: ChildProcess | undefined): Promise<void> {
  if (worker === undefined || worker.exitCode !== null || worker.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    worker.once('exit', () => {
      resolve();
    });
    worker.kill('SIGKILL');
  });
}
