/** Two checkpoints side by side: summary, rows, experts matched with the dense weights, configs. */
import { html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import {
  compareChanged,
  compareCommand,
  compareCopy,
  compareExpertRows,
  compareReady,
  compareRows,
  compareValues,
} from '../../src/protocol/compare.ts';
import type { ComparisonState } from '../../src/protocol/compare.ts';
import type { CompareRow, compareRowsPage, CompareSummary } from '../../src/protocol/comparing.ts';
import type { Of, ParamsOf } from '../../src/protocol/define.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { compareLine, countIn, STATES } from '../lib/compared.ts';
import { grouped, plural, visible } from '../lib/format.ts';
import type { Cell } from '../lib/keys.ts';
import { isCancelled } from '../parts/page.ts';
import type { PageContext } from '../parts/page.ts';
import { Pages } from '../lib/pages.ts';
import type { CopyDetail } from '../parts/copy.ts';
import '../parts/copy.ts';
import '../parts/heat-map.ts';
import { icon } from '../parts/icon.ts';
import '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { tabs, tabStyles } from '../parts/tabs.ts';
import type { GridRow, WantDetail } from '../parts/virtual-grid.ts';
import '../parts/virtual-grid.ts';
import { t } from '../strings.ts';
import { textOf } from '../toolkit.ts';
import { configTab } from './config.ts';
import { expertTab } from './experts.ts';
import type { Experts, ShownExperts } from './experts.ts';
import { sideCard, summaryLine } from './header.ts';
import { rowCell, rowColumns, rowWords } from './rows.ts';
import { readView, tabName } from './state.ts';
import type { SavedView } from './state.ts';
import { compareStyles } from './styles.ts';

type RowsPage = Of<typeof compareRowsPage>;

@customElement('moe-compare')
export class MoeCompare extends LitElement {
  static override styles = [base, tabStyles, compareStyles];

  @property({ attribute: false }) context: PageContext | null = null;
  @state() private comparison: ComparisonState | null = null;
  @state() private view: SavedView = readView(null);
  @state() private page: RowsPage | null = null;
  @state() private experts: Experts | null = null;
  @state() private failure: unknown = null;
  @state() private lost: unknown = null;
  @state() private said = '';
  @state() private version = 0;
  @state() private chosen: Cell | null = null;
  @state() private active = 0;
  @state() private valuesProgress: { readonly done: number; readonly total: number; readonly what: string } | null =
    null;
  private aborter: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private asked = '';
  private readonly pages = new Pages<CompareRow, RowsPage>({
    size: 200,
    keep: 60,
    fetch: async (start, count, signal) => {
      const { context, view } = this;
      if (context === null) throw new Error('not connected');
      const { filter, states, order } = view;
      return context.endpoint.request(compareRows, { filter, states: [...states], order, start, count }, { signal });
    },
    arrived: (page) => {
      this.page = page;
      this.failure = null;
      this.version++;
    },
    failed: (error) => {
      this.failure = error;
    },
  });

  override connectedCallback(): void {
    super.connectedCallback();
    const { context } = this;
    if (context === null) return;
    this.view = readView(context.saved);
    context.endpoint.on(compareChanged, (next) => {
      this.take(next);
    });
    this.addEventListener('moe-copy', (event) => {
      const { text, what } = (event as CustomEvent<CopyDetail>).detail;
      void this.attempt(async () => {
        await context.endpoint.request(compareCopy, { text, what });
        this.said = t('Copied {0}', what);
      });
    });
    this.addEventListener('moe-action', (event) => {
      void this.run('errorAction', String((event as CustomEvent<unknown>).detail));
    });
    void context.endpoint.request(compareReady, {}).then(
      (next) => {
        this.take(next);
      },
      (error: unknown) => {
        this.lost = error;
      },
    );
  }

  private take(next: ComparisonState): void {
    const before = this.comparison;
    this.comparison = next;
    if (before?.status !== next.status) this.said = next.summary === null ? next.status : compareLine(next.summary);
    if (before?.summary?.valuesCompared !== next.summary?.valuesCompared || before?.a.path !== next.a.path) {
      this.asked = '';
      this.experts = null;
    }
  }

  private change(changes: Partial<SavedView>): void {
    this.view = { ...this.view, ...changes };
    this.context?.save(this.view);
  }

  protected override willUpdate(_changed: PropertyValues): void {
    const summary = this.comparison?.summary ?? null;
    if (summary === null) return;
    const { filter, states, order } = this.view;
    const asked = JSON.stringify([filter, states, order, summary.valuesCompared, summary.a.path, summary.b.path]);
    if (asked !== this.asked) {
      this.asked = asked;
      this.pages.reset();
      this.version++;
      this.pages.want(0, 1);
      this.experts = null;
    }
    if (this.view.tab === 'experts' && this.experts === null && summary.mode !== null && summary.valuesCompared)
      void this.fetchExperts();
  }

  private expertsAsked = '';
  private async fetchExperts(): Promise<void> {
    if (this.expertsAsked === this.asked) return;
    this.expertsAsked = this.asked;
    await this.attempt(async () => {
      if (this.context === null) return;
      this.experts = await this.context.endpoint.request(compareExpertRows, {});
    });
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
    }
  }

  private async run(
    command: ParamsOf<typeof compareCommand>['command'],
    argument: string | null = null,
  ): Promise<void> {
    await this.attempt(async () => {
      await this.context?.endpoint.request(compareCommand, { command, argument });
    });
  }

  private async compareValues(): Promise<void> {
    const { context } = this;
    if (context === null) return;
    const aborter = new AbortController();
    this.aborter = aborter;
    this.valuesProgress = { done: 0, total: 0, what: t('Comparing values') };
    let told = 0;
    await this.attempt(async () => {
      const summary = await context.endpoint.request(
        compareValues,
        {},
        {
          signal: aborter.signal,
          onProgress: (progress) => {
            this.valuesProgress = progress;
            const now = performance.now();
            if (now - told > 3000) {
              told = now;
              this.said = t('{0} of {1}', grouped(progress.done), grouped(progress.total));
            }
          },
        },
      );
      if (this.comparison !== null) this.take({ ...this.comparison, summary, status: 'ready', progress: null });
    });
    this.valuesProgress = null;
  }

  override render(): TemplateResult {
    return html`${this.body()}
      <div class="hidden-text" role="status" aria-live="polite">${this.said}</div>`;
  }

  private body(): TemplateResult {
    const { comparison } = this;
    if (this.lost !== null)
      return html`<main>
        <moe-error-page .page=${errorPageOf(t('This view lost its extension'), this.lost)}></moe-error-page>
      </main>`;
    if (comparison === null) return html`<main class="card"><moe-progress what=${t('Opening')}></moe-progress></main>`;
    if (comparison.status === 'failed')
      return html`<main class="scroll">
        <moe-error-page
          .page=${comparison.error ?? errorPageOf(t('The checkpoints could not be compared'), t('No reason was given.'))}
        ></moe-error-page>
      </main>`;
    const { summary, progress } = comparison;
    return html`<header>
        <h1 class="hidden-text">${t('Comparison of {0} and {1}', comparison.a.name, comparison.b.name)}</h1>
        <div class="sides">
          ${sideCard('A', comparison.a, summary?.a ?? null, summary?.dense === 'a', () => void this.run('openA'))}
          <button class="tool" type="button" title=${t('Swap sides')} @click=${() => void this.run('swap')}>
            ${icon('arrow-swap')}<span class="hidden-text">${t('Swap sides')}</span>
          </button>
          ${sideCard('B', comparison.b, summary?.b ?? null, summary?.dense === 'b', () => void this.run('openB'))}
        </div>
        ${
          progress === null && this.valuesProgress === null
            ? nothing
            : this.progress(this.valuesProgress ?? progress ?? { done: 0, total: 0, what: '' })
        }
        ${
          this.failure === null
            ? nothing
            : html`<div class="note error" role="alert">
                ${icon('error', 'error')}
                <div class="break">${errorPageOf('', this.failure).message}</div>
              </div>`
        }
        ${summary === null ? nothing : summaryLine(summary, this.valuesProgress === null ? () => void this.compareValues() : null)}
      </header>
      ${summary === null ? html`<main></main>` : this.tabs(summary)}`;
  }

  private progress(progress: { readonly done: number; readonly total: number; readonly what: string }): TemplateResult {
    return html`<div>
      <moe-progress
        what=${progress.what}
        done=${progress.done}
        total=${progress.total}
        detail=${progress.total === 0 ? '' : t('{0} of {1}', grouped(progress.done), grouped(progress.total))}
      ></moe-progress>
      ${this.valuesProgress === null ? nothing : html`<button class="link" type="button" @click=${() => this.aborter?.abort()}>${t('Cancel')}</button>`}
    </div>`;
  }

  private tabs(summary: CompareSummary): TemplateResult {
    const { tab } = this.view;
    return html`<nav aria-label=${t('Parts of the comparison')}>
        ${tabs(
          t('Views'),
          [
            { id: 'tensors', label: t('Tensors'), icon: 'list-flat', badge: '' },
            { id: 'experts', label: t('Experts'), icon: 'layers', badge: '' },
            {
              id: 'config',
              label: t('Config'),
              icon: 'json',
              badge: summary.config === null || summary.config.length === 0 ? '' : grouped(summary.config.length),
            },
          ],
          tab,
          (id) => {
            const name = tabName.safeParse(id);
            if (name.success) this.change({ tab: name.data });
          },
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
          ${tab === 'tensors' ? this.tensors(summary) : tab === 'experts' ? expertTab(summary, this.shownExperts()) : configTab(summary)}
        </div>
      </main>`;
  }

  private tensors(summary: CompareSummary): TemplateResult {
    const { states } = this.view;
    return html`<div class="row bar">
        <vscode-text-field
          aria-label=${t('Filter by name')}
          placeholder=${t('Filter by name')}
          .value=${this.view.filter}
          @input=${(event: Event) => {
            const filter = textOf(event);
            if (this.timer !== null) clearTimeout(this.timer);
            this.timer = setTimeout(() => {
              this.change({ filter });
            }, 150);
          }}
        ></vscode-text-field>
        <div class="states" role="group" aria-label=${t('Show only')}>
          ${STATES.filter(([each]) => countIn(summary, each) > 0).map(
            ([each, name, word]) =>
              html`<button
                class="tool"
                type="button"
                aria-pressed=${String(states.includes(each))}
                @click=${() => {
                  this.change({
                    states: states.includes(each) ? states.filter((other) => other !== each) : [...states, each],
                  });
                }}
              >
                ${icon(name)}${t(word)} <span class="num">${grouped(countIn(summary, each))}</span>
              </button>`,
          )}
        </div>
        <span class="dim num" role="status"
          >${this.page === null ? t('reading…') : plural(this.page.total, t('row'))}</span
        >
      </div>
      <moe-virtual-grid
        label=${t('Tensors of both sides')}
        .columns=${rowColumns()}
        .sort=${{ column: this.view.order, descending: this.view.order === 'distance' }}
        .total=${this.page?.total ?? 0}
        .rowAt=${this.rowAt}
        .version=${this.version}
        .nothing=${this.page === null ? '' : t('No row matches.')}
        @moe-want=${(event: CustomEvent<WantDetail>) => {
          this.pages.want(event.detail.first, event.detail.end);
        }}
        @moe-sort=${(event: CustomEvent<string>) => {
          this.change({ order: event.detail === 'distance' ? 'distance' : 'name' });
        }}
        @moe-active=${(event: CustomEvent<number>) => (this.active = event.detail)}
        @moe-open=${(event: CustomEvent<number>) => {
          this.openRow(event.detail);
        }}
      ></moe-virtual-grid>
      ${this.rowDetails()}
      <p class="dim">${t('Relative L2 distance: ‖A − B‖ / ‖A‖. Enter opens the tensor.')}</p>`;
  }

  /** The row in focus in full: cells are cut, and tooltips are for pointers only. */
  private rowDetails(): TemplateResult | typeof nothing {
    const row = this.pages.at(this.active);
    if (row === null) return nothing;
    const words = rowWords(row);
    return html`<div class="row" role="group" aria-label=${t('The row in focus')}>
      <span class="grow break">${visible(words)}</span><moe-copy .text=${words} what=${t('this row')}></moe-copy>
    </div>`;
  }

  private openRow(index: number): void {
    const row = this.pages.at(index);
    if (row !== null) void this.run('openTensor', row.name);
  }

  private readonly rowAt = (index: number): GridRow | null => {
    const row = this.pages.at(index);
    if (row === null) return null;
    return {
      key: row.name,
      label: row.name,
      level: 1,
      expanded: null,
      place: null,
      cell: (column) => rowCell(row, column),
    };
  };

  private shownExperts(): ShownExperts {
    return {
      experts: this.experts,
      chosen: this.chosen,
      table: this.view.table,
      comparing: this.valuesProgress !== null,
      compare: () => void this.compareValues(),
      asTable: (table) => {
        this.change({ table });
      },
      choose: (cell) => {
        this.chosen = cell;
      },
    };
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-compare': MoeCompare;
  }
}
