/**
 * A heat map of any size on a canvas, with one real cell over it: the one in focus. Arrow keys move it (a new element each
 * time, so that screen readers speak it); it has the value in words, and so has the tooltip beside it.
 */
import { html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { keyed } from 'lit/directives/keyed.js';
import { cellMove } from '../lib/keys.ts';
import type { Cell } from '../lib/keys.ts';
import { numberText } from '../lib/format.ts';
import { extremes, tickPlace } from '../lib/scale.ts';
import { clamp } from '../lib/window.ts';
import { t } from '../strings.ts';
import { props } from './props.ts';
import { onResize } from './resize.ts';
import { base } from './styles.ts';
import { onTheme } from './theme.ts';
import { drawCells, ticks } from './heat-draw.ts';
import type { CellMark, HeatData } from './heat-draw.ts';
import { heatStyles } from './heat-styles.ts';

export type { CellMark, HeatData };

/** Browsers refuse larger canvases. */
const MAX_SIDE = 8192;
/** Fires `moe-cell` {row, column} when a cell is chosen (click, Enter), `moe-cell-focus` when it is gone to. */
@customElement('moe-heat-map')
export class MoeHeatMap extends LitElement {
  static override styles = [base, heatStyles];

  @property() label = '';
  @property({ attribute: false }) data: HeatData | null = null;
  @property() rowsTitle = '';
  @property() columnsTitle = '';
  /** Words for the ends of the legend. */
  @property({ attribute: false }) legend: {
    readonly low: string;
    readonly high: string;
    readonly marks: readonly [CellMark, string][];
  } | null = null;
  @property({ attribute: false }) chosen: Cell | null = null;
  /** Largest and smallest side of a cell, in pixels. */
  @property({ type: Number }) largest = 30;
  @property({ type: Number }) smallest = 9;
  /** Square cells; else they fill the width. */
  @property({ type: Boolean }) square = false;

  @state() private at: Cell = { row: 0, column: 0 };
  @state() private width = 600;
  @state() private tip: { readonly x: number; readonly y: number; readonly cell: Cell } | null = null;
  private observer: ResizeObserver | null = null;
  private stopTheme: (() => void) | null = null;
  private focusNext = false;
  /** There are values that the ends of the scale do not reach. */
  private beyond = { some: false, below: false, above: false };

  override connectedCallback(): void {
    super.connectedCallback();
    this.observer = onResize(({ width }) => {
      if (Math.abs(width - this.width) > 1) this.width = width;
    });
    this.observer.observe(this);
    this.stopTheme = onTheme(() => {
      this.requestUpdate();
    });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.observer?.disconnect();
    this.stopTheme?.();
  }

  /** Puts the focus on a cell. */
  focusCell(cell: Cell): void {
    this.at = cell;
    this.focusNext = true;
    this.requestUpdate();
  }

  protected override willUpdate(changed: PropertyValues): void {
    const { data } = this;
    if (changed.has('chosen') && this.chosen !== null) this.at = this.chosen;
    if (data !== null && changed.has('data')) {
      const range = extremes(data.values);
      this.beyond = {
        some: range !== null,
        below: (range?.min ?? data.min) < data.min,
        above: (range?.max ?? data.max) > data.max,
      };
      this.at = {
        row: clamp(this.at.row, 0, Math.max(0, data.rows.length - 1)),
        column: clamp(this.at.column, 0, Math.max(0, data.columns.length - 1)),
      };
    }
  }

  protected override updated(): void {
    this.draw();
    if (!this.focusNext) return;
    this.focusNext = false;
    const cell = this.shadowRoot?.querySelector<HTMLElement>('.cell.current');
    cell?.focus({ preventScroll: true });
    cell?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    this.showTipAtCell();
  }

  private get rowLabelWidth(): number {
    const longest = (this.data?.rows ?? []).reduce((most, label) => Math.max(most, label.length), 1);
    return Math.min(140, longest * 6.6 + 12);
  }

  private get cellSize(): { readonly w: number; readonly h: number } {
    const { data } = this;
    if (data === null) return { w: 1, h: 1 };
    const columns = Math.max(1, data.columns.length);
    const rows = Math.max(1, data.rows.length);
    const ratio = Math.max(1, window.devicePixelRatio);
    const room = (this.width - this.rowLabelWidth - 14) / columns;
    // Whole pixels are crisper; tiny cells may be any width, so that a sidebar holds 128 of them.
    const fit = room < 4 ? room : Math.floor(room);
    const w = Math.max(
      2,
      Math.min(clamp(fit, this.smallest, this.square ? this.largest : this.largest * 2), MAX_SIDE / ratio / columns),
    );
    const h = Math.max(2, Math.min(this.square ? w : clamp(w, this.smallest + 4, 22), MAX_SIDE / ratio / rows));
    return { w, h };
  }

  override render(): TemplateResult | typeof nothing {
    const { data } = this;
    if (data === null) return nothing;
    const { w, h } = this.cellSize;
    const across = w * data.columns.length;
    const down = h * data.rows.length;
    const labels = this.rowLabelWidth;
    const { row, column } = this.at;
    const chosen = this.chosen;
    const box = (cell: Cell): Record<string, string> => ({
      left: `${String(cell.column * w)}px`,
      top: `${String(cell.row * h)}px`,
      width: `${String(w)}px`,
      height: `${String(h)}px`,
    });
    return html`<div
        class="scroll"
        role="grid"
        aria-label=${this.label}
        aria-rowcount=${data.rows.length + 1}
        aria-colcount=${data.columns.length + 1}
        @keydown=${this.pressed}
        @scroll=${() => (this.tip = null)}
      >
        <div class="sheet" role="presentation">
          <div class="corner" role="presentation" ${props({ width: `${String(labels)}px`, height: '18px' })}></div>
          <div class="columns" aria-hidden="true" ${props({ width: `${String(across)}px`, height: '18px' })}>
            ${ticks(data.columns, w, 26).map(
              ([at, text]) =>
                html`<span class="tick" ${props({ left: `${String(tickPlace((at + 0.5) * w, text, across))}px` })}
                  >${text}</span
                >`,
            )}
          </div>
          <div class="rows" aria-hidden="true" ${props({ width: `${String(labels)}px`, height: `${String(down)}px` })}>
            ${ticks(data.rows, h, 13).map(
              ([at, text]) =>
                html`<span class="tick" ${props({ top: `${String(Math.max(6, (at + 0.5) * h))}px` })}>${text}</span>`,
            )}
          </div>
          <div
            class="map"
            role="row"
            aria-rowindex=${row + 2}
            ${props({ width: `${String(across)}px`, height: `${String(down)}px` })}
            @click=${this.clicked}
            @pointermove=${this.hovered}
            @pointerleave=${() => (this.tip = null)}
          >
            <canvas aria-hidden="true"></canvas>
            ${
              chosen === null || (chosen.row === row && chosen.column === column)
                ? nothing
                : html`<div class="cell chosen" aria-hidden="true" ${props(box(chosen))}></div>`
            }
            ${keyed(
              `${String(row)}:${String(column)}`,
              html`<div
                class="cell current ${chosen?.row === row && chosen.column === column ? 'chosen' : ''}"
                role="gridcell"
                tabindex="0"
                aria-colindex=${column + 2}
                aria-selected=${String(chosen?.row === row && chosen.column === column)}
                aria-label=${data.rows.length === 0 || data.columns.length === 0 ? '' : data.describe(row, column).replaceAll('\n', ', ')}
                @focus=${this.showTipAtCell}
                @blur=${() => (this.tip = null)}
                ${props(box(this.at))}
              ></div>`,
            )}
          </div>
        </div>
      </div>
      ${
        this.legend === null
          ? nothing
          : html`<div class="legend dim">
              ${this.scale(data, this.legend)}
              ${this.legend.marks.map(([mark, word]) => html`<span><b aria-hidden="true">${mark}</b> ${word}</span>`)}
            </div>`
      }
      ${
        this.tip === null
          ? nothing
          : html`<div
              class="tip"
              aria-hidden="true"
              .textContent=${data.describe(this.tip.cell.row, this.tip.cell.column)}
              ${props({
                left: `${String(Math.min(this.tip.x + 12, window.innerWidth - 200))}px`,
                top: `${String(this.tip.y > window.innerHeight - 120 ? this.tip.y - 84 : this.tip.y + 16)}px`,
              })}
            ></div>`
      }`;
  }

  /** The ends of the colours; one swatch where there is one value. */
  private scale(
    data: HeatData,
    { low, high }: { readonly low: string; readonly high: string },
  ): TemplateResult | typeof nothing {
    const { below, above, some } = this.beyond;
    // Nothing is known yet: no colour stands for anything.
    if (!some) return nothing;
    // A narrow sidebar has room for the numbers alone.
    const [least, most] = this.width < 200 ? ['', ''] : [` ${low}`, ` ${high}`];
    if (data.min === data.max && !below && !above)
      return html`<span class="scale"
        ><span class="ramp one" aria-hidden="true"></span
        ><span>${t('{0} everywhere', numberText(data.min))}</span></span
      >`;
    return html`<span class="scale"
      ><span>${below ? '≤ ' : ''}${numberText(data.min)}${least}</span><span class="ramp" aria-hidden="true"></span
      ><span>${above ? '≥ ' : ''}${numberText(data.max)}${most}</span></span
    >`;
  }

  private cellAt(event: MouseEvent): Cell | null {
    const { data } = this;
    const map = this.shadowRoot?.querySelector('.map');
    if (data === null || map === null || map === undefined) return null;
    const rect = map.getBoundingClientRect();
    const { w, h } = this.cellSize;
    const row = Math.floor((event.clientY - rect.top) / h);
    const column = Math.floor((event.clientX - rect.left) / w);
    return row < 0 || column < 0 || row >= data.rows.length || column >= data.columns.length ? null : { row, column };
  }

  private clicked(event: MouseEvent): void {
    const cell = this.cellAt(event);
    if (cell === null) return;
    this.at = cell;
    this.focusNext = true;
    this.choose(cell);
  }

  private hovered(event: PointerEvent): void {
    const cell = this.cellAt(event);
    this.tip = cell === null ? null : { x: event.clientX, y: event.clientY, cell };
  }

  private showTipAtCell(): void {
    const cell = this.shadowRoot?.querySelector('.cell.current');
    if (cell === null || cell === undefined || !cell.matches(':focus-visible')) return;
    const rect = cell.getBoundingClientRect();
    this.tip = { x: rect.right, y: rect.bottom, cell: this.at };
  }

  private pressed(event: KeyboardEvent): void {
    const { data } = this;
    if (data === null || event.altKey || event.metaKey) return;
    if (event.key === 'Escape') {
      this.tip = null;
      return;
    }
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.choose(this.at);
      return;
    }
    const next = cellMove(event.key, event.ctrlKey, this.at, data.rows.length, data.columns.length);
    if (next === null) return;
    event.preventDefault();
    this.focusCell(next);
    this.dispatchEvent(new CustomEvent<Cell>('moe-cell-focus', { detail: next }));
  }

  private choose(cell: Cell): void {
    this.requestUpdate();
    this.dispatchEvent(new CustomEvent<Cell>('moe-cell', { detail: cell }));
  }

  private draw(): void {
    const { data } = this;
    const canvas = this.shadowRoot?.querySelector('canvas');
    if (data === null || canvas === null || canvas === undefined) return;
    const { w, h } = this.cellSize;
    const ratio = Math.max(1, window.devicePixelRatio);
    const across = w * data.columns.length;
    const down = h * data.rows.length;
    canvas.width = Math.max(1, Math.round(across * ratio));
    canvas.height = Math.max(1, Math.round(down * ratio));
    canvas.style.setProperty('width', `${String(across)}px`);
    canvas.style.setProperty('height', `${String(down)}px`);
    const context = canvas.getContext('2d');
    if (context !== null) drawCells(context, data, { w, h, ratio }, this);
  }
}

/** What the marks of an expert mean. */
export function expertMarks(): readonly [CellMark, string][] {
  return [
    ['×', t('dead')],
    ['=', t('duplicate')],
    ['!', t('not finite')],
    ['◆', t('outlier')],
  ];
}
