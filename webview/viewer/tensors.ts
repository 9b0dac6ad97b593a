/** The tensors of a checkpoint: filter, tree-grid fed by pages, inspector beside it. */
import { html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { RowsPage, RowView, TreeRow } from '../../src/protocol/checkpoint.ts';
import type { Endpoint } from '../../src/protocol/page.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { viewerLocate, viewerRows } from '../../src/protocol/viewer.ts';
import type { ViewerState } from '../../src/protocol/viewer.ts';
import type { UnitBase } from '../lib/format.ts';
import { grouped } from '../lib/format.ts';
import { Pages } from '../lib/pages.ts';
import { icon } from '../parts/icon.ts';
import { onResize } from '../parts/resize.ts';
import { base } from '../parts/styles.ts';
import '../parts/select.ts';
import '../parts/splitter.ts';
import type { GridRow, MoeVirtualGrid, ToggleDetail, WantDetail } from '../parts/virtual-grid.ts';
import '../parts/virtual-grid.ts';
import { t } from '../strings.ts';
import { textOf } from '../toolkit.ts';
import { changeView, say } from './events.ts';
import './inspector.ts';
import type { MoeViewerInspector } from './inspector.ts';
import { groups, readView, toggle, withGroups } from './state.ts';
import type { SavedView } from './state.ts';
import { countLine, filterHelp, filterProblem } from './filter.ts';
import { COLUMNS, tensorRow } from './tensor-rows.ts';
import { tensorsStyles } from './tensors-styles.ts';

@customElement('moe-viewer-tensors')
export class MoeViewerTensors extends LitElement {
  static override styles = [base, tensorsStyles];

  @property({ attribute: false }) viewer: ViewerState | null = null;
  @property({ attribute: false }) view: SavedView = readView(null);
  @property({ attribute: false }) endpoint: Endpoint | null = null;
  @state() private page: RowsPage | null = null;
  @state() private failure: unknown = null;
  @state() private version = 0;
  @state() private help = false;
  @state() private width = 1000;
  /** The window is low and the page scrolls as a whole: as the media queries have it. */
  @state() private low = false;
  /** What is typed, before it is asked for. */
  @state() private typed: string | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private observer: ResizeObserver | null = null;
  private asked = '';
  private restored = false;
  private goTo: number | null = null;
  private refocus: 'inspector' | 'list' | null = null;

  private readonly pages = new Pages<TreeRow, RowsPage>({
    size: 200,
    keep: 60,
    fetch: async (start, count, signal) => {
      const { endpoint } = this;
      if (endpoint === null) throw new Error('not connected');
      return endpoint.request(viewerRows, { view: this.rowView, start, count }, { signal });
    },
    arrived: (page) => {
      const counted = this.page?.matched !== page.matched || this.page.total !== page.total;
      this.page = page;
      this.failure = null;
      this.version++;
      this.arriveAt();
      if (counted && this.view.filter !== '')
        say(this, t('{0} of {1} tensors match', grouped(page.matched), grouped(page.tensors)));
    },
    failed: (error) => {
      this.failure = error;
    },
  });

  private get rowView(): RowView {
    const { filter, order, descending, shape } = this.view;
    return { filter, order, descending, shape, ...groups(this.view) };
  }

  private get grid(): MoeVirtualGrid | null {
    return this.shadowRoot?.querySelector('moe-virtual-grid') ?? null;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.observer = onResize(({ width }) => {
      this.width = width;
      this.low = window.innerHeight <= 520;
    });
    this.observer.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.observer?.disconnect();
    this.pages.reset();
    this.asked = '';
  }

  /** Goes to a tensor's row, its groups opened. */
  async locate(tensor: string): Promise<void> {
    const { endpoint } = this;
    if (endpoint === null) return;
    const found = await endpoint.request(viewerLocate, { view: this.rowView, tensor });
    if (found.index === null) {
      say(this, t('The filter hides {0}', tensor));
      return;
    }
    const { toggled, open } = found.view;
    const { index } = found;
    const before = JSON.stringify(this.rowView);
    this.goTo = index;
    changeView(this, withGroups(this.view, open, toggled));
    await this.updateComplete;
    // The same view: no page will come that says where to go.
    if (JSON.stringify(this.rowView) === before) this.arriveAt();
  }

  /** Goes where `locate` wanted, once the rows are those of the view that it opened. */
  private arriveAt(): void {
    const { goTo } = this;
    if (goTo === null) return;
    this.goTo = null;
    void this.updateComplete.then(() => this.grid?.go(goTo));
  }

  protected override willUpdate(changed: PropertyValues): void {
    const asked = JSON.stringify([this.rowView, this.viewer?.generation]);
    if (asked !== this.asked && this.endpoint !== null) {
      // The old rows stay on screen until the new ones come: no flicker while typing.
      this.asked = asked;
      this.pages.reset();
      this.version++;
      const at = this.page === null ? 0 : (this.grid?.activeIndex ?? 0);
      this.pages.want(Math.max(0, at - 40), at + 60);
      this.pages.want(0, 1);
    }
    if (changed.has('view') && this.typed === this.view.filter) this.typed = null;
  }

  /** The list and the inspector may stand in each other's place: the focus follows, as it may not stay on what is hidden. */
  private follow(): void {
    const { refocus, grid } = this;
    const inspector = this.shadowRoot?.querySelector('moe-viewer-inspector') ?? null;
    if (refocus === 'inspector' && inspector !== null) {
      this.refocus = null;
      if (grid?.hidden === true) void inspector.updateComplete.then(() => inspector.focus());
    } else if (refocus === 'list' && inspector === null) {
      this.refocus = null;
      grid?.focus();
    }
  }

  protected override updated(): void {
    this.follow();
    if (!this.restored && this.page !== null && this.grid !== null) {
      this.restored = true;
      if (this.view.scroll > 0) this.grid.restore(this.view.scroll);
    }
  }

  override render(): TemplateResult {
    const { view, page } = this;
    const problem = page?.filterProblem ?? null;
    const narrow = this.width < 760;
    const inspect = view.tensor !== null;
    // No room for both (200 % zoom): the inspector stands in the list's place until it is closed.
    const instead = inspect && narrow && this.low;
    return html`<div class="bar">
        <vscode-text-field
          .value=${this.typed ?? view.filter}
          aria-label=${t('Filter tensors')}
          placeholder=${t('Filter: text, *.glob, /regex/, dtype:bf16 layer:3 expert:2 size:>1MB')}
          aria-invalid=${problem === null ? nothing : 'true'}
          @input=${this.filtering}
          @keydown=${this.filterKey}
        ></vscode-text-field>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(this.help)}
          title=${t('How to filter')}
          @click=${() => (this.help = !this.help)}
        >
          ${icon('question')}<span class="hidden-text">${t('How to filter')}</span>
        </button>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(view.shape === 'tree')}
          title=${t('Show as a tree')}
          @click=${() => {
            changeView(this, { shape: view.shape === 'tree' ? 'flat' : 'tree' });
          }}
        >
          ${icon('list-tree')}<span class="hidden-text">${t('Show as a tree')}</span>
        </button>
        <button
          class="tool"
          type="button"
          title=${t('Collapse all')}
          @click=${() => this.all('none')}
          ?disabled=${view.shape === 'flat'}
        >
          ${icon('collapse-all')}<span class="hidden-text">${t('Collapse all')}</span>
        </button>
        <button
          class="tool"
          type="button"
          title=${t('Expand all')}
          @click=${() => this.all('all')}
          ?disabled=${view.shape === 'flat'}
        >
          ${icon('expand-all')}<span class="hidden-text">${t('Expand all')}</span>
        </button>
        <span class="dim num" role="status">${countLine(page, this.unitBase)}</span>
      </div>
      ${problem === null ? nothing : filterProblem(problem, view.filter)}
      ${
        this.help
          ? filterHelp((filter) => {
              this.ask(filter);
            })
          : nothing
      }
      ${
        this.failure === null
          ? nothing
          : html`<div class="note error">
              ${icon('error', 'error')}
              <div class="grow break">${errorPageOf('', this.failure).message}</div>
              <button class="link" type="button" @click=${this.again}>${t('Try again')}</button>
            </div>`
      }
      <div class=${narrow ? 'panes narrow' : 'panes'}>
        <moe-virtual-grid
          ?hidden=${instead}
          tree
          label=${t('Tensors')}
          .columns=${COLUMNS.map((column) => ({ ...column, title: t(column.title) }))}
          .rowAt=${this.rowAt}
          .loadedAfter=${this.loadedAfter}
          .total=${page?.total ?? 0}
          .version=${this.version}
          .sort=${{ column: view.order, descending: view.descending }}
          .selected=${view.tensor === null ? '' : `tensor:${view.tensor}`}
          .nothing=${page === null ? '' : view.filter === '' ? t('There are no tensors.') : t('No tensor matches this filter.')}
          @moe-want=${(event: CustomEvent<WantDetail>) => {
            this.pages.want(event.detail.first, event.detail.end);
          }}
          @moe-open=${(event: CustomEvent<number>) => {
            this.open(event.detail);
          }}
          @moe-toggle=${(event: CustomEvent<ToggleDetail>) => {
            this.toggleRow(event.detail);
          }}
          @moe-siblings=${(event: CustomEvent<number>) => {
            this.openSiblings(event.detail);
          }}
          @moe-sort=${(event: CustomEvent<string>) => {
            this.sortBy(event.detail);
          }}
          @moe-scrolled=${(event: CustomEvent<number>) => {
            changeView(this, { scroll: event.detail });
          }}
        ></moe-virtual-grid>
        ${
          inspect && !narrow
            ? html`<moe-splitter
                label=${t('Width of the inspector')}
                .value=${view.inspector}
                min="280"
                .max=${Math.max(300, this.width - 320)}
                @moe-resize=${(event: CustomEvent<number>) => {
                  changeView(this, { inspector: event.detail });
                }}
              ></moe-splitter>`
            : nothing
        }
        ${
          inspect
            ? html`<moe-viewer-inspector
                .endpoint=${this.endpoint}
                .viewer=${this.viewer}
                .tensor=${view.tensor}
                .scale=${view.scale}
                .width=${narrow ? 0 : Math.min(view.inspector, Math.max(280, this.width - 320))}
                @moe-close=${this.closeInspector}
                @moe-scale=${(event: CustomEvent<'linear' | 'log'>) => {
                  changeView(this, { scale: event.detail });
                }}
              ></moe-viewer-inspector>`
            : nothing
        }
      </div>`;
  }

  private get unitBase(): UnitBase {
    return this.viewer?.settings.unitBase ?? 1000;
  }

  private readonly rowAt = (index: number): GridRow | null => {
    const row = this.pages.at(index);
    return row === null ? null : tensorRow(row, this.unitBase);
  };

  private readonly loadedAfter = function* (
    this: MoeViewerTensors,
    from: number,
  ): Generator<readonly [number, string]> {
    for (const [index, row] of this.pages.loadedAfter(from, this.page?.total ?? 0)) yield [index, row.label];
  }.bind(this);

  private readonly filtering = (event: Event): void => {
    const text = textOf(event);
    this.typed = text;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      changeView(this, { filter: text, filteredOpen: 'default', filteredToggled: [] });
    }, 150);
  };

  private readonly filterKey = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && (this.typed ?? this.view.filter) !== '') {
      event.preventDefault();
      this.ask('');
    } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
      event.preventDefault();
      this.grid?.focus();
    }
  };

  private ask(filter: string): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.typed = filter;
    changeView(this, { filter, filteredOpen: 'default', filteredToggled: [] });
  }

  private all(open: 'all' | 'none'): void {
    changeView(this, withGroups(this.view, open, []));
    this.grid?.go(0);
  }

  private readonly again = (): void => {
    this.failure = null;
    this.asked = '';
    this.requestUpdate();
  };

  private open(index: number): void {
    const row = this.pages.at(index);
    if (row === null) return;
    if (row.kind === 'group') return;
    changeView(this, { tensor: row.name });
    this.refocus = 'inspector';
  }

  private toggleRow({ index }: ToggleDetail): void {
    const row = this.pages.at(index);
    if (row?.kind === 'group') this.setToggled(toggle(groups(this.view).toggled, row.id));
  }

  private setToggled(toggled: readonly string[]): void {
    changeView(this, withGroups(this.view, groups(this.view).open, toggled));
  }

  private openSiblings(index: number): void {
    const row = this.pages.at(index);
    if (row === null) return;
    let { toggled } = groups(this.view);
    for (const direction of [1, -1])
      for (let at = direction === 1 ? index : index - 1; ; at += direction) {
        const each = this.pages.at(at);
        if (each === null || each.level < row.level) break;
        if (each.level === row.level && each.kind === 'group' && !each.expanded) toggled = toggle(toggled, each.id);
      }
    this.setToggled(toggled);
  }

  private sortBy(column: string): void {
    const order = column === 'size' ? 'size' : column === 'file' ? 'file' : 'name';
    const same = order === this.view.order;
    changeView(this, { order, descending: same ? !this.view.descending : order === 'size' });
  }

  private readonly closeInspector = (): void => {
    changeView(this, { tensor: null });
    this.refocus = 'list';
  };
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-viewer-tensors': MoeViewerTensors;
    'moe-viewer-inspector': MoeViewerInspector;
    'moe-virtual-grid': MoeVirtualGrid;
  }
}
