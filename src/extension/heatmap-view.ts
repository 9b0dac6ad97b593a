/** The small heat map in the sidebar: the experts of the checkpoint that is looked at. */
import * as vscode from 'vscode';
import type { MetricName } from '../protocol/checkpoint.ts';
import type { HeatmapState } from '../protocol/heatmap.ts';
import type { StepProgress } from '../protocol/wire.ts';
import { messageOf } from '../common/errors.ts';
import { heatPicture, metrics } from './expert-words.ts';
import type { Services } from './services.ts';

export class HeatmapView implements vscode.WebviewViewProvider {
  /** Sends a state to the page that is there. */
  private send: ((state: HeatmapState) => void) | null = null;
  private view: vscode.WebviewView | null = null;
  private metric: MetricName = 'norm';
  private progress: StepProgress | null = null;
  private failed: string | null = null;
  private selected: { readonly layer: number; readonly expert: number } | null = null;
  private ready = false;

  constructor(private readonly services: Services) {}

  register(id: string): vscode.Disposable {
    const { sessions } = this.services;
    const tell = (): void => {
      this.tell();
    };
    const listening = [
      sessions.onDidChangeActive(() => {
        this.failed = null;
        this.selected = null;
        this.tell();
      }),
      sessions.onDidChangeMetrics(tell),
    ];
    return vscode.Disposable.from(
      vscode.window.registerWebviewViewProvider(id, this),
      new vscode.Disposable(() => {
        for (const one of listening) one.dispose();
      }),
    );
  }

  async resolveWebviewView(view: vscode.WebviewView): Promise<void> {
    this.view = view;
    this.ready = false;
    let closed = false;
    view.onDidDispose(() => {
      closed = true;
    });
    const [page, protocol] = await Promise.all([import('./webview-page.ts'), import('../protocol/heatmap.ts')]);
    const { heatmapChanged, heatmapCompute, heatmapFault, heatmapMetric, heatmapReady, heatmapSelect } = protocol;
    if (closed) return;
    const endpoint = page.openPage(view.webview, 'heatmap', vscode.l10n.t('Heat map of experts'), this.services);
    const send = (state: HeatmapState): void => {
      endpoint.notify(heatmapChanged, state);
    };
    this.send = send;
    endpoint.handle(heatmapReady, () => {
      this.ready = true;
      return this.state();
    });
    endpoint.handle(heatmapMetric, ({ metric }) => {
      this.metric = metric;
      this.tell();
      return {};
    });
    endpoint.handle(heatmapSelect, ({ layer, expert }) => {
      const { active } = this.services.sessions;
      if (active === null) return { shown: false };
      this.selected = { layer, expert };
      active.reveal({ tab: 'experts', tensor: null, layer, expert });
      this.tell();
      return { shown: true };
    });
    endpoint.handle(heatmapCompute, async (_params, { signal, progress }) => {
      await this.compute(signal, progress);
      return {};
    });
    endpoint.on(heatmapFault, ({ message, stack }) => {
      page.logPageFault(this.services, 'heatmap', message, stack);
    });
    view.onDidChangeVisibility(() => {
      if (view.visible) this.tell();
    });
    view.onDidDispose(() => {
      endpoint.close('the view was closed');
      if (this.send === send) this.send = null;
    });
  }

  /** Computes the metrics of all layers of the active checkpoint. */
  async compute(signal?: AbortSignal, report: (progress: StepProgress) => void = () => undefined): Promise<void> {
    const session = this.services.sessions.active?.session;
    if (session === undefined) return;
    this.failed = null;
    const step = (progress: StepProgress): void => {
      this.progress = progress;
      report(progress);
      this.tell();
    };
    try {
      step({ done: 0, total: session.grid?.layers.length ?? 0, what: session.name });
      await session.experts(
        { layers: null, parent: null },
        {
          ...(signal === undefined ? {} : { signal }),
          onProgress: ({ done, total, layer }) => {
            step({ done, total, what: layer === null ? session.name : `layer ${String(layer.layer)}` });
          },
        },
      );
    } catch (error) {
      this.failed = messageOf(error);
      throw error;
    } finally {
      this.progress = null;
      this.tell();
    }
  }

  private tell(): void {
    if (this.ready && this.view?.visible === true) this.send?.(this.state());
  }

  private state(): HeatmapState {
    const session = this.services.sessions.active?.session ?? null;
    const grid = session?.grid ?? null;
    const empty = {
      name: session?.name ?? '',
      progress: this.progress,
      metric: this.metric,
      metrics: metrics().map((one) => ({ ...one })),
      layers: [],
      experts: 0,
      values: new Float32Array(0),
      min: null,
      max: null,
      summary: '',
      worst: [],
      selected: this.selected,
    };
    if (session === null)
      return { ...empty, status: 'none', message: vscode.l10n.t('Open a checkpoint to see its experts here.') };
    if (session.status === 'failed') return { ...empty, status: 'failed', message: session.error?.message ?? '' };
    if (session.status === 'loading' && session.overview === null)
      return { ...empty, status: 'loading', message: vscode.l10n.t('Opening {0}…', session.name) };
    if (grid === null || grid.layers.length === 0)
      return { ...empty, status: 'dense', message: vscode.l10n.t('{0} is dense: it has no experts.', session.name) };
    const picture = { ...empty, ...heatPicture(grid, session.metrics.layers, this.metric) };
    if (this.failed !== null) return { ...picture, status: 'failed', message: this.failed };
    if (this.progress !== null)
      return { ...picture, status: 'loading', message: vscode.l10n.t('Computing metrics of the experts…') };
    const message =
      grid.unavailable ?? (session.metrics.layers.size === 0 ? vscode.l10n.t('The metrics are not computed yet.') : '');
    return { ...picture, status: 'ready', message };
  }
}
