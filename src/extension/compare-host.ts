/** The host side of one comparison: answers the page, keeps the comparison in the worker. */
import * as vscode from 'vscode';
import { MoeError } from '../common/errors.ts';
import {
  compareChanged,
  compareCommand,
  compareCopy,
  compareExpertRows,
  compareFault,
  compareReady,
  compareRows,
  compareValues,
} from '../protocol/compare.ts';
import type { ComparisonState } from '../protocol/compare.ts';
import { errorPageOf } from '../protocol/errors.ts';
import type { Endpoint } from '../protocol/host.ts';
import { workerCompare, workerCompareExperts, workerCompareRows, workerCompareValues } from '../protocol/worker.ts';
import { nameOf } from './checkpoint-session.ts';
import type { Services } from './services.ts';
import { copyText, logPageFault, openPage } from './webview-page.ts';

/** Compares the second with the first. */
export type Pair = readonly [string, string];

export interface CompareActions {
  readonly open: (path: string, tensor: string | null) => Promise<void>;
  readonly swap: () => void;
}

export class CompareHost {
  private readonly endpoint: Endpoint;
  private readonly aborter = new AbortController();
  private ready = false;
  private handle: { readonly id: number; readonly worker: number } | null = null;
  private state: ComparisonState;

  constructor(
    panel: vscode.WebviewPanel,
    private readonly pair: Pair,
    private readonly services: Services,
    private readonly actions: CompareActions,
  ) {
    const [a, b] = pair;
    this.state = {
      a: { name: nameOf(a), path: a },
      b: { name: nameOf(b), path: b },
      status: 'loading',
      progress: null,
      error: null,
      summary: null,
    };
    this.endpoint = openPage(panel.webview, 'compare', panel.title, services);
    this.serve();
    panel.onDidChangeViewState(() => {
      if (panel.visible) this.tell();
    });
    void this.load();
  }

  dispose(): void {
    this.aborter.abort();
    this.endpoint.close('the tab was closed');
  }

  private set(change: Partial<ComparisonState>): void {
    this.state = { ...this.state, ...change };
    this.tell();
  }

  private tell(): void {
    if (this.ready) this.endpoint.notify(compareChanged, this.state);
  }

  private async load(): Promise<void> {
    const { worker } = this.services;
    this.set({ status: 'loading', error: null });
    try {
      const { handle, summary } = await worker.request(
        workerCompare,
        { a: this.pair[0], b: this.pair[1] },
        {
          signal: this.aborter.signal,
          onProgress: (progress) => {
            this.set({ progress });
          },
        },
      );
      this.handle = { id: handle, worker: worker.generation };
      this.set({ status: 'structure', summary, progress: null });
    } catch (error) {
      if (this.aborter.signal.aborted) return;
      const page = errorPageOf(vscode.l10n.t('The checkpoints cannot be compared'), error, [
        { id: 'reload', label: vscode.l10n.t('Try Again') },
      ]);
      this.set({ status: 'failed', error: page, progress: null });
    }
  }

  /** The comparison in the worker; made anew where that was lost. */
  private async id(): Promise<number> {
    if (this.handle === null || this.handle.worker !== this.services.worker.generation) await this.load();
    if (this.handle === null)
      throw new MoeError('input', 'not-compared', this.state.error?.message ?? vscode.l10n.t('There is no comparison'));
    return this.handle.id;
  }

  private serve(): void {
    const { endpoint, services } = this;
    const { worker } = services;
    endpoint.handle(compareReady, () => {
      this.ready = true;
      return this.state;
    });
    endpoint.on(compareFault, ({ message, stack }) => {
      logPageFault(services, 'compare', message, stack);
    });
    endpoint.handle(compareRows, async (request, { signal }) =>
      worker.request(workerCompareRows, { ...request, handle: await this.id() }, { signal }),
    );
    endpoint.handle(compareExpertRows, async (_params, { signal }) =>
      worker.request(workerCompareExperts, { handle: await this.id() }, { signal }),
    );
    endpoint.handle(compareValues, async (_params, { signal, progress }) => {
      const handle = await this.id();
      this.set({ status: 'values' });
      try {
        const summary = await worker.request(
          workerCompareValues,
          { handle },
          {
            signal,
            onProgress: (step) => {
              progress(step);
              this.state = { ...this.state, progress: step };
            },
          },
        );
        this.set({ status: 'ready', summary, progress: null });
        return summary;
      } catch (error) {
        this.set({ status: 'structure', progress: null });
        throw error;
      }
    });
    endpoint.handle(compareCopy, copyText);
    endpoint.handle(compareCommand, async ({ command, argument }) => {
      switch (command) {
        case 'swap':
          // After the answer: the page goes away.
          setTimeout(this.actions.swap, 0);
          return { done: true };
        case 'openA':
          await this.actions.open(this.pair[0], null);
          return { done: true };
        case 'openB':
          await this.actions.open(this.pair[1], null);
          return { done: true };
        case 'openTensor':
          await this.actions.open(this.pair[1], argument);
          return { done: true };
        case 'reload':
        case 'errorAction':
          await this.load();
          return { done: true };
      }
    });
  }
}
