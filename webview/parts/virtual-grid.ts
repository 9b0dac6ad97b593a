/**
 * A grid of any number of rows, flat or as a tree, of which only the visible ones exist: the ARIA tree-grid pattern with rows
 * in focus (`aria-activedescendant`), so that one tab stop stands for 500,000 rows. Rows come from `rowAt`; what is not
 * there yet is asked for by `moe-want`.
 */
import { html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import { treeMove, Typeahead } from '../lib/keys.ts';
import { scrollTo, windowAt } from '../lib/window.ts';
import { t } from '../strings.ts';
import { icon } from './icon.ts';
import { props } from './props.ts';
import { onResize } from './resize.ts';
import { base } from './styles.ts';
import { gridStyles } from './grid-styles.ts';

export interface GridColumn {
  readonly id: string;
  readonly title: string;
  /** A track of CSS grid: `minmax(120px, 2fr)`. */
  readonly track: string;
  readonly end?: boolean;
  readonly sortable?: boolean;
  /** Hidden where the grid is narrower than this many pixels. */
  readonly from?: number;
  /** Hidden where the grid is this wide or wider. */
  readonly until?: number;
}

export interface GridRow {
  readonly key: string;
  /** What type-ahead looks for. */
  readonly label: string;
  /** 1-based; 1 in a flat grid. */
  readonly level: number;
  readonly expanded: boolean | null;
  /** 1-based, among siblings; null in a flat grid. */
  readonly place: { readonly position: number; readonly siblings: number } | null;
  readonly cell: (column: string) => unknown;
}

export interface GridSort {
  readonly column: string;
  readonly descending: boolean;
}

export interface WantDetail {
  readonly first: number;
  readonly end: number;
}
export interface ToggleDetail {
  readonly index: number;
  readonly expand: boolean;
}

const ROW = 24;

/**
 * Events: `moe-want` {first, end}; `moe-active` index (focus moved); `moe-open` index (Enter, click); `moe-toggle` {index,
 * expand}; `moe-parent` index (go to its group, where that is not among the drawn rows); `moe-siblings` index (expand all);
 * `moe-sort` column; `moe-scrolled` scroll position.
 */
@customElement('moe-virtual-grid')
export class MoeVirtualGrid extends LitElement {
  static override styles = [base, gridStyles];

  @property() label = '';
  @property({ type: Boolean }) tree = false;
  @property({ type: Number }) total = 0;
  @property({ attribute: false }) columns: readonly GridColumn[] = [];
  @property({ attribute: false }) rowAt: (index: number) => GridRow | null = () => null;
  @property({ attribute: false }) sort: GridSort | null = null;
  /** Key of the selected row. */
  @property() selected = '';
  /** Words instead of rows where there are none. */
  @property() nothing = '';
  /** Changes whenever rows may differ though all else is the same. */
  @property({ type: Number }) version = 0;
  /** Rows that are there, for type-ahead: those after an index, wrapping around. */
  @property({ attribute: false }) loadedAfter: ((from: number) => Iterable<readonly [number, string]>) | null = null;

  @state() private active = 0;
  @state() private offset = 0;
  @state() private height = 300;
  @state() private width = 800;

  private readonly typed = new Typeahead();
  private observer: ResizeObserver | null = null;
  private pendingScroll: number | null = null;
  /**
   * Key of a drawn row: its index, shifted. After a jump the shift makes the new rows take over the elements of the old ones,
   * which is several times cheaper than making them anew.
   */
  private shift = 0;
  private drawn = { first: 0, end: 0 };

  private get view(): HTMLElement | null {
    return this.shadowRoot?.querySelector<HTMLElement>('.view') ?? null;
  }

  get activeIndex(): number {
    return this.active;
  }

  /** Makes a row the active one and brings it into view. */
  go(index: number, focus = false): void {
    this.active = Math.max(0, Math.min(index, this.total - 1));
    const { view } = this;
    if (view !== null) {
      const top = scrollTo(this.active, view.scrollTop, this.room, ROW, this.total);
      if (top !== view.scrollTop) view.scrollTop = top;
      this.offset = view.scrollTop;
      if (focus) view.focus({ preventScroll: true });
    } else this.pendingScroll = this.active * ROW;
    this.emit('moe-active', this.active);
  }

  /** Restores a scroll position, once there are rows. */
  restore(scroll: number): void {
    this.pendingScroll = scroll;
    this.requestUpdate();
  }

  override focus(): void {
    this.view?.focus();
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.observer = onResize(({ width, height }) => {
      this.height = height;
      this.width = width;
    });
    void this.updateComplete.then(() => {
      if (this.view !== null) this.observer?.observe(this.view);
    });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.observer?.disconnect();
    this.observer = null;
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('total') && this.active >= this.total) this.active = Math.max(0, this.total - 1);
  }

  protected override updated(): void {
    if (this.pendingScroll !== null && this.total > 0 && this.view !== null) {
      this.view.scrollTop = this.pendingScroll;
      this.offset = this.view.scrollTop;
      this.pendingScroll = null;
    }
    const { first, end } = this.window();
    if (this.total > 0) this.emit<WantDetail>('moe-want', { first, end });
  }

  override render(): TemplateResult {
    const columns = this.columns.filter(({ from = 0, until = Infinity }) => this.width >= from && this.width < until);
    const { first, end, top, height } = this.window();
    if (first >= this.drawn.end || end <= this.drawn.first) this.shift += this.drawn.first - first;
    this.drawn = { first, end };
    const indices = Array.from({ length: Math.max(0, end - first) }, (_, at) => first + at);
    const active = this.active >= first && this.active < end && this.total > 0 ? `row-${String(this.active)}` : nothing;
    return html`<div
      class="view"
      role=${this.tree ? 'treegrid' : 'grid'}
      tabindex="0"
      aria-label=${this.label}
      aria-rowcount=${this.total + 1}
      aria-colcount=${this.columns.length}
      aria-activedescendant=${active}
      ${props({ '--tracks': columns.map(({ track }) => track).join(' ') })}
      @keydown=${this.pressed}
      @scroll=${this.scrolled}
    >
      <div role="rowgroup" class="head-group">
        <div class="head" role="row" aria-rowindex="1">${columns.map((column) => this.heading(column))}</div>
      </div>
      <div class="body" role="rowgroup" ${props({ height: `${String(height)}px` })}>
        ${repeat(
          indices,
          (index) => index + this.shift,
          (index, at) => this.line(index, top + at * ROW, columns),
        )}
        ${
          this.total === 0 && this.nothing !== ''
            ? html`<div role="row"><div class="note" role="gridcell">${this.nothing}</div></div>`
            : nothing
        }
      </div>
    </div>`;
  }

  private heading(column: GridColumn): TemplateResult {
    const at = String(this.columns.indexOf(column) + 1);
    const sorted = this.sort?.column === column.id ? this.sort : null;
    const direction = sorted === null ? 'none' : sorted.descending ? 'descending' : 'ascending';
    const classes = column.end === true ? 'cell end' : 'cell';
    if (column.sortable !== true)
      return html`<div class=${classes} role="columnheader" aria-colindex=${at}>${column.title}</div>`;
    return html`<div class=${classes} role="columnheader" aria-colindex=${at} aria-sort=${direction}>
      <button
        class="sort"
        type="button"
        @click=${() => this.emit('moe-sort', column.id)}
        title=${t('Sort by {0}', column.title)}
      >
        ${column.title}${sorted === null ? nothing : icon(sorted.descending ? 'arrow-down' : 'arrow-up')}
      </button>
    </div>`;
  }

  private line(index: number, top: number, columns: readonly GridColumn[]): TemplateResult {
    const row = this.rowAt(index);
    const classes = index === this.active ? 'line active' : 'line';
    const id = `row-${String(index)}`;
    if (row === null)
      return html`<div
        class="${classes} wait"
        id=${id}
        role="row"
        aria-rowindex=${index + 2}
        aria-busy="true"
        ${props({ top: `${String(top)}px` })}
      >
        <div class="cell" role="gridcell">…</div>
      </div>`;
    const selected = this.selected !== '' && row.key === this.selected;
    return html`<div
      class=${classes}
      id=${id}
      role="row"
      aria-rowindex=${index + 2}
      aria-level=${this.tree ? row.level : nothing}
      aria-posinset=${this.tree && row.place !== null ? row.place.position : nothing}
      aria-setsize=${this.tree && row.place !== null ? row.place.siblings : nothing}
      aria-expanded=${row.expanded === null ? nothing : String(row.expanded)}
      aria-selected=${String(selected)}
      ${props({ top: `${String(top)}px` })}
      @click=${(event: MouseEvent) => {
        this.clicked(event, index, row);
      }}
    >
      ${columns.map((column, at) =>
        at === 0 && this.tree
          ? html`<div
              class="cell tree"
              role="gridcell"
              aria-colindex="1"
              ${props({ 'padding-inline-start': `${String(4 + (row.level - 1) * 14)}px` })}
            >
              <span class="twisty"
                >${row.expanded === null ? nothing : icon(row.expanded ? 'chevron-down' : 'chevron-right')}</span
              >
              <span class="text">${row.cell(column.id)}</span>
            </div>`
          : html`<div
              class=${column.end === true ? 'cell end' : 'cell'}
              role="gridcell"
              aria-colindex=${this.columns.indexOf(column) + 1}
            >
              ${row.cell(column.id)}
            </div>`,
      )}
    </div>`;
  }

  /** Height for rows, below the sticky header. */
  private get room(): number {
    return Math.max(ROW, this.height - 28);
  }

  private window(): ReturnType<typeof windowAt> {
    return windowAt(this.offset, this.room, ROW, this.total);
  }

  private scrolled(): void {
    if (this.view === null) return;
    this.offset = this.view.scrollTop;
    this.emit('moe-scrolled', this.offset);
  }

  private clicked(event: MouseEvent, index: number, row: GridRow): void {
    this.active = index;
    this.emit('moe-active', index);
    const onTwisty = event.composedPath().some((node) => node instanceof Element && node.classList.contains('twisty'));
    if (row.expanded !== null && (onTwisty || event.detail === 2))
      this.emit<ToggleDetail>('moe-toggle', { index, expand: !row.expanded });
    else if (event.detail < 2) this.emit('moe-open', index);
  }

  private pressed(event: KeyboardEvent): void {
    if (event.altKey || event.metaKey || (event.ctrlKey && event.key !== 'Home' && event.key !== 'End')) return;
    if (event.target !== this.view) return;
    const now = performance.now();
    const row = this.rowAt(this.active);
    const busy = event.key === ' ' && this.typed.busy(now);
    const move = busy
      ? ({ kind: 'type', text: ' ' } as const)
      : treeMove(event.key, {
          index: this.active,
          total: this.total,
          page: Math.max(1, Math.floor(this.room / ROW) - 1),
          expanded: row?.expanded ?? null,
          level: row?.level ?? 1,
        });
    if (move === null) return;
    event.preventDefault();
    switch (move.kind) {
      case 'go':
        this.go(move.index);
        break;
      case 'toggle':
        this.emit<ToggleDetail>('moe-toggle', { index: this.active, expand: move.expand });
        break;
      case 'activate':
        this.emit('moe-open', this.active);
        break;
      case 'parent':
        this.toParent(row);
        break;
      case 'siblings':
        this.emit('moe-siblings', this.active);
        break;
      case 'type':
        this.seek(this.typed.add(move.text, now));
        break;
    }
  }

  private toParent(row: GridRow | null): void {
    if (row === null) return;
    for (let index = this.active - 1; index >= 0; index--) {
      const above = this.rowAt(index);
      if (above === null) break;
      if (above.level < row.level) {
        this.go(index);
        return;
      }
    }
    this.emit('moe-parent', this.active);
  }

  private seek(word: string): void {
    // A longer word may still mean the row that it already stands on.
    const from = word.length > 1 ? this.active - 1 : this.active;
    const rows = this.loadedAfter === null ? this.drawnAfter(from) : this.loadedAfter(from);
    for (const [index, label] of rows)
      if (label.toLowerCase().startsWith(word)) {
        this.go(index);
        return;
      }
  }

  private *drawnAfter(from: number): Generator<readonly [number, string]> {
    const limit = Math.min(this.total, 5000);
    for (let step = 1; step <= limit; step++) {
      const index = (from + step + this.total) % this.total;
      const row = this.rowAt(index);
      if (row !== null) yield [index, row.label];
    }
  }

  private emit<T>(type: string, detail: T): void {
    this.dispatchEvent(new CustomEvent<T>(type, { detail, bubbles: false }));
  }
}
