/**
 * A checkpoint as the whole window shares it: viewer, sidebar and heat map look at one session. It opens in the worker,
 * follows the files on disk and survives a worker that died. No vscode here.
 */
import { basename, dirname } from 'node:path';
import { MoeError } from '../common/errors.ts';
import type { RequestDef } from '../protocol/define.ts';
import type { CallOptions } from '../protocol/host.ts';
import type { ExpertGrid, LayerExperts, Overview, PeekFacts } from '../protocol/checkpoint.ts';
import type { ErrorPage, StepProgress } from '../protocol/wire.ts';
import { Emitter } from './emitter.ts';
import { pageActions } from './error-actions.ts';
import { watchFolders } from './watch.ts';
import type { WorkerClient } from './worker-client.ts';

/** Its schemas are no part of activation. */
const protocol = async () => import('../protocol/worker.ts');

export type SessionStatus = 'loading' | 'ready' | 'failed';

export interface ExpertMetrics {
  readonly parent: string | null;
  readonly layers: ReadonlyMap<number, LayerExperts>;
}

export interface SessionOptions {
  readonly worker: WorkerClient;
  readonly log: (message: string) => void;
}

export class CheckpointSession {
  readonly name: string;
  status: SessionStatus = 'loading';
  overview: Overview | null = null;
  /** What is known before the headers are read. */
  peek: PeekFacts | null = null;
  error: ErrorPage | null = null;
  loading: StepProgress | null = null;
  /** Counts readings. */
  generation = 0;
  grid: ExpertGrid | null = null;
  metrics: ExpertMetrics = { parent: null, layers: new Map() };
  /** How long the last opening took, seconds. */
  seconds = 0;

  private readonly changed = new Emitter();
  private readonly metricsChanged = new Emitter();
  readonly onDidChange = this.changed.event;
  readonly onDidChangeMetrics = this.metricsChanged.event;
  private handle: { readonly id: number; readonly worker: number } | null = null;
  private aborter = new AbortController();
  private watcher: { dispose(): void } | null = null;
  private stamps = '';
  private reading: Promise<void> | null = null;
  private disposed = false;

  constructor(
    readonly path: string,
    private readonly options: SessionOptions,
  ) {
    this.name = nameOf(path);
    void this.load(false);
  }

  /** Resolves once it is ready or has failed. */
  async settled(): Promise<void> {
    while (this.status === 'loading' && !this.disposed) await (this.reading ?? this.once());
  }

  private once(): Promise<void> {
    return new Promise((resolve) => {
      const listening = this.onDidChange(() => {
        listening.dispose();
        resolve();
      });
    });
  }

  /** Reads the files anew; what is shown stays until then. */
  async reload(fresh = true): Promise<void> {
    this.aborter.abort();
    this.aborter = new AbortController();
    await this.load(fresh);
  }

  private load(fresh: boolean): Promise<void> {
    const reading = this.read(fresh, this.aborter.signal).finally(() => {
      if (this.reading === reading) this.reading = null;
    });
    this.reading = reading;
    return reading;
  }

  private async read(fresh: boolean, signal: AbortSignal): Promise<void> {
    const { worker, log } = this.options;
    if (this.overview === null) this.status = 'loading';
    this.loading = { done: 0, total: 0, what: this.path };
    this.changed.fire();
    if (this.overview === null) void this.askPeek(signal);
    try {
      const { workerOpen, workerClose } = await protocol();
      const opened = await worker.request(
        workerOpen,
        { path: this.path, lenient: false, fresh },
        {
          signal,
          onProgress: (progress) => {
            this.loading = progress;
            if (this.status === 'loading') this.changed.fire();
          },
        },
      );
      if (signal.aborted || this.disposed) {
        await worker.request(workerClose, { handle: opened.handle });
        return;
      }
      await this.letGo();
      this.handle = { id: opened.handle, worker: worker.generation };
      this.overview = opened.overview;
      this.error = null;
      this.status = 'ready';
      this.seconds = opened.seconds;
      this.stamps = JSON.stringify(opened.stamps);
      this.watch(opened.watch);
      log(`Opened ${this.path} in ${opened.seconds.toFixed(3)} s${opened.cached ? ' (cached)' : ''}`);
      await this.readGrid(signal);
    } catch (error) {
      if (signal.aborted || this.disposed) return;
      await this.letGo();
      this.overview = null;
      this.grid = null;
      this.status = 'failed';
      const { errorPageOf, toWireError } = await import('../protocol/errors.ts');
      this.error = errorPageOf(`${this.name} cannot be opened`, error, pageActions(toWireError(error)));
      // A damaged file may be mended while its page is open.
      this.watch([dirname(this.path), this.path]);
      log(`${this.path}: ${this.error.message} [${this.error.code}]`);
    }
    this.loading = null;
    this.metrics = { parent: null, layers: new Map() };
    this.generation++;
    this.changed.fire();
    this.metricsChanged.fire();
  }

  /** Asks for what can be told at once, beside the reading; a checkpoint of many files takes seconds. */
  private async askPeek(signal: AbortSignal): Promise<void> {
    const { workerPeek } = await protocol();
    const told = await this.options.worker.request(workerPeek, { path: this.path }, { signal }).catch(() => null);
    if (told === null || signal.aborted || this.status !== 'loading') return;
    this.peek = told.peek;
    this.changed.fire();
  }

  private async readGrid(signal: AbortSignal): Promise<void> {
    this.grid = null;
    if (this.overview?.kind !== 'moe' || this.handle === null) return;
    const { id } = this.handle;
    try {
      const { workerGrid } = await protocol();
      this.grid = await this.options.worker.request(workerGrid, { handle: id }, { signal });
    } catch (error) {
      this.options.log(`${this.path}: the experts cannot be listed: ${String(error)}`);
    }
  }

  private watch(folders: readonly string[]): void {
    this.watcher?.dispose();
    this.watcher = watchFolders(folders, () => void this.look(), { log: this.options.log });
  }

  /** Something moved in the folder: ask the worker, which compares stamps, and tell only where files changed. */
  private async look(): Promise<void> {
    if (this.disposed) return;
    if (this.status === 'failed') {
      await this.reload(true);
      return;
    }
    const { worker } = this.options;
    try {
      const { workerOpen, workerClose } = await protocol();
      const now = await worker.request(workerOpen, { path: this.path, lenient: false, fresh: false });
      await worker.request(workerClose, { handle: now.handle });
      if (JSON.stringify(now.stamps) === this.stamps) return;
    } catch {
      // It cannot be opened any more: the reload says why.
    }
    await this.reload(false);
  }

  /** Asks the worker about this checkpoint. Throws where it is not open. */
  async ask<P extends { readonly handle: number }, R, G>(
    def: RequestDef<P, R, G>,
    params: Omit<P, 'handle'>,
    options: CallOptions<G> = {},
  ): Promise<R> {
    const { worker } = this.options;
    if (this.handle !== null && this.handle.worker !== worker.generation) await this.reload(false);
    await this.settled();
    if (this.handle === null)
      throw new MoeError('input', 'not-open', this.error?.message ?? `${this.name} is not open`, { file: this.path });
    return worker.request(def, { ...params, handle: this.handle.id } as unknown as P, options);
  }

  /** Computes metrics of experts and remembers them for whoever else looks. */
  async experts(
    request: { readonly layers: readonly number[] | null; readonly parent: string | null },
    options: {
      readonly signal?: AbortSignal;
      readonly onProgress?: (progress: { done: number; total: number; layer: LayerExperts | null }) => void;
    } = {},
  ) {
    const generation = this.generation;
    const parent = request.parent ?? this.grid?.parent?.path ?? null;
    const keep = (layers: readonly LayerExperts[]): void => {
      if (generation !== this.generation || layers.length === 0) return;
      const before = this.metrics.parent === parent ? this.metrics.layers : new Map<number, LayerExperts>();
      this.metrics = { parent, layers: new Map([...before, ...layers.map((one) => [one.layer, one] as const)]) };
      this.metricsChanged.fire();
    };
    const { workerExperts } = await protocol();
    const result = await this.ask(workerExperts, request, {
      signal: options.signal,
      onProgress: (progress) => {
        if (progress.layer !== null) keep([progress.layer]);
        options.onProgress?.(progress);
      },
    });
    keep(result.layers);
    return result;
  }

  private async letGo(): Promise<void> {
    const { handle } = this;
    this.handle = null;
    if (handle === null || handle.worker !== this.options.worker.generation) return;
    const { workerClose } = await protocol();
    await this.options.worker.request(workerClose, { handle: handle.id }).catch(() => undefined);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.aborter.abort();
    this.watcher?.dispose();
    void this.letGo();
    this.changed.fire();
    this.changed.dispose();
    this.metricsChanged.dispose();
  }
}

/** Weight files and configs are all called alike: there the folder names the model. */
export function nameOf(path: string): string {
  const name = basename(path);
  if (/^(?:model|pytorch_model|consolidated|config)\b.*\.(?:safetensors|json|gguf)$/i.test(name))
    return basename(dirname(path)) || name;
  return hubName(path) ?? name;
}

/** `models--owner--name/snapshots/HASH` is "owner/name". */
export function hubName(path: string): string | null {
  const found = /(?:^|[\\/])models--([^\\/]+?)--([^\\/]+)(?:[\\/]|$)/.exec(path);
  return found === null ? null : `${found[1] ?? ''}/${found[2] ?? ''}`;
}
