/** A histogram: uPlot for the picture, a line of words, and the same as a table. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import uPlot from 'uplot';
import type { TensorStats } from '../../src/protocol/checkpoint.ts';
import { grouped, numberText, shareText } from '../lib/format.ts';
import { histogramSummary } from '../lib/histogram.ts';
import type { Histogram } from '../lib/histogram.ts';
import { mix } from '../lib/scale.ts';
import { t } from '../strings.ts';
import { icon } from './icon.ts';
import { onResize } from './resize.ts';
import { base } from './styles.ts';
import { colourOf, cssOf, onTheme } from './theme.ts';

const HEIGHT = 170;

/** Fires `moe-scale` with `linear` or `log`. */
@customElement('moe-histogram')
export class MoeHistogram extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
        min-width: 0;
      }
      .u-wrap {
        position: relative;
        user-select: none;
      }
      .u-over,
      .u-under {
        position: absolute;
      }
      .u-under {
        overflow: hidden;
      }
      .uplot canvas {
        display: block;
        position: relative;
        width: 100%;
        height: 100%;
      }
      .u-axis {
        position: absolute;
      }
      .u-off,
      .u-legend,
      .u-select,
      .u-cursor-pt {
        display: none;
      }
      .u-cursor-x {
        position: absolute;
        inset: 0 auto auto 0;
        height: 100%;
        border-inline-end: 1px dashed var(--moe-dim);
        pointer-events: none;
      }
      .u-cursor-y {
        display: none;
      }
      .chart {
        min-height: ${HEIGHT}px;
      }
      .chart:focus-visible {
        outline-offset: 2px;
      }
      .scroll {
        max-height: 260px;
        border: 1px solid var(--moe-line);
      }
      thead th {
        position: sticky;
        inset-block-start: 0;
        background: var(--vscode-editor-background);
      }
      .at {
        min-height: 1.5em;
      }
    `,
  ];

  @property({ attribute: false }) histogram: Histogram | null = null;
  @property({ attribute: false }) stats: TensorStats | null = null;
  @property() scale: 'linear' | 'log' = 'linear';
  @property({ type: Boolean }) logCounts = false;
  @property({ type: Boolean }) table = false;
  @state() private bin: number | null = null;
  private plot: uPlot | null = null;
  private observer: ResizeObserver | null = null;
  private stopTheme: (() => void) | null = null;
  private drawn: unknown = null;

  override connectedCallback(): void {
    super.connectedCallback();
    this.observer = onResize(() => {
      this.fit();
    });
    this.observer.observe(this);
    this.stopTheme = onTheme(() => {
      this.drawn = null;
      this.requestUpdate();
    });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.observer?.disconnect();
    this.stopTheme?.();
    this.plot?.destroy();
    this.plot = null;
    this.drawn = null;
  }

  override render(): TemplateResult | typeof nothing {
    const { histogram } = this;
    if (histogram === null) return nothing;
    const toggle = (value: 'linear' | 'log', words: string): TemplateResult =>
      html`<button
        class="tool"
        type="button"
        aria-pressed=${String(this.scale === value)}
        @click=${() => this.choose(value)}
      >
        ${words}
      </button>`;
    const summary = histogramSummary(histogram);
    return html`<div class="row">
        <h3 class="grow">${t('Distribution of values')}</h3>
        <div class="row" role="group" aria-label=${t('Scale of values')}>
          ${toggle('linear', t('linear'))}${toggle('log', t('log |x|'))}
        </div>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(this.logCounts)}
          @click=${() => (this.logCounts = !this.logCounts)}
        >
          ${t('log counts')}
        </button>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(this.table)}
          title=${t('Show as a table')}
          @click=${() => (this.table = !this.table)}
        >
          ${icon('table')}<span class="hidden-text">${t('Show as a table')}</span>
        </button>
      </div>
      <p class="dim">${summary}</p>
      ${
        this.table
          ? html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Bins of the histogram')}>
              <table>
                <thead>
                  <tr>
                    <th class="num">${t('from')}</th>
                    <th class="num">${t('to')}</th>
                    <th class="num">${t('values')}</th>
                    <th class="num">${t('share')}</th>
                  </tr>
                </thead>
                <tbody>
                  ${histogram.counts.map((count, at) => this.binRow(histogram, count, at))}
                  ${histogram.scale === 'log' ? this.zeroRow(histogram) : nothing}
                </tbody>
              </table>
            </div>`
          : html`<div
                class="chart"
                role="img"
                tabindex="0"
                aria-label=${`${t('Distribution of values')}. ${summary} ${t('Arrow keys go through the bins.')}`}
                @keydown=${this.pressed}
                @blur=${() => this.show(null)}
              ></div>
              <p class="at dim" role="status">${this.bin === null ? '' : this.binText(histogram, this.bin)}</p>`
      }`;
  }

  private total(histogram: Histogram): number {
    return histogram.counts.reduce((sum, count) => sum + count, 0) + histogram.zeros + histogram.outside;
  }

  private binRow(histogram: Histogram, count: number, at: number): TemplateResult {
    return html`<tr>
      <td class="num">${numberText(histogram.edges[at] ?? NaN)}</td>
      <td class="num">${numberText(histogram.edges[at + 1] ?? NaN)}</td>
      <td class="num">${grouped(count)}</td>
      <td class="num">${shareText(count, this.total(histogram))}</td>
    </tr>`;
  }

  private zeroRow(histogram: Histogram): TemplateResult {
    return html`<tr>
      <td class="num">0</td>
      <td class="num">0</td>
      <td class="num">${grouped(histogram.zeros)}</td>
      <td class="num">${shareText(histogram.zeros, this.total(histogram))}</td>
    </tr>`;
  }

  private binText(histogram: Histogram, at: number): string {
    const count = histogram.counts[at] ?? 0;
    return t(
      '{0} to {1}: {2} values ({3})',
      numberText(histogram.edges[at] ?? NaN),
      numberText(histogram.edges[at + 1] ?? NaN),
      grouped(count),
      shareText(count, this.total(histogram)),
    );
  }

  protected override updated(): void {
    const { histogram } = this;
    const chart = this.shadowRoot?.querySelector<HTMLElement>('.chart') ?? null;
    if (histogram === null || chart === null) {
      this.plot?.destroy();
      this.plot = null;
      this.drawn = null;
      return;
    }
    const drawn = `${String(this.logCounts)}`;
    if (this.drawn === histogram && this.plot !== null && chart.dataset['drawn'] === drawn) return;
    this.plot?.destroy();
    this.drawn = histogram;
    chart.dataset['drawn'] = drawn;
    this.plot = this.make(histogram, chart);
  }

  private make(histogram: Histogram, chart: HTMLElement): uPlot {
    const ink = cssOf(colourOf(this, '--vscode-foreground', [200, 200, 200]));
    const surface = colourOf(this, '--vscode-editor-background', [30, 30, 30]);
    const grid = cssOf(mix(surface, colourOf(this, '--vscode-foreground', [200, 200, 200]), 0.15));
    const bar = cssOf(colourOf(this, '--vscode-charts-blue', [55, 148, 255]));
    const font = '11px system-ui, sans-serif';
    const { counts, edges } = histogram;
    const xs = counts.map((_, at) => at);
    const ys = counts.map((count) => (this.logCounts ? Math.log10(count + 1) : count));
    const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } };
    const bars = uPlot.paths.bars?.({ size: [1, Infinity], align: 1 });
    return new uPlot(
      {
        width: Math.max(120, chart.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        scales: {
          x: { time: false, range: [0, counts.length] },
          y: { range: (_, __, high) => [0, high <= 0 ? 1 : high * 1.05] },
        },
        axes: [
          {
            ...axis,
            size: 30,
            // Bins have equal widths on screen; the axis tells their edges.
            values: (_, splits) => splits.map((at) => numberText(edges[Math.round(at)] ?? NaN, 2)),
            space: 64,
          },
          {
            ...axis,
            size: 56,
            values: (_, splits) =>
              splits.map((value) => (this.logCounts ? grouped(Math.round(10 ** value - 1)) : shortAxis(value))),
          },
        ],
        series: [
          {},
          { stroke: bar, fill: bar, width: 0, points: { show: false }, ...(bars === undefined ? {} : { paths: bars }) },
        ],
        hooks: {
          setCursor: [
            (plot) => {
              const at =
                plot.cursor.left === undefined || plot.cursor.left < 0
                  ? null
                  : Math.floor(plot.posToVal(plot.cursor.left, 'x'));
              if (at !== this.bin) this.bin = at === null || at >= counts.length ? null : Math.max(0, at);
            },
          ],
        },
      },
      [xs, ys],
      chart,
    );
  }

  private fit(): void {
    const chart = this.shadowRoot?.querySelector('.chart');
    if (this.plot !== null && chart !== null && chart !== undefined && chart.clientWidth > 0)
      this.plot.setSize({ width: chart.clientWidth, height: HEIGHT });
  }

  private pressed(event: KeyboardEvent): void {
    const count = this.histogram?.counts.length ?? 0;
    if (count === 0) return;
    const now = this.bin ?? -1;
    const next =
      event.key === 'ArrowRight'
        ? now + 1
        : event.key === 'ArrowLeft'
          ? now - 1
          : event.key === 'Home'
            ? 0
            : event.key === 'End'
              ? count - 1
              : null;
    if (next === null) return;
    event.preventDefault();
    this.show(Math.max(0, Math.min(count - 1, next)));
  }

  private show(bin: number | null): void {
    this.bin = bin;
    const { plot } = this;
    if (plot === null) return;
    plot.setCursor({ left: bin === null ? -10 : plot.valToPos(bin + 0.5, 'x'), top: bin === null ? -10 : 10 }, false);
  }

  private choose(scale: 'linear' | 'log'): void {
    this.dispatchEvent(new CustomEvent('moe-scale', { detail: scale }));
  }
}

function shortAxis(value: number): string {
  if (value >= 1e9) return `${String(value / 1e9)}B`;
  if (value >= 1e6) return `${String(value / 1e6)}M`;
  if (value >= 1e4) return `${String(value / 1e3)}K`;
  return grouped(value);
}
