/** What the routers did with some text, layer by layer: load, importance, entropy, pairs of experts, domains, tokens. */
import { css, html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { errorPageOf } from '../../src/protocol/errors.ts';
import type { LayerTraces, TraceLayer, TraceSummary } from '../../src/protocol/results.ts';
import { grouped, numberText, shareText, visible } from '../lib/format.ts';
import type { Cell } from '../lib/keys.ts';
import { colourDomain } from '../lib/scale.ts';
import { definitionOf, drops, loadText, traceMetrics, traceText } from '../lib/traces.ts';
import type { TraceMetric } from '../lib/traces.ts';
import { t } from '../strings.ts';
import './bars.ts';
import type { Bar } from './bars.ts';
import './heat-map.ts';
import type { CellMark, HeatData } from './heat-map.ts';
import { icon } from './icon.ts';
import './select.ts';
import './status.ts';
import { base } from './styles.ts';

/** Fires `moe-export` with `json` or `csv`. */
@customElement('moe-traces')
export class MoeTraces extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: flex;
        flex-direction: column;
        gap: 18px;
        min-width: 0;
      }
      section {
        display: flex;
        flex-direction: column;
        gap: 6px;
        min-width: 0;
      }
      .side {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr));
        gap: 18px;
      }
      dl {
        display: grid;
        grid-template-columns: max-content minmax(0, 1fr);
        gap: 2px 12px;
        margin: 0;
      }
      dd {
        margin: 0;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) traces: TraceSummary | null = null;
  /** Gets one layer's details. */
  @property({ attribute: false }) fetch: ((layer: number) => Promise<LayerTraces>) | null = null;
  @state() private metric: TraceMetric = 'load';
  @state() private table = false;
  @state() private layer: number | null = null;
  @state() private chosen: Cell | null = null;
  @state() private details: LayerTraces | null = null;
  @state() private failure: unknown = null;
  private heat: { readonly of: TraceSummary; readonly metric: TraceMetric; readonly data: HeatData } | null = null;

  protected override willUpdate(changed: PropertyValues): void {
    const { traces } = this;
    if (traces === null) return;
    if (changed.has('traces')) {
      this.details = null;
      if (!traces.layers.some(({ layer }) => layer === this.layer)) this.layer = traces.layers[0]?.layer ?? null;
    }
    if (this.layer !== null && this.details?.layer !== this.layer) void this.getLayer(this.layer);
  }

  private asked: string = '';
  private async getLayer(layer: number): Promise<void> {
    const { fetch, traces } = this;
    const key = String(layer);
    if (fetch === null || (this.asked === key && this.details !== null)) return;
    if (this.asked === key && this.failure !== null) return;
    this.asked = key;
    try {
      const details = await fetch(layer);
      if (this.layer === layer && this.traces === traces) this.details = details;
      this.failure = null;
    } catch (error) {
      if (this.layer === layer) this.failure = error;
    }
  }

  override render(): TemplateResult | typeof nothing {
    const { traces } = this;
    if (traces === null) return nothing;
    const layer = traces.layers.find((one) => one.layer === this.layer) ?? null;
    return html`<section aria-label=${t('Load of the experts')}>
        <div class="row">
          <h2 class="grow">${t('What the routers did')}</h2>
          <button class="tool" type="button" @click=${() => this.ask('json')}>
            ${icon('export')}${t('Export JSON…')}
          </button>
          <button class="tool" type="button" @click=${() => this.ask('csv')}>
            ${icon('export')}${t('Export CSV…')}
          </button>
        </div>
        <p>${traceText(traces)}</p>
        ${traces.without === null ? nothing : html`<p class="note warning">${icon('warning', 'warning')}<span>${t('Not in these statistics: {0}.', visible(traces.without))}</span></p>`}
        ${this.map(traces)}
      </section>
      <section aria-label=${t('Entropy by layer')}>${this.entropy(traces)}</section>
      ${layer === null ? nothing : this.layerPart(traces, layer)}
      <details>
        <summary>${t('Definitions')}</summary>
        <dl>
          ${traces.definitions.map(
            ({ name, text }) =>
              html`<dt class="mono">${visible(name)}</dt>
                <dd>${visible(text)}</dd>`,
          )}
        </dl>
      </details>`;
  }

  private ask(format: 'json' | 'csv'): void {
    this.dispatchEvent(new CustomEvent('moe-export', { detail: format, bubbles: true, composed: true }));
  }

  private map(traces: TraceSummary): TemplateResult {
    const metrics = traceMetrics();
    const known = metrics.find(({ name }) => name === this.metric);
    const data = this.prepared(traces);
    return html`<div class="row">
        <moe-select
          label=${t('Colour')}
          .choices=${metrics.map(({ name, label, about }) => ({ value: name, label, about }))}
          .value=${this.metric}
          @change=${(event: CustomEvent<string>) => {
            const found = metrics.find(({ name }) => name === event.detail);
            if (found !== undefined) this.metric = found.name;
          }}
        ></moe-select>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(this.table)}
          @click=${() => (this.table = !this.table)}
        >
          ${icon('table')}${t('As a table')}
        </button>
      </div>
      <p class="dim">${definitionOf(traces, this.metric)}</p>
      ${
        this.table
          ? loadTable(traces)
          : html`<moe-heat-map
                label=${`${known?.label ?? ''}. ${traceText(traces)}`}
                .data=${data}
                .chosen=${this.chosen}
                .legend=${{
                  low: '',
                  high: '',
                  marks: [
                    ['×', t('dead: no token chose it')],
                    ['◆', t('cold: below a tenth of its share')],
                  ],
                }}
                @moe-cell=${(event: CustomEvent<Cell>) => {
                  this.chosen = event.detail;
                  this.layer = traces.layers[event.detail.row]?.layer ?? this.layer;
                }}
              ></moe-heat-map>
              ${this.chosen === null ? html`<p class="dim">${t('Choose a cell to see its layer below.')}</p>` : html`<p>${data.describe(this.chosen.row, this.chosen.column).split('\n').join(' · ')}</p>`}`
      }`;
  }

  private prepared(traces: TraceSummary): HeatData {
    if (this.heat?.of === traces && this.heat.metric === this.metric) return this.heat.data;
    const { experts } = traces;
    const values =
      this.metric === 'load' ? traces.load : this.metric === 'importance' ? traces.importance : traces.meanGate;
    const dead = traces.layers.map((layer) => new Set(layer.dead));
    const cold = traces.layers.map((layer) => new Set(layer.cold));
    const data: HeatData = {
      rows: traces.layers.map(({ layer }) => `L${String(layer)}`),
      columns: Array.from({ length: experts }, (_, at) => String(at)),
      values,
      ...colourDomain(values, (at) => dead[Math.floor(at / experts)]?.has(at % experts) === true),
      describe: (row, column) => loadText(traces, row, column),
      mark: (row, column): CellMark =>
        dead[row]?.has(column) === true ? '×' : cold[row]?.has(column) === true ? '◆' : '',
    };
    this.heat = { of: traces, metric: this.metric, data };
    return data;
  }

  private entropy(traces: TraceSummary): TemplateResult {
    const bars: Bar[] = traces.layers.map(({ layer, routerEntropy, loadEntropy }) => ({
      label: t('Layer {0}', layer),
      group: '',
      value: routerEntropy ?? 0,
      low: null,
      high: null,
      text: t(
        'router {0}, load {1}',
        routerEntropy === null ? t('unknown') : routerEntropy.toFixed(3),
        loadEntropy === null ? t('unknown') : loadEntropy.toFixed(3),
      ),
    }));
    return html`<h2>${t('Entropy by layer')}</h2>
      <p class="dim">
        ${t('Bars: entropy of the router, 0 decided to 1 undecided. Beside them the entropy of the load: 1 is balanced.')}
      </p>
      <moe-bars label=${t('Entropy of the router by layer')} .bars=${bars} most="1"></moe-bars>`;
  }

  private layerPart(traces: TraceSummary, layer: TraceLayer): TemplateResult {
    return html`<section aria-label=${t('One layer')}>
      <div class="row">
        <h2>${t('Layer {0}', layer.layer)}</h2>
        <moe-select
          quiet
          label=${t('Layer')}
          .choices=${traces.layers.map((one) => ({ value: String(one.layer), label: t('Layer {0}', one.layer) }))}
          .value=${String(layer.layer)}
          @change=${(event: CustomEvent<string>) => {
            this.layer = Number(event.detail);
            this.chosen = null;
          }}
        ></moe-select>
      </div>
      ${drops(layer).map((line) => html`<p class="dim">${line}</p>`)}
      ${
        this.failure !== null
          ? html`<p class="note error" role="alert">
              ${icon('error', 'error')}<span class="break">${errorPageOf('', this.failure).message}</span>
            </p>`
          : this.details?.layer === layer.layer
            ? this.layerDetails(traces, this.details)
            : html`<moe-progress what=${t('Reading')}></moe-progress>`
      }
    </section>`;
  }

  private layerDetails(traces: TraceSummary, details: LayerTraces): TemplateResult {
    const names = Array.from({ length: traces.experts }, (_, at) => String(at));
    const pairs: HeatData = {
      rows: names.map((name) => `E${name}`),
      columns: names,
      values: details.coactivation,
      ...colourDomain(details.coactivation, (at) => Math.floor(at / traces.experts) === at % traces.experts),
      describe: (row, column) => pairText(details.coactivation[row * traces.experts + column] ?? NaN, row, column),
    };
    const shares: HeatData = {
      rows: traces.domains.map(({ name }) => visible(name)),
      columns: names,
      values: details.domains,
      ...colourDomain(details.domains, () => false),
      describe: (row, column) => {
        const share = details.domains[row * traces.experts + column] ?? NaN;
        const { name, tokens } = traces.domains[row] ?? { name: '', tokens: 0 };
        return [
          t('{0}, expert {1}', visible(name), column),
          Number.isNaN(share) ? t('no tokens') : t('chosen by {0} of its tokens', shareText(share, 1)),
          t('{0} tokens', grouped(tokens)),
        ].join('\n');
      },
    };
    const domainsLabel = t('Share by domain');
    return html`<div class="side">
      <section aria-label=${t('Pairs of experts')}>
        <h3>${t('Chosen together')}</h3>
        <p class="dim">${t('Of the tokens that chose the row’s expert, the share that chose the column’s too.')}</p>
        ${
          traces.topK < 2
            ? html`<p>${t('Each token chooses one expert: there are no pairs.')}</p>`
            : html`<moe-heat-map
                square
                label=${t('Chosen together')}
                .data=${pairs}
                .legend=${{ low: '', high: '', marks: [] }}
              ></moe-heat-map>`
        }
      </section>
      <section aria-label=${domainsLabel}>
        <h3>${domainsLabel}</h3>
        <p class="dim">
          ${t('Of a domain’s tokens, the share that chose the expert. Even: {0}.', shareText(traces.topK, traces.experts))}
        </p>
        ${
          traces.domains.length === 0
            ? html`<p>${t('No domains were named.')}</p>`
            : html`<moe-heat-map
                label=${domainsLabel}
                .data=${shares}
                .legend=${{ low: '', high: '', marks: [] }}
              ></moe-heat-map>`
        }
      </section>
      <section aria-label=${t('Tokens of one expert')}>
        <h3>${t('Tokens that go to one expert first')}</h3>
        ${
          details.vocabulary.length === 0
            ? html`<p class="dim">${t('No token came often enough to tell.')}</p>`
            : html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Tokens that go to one expert first')}>
                <table>
                  <thead>
                    <tr>
                      <th scope="col">${t('Token')}</th>
                      <th scope="col" class="num">${t('Expert')}</th>
                      <th scope="col" class="num">${t('Share')}</th>
                      <th scope="col" class="num">${t('Times')}</th>
                    </tr>
                  </thead>
                  <tbody>
                    ${details.vocabulary.map(
                      ({ token, expert, share, occurrences }) =>
                        html`<tr>
                          <td class="mono break">${visible(JSON.stringify(token).slice(1, -1))}</td>
                          <td class="num">${expert}</td>
                          <td class="num">${shareText(share, 1)}</td>
                          <td class="num">${grouped(occurrences)}</td>
                        </tr>`,
                    )}
                  </tbody>
                </table>
              </div>`
        }
      </section>
    </div>`;
  }
}

function pairText(share: number, row: number, column: number): string {
  if (row === column) return t('Expert {0} with itself', row);
  const head = t('Expert {0}, and with it {1}', row, column);
  return `${head}\n${Number.isNaN(share) ? t('never chosen') : shareText(share, 1)}`;
}

/** All layers and experts in numbers: what the map shows in colours. */
function loadTable(traces: TraceSummary): TemplateResult {
  const { experts } = traces;
  const columns = Array.from({ length: experts }, (_, at) => at);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Load by layer and expert')}>
    <table>
      <caption>
        ${t('Load: share of all choices')}
      </caption>
      <thead>
        <tr>
          <th scope="col">${t('Layer')}</th>
          <th scope="col" class="num">MaxVio</th>
          ${columns.map((expert) => html`<th scope="col" class="num">${expert}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${traces.layers.map(
          ({ layer, maxVio }, row) =>
            html`<tr>
              <th scope="row">${layer}</th>
              <td class="num">${maxVio === null ? '–' : numberText(maxVio)}</td>
              ${columns.map((expert) => html`<td class="num">${shareText(traces.load[row * experts + expert] ?? 0, 1)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-traces': MoeTraces;
  }
}
