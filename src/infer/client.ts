/** The model process as its parent sees it: forked, asked, killed when cancelled, and explained when it dies. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { childEnvironment } from '../common/child-environment.ts';
import { MoeError, messageOf } from '../common/errors.ts';
import type { Device } from '../devices/devices.ts';
import { exitError } from '../jobs/exit.ts';
import type { RequestDef } from '../protocol/define.ts';
import { processEndpoint } from '../protocol/host.ts';
import type { Endpoint } from '../protocol/host.ts';
import * as wire from './protocol.ts';
import type { ModelFacts } from './protocol.ts';
import { RemoteModel } from './remote-model.ts';

export { RemoteModel };
export type { GeneratedRemote, RemoteGenerateOptions, TalkStep, TopPosition } from './remote-model.ts';

export interface InferOptions {
  /** dist/infer.js. */
  readonly entry: string;
  /** Aborting kills the process at once: a run cannot be interrupted otherwise. */
  readonly signal?: AbortSignal;
  readonly execPath?: string;
}

export interface OpenOptions {
  readonly cacheFolder: string;
  readonly weights: 'stored' | 'packed';
  readonly threads?: number | undefined;
  readonly device?: Device | undefined;
  readonly maxLength?: number | undefined;
  /** Dequantising: bytes done of bytes in all. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

const STDERR_KEPT = 8192;
const CRASH_HINT =
  'Run it again. If it crashes every time, try the environment variable MOE_WITHOUT_ARENA=1 (ONNX Runtime then uses the plain allocator), or run it on the CPU: --device cpu.';

/** One start of the program. */
interface Start {
  readonly child: ChildProcess;
  readonly endpoint: Endpoint;
  readonly exited: Promise<void>;
  stderr: string;
  end: { readonly code: number | null; readonly signal: string | null } | null;
  spawnError: Error | null;
}

const WITHOUT_ARENA = 'MOE_WITHOUT_ARENA';

/** Close it when done: `close` in a `finally`. */
export class InferProcess {
  #now: Start;
  #opened = 0;
  #withoutArena = process.env[WITHOUT_ARENA] === '1';
  readonly #options: InferOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => {
    this.kill();
  };

  constructor(options: InferOptions) {
    if (!existsSync(options.entry)) {
      throw new MoeError('internal', 'infer-entry-missing', `The program ${options.entry} is missing.`, {
        file: options.entry,
        hint: 'Install or build MoE Workbench again.',
      });
    }
    this.#options = options;
    this.#now = this.#start();
    this.#signal = options.signal;
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (this.#signal?.aborted === true) this.kill();
  }

  #start(): Start {
    const { entry, execPath } = this.#options;
    const child = fork(entry, [], {
      execPath: execPath ?? process.execPath,
      execArgv: [],
      env: {
        // Float32 on NVIDIA GPUs would be rounded to ten bits in matrix products otherwise (TF32).
        NVIDIA_TF32_OVERRIDE: '0',
        ...childEnvironment(),
        ...(this.#withoutArena ? { [WITHOUT_ARENA]: '1' } : {}),
      },
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const exited = new Promise<void>((resolve) => {
      child.on('error', (error) => {
        start.spawnError ??= error;
        if (child.pid === undefined) resolve();
      });
      child.on('close', (code, signal) => {
        start.end = { code, signal };
        resolve();
      });
    });
    const endpoint = processEndpoint(child, { peer: 'the model process' });
    const start: Start = { child, endpoint, exited, stderr: '', end: null, spawnError: null };
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      start.stderr = (start.stderr + text).slice(-STDERR_KEPT);
    });
    return start;
  }

  get pid(): number | undefined {
    return this.#now.child.pid;
  }

  /**
   * Opens a checkpoint in the process; several may be open. Where the process crashes before anything was open, it is started
   * once more with the plain allocator: ONNX Runtime's arena does not get on with that of every host (Electron), and says so
   * only by its death.
   */
  async open(path: string, options: OpenOptions): Promise<RemoteModel> {
    const { value: facts, note } = await this.#twice(() => this.#ask(path, options));
    const told = note === null ? facts : { ...facts, notes: [...facts.notes, note] };
    return new RemoteModel(this, told, options.maxLength ?? facts.maxPositions);
  }

  /** Lets a device compute something known, alone. */
  async probe(device: Device): Promise<void> {
    await this.#twice(() => this.request(wire.inferProbe, { device }));
  }

  async #twice<T>(ask: () => Promise<T>): Promise<{ readonly value: T; readonly note: string | null }> {
    let note: string | null = null;
    let value: T;
    try {
      value = await ask();
    } catch (error) {
      const crashed = error instanceof MoeError && error.code === 'job-crashed';
      if (!crashed || this.#opened > 0 || this.#withoutArena || this.#signal?.aborted === true) throw error;
      this.#withoutArena = true;
      this.#now.endpoint.close();
      this.#now = this.#start();
      value = await ask();
      note = `${error.message} It was started again with the plain allocator (${WITHOUT_ARENA}=1), and works.`;
    }
    this.#opened++;
    return { value, note };
  }

  #ask(path: string, options: OpenOptions): Promise<ModelFacts> {
    const { cacheFolder, weights } = options;
    return this.request(
      wire.inferOpen,
      {
        path,
        cacheFolder,
        weights,
        threads: options.threads ?? null,
        device: options.device ?? 'cpu',
        maxLength: options.maxLength ?? null,
      },
      options.onProgress,
    );
  }

  /** Asks the process. A process that dies instead of answering is a MoeError that says how it died. */
  async request<P, R, G>(
    def: RequestDef<P, R, G>,
    params: P,
    onProgress?: (progress: G) => void,
    /** Cancels this request alone, at the next token or text; the process lives on. */
    signal?: AbortSignal,
  ): Promise<R> {
    const signals = [this.#signal, signal].filter((one) => one !== undefined);
    try {
      return await this.#now.endpoint.request(def, params, {
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(signals.length === 0 ? {} : { signal: AbortSignal.any(signals) }),
      });
    } catch (error) {
      if (this.#signal?.aborted === true || signal?.aborted === true)
        throw new MoeError('cancelled', 'cancelled', 'Cancelled.', {}, { cause: error });
      if (error instanceof MoeError && error.code !== 'rpc-closed') throw error;
      // Its channel closes before its exit is known.
      await Promise.race([this.#now.exited, delay(3000)]);
      throw this.#death(error);
    }
  }

  #death(cause: unknown): MoeError {
    const { spawnError, end, stderr } = this.#now;
    if (spawnError !== null && end === null) {
      return new MoeError(
        'internal',
        'infer-not-started',
        `The model process could not be started: ${messageOf(spawnError)}`,
        { hint: 'Is memory or the number of processes used up?' },
        { cause },
      );
    }
    const { code = null, signal = null } = end ?? {};
    const error = exitError({
      code,
      signal,
      stderr: stderr.trim(),
      progress: null,
      usage: null,
      killed: null,
      resumable: false,
    });
    return new MoeError(
      error.kind,
      error.code,
      error.message.replace('The job process', 'The model process'),
      error.code === 'job-crashed' ? { ...error.place, hint: CRASH_HINT } : error.place,
      { cause },
    );
  }

  /** Ends the process, whatever it does. */
  kill(): void {
    if (this.#now.end === null) this.#now.child.kill('SIGKILL');
  }

  /** Ends the process and waits until its memory is back. */
  async close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const { child, endpoint, exited } = this.#now;
    if (this.#now.end === null && child.connected) {
      endpoint.request(wire.inferQuit, {}).catch(() => undefined);
      await Promise.race([exited, delay(2000)]);
    }
    this.kill();
    await exited;
    endpoint.close();
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((done) => {
    setTimeout(done, ms).unref();
  });
}
