/** One tensor: facts, problems, statistics with histogram, first values, copy and export. */
import { css, html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { BytesProgress, TensorFacts, TensorStats } from '../../src/protocol/checkpoint.ts';
import type { Endpoint } from '../../src/protocol/page.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { viewerExportNpy, viewerStats, viewerTensor } from '../../src/protocol/viewer.ts';
import type { ViewerState } from '../../src/protocol/viewer.ts';
import { bytesLong, bytesText, grouped, shapeText, visible } from '../lib/format.ts';
import { isCancelled } from '../parts/page.ts';
import { icon } from '../parts/icon.ts';
import { base } from '../parts/styles.ts';
import { t } from '../strings.ts';
import { command, say } from './events.ts';
import { statistics } from './tensor-statistics.ts';

const FIRST = 64;

@customElement('moe-viewer-inspector')
export class MoeViewerInspector extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
      }
      article {
        display: flex;
        flex-direction: column;
        gap: 12px;
        height: 100%;
        overflow: auto;
        padding: 10px 12px;
        border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
        border-radius: 3px;
      }
      header {
        display: flex;
        gap: 6px;
        align-items: flex-start;
      }
      h2 {
        overflow-wrap: anywhere;
      }
      .facts th {
        font-weight: normal;
        color: var(--moe-dim);
        width: 34%;
      }
      .facts td {
        overflow-wrap: anywhere;
        font-variant-numeric: tabular-nums;
      }
      .facts moe-copy {
        float: inline-end;
      }
      .stats {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(min(100%, 116px), 1fr));
        gap: 6px 12px;
        margin: 0;
      }
      .stats > div {
        min-width: 0;
      }
      .stats dt {
        color: var(--moe-dim);
      }
      .stats dd {
        margin: 0;
        font-variant-numeric: tabular-nums;
        overflow-wrap: anywhere;
      }
      .stats .bad dd {
        font-weight: 600;
      }
      .values {
        max-height: 150px;
        font-variant-numeric: tabular-nums;
        border: 1px solid var(--moe-line);
        padding: 6px 8px;
        margin: 0;
        white-space: pre-wrap;
        overflow: auto;
      }
      pre.python {
        margin: 4px 0 0;
        padding: 6px 8px;
        max-height: 140px;
        overflow: auto;
        border: 1px solid var(--moe-line);
        white-space: pre-wrap;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) endpoint: Endpoint | null = null;
  @property({ attribute: false }) viewer: ViewerState | null = null;
  @property({ attribute: false }) tensor: string | null = null;
  @property() scale: 'linear' | 'log' = 'linear';
  /** Pixels; 0: as wide as there is room. */
  @property({ type: Number }) width = 0;
  @state() private facts: TensorFacts | null = null;
  @state() private stats: TensorStats | null = null;
  @state() private progress: BytesProgress | null = null;
  @state() private working: 'stats' | 'export' | null = null;
  @state() private failure: unknown = null;
  @state() private factsFailure: unknown = null;
  private aborter: AbortController | null = null;
  private shown = '';

  override focus(): void {
    this.shadowRoot?.querySelector('article')?.focus();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.aborter?.abort();
    this.shown = '';
  }

  protected override willUpdate(changed: PropertyValues): void {
    const asked = JSON.stringify([this.tensor, this.viewer?.generation]);
    if (asked !== this.shown) {
      this.shown = asked;
      this.aborter?.abort();
      this.facts = null;
      this.factsFailure = null;
      this.stats = null;
      this.failure = null;
      this.working = null;
      if (this.tensor !== null) void this.load(this.tensor);
    } else if (changed.has('scale') && this.stats !== null && this.stats.histogram?.scale !== this.scale)
      void this.compute();
  }

  protected override updated(changed: PropertyValues): void {
    if (!changed.has('width')) return;
    if (this.width > 0) this.style.setProperty('width', `${String(this.width)}px`);
    else this.style.removeProperty('width');
  }

  private async load(tensor: string): Promise<void> {
    const { endpoint } = this;
    if (endpoint === null) return;
    const aborter = new AbortController();
    this.aborter = aborter;
    try {
      const facts = await endpoint.request(viewerTensor, { tensor }, { signal: aborter.signal });
      if (aborter.signal.aborted) return;
      this.facts = facts;
      if (facts.statsUnavailable === null && this.viewer?.settings.autoStats === true) await this.compute();
    } catch (error) {
      if (!isCancelled(error)) this.factsFailure = error;
    }
  }

  private async compute(): Promise<void> {
    const { endpoint, tensor } = this;
    if (endpoint === null || tensor === null) return;
    this.aborter?.abort();
    const aborter = new AbortController();
    this.aborter = aborter;
    this.working = 'stats';
    this.failure = null;
    this.progress = null;
    try {
      const stats = await endpoint.request(
        viewerStats,
        { tensor, bins: this.viewer?.settings.bins ?? 64, scale: this.scale, first: FIRST },
        {
          signal: aborter.signal,
          onProgress: (progress) => {
            if (!aborter.signal.aborted) this.progress = progress;
          },
        },
      );
      if (aborter.signal.aborted) return;
      this.stats = stats;
      say(this, t('Statistics of {0} are there', tensor));
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
    } finally {
      if (this.aborter === aborter) this.working = null;
    }
  }

  private async export(): Promise<void> {
    const { endpoint, tensor } = this;
    if (endpoint === null || tensor === null) return;
    this.aborter?.abort();
    const aborter = new AbortController();
    this.aborter = aborter;
    this.working = 'export';
    this.failure = null;
    this.progress = null;
    try {
      const { saved } = await endpoint.request(
        viewerExportNpy,
        { tensor },
        { signal: aborter.signal, onProgress: (progress) => (this.progress = progress) },
      );
      if (saved !== null) say(this, t('Saved {0}, {1}', saved.path, this.bytes(saved.bytes)));
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
    } finally {
      if (this.aborter === aborter) this.working = null;
    }
  }

  private bytes(bytes: number): string {
    return bytesText(bytes, this.viewer?.settings.unitBase ?? 1000);
  }

  override render(): TemplateResult | typeof nothing {
    const { tensor, facts } = this;
    if (tensor === null) return nothing;
    return html`<article aria-label=${t('Inspector of {0}', tensor)} tabindex="0" @keydown=${this.pressed}>
      <header>
        <h2 class="grow mono">${visible(tensor)}</h2>
        <moe-copy .text=${tensor} what=${t('the tensor’s name')}></moe-copy>
        <button class="tool" type="button" title=${t('Close the inspector')} @click=${this.close}>
          ${icon('close')}<span class="hidden-text">${t('Close the inspector')}</span>
        </button>
      </header>
      ${this.factsFailure === null ? nothing : this.failed(this.factsFailure)}
      ${
        facts === null
          ? this.factsFailure === null
            ? html`<moe-progress what=${t('Reading the header')}></moe-progress>`
            : nothing
          : html`${facts.problems.length > 0 ? html`<moe-problems .problems=${facts.problems}></moe-problems>` : nothing}
            ${this.factTable(facts)} ${this.actions(facts)} ${this.statistics(facts)} ${this.python(facts)}`
      }
    </article>`;
  }

  private factTable(facts: TensorFacts): TemplateResult {
    const rows: (readonly [string, string, string])[] = [
      [t('Type'), facts.dtype, facts.dtype],
      [t('Shape'), shapeText(facts.shape), `[${facts.shape.join(', ')}]`],
      [t('Elements'), grouped(facts.elements), String(facts.elements)],
      [t('Size'), bytesLong(facts.bytes, this.viewer?.settings.unitBase ?? 1000), String(facts.bytes)],
      [t('File'), visible(facts.file), facts.path],
      [
        t('Offset'),
        facts.begin === null ? t('not known') : t('byte {0}', grouped(facts.begin)),
        facts.begin === null ? '' : String(facts.begin),
      ],
    ];
    if (facts.role !== null) rows.push([t('Role'), facts.role, facts.role]);
    if (facts.layer !== null) rows.push([t('Layer'), String(facts.layer), String(facts.layer)]);
    if (facts.expert !== null)
      rows.push([
        t('Expert'),
        facts.expert === 'packed' ? t('all, packed') : String(facts.expert),
        String(facts.expert),
      ]);
    if (facts.alias !== null) rows.push([t('Hugging Face name'), visible(facts.alias), facts.alias]);
    return html`<table class="facts">
      <tbody>
        ${rows.map(
          ([label, value, exact]) =>
            html`<tr>
              <th scope="row">${label}</th>
              <td>${exact === '' ? nothing : html`<moe-copy .text=${exact} what=${label}></moe-copy>`}${value}</td>
            </tr>`,
        )}
      </tbody>
    </table>`;
  }

  private actions(facts: TensorFacts): TemplateResult {
    const off = facts.statsUnavailable !== null;
    return html`<div class="row">
      ${
        this.stats === null && this.working !== 'stats'
          ? html`<vscode-button ?disabled=${off} @click=${() => void this.compute()}
              >${t('Compute statistics')}</vscode-button
            >`
          : nothing
      }
      <vscode-button
        appearance="secondary"
        @click=${() => {
          command(this, 'copyPython', facts.name);
        }}
        >${t('Copy as Python')}</vscode-button
      >
      <vscode-button appearance="secondary" ?disabled=${off || this.working !== null} @click=${() => void this.export()}
        >${t('Export .npy…')}</vscode-button
      >
    </div>`;
  }

  private statistics(facts: TensorFacts): TemplateResult {
    const { stats } = this;
    if (facts.statsUnavailable !== null)
      return html`<div class="note">
        ${icon('info', 'info')}
        <div class="break">${facts.statsUnavailable}</div>
      </div>`;
    return html`${
      this.working === null
        ? nothing
        : html`<div>
            <moe-progress
              what=${this.progress?.what ?? (this.working === 'stats' ? t('Reading values') : t('Exporting'))}
              done=${this.progress?.bytesDone ?? 0}
              total=${this.progress?.bytesTotal ?? 0}
              detail=${
                this.progress === null
                  ? ''
                  : t('{0} of {1}', this.bytes(this.progress.bytesDone), this.bytes(this.progress.bytesTotal))
              }
            ></moe-progress>
            <button class="link" type="button" @click=${() => this.aborter?.abort()}>${t('Cancel')}</button>
          </div>`
    }
    ${this.failure === null ? nothing : this.failed(this.failure)}
    ${
      stats === null
        ? nothing
        : statistics(stats, {
            unitBase: this.viewer?.settings.unitBase ?? 1000,
            scale: this.scale,
            rescale: (scale) => {
              this.dispatchEvent(new CustomEvent('moe-scale', { detail: scale }));
            },
          })
    }`;
  }

  private failed(error: unknown): TemplateResult {
    const { message, hint } = errorPageOf('', error);
    return html`<div class="note error" role="alert">
      ${icon('error', 'error')}
      <div class="break">${message}${hint === null ? nothing : html`<br />${hint}`}</div>
    </div>`;
  }

  private python(facts: TensorFacts): TemplateResult {
    return html`<details>
      <summary>${t('In Python')}</summary>
      <pre class="python" tabindex="0" role="region" aria-label=${t('In Python')}>${facts.python}</pre>
    </details>`;
  }

  private readonly pressed = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape') return;
    event.preventDefault();
    this.close();
  };

  private readonly close = (): void => {
    this.dispatchEvent(new CustomEvent('moe-close'));
  };
}
