/** The host side of one playground: answers the page, keeps the model in the worker. */
import * as vscode from 'vscode';
import { MoeError } from '../common/errors.ts';
import { errorPageOf } from '../protocol/errors.ts';
import type { Endpoint } from '../protocol/host.ts';
import {
  playgroundChanged,
  playgroundCommand,
  playgroundCopy,
  playgroundFault,
  playgroundGenerate,
  playgroundReady,
} from '../protocol/playground.ts';
import type { PlaygroundState } from '../protocol/playground.ts';
import { workerPlayClose, workerPlayGenerate, workerPlayOpen } from '../protocol/worker-eval.ts';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { nameOf } from './checkpoint-session.ts';
import type { Services } from './services.ts';
import { deviceSetting } from './settings.ts';
import { copyText, logPageFault, openPage } from './webview-page.ts';

export class PlaygroundHost {
  private readonly endpoint: Endpoint;
  private readonly aborter = new AbortController();
  private ready = false;
  private handle: { readonly id: number; readonly worker: number } | null = null;
  private state: PlaygroundState;

  constructor(
    panel: vscode.WebviewPanel,
    private readonly path: string,
    private readonly services: Services,
    private readonly editors: CheckpointEditors,
  ) {
    this.state = { name: nameOf(path), path, status: 'loading', progress: null, model: null, error: null };
    this.endpoint = openPage(panel.webview, 'playground', panel.title, services);
    this.serve();
    panel.onDidChangeViewState(() => {
      if (panel.visible) this.tell();
    });
    void this.load();
  }

  dispose(): void {
    this.aborter.abort();
    this.endpoint.close('the tab was closed');
    this.close();
  }

  private close(): void {
    const { worker, log } = this.services;
    const { handle } = this;
    this.handle = null;
    // A worker that was lost took its models with it.
    if (handle === null || handle.worker !== worker.generation) return;
    worker.request(workerPlayClose, { handle: handle.id }).catch((error: unknown) => {
      log.warn(`Playground of ${this.path}: ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  private set(change: Partial<PlaygroundState>): void {
    this.state = { ...this.state, ...change };
    this.tell();
  }

  private tell(): void {
    if (this.ready) this.endpoint.notify(playgroundChanged, this.state);
  }

  private async load(): Promise<void> {
    const { services, path } = this;
    this.set({ status: 'loading', error: null, progress: null });
    try {
      services.jobs.requireTrust();
      const { handle, model } = await services.worker.request(
        workerPlayOpen,
        { path, device: deviceSetting() },
        {
          signal: this.aborter.signal,
          onProgress: (progress) => {
            this.set({ progress });
          },
        },
      );
      this.handle = { id: handle, worker: services.worker.generation };
      if (this.aborter.signal.aborted) this.close();
      else this.set({ status: 'ready', model, progress: null });
    } catch (error) {
      if (this.aborter.signal.aborted) return;
      const page = errorPageOf(vscode.l10n.t('The model cannot be run'), error, [
        { id: 'reload', label: vscode.l10n.t('Try Again') },
      ]);
      this.set({ status: 'failed', error: page, progress: null });
    }
  }

  private async id(): Promise<number> {
    if (this.handle === null || this.handle.worker !== this.services.worker.generation) await this.load();
    if (this.handle === null)
      throw new MoeError('input', 'not-loaded', this.state.error?.message ?? vscode.l10n.t('The model is not loaded'));
    return this.handle.id;
  }

  private serve(): void {
    const { endpoint, services, path } = this;
    endpoint.handle(playgroundReady, () => {
      this.ready = true;
      return this.state;
    });
    endpoint.on(playgroundFault, ({ message, stack }) => {
      logPageFault(services, 'playground', message, stack);
    });
    endpoint.handle(playgroundGenerate, async (request, { signal, progress }) => {
      try {
        return await services.worker.request(
          workerPlayGenerate,
          { ...request, handle: await this.id() },
          { signal, onProgress: progress },
        );
      } catch (error) {
        // Its process is gone: the next text opens the model anew.
        if (error instanceof MoeError && (error.code.startsWith('job-') || error.code === 'playground-closed'))
          this.handle = null;
        throw error;
      }
    });
    endpoint.handle(playgroundCopy, copyText);
    endpoint.handle(playgroundCommand, async ({ command }) => {
      if (command === 'openCheckpoint') await this.editors.open(path);
      else await this.load();
      return { done: true };
    });
  }
}
