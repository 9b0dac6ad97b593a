/** The host side of one checkpoint viewer: answers the page, follows the session. */
import * as vscode from 'vscode';
import { MoeError, messageOf } from '../common/errors.ts';
import {
  workerExportNpy,
  workerLocate,
  workerRows,
  workerSimilarity,
  workerStats,
  workerTensor,
} from '../protocol/worker.ts';
import {
  viewerChanged,
  viewerCommand,
  viewerCopy,
  viewerExperts,
  viewerExportNpy,
  viewerFault,
  viewerGrid,
  viewerLocate,
  viewerPickParent,
  viewerReady,
  viewerReveal,
  viewerRows,
  viewerSelected,
  viewerSimilarity,
  viewerStats,
  viewerTensor,
  viewerTraceLayer,
  viewerTraces,
} from '../protocol/viewer.ts';
import type { ViewerPlace, ViewerState } from '../protocol/viewer.ts';
import type { Endpoint } from '../protocol/host.ts';
import { workerEvaluationLayer } from '../protocol/worker-eval.ts';
import type { CheckpointSession } from './checkpoint-session.ts';
import type { Services } from './services.ts';
import type { ActiveViewer } from './sessions.ts';
import { pickCheckpoint } from './choose-checkpoint.ts';
import { onSettings, setting } from './settings.ts';
import { runViewerCommand } from './viewer-commands.ts';
import { copyText, logPageFault, openPage } from './webview-page.ts';

export class ViewerHost {
  private readonly endpoint: Endpoint;
  private readonly disposables: { dispose(): unknown }[] = [];
  private readonly viewer: ActiveViewer;
  private wanted: ViewerPlace | null;
  private ready = false;

  constructor(
    private readonly panel: vscode.WebviewPanel,
    private readonly services: Services,
    private readonly session: CheckpointSession,
    place: ViewerPlace | null = null,
  ) {
    this.wanted = place;
    this.viewer = {
      session,
      reveal: (to) => {
        this.reveal(to);
      },
    };
    this.endpoint = openPage(panel.webview, 'viewer', session.name, services);
    this.serve();
    this.disposables.push(
      session.onDidChange(() => {
        this.tell();
      }),
      onSettings(() => {
        this.tell();
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(() => {
        this.tell();
      }),
      services.loads.onDidChange(() => void this.findLoads()),
      panel.onDidChangeViewState(() => {
        this.follow();
        // What was sent while it was hidden is lost: the state goes whole again.
        if (panel.visible) this.tell();
      }),
    );
    this.follow();
    void this.findLoads();
  }

  dispose(): void {
    this.services.sessions.closed(this.viewer);
    this.endpoint.close('the tab was closed');
    for (const one of this.disposables) one.dispose();
  }

  /** Loads of experts are read after all else: most checkpoints have none. */
  private async findLoads(): Promise<void> {
    const { loads } = this.services;
    const before = loads.peek(this.session.path);
    if ((await loads.of(this.session.path)) !== before) this.tell();
  }

  private follow(): void {
    if (this.panel.active) this.services.sessions.setActive(this.viewer);
  }

  /** Shows a place; a page that is not there yet finds it in its first state. */
  reveal(place: ViewerPlace): void {
    this.wanted = place;
    this.panel.reveal(undefined, false);
    if (this.ready) this.endpoint.notify(viewerReveal, place);
  }

  private state(): ViewerState {
    const { session, services } = this;
    return {
      generation: session.generation,
      name: session.name,
      path: session.path,
      status: session.status,
      error: session.error,
      loading: session.loading,
      peek: session.peek,
      overview: session.overview,
      restricted: !vscode.workspace.isTrusted,
      settings: {
        bins: Math.min(1000, Math.max(2, Math.round(setting('view.histogramBins')))),
        autoStats: setting('view.autoStatistics'),
        unitBase: setting('view.sizeUnits') === 'binary' ? 1024 : 1000,
      },
      traced: services.loads.peek(session.path)?.name ?? null,
      place: this.wanted,
    };
  }

  private tell(): void {
    if (this.ready) this.endpoint.notify(viewerChanged, this.state());
  }

  private serve(): void {
    const { endpoint, session, services } = this;
    endpoint.handle(viewerReady, () => {
      this.ready = true;
      return this.state();
    });
    endpoint.on(viewerSelected, (place) => {
      this.wanted = place;
    });
    endpoint.on(viewerFault, ({ message, stack }) => {
      logPageFault(services, 'viewer', message, stack);
    });
    endpoint.handle(viewerRows, (request, { signal }) => session.ask(workerRows, request, { signal }));
    endpoint.handle(viewerLocate, (request, { signal }) => session.ask(workerLocate, request, { signal }));
    endpoint.handle(viewerTensor, (request, { signal }) => session.ask(workerTensor, request, { signal }));
    endpoint.handle(viewerStats, (request, { signal, progress }) =>
      session.ask(workerStats, request, { signal, onProgress: progress }),
    );
    endpoint.handle(viewerExportNpy, async ({ tensor }, { signal, progress }) => {
      const to = await vscode.window.showSaveDialog({
        title: vscode.l10n.t('Export {0}', tensor),
        defaultUri: vscode.Uri.joinPath(outsideFolder(session.path), `${safeFileName(tensor)}.npy`),
        filters: { NumPy: ['npy'] },
      });
      if (to === undefined) return { saved: null };
      // The dialogue has asked about an existing file.
      const request = { tensor, to: to.fsPath, overwrite: true };
      return { saved: await session.ask(workerExportNpy, request, { signal, onProgress: progress }) };
    });
    endpoint.handle(viewerGrid, async () => {
      await session.settled();
      return session.grid ?? NO_EXPERTS;
    });
    endpoint.handle(viewerExperts, (request, { signal, progress }) =>
      session.experts(request, { signal, onProgress: progress }),
    );
    endpoint.handle(viewerSimilarity, (request, { signal, progress }) =>
      session.ask(workerSimilarity, request, { signal, onProgress: progress }),
    );
    endpoint.handle(viewerTraces, async () => ({ traces: (await services.loads.of(session.path))?.traces ?? null }));
    endpoint.handle(viewerTraceLayer, async ({ layer }, { signal }) => {
      const file = (await services.loads.of(session.path))?.file;
      if (file === undefined)
        throw new MoeError('input', 'no-traces', vscode.l10n.t('Nothing is known of what these experts did'));
      return services.worker.request(workerEvaluationLayer, { file, layer }, { signal });
    });
    endpoint.handle(viewerPickParent, async () => ({
      path: await pickCheckpoint(vscode.l10n.t('Choose the Dense Parent')),
    }));
    endpoint.handle(viewerCopy, copyText);
    endpoint.handle(viewerCommand, async ({ command, argument }) => {
      try {
        return { done: await runViewerCommand(services, session, command, argument) };
      } catch (error) {
        services.log.error(`${command}: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}`);
        throw error;
      }
    });
  }
}

const NO_EXPERTS = {
  summary: null,
  layers: [],
  parent: null,
  unavailable: null,
  identicalExpected: false,
  notes: [],
};

/** A folder to write beside a checkpoint: never the hub's cache. */
export function outsideFolder(path: string): vscode.Uri {
  const inCache = /[\\/]models--[^\\/]+[\\/]/.test(path);
  const workspace = vscode.workspace.workspaceFolders?.[0]?.uri;
  if (inCache && workspace !== undefined) return workspace;
  return vscode.Uri.joinPath(vscode.Uri.file(path), '..');
}

function safeFileName(name: string): string {
  return name.replaceAll(/[^\w.-]+/g, '_').slice(0, 120) || 'tensor';
}
