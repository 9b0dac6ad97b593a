/** The small heat map of the sidebar: one metric, layers × experts, and the worst offenders as a list. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { metricName } from '../../src/protocol/checkpoint.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import {
  heatmapChanged,
  heatmapCompute,
  heatmapMetric,
  heatmapReady,
  heatmapSelect,
} from '../../src/protocol/heatmap.ts';
import type { HeatmapState } from '../../src/protocol/heatmap.ts';
import { metricTexts } from '../lib/experts.ts';
import { grouped, numberText, visible } from '../lib/format.ts';
import type { Cell } from '../lib/keys.ts';
import { colourDomain } from '../lib/scale.ts';
import { isCancelled } from '../parts/page.ts';
import type { PageContext } from '../parts/page.ts';
import '../parts/heat-map.ts';
import type { CellMark, HeatData } from '../parts/heat-map.ts';
import { icon } from '../parts/icon.ts';
import '../parts/select.ts';
import '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { t } from '../strings.ts';

@customElement('moe-sidebar')
export class MoeSidebar extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
        padding: 6px 12px 12px;
        /* The map comes first and gets what name and choice leave of a low view. */
        --moe-map-height: max(120px, calc(100vh - 108px));
        --moe-map-surface: var(--vscode-sideBar-background, var(--vscode-editor-background));
      }
      main {
        display: flex;
        flex-direction: column;
        gap: 6px;
      }
      h1 {
        font-size: 1em;
        overflow-wrap: anywhere;
      }
      moe-select {
        width: 100%;
      }
      ol {
        list-style: none;
        margin: 0;
        padding: 0;
      }
      ol button {
        appearance: none;
        display: grid;
        grid-template-columns: max-content minmax(0, 1fr) max-content;
        gap: 0 8px;
        width: 100%;
        padding: 3px 4px;
        border: 0;
        border-radius: 3px;
        background: none;
        color: inherit;
        font: inherit;
        text-align: start;
        cursor: pointer;
      }
      .place {
        font-variant-numeric: tabular-nums;
      }
      .why {
        overflow-wrap: break-word;
      }
      @media (max-width: 260px) {
        ol button {
          grid-template-columns: minmax(0, 1fr) max-content;
        }
        .why {
          grid-row: 2;
          grid-column: 1 / -1;
        }
      }
      ol button:hover {
        background: var(--vscode-list-hoverBackground, rgb(128 128 128 / 15%));
      }
      ol button[aria-current='true'] {
        background: var(--vscode-list-inactiveSelectionBackground, rgb(128 128 128 / 25%));
        outline: 1px solid var(--vscode-contrastActiveBorder, transparent);
        outline-offset: -1px;
      }
    `,
  ];

  @property({ attribute: false }) context: PageContext | null = null;
  @state() private heatmap: HeatmapState | null = null;
  @state() private failure: unknown = null;
  @state() private computing = false;
  private aborter: AbortController | null = null;
  private heat: { readonly of: HeatmapState; readonly data: HeatData } | null = null;

  override connectedCallback(): void {
    super.connectedCallback();
    const { context } = this;
    if (context === null) return;
    context.endpoint.on(heatmapChanged, (next) => {
      this.heatmap = next;
    });
    void this.attempt(async () => {
      this.heatmap = await context.endpoint.request(heatmapReady, {});
    });
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    this.failure = null;
    try {
      await action();
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
    }
  }

  private async compute(): Promise<void> {
    const { context } = this;
    if (context === null) return;
    const aborter = new AbortController();
    this.aborter = aborter;
    this.computing = true;
    await this.attempt(async () => {
      await context.endpoint.request(
        heatmapCompute,
        {},
        {
          signal: aborter.signal,
          onProgress: (progress) => {
            if (this.heatmap !== null) this.heatmap = { ...this.heatmap, progress };
          },
        },
      );
    });
    this.computing = false;
    if (this.heatmap !== null && aborter.signal.aborted) this.heatmap = { ...this.heatmap, progress: null };
  }

  private select(layer: number, expert: number): void {
    void this.attempt(async () => {
      await this.context?.endpoint.request(heatmapSelect, { layer, expert });
    });
    if (this.heatmap !== null) this.heatmap = { ...this.heatmap, selected: { layer, expert } };
  }

  override render(): TemplateResult {
    const { heatmap } = this;
    return html`<main>
      ${
        this.failure === null
          ? nothing
          : html`<div class="note error" role="alert">
              ${icon('error', 'error')}
              <div class="break">${errorPageOf('', this.failure).message}</div>
            </div>`
      }
      ${heatmap === null ? (this.failure === null ? html`<moe-progress what=${t('Loading')}></moe-progress>` : nothing) : this.body(heatmap)}
    </main>`;
  }

  private body(heatmap: HeatmapState): TemplateResult {
    if (heatmap.status === 'none' || heatmap.status === 'dense' || heatmap.status === 'failed')
      return html`${heatmap.name === '' ? html`<h1 class="hidden-text">${t('Experts')}</h1>` : html`<h1>${visible(heatmap.name)}</h1>`}
        <p class=${heatmap.status === 'failed' ? 'row' : 'dim'}>
          ${heatmap.status === 'failed' ? icon('error', 'error') : nothing}<span class="break"
            >${visible(heatmap.message)}</span
          >
        </p>`;
    const known = heatmap.min !== null;
    return html`<h1>${visible(heatmap.name)}</h1>
      <moe-select
        quiet
        label=${t('Metric')}
        .choices=${heatmap.metrics.map(({ name, label, about }) => ({ value: name, label, about }))}
        .value=${heatmap.metric}
        @change=${(event: CustomEvent<string>) => {
          const name = metricName.safeParse(event.detail);
          if (name.success)
            void this.attempt(async () => {
              await this.context?.endpoint.request(heatmapMetric, { metric: name.data });
            });
        }}
      ></moe-select>
      ${
        heatmap.progress === null
          ? nothing
          : html`<moe-progress
                what=${heatmap.progress.what}
                done=${heatmap.progress.done}
                total=${heatmap.progress.total}
                detail=${t('{0} of {1}', grouped(heatmap.progress.done), grouped(heatmap.progress.total))}
              ></moe-progress>
              ${this.computing ? html`<div><button class="link" type="button" @click=${() => this.aborter?.abort()}>${t('Cancel')}</button></div>` : nothing}`
      }
      ${
        known || heatmap.progress !== null
          ? nothing
          : html`<p class="dim">${visible(heatmap.message)}</p>
              <vscode-button @click=${() => void this.compute()}>${t('Compute metrics')}</vscode-button>`
      }
      ${known ? this.map(heatmap) : nothing}`;
  }

  private map(heatmap: HeatmapState): TemplateResult {
    const text = metricTexts().find(({ name }) => name === heatmap.metric);
    const { selected } = heatmap;
    const row = selected === null ? -1 : heatmap.layers.indexOf(selected.layer);
    return html`<moe-heat-map
        smallest="1.5"
        largest="18"
        label=${heatmap.summary}
        .data=${this.prepared(heatmap)}
        .chosen=${selected === null || row < 0 ? null : { row, column: selected.expert }}
        .legend=${{ low: text?.low ?? '', high: text?.high ?? '', marks: [] }}
        @moe-cell=${(event: CustomEvent<Cell>) => {
          const layer = heatmap.layers[event.detail.row];
          if (layer !== undefined) this.select(layer, event.detail.column);
        }}
      ></moe-heat-map>
      <p class="dim">${visible(heatmap.summary)}</p>
      ${
        heatmap.worst.length === 0
          ? html`<p>${icon('pass', 'ok')} ${t('No expert stands out.')}</p>`
          : html`<section>
              <h2>${t('Worst first')}</h2>
              <ol role="list">
                ${heatmap.worst.map(
                  (each) =>
                    html`<li>
                      <button
                        type="button"
                        aria-current=${selected?.layer === each.layer && selected.expert === each.expert ? 'true' : nothing}
                        @click=${() => {
                          this.select(each.layer, each.expert);
                        }}
                      >
                        <span class="place">L${each.layer} E${each.expert}</span
                        ><span class="why">${visible(each.why)}</span
                        ><span class="num">${each.value === null ? '' : numberText(each.value)}</span>
                      </button>
                    </li>`,
                )}
              </ol>
            </section>`
      }`;
  }

  private prepared(heatmap: HeatmapState): HeatData {
    if (this.heat?.of === heatmap) return this.heat.data;
    const why = new Map(heatmap.worst.map((each) => [`${String(each.layer)}:${String(each.expert)}`, each.why]));
    const label = heatmap.metrics.find(({ name }) => name === heatmap.metric)?.label ?? heatmap.metric;
    const whyAt = (row: number, column: number): string =>
      why.get(`${String(heatmap.layers[row] ?? '')}:${String(column)}`) ?? '';
    const domain = colourDomain(heatmap.values, (at) =>
      why.has(`${String(heatmap.layers[Math.floor(at / heatmap.experts)] ?? '')}:${String(at % heatmap.experts)}`),
    );
    const data: HeatData = {
      rows: heatmap.layers.map((layer) => `L${String(layer)}`),
      columns: Array.from({ length: heatmap.experts }, (_, at) => String(at)),
      values: heatmap.values,
      ...domain,
      describe: (row, column) => {
        const value = heatmap.values[row * heatmap.experts + column] ?? NaN;
        const words = [
          t('Layer {0}, expert {1}', heatmap.layers[row] ?? 0, column),
          `${label}: ${Number.isNaN(value) ? t('not known') : numberText(value)}`,
        ];
        const reason = whyAt(row, column);
        if (reason !== '') words.push(visible(reason));
        return words.join('\n');
      },
      mark: (row, column): CellMark => (whyAt(row, column) === '' ? '' : '◆'),
    };
    this.heat = { of: heatmap, data };
    return data;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-sidebar': MoeSidebar;
  }
}
