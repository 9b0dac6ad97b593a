/**
 * The router lab: runs a text through the dense model and shows, for each way of starting the router, what it would do. Fires
 * `moe-use-init` with the name of a start.
 */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { plannerLab } from '../../src/protocol/lab.ts';
import type { LabReportView, LabResultView } from '../../src/protocol/lab.ts';
import type { Endpoint } from '../../src/protocol/page.ts';
import { plannerPick } from '../../src/protocol/planner.ts';
import type { StepProgress } from '../../src/protocol/wire.ts';
import { grouped, visible } from '../lib/format.ts';
import {
  conditionText,
  deadOf,
  decimals,
  dropShare,
  FACTORS,
  labCell,
  labLine,
  meanOf,
  percent,
  startName,
  worstCondition,
} from '../lib/lab.ts';
import { colourDomain } from '../lib/scale.ts';
import '../parts/heat-map.ts';
import type { CellMark, HeatData } from '../parts/heat-map.ts';
import { icon } from '../parts/icon.ts';
import { isCancelled } from '../parts/page.ts';
import '../parts/select.ts';
import '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { t } from '../strings.ts';
import { textOf } from '../toolkit.ts';

type Source = 'builtIn' | 'file' | 'typed';

@customElement('moe-router-lab')
export class MoeRouterLab extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: flex;
        flex-direction: column;
        gap: 8px;
        min-width: 0;
      }
      :host(.flash) {
        outline: 2px solid var(--vscode-focusBorder, currentColor);
        outline-offset: 2px;
      }
      vscode-text-area {
        width: 100%;
      }
      td .link,
      th .link {
        text-align: start;
      }
      tr:not(.shown) > th {
        font-weight: 400;
      }
      .starts td,
      .starts th {
        white-space: nowrap;
      }
      moe-progress {
        flex: 1 1 200px;
      }
    `,
  ];

  @property({ attribute: false }) endpoint: Endpoint | null = null;
  /** Why nothing can be run; null: it can. */
  @property({ attribute: false }) off: string | null = null;
  /** The recipe's own start. */
  @property() init = '';
  /** The recipe but for its start: a run for another one is old. */
  @property() recipe = '';
  @state() private source: Source = 'builtIn';
  @state() private file: string | null = null;
  @state() private typed = '';
  @state() private report: LabReportView | null = null;
  @state() private of = '';
  @state() private shown = '';
  @state() private table = false;
  @state() private progress: StepProgress | null = null;
  @state() private aborter: AbortController | null = null;
  @state() private failure: unknown = null;
  @state() private said = '';
  private heat: { readonly of: LabResultView; readonly data: HeatData } | null = null;

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.aborter?.abort();
  }

  private async run(): Promise<void> {
    const { endpoint } = this;
    if (endpoint === null || this.aborter !== null) return;
    const aborter = new AbortController();
    this.aborter = aborter;
    this.failure = null;
    this.progress = null;
    const of = this.recipe;
    try {
      this.report = await endpoint.request(
        plannerLab,
        { file: this.source === 'file' ? this.file : null, text: this.source === 'typed' ? this.typed : null },
        {
          signal: aborter.signal,
          onProgress: (step) => {
            this.progress = step;
          },
        },
      );
      this.of = of;
      if (!this.report.results.some(({ init }) => init === this.shown)) this.shown = this.init;
      this.said = t('Router lab: done');
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
      else this.said = t('Router lab: cancelled');
    }
    this.aborter = null;
  }

  private async choose(): Promise<void> {
    try {
      const answer = await this.endpoint?.request(plannerPick, { what: 'text', index: null });
      if (answer === undefined || answer.path === null) return;
      this.file = answer.path;
      this.source = 'file';
    } catch (error) {
      this.failure = error;
    }
  }

  private use(init: string): void {
    this.dispatchEvent(new CustomEvent('moe-use-init', { detail: init, bubbles: true, composed: true }));
  }

  override render(): TemplateResult {
    return html`<h2>${t('Router lab')}</h2>
      <p class="dim">
        ${t('What each way of starting the router would do with a text, before anything is written: the dense model is run, and what its feed-forward networks read meets the rows that the recipe would write.')}
      </p>
      ${this.controls()}
      ${
        this.failure === null
          ? nothing
          : html`<div class="note error" role="alert">
              ${icon('error', 'error')}
              <div class="break">${failureText(this.failure)}</div>
            </div>`
      }
      ${this.report === null ? nothing : this.results(this.report)}
      <div class="hidden-text" role="status" aria-live="polite">${this.said}</div>`;
  }

  private controls(): TemplateResult {
    const running = this.aborter !== null;
    const ready = this.off === null && (this.source !== 'typed' || this.typed.trim() !== '');
    const choices = [
      { value: 'builtIn', label: t('the built-in text') },
      ...(this.file === null ? [] : [{ value: 'file', label: visible(this.file) }]),
      { value: 'typed', label: t('a text typed here') },
    ];
    return html`<div class="row">
        <moe-select
          label=${t('Text')}
          .choices=${choices}
          .value=${this.source}
          ?disabled=${running}
          @change=${(event: CustomEvent<string>) => {
            this.source = event.detail === 'typed' ? 'typed' : event.detail === 'file' ? 'file' : 'builtIn';
          }}
        ></moe-select>
        <vscode-button appearance="secondary" ?disabled=${running} @click=${() => void this.choose()}
          >${t('Choose a file…')}</vscode-button
        >
        ${
          running
            ? html`<moe-progress
                  what=${this.progress?.what ?? t('Starting')}
                  .done=${this.progress?.done ?? 0}
                  .total=${this.progress?.total ?? 0}
                ></moe-progress>
                <vscode-button appearance="secondary" @click=${() => this.aborter?.abort()}
                  >${t('Cancel')}</vscode-button
                >`
            : html`<vscode-button ?disabled=${!ready} title=${this.off ?? ''} @click=${() => void this.run()}
                  >${t('Start')}</vscode-button
                >${this.off === null ? nothing : html`<span class="dim">${this.off}</span>`}`
        }
      </div>
      ${
        this.source === 'typed'
          ? html`<vscode-text-area
              aria-label=${t('Text for the router lab')}
              rows="4"
              resize="vertical"
              .value=${this.typed}
              @input=${(event: Event) => {
                this.typed = textOf(event);
              }}
            ></vscode-text-area>`
          : nothing
      }`;
  }

  private results(report: LabReportView): TemplateResult {
    const old = this.of !== this.recipe;
    const shown = report.results.find(({ init }) => init === this.shown) ?? report.results[0];
    return html`${
        old
          ? html`<div class="note">
              ${icon('info', 'info')}
              <div>${t('The recipe has changed since this run: run it again.')}</div>
            </div>`
          : nothing
      }
      <p>${labLine(report)}</p>
      <div class="scroll" tabindex="0" role="region" aria-label=${t('Ways to start the router')}>
        <table class="starts">
          <thead>
            <tr>
              <th scope="col">${t('Start')}</th>
              <th scope="col">${t('Recipe')}</th>
              <th scope="col" class="num" title=${t('Mean over layers: how far the busiest expert is above its share')}>
                MaxVio
              </th>
              <th scope="col" class="num" title=${t('Mean over layers: 0 decided, 1 undecided')}>${t('Entropy')}</th>
              <th scope="col" class="num" title=${t('Of the rows, in the worst layer')}>${t('Condition')}</th>
              <th scope="col" class="num" title=${t('Tokens whose choice is arbitrary in bfloat16')}>${t('Ties')}</th>
              <th scope="col" class="num" title=${t('Experts that no token chose, over all layers')}>${t('Dead')}</th>
              ${FACTORS.map((factor) => html`<th scope="col" class="num" title=${t('Choices dropped at capacity factor {0} (Megatron), mean over layers', factor)}>${t('Drops ×{0}', factor)}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${report.results.map((result) => this.row(result, result === shown))}
          </tbody>
        </table>
      </div>
      ${report.notes.map((note) => html`<p class="dim break">${visible(note)}</p>`)}
      ${shown === undefined ? nothing : this.one(report, shown)}`;
  }

  private row(result: LabResultView, shown: boolean): TemplateResult {
    const name = startName(result);
    return html`<tr class=${shown ? 'shown' : ''}>
      <th scope="row">
        <button
          class="link"
          type="button"
          aria-pressed=${String(shown)}
          title=${t('Show its loads below')}
          @click=${() => {
            this.shown = result.init;
          }}
        >
          ${name}
        </button>
        ${result.warnings.length === 0 ? nothing : html`<span title=${result.warnings.join('\n')}>${icon('warning', 'warning')}<span class="hidden-text">${t('has warnings')}</span></span>`}
      </th>
      <td>
        ${
          result.init === this.init
            ? html`<span class="dim">${t('in the recipe')}</span>`
            : html`<button
                class="tool"
                type="button"
                aria-label=${t('Use {0} in the recipe', result.init)}
                @click=${() => {
                  this.use(result.init);
                }}
              >
                ${icon('check')}${t('Use')}
              </button>`
        }
      </td>
      <td class="num">${decimals(result.maxVio)}</td>
      <td class="num">${decimals(meanOf(result, ({ routerEntropy }) => routerEntropy))}</td>
      <td class="num">${worstCondition(result)}</td>
      <td class="num">${percent(meanOf(result, ({ bf16TieRate }) => bf16TieRate))}</td>
      <td class="num">${grouped(deadOf(result))}</td>
      ${FACTORS.map((factor) => html`<td class="num">${percent(meanOf(result, (layer) => dropShare(layer, factor)))}</td>`)}
    </tr>`;
  }

  /** One start, layer by layer. */
  private one(report: LabReportView, result: LabResultView): TemplateResult {
    const name = startName(result);
    const label = t('Predicted load with {0}', name);
    return html`<div class="row">
        <h3 class="grow">${label}</h3>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(this.table)}
          @click=${() => (this.table = !this.table)}
        >
          ${icon('table')}${t('As a table')}
        </button>
      </div>
      ${result.warnings.map(
        (warning) =>
          html`<p class="row">${icon('warning', 'warning')}<span class="break">${visible(warning)}</span></p>`,
      )}
      ${
        this.table
          ? layerTable(report, result, label)
          : html`<moe-heat-map
              label=${label}
              .data=${this.prepared(report, result)}
              .legend=${{
                low: '',
                high: '',
                marks: [
                  ['×', t('dead: no token chose it')],
                  ['◆', t('cold: below a tenth of its share')],
                ],
              }}
            ></moe-heat-map>`
      }`;
  }

  private prepared(report: LabReportView, result: LabResultView): HeatData {
    if (this.heat?.of === result) return this.heat.data;
    const { experts } = report;
    const dead = result.layers.map((layer) => new Set(layer.dead));
    const cold = result.layers.map((layer) => new Set(layer.cold));
    const data: HeatData = {
      rows: result.layers.map(({ layer }) => `L${String(layer)}`),
      columns: Array.from({ length: experts }, (_, at) => String(at)),
      values: result.load,
      ...colourDomain(result.load, (at) => dead[Math.floor(at / experts)]?.has(at % experts) === true),
      describe: (row, column) => labCell(report, result, row, column),
      mark: (row, column): CellMark =>
        dead[row]?.has(column) === true ? '×' : cold[row]?.has(column) === true ? '◆' : '',
    };
    this.heat = { of: result, data };
    return data;
  }
}

/** The same as numbers, with what the colours do not show. */
function layerTable(report: LabReportView, result: LabResultView, label: string): TemplateResult {
  const columns = Array.from({ length: report.experts }, (_, at) => at);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table>
      <thead>
        <tr>
          <th scope="col">${t('Layer')}</th>
          <th scope="col" class="num">MaxVio</th>
          <th scope="col" class="num">${t('Entropy')}</th>
          <th scope="col" class="num">${t('Condition')}</th>
          <th scope="col" class="num">${t('Ties')}</th>
          ${FACTORS.map((factor) => html`<th scope="col" class="num">${t('Drops ×{0}', factor)}</th>`)}
          ${columns.map((expert) => html`<th scope="col" class="num">E${expert}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${result.layers.map(
          (layer, row) =>
            html`<tr>
              <th scope="row">${layer.layer}</th>
              <td class="num">${decimals(layer.maxVio)}</td>
              <td class="num">${decimals(layer.routerEntropy)}</td>
              <td class="num">${conditionText(layer)}</td>
              <td class="num">${percent(layer.bf16TieRate)}</td>
              ${FACTORS.map((factor) => html`<td class="num">${percent(dropShare(layer, factor))}</td>`)}
              ${columns.map((expert) => html`<td class="num">${percent(result.load[row * report.experts + expert] ?? null)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function failureText(failure: unknown): string {
  const { message, hint } = errorPageOf('', failure);
  return hint === null ? message : `${message} – ${hint}`;
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-router-lab': MoeRouterLab;
  }
}
