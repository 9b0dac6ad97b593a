/** The checkpoint editor: state from the host, tabs, loading and failure; each tab is an element of its own. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import {
  viewerChanged,
  viewerCommand,
  viewerCopy,
  viewerReady,
  viewerReveal,
  viewerSelected,
  viewerTab,
} from '../../src/protocol/viewer.ts';
import type { PeekFacts } from '../../src/protocol/checkpoint.ts';
import type { ViewerPlace, ViewerState, ViewerTab } from '../../src/protocol/viewer.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { bytesText, formatText, grouped, shortCount, visible } from '../lib/format.ts';
import { isCancelled } from '../parts/page.ts';
import type { PageContext } from '../parts/page.ts';
import type { CopyDetail } from '../parts/copy.ts';
import '../parts/copy.ts';
import '../parts/status.ts';
import { empty, emptyStyles } from '../parts/status.ts';
import { icon } from '../parts/icon.ts';
import { base } from '../parts/styles.ts';
import { tabs, tabStyles } from '../parts/tabs.ts';
import { t } from '../strings.ts';
import { command } from './events.ts';
import type { CommandDetail, CommandName } from './events.ts';
import './experts.ts';
import './overview.ts';
import { readView } from './state.ts';
import type { SavedView } from './state.ts';
import './tensors.ts';

@customElement('moe-viewer')
export class MoeViewer extends LitElement {
  static override styles = [
    base,
    tabStyles,
    emptyStyles,
    css`
      :host {
        display: flex;
        flex-direction: column;
        height: 100%;
        min-width: 0;
      }
      header {
        display: flex;
        flex-wrap: wrap;
        gap: 4px 12px;
        align-items: center;
        padding: 10px 16px 4px;
      }
      header h1 {
        min-width: 0;
        overflow-wrap: anywhere;
      }
      nav {
        padding-inline: 12px;
      }
      main {
        flex: 1 1 auto;
        min-height: 0;
        display: flex;
        flex-direction: column;
      }
      [role='tabpanel'] {
        flex: 1 1 auto;
        min-height: 0;
        overflow: auto;
        outline-offset: -2px;
      }
      #panel-tensors {
        display: flex;
        overflow: hidden;
      }
      #panel-tensors > * {
        flex: 1 1 auto;
      }
      /* Low windows (200 % zoom): the page scrolls as a whole. */
      @media (max-height: 520px) {
        :host {
          height: auto;
          min-height: 100%;
        }
        header {
          padding: 6px 16px 2px;
        }
        #panel-tensors,
        [role='tabpanel'] {
          overflow: visible;
        }
        .tabs [role='tab'] {
          padding-block: 4px;
        }
      }
      .loading {
        width: min(480px, 90%);
        margin: 64px auto;
        display: flex;
        flex-direction: column;
        gap: 8px;
      }
      .trust {
        margin: 4px 16px;
      }
    `,
  ];

  @property({ attribute: false }) context: PageContext | null = null;
  @state() private viewer: ViewerState | null = null;
  @state() private lost: unknown = null;
  @state() private view: SavedView = readView(null);
  @state() private said = '';

  override connectedCallback(): void {
    super.connectedCallback();
    const { context } = this;
    if (context === null) return;
    this.view = readView(context.saved);
    context.endpoint.on(viewerChanged, (next) => {
      this.take(next);
    });
    context.endpoint.on(viewerReveal, (place) => {
      this.reveal(place);
    });
    this.addEventListener('moe-copy', (event) => {
      void this.copy((event as CustomEvent<CopyDetail>).detail);
    });
    this.addEventListener('moe-command', (event) => {
      const { command: name, argument } = (event as CustomEvent<CommandDetail>).detail;
      void this.run(name, argument);
    });
    this.addEventListener('moe-action', (event) => {
      void this.run('errorAction', String((event as CustomEvent<unknown>).detail));
    });
    this.addEventListener('moe-tensor', (event) => {
      this.reveal({
        tab: 'tensors',
        tensor: String((event as CustomEvent<unknown>).detail),
        layer: null,
        expert: null,
      });
    });
    this.addEventListener('moe-say', (event) => {
      this.said = String((event as CustomEvent<unknown>).detail);
    });
    void this.start(context);
  }

  private async start(context: PageContext): Promise<void> {
    this.lost = null;
    try {
      this.take(await context.endpoint.request(viewerReady, {}));
    } catch (error) {
      this.lost = error;
    }
  }

  private take(next: ViewerState): void {
    const first = this.viewer === null;
    this.viewer = next;
    // A saved view wins over where the host says to begin, unless there is none.
    if (next.place !== null && (first ? this.context?.saved === undefined || this.context.saved === null : false))
      this.reveal(next.place);
  }

  private reveal(place: ViewerPlace): void {
    const changes: Partial<SavedView> = {};
    if (place.tensor !== null) {
      changes.tab = 'tensors';
      changes.tensor = place.tensor;
    }
    if (place.layer !== null) {
      changes.tab ??= 'experts';
      changes.layer = place.layer;
      changes.expert = place.expert;
    }
    if (place.tab !== null) changes.tab = place.tab;
    this.change(changes);
    if (place.tensor !== null) {
      const { tensor } = place;
      void this.updateComplete.then(() => this.shadowRoot?.querySelector('moe-viewer-tensors')?.locate(tensor));
    }
  }

  private change(changes: Partial<SavedView>): void {
    this.view = { ...this.view, ...changes };
    this.context?.save(this.view);
    if ('tab' in changes || 'tensor' in changes || 'layer' in changes || 'expert' in changes)
      this.context?.endpoint.notify(viewerSelected, {
        tab: this.view.tab,
        tensor: this.view.tensor,
        layer: this.view.layer,
        expert: this.view.expert,
      });
  }

  private async copy({ text, what }: CopyDetail): Promise<void> {
    try {
      await this.context?.endpoint.request(viewerCopy, { text, what });
      this.said = t('Copied {0}', what);
    } catch (error) {
      this.said = errorPageOf('', error).message;
    }
  }

  private async run(name: CommandName, argument: string | null): Promise<void> {
    try {
      await this.context?.endpoint.request(viewerCommand, { command: name, argument });
    } catch (error) {
      if (!isCancelled(error)) this.said = errorPageOf('', error).message;
    }
  }

  override render(): TemplateResult {
    return html`${this.body()}
      <div class="hidden-text" role="status" aria-live="polite">${this.said}</div>`;
  }

  private body(): TemplateResult {
    const { viewer, context } = this;
    if (this.lost !== null)
      return html`<main>
        <moe-error-page .page=${errorPageOf(t('This view lost its extension'), this.lost)}></moe-error-page>
      </main>`;
    if (viewer === null || context === null || (viewer.status === 'loading' && viewer.overview === null))
      return this.loading();
    if (viewer.status === 'failed')
      return html`<main class="scroll">
        <moe-error-page
          .page=${viewer.error ?? errorPageOf(t('{0} could not be opened', viewer.name), t('No reason was given.'))}
        ></moe-error-page>
      </main>`;
    const { overview } = viewer;
    if (overview === null) return this.loading();
    const problems = overview.problems.length + overview.moreProblems;
    const { experts } = overview;
    const choose = (id: string): void => {
      const tab = viewerTab.safeParse(id);
      if (tab.success) this.change({ tab: tab.data });
    };
    const { tab } = this.view;
    return html`<header>
        <h1>${visible(viewer.name)}</h1>
        <span class="row">${this.tags()}</span>
      </header>
      ${
        viewer.status === 'loading'
          ? html`<div class="trust">
              <moe-progress
                what=${viewer.loading?.what ?? t('Reading again')}
                done=${viewer.loading?.done ?? 0}
                total=${viewer.loading?.total ?? 0}
              ></moe-progress>
            </div>`
          : nothing
      }
      <nav aria-label=${t('Parts of the checkpoint')}>
        ${tabs(
          t('Views'),
          [
            { id: 'overview', label: t('Overview'), icon: 'info', badge: problems === 0 ? '' : grouped(problems) },
            { id: 'tensors', label: t('Tensors'), icon: 'list-tree', badge: shortCount(overview.tensorCount) },
            {
              id: 'experts',
              label: t('Experts'),
              icon: 'layers',
              badge: experts === null ? '' : `${grouped(experts.layers)} × ${grouped(experts.perLayer)}`,
            },
            { id: 'compare', label: t('Compare'), icon: 'compare-changes', badge: '' },
          ],
          tab,
          choose,
          this,
        )}
      </nav>
      <main>
        <div
          id="panel-${tab}"
          role="tabpanel"
          aria-labelledby="tab-${tab}"
          tabindex=${tab === 'tensors' ? nothing : '0'}
        >
          ${this.panel(tab, viewer, context)}
        </div>
      </main>`;
  }

  private panel(tab: ViewerTab, viewer: ViewerState, context: PageContext): TemplateResult {
    const change = (event: CustomEvent<Partial<SavedView>>): void => {
      this.change(event.detail);
    };
    switch (tab) {
      case 'overview':
        return html`<moe-viewer-overview .viewer=${viewer}></moe-viewer-overview>`;
      case 'tensors':
        return html`<moe-viewer-tensors
          .viewer=${viewer}
          .view=${this.view}
          .endpoint=${context.endpoint}
          @moe-view=${change}
        ></moe-viewer-tensors>`;
      case 'experts':
        return html`<moe-viewer-experts
          .viewer=${viewer}
          .view=${this.view}
          .endpoint=${context.endpoint}
          @moe-view=${change}
        ></moe-viewer-experts>`;
      case 'compare':
        return empty(
          'compare-changes',
          t('Compare with another checkpoint'),
          t(
            'Select one checkpoint in the Explorer with “Select for Compare”, then “Compare with Selected” on the other. A dense model and an MoE are matched expert by expert.',
          ),
          html`<vscode-button
            @click=${() => {
              command(this, 'compare');
            }}
            >${t('Choose a checkpoint…')}</vscode-button
          >`,
        );
    }
  }

  private tags(): TemplateResult {
    const overview = this.viewer?.overview ?? null;
    if (overview === null) return html``;
    const { experts, parameters } = overview;
    return html`<span class="tag">${overview.modelType ?? formatText(overview.format)}</span>
      <span class="tag"
        >${overview.kind === 'moe' ? t('mixture of experts') : overview.kind === 'dense' ? t('dense') : t('kind unknown')}</span
      >
      ${
        experts === null || experts.topK === null
          ? nothing
          : html`<span class="tag">${t('{0} experts, top-{1}', grouped(experts.perLayer), experts.topK)}</span>`
      }
      ${parameters.total === null ? nothing : html`<span class="tag">${t('{0} parameters', shortCount(parameters.total))}</span>`}
      ${overview.planOnly ? html`<span class="tag">${icon('info', 'info')}${t('config and index only')}</span>` : nothing}
      ${
        this.viewer?.restricted === true
          ? html`<span class="tag">${icon('workspace-untrusted', 'warning')}${t('Restricted Mode')}</span>`
          : nothing
      }`;
  }

  private loading(): TemplateResult {
    const loading = this.viewer?.loading ?? null;
    const peek = this.viewer?.peek ?? null;
    return html`<main class="loading">
      <h1>${this.viewer === null ? t('Opening') : visible(this.viewer.name)}</h1>
      ${peek === null ? nothing : html`<p class="row">${peekTags(peek)}</p>`}
      <moe-progress
        what=${loading?.what ?? t('Reading headers')}
        done=${loading?.done ?? 0}
        total=${loading?.total ?? 0}
        detail=${loading === null || loading.total === 0 ? '' : t('{0} of {1}', grouped(loading.done), grouped(loading.total))}
      ></moe-progress>
      <p class="dim">${t('Only headers are read; no weights are loaded.')}</p>
    </main>`;
  }
}

/** What listing and config.json tell, while the headers are read. */
function peekTags(peek: PeekFacts): TemplateResult[] {
  const { modelType, layers, hidden, experts, topK, files, bytes } = peek;
  const words = [
    modelType === null ? null : visible(modelType),
    experts === null || experts < 2
      ? null
      : topK === null
        ? t('{0} experts', grouped(experts))
        : t('{0} experts, top-{1}', grouped(experts), grouped(topK)),
    layers === null ? null : t('{0} layers', grouped(layers)),
    hidden === null ? null : t('hidden size {0}', grouped(hidden)),
    files === 1 ? t('1 file') : t('{0} files', grouped(files)),
    t('{0} on disk', bytesText(bytes)),
  ];
  return words.flatMap((word) => (word === null ? [] : [html`<span class="tag">${word}</span>`]));
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-viewer': MoeViewer;
  }
}
