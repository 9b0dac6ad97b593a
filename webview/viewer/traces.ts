/** What the experts did when the checkpoint was last evaluated or traced, below what their weights say. */
import { css, html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { errorPageOf } from '../../src/protocol/errors.ts';
import type { Endpoint } from '../../src/protocol/page.ts';
import type { TraceSummary } from '../../src/protocol/results.ts';
import { viewerTraceLayer, viewerTraces } from '../../src/protocol/viewer.ts';
import type { ViewerState } from '../../src/protocol/viewer.ts';
import { visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import { base } from '../parts/styles.ts';
import '../parts/traces.ts';
import { t } from '../strings.ts';
import { command } from './events.ts';

@customElement('moe-viewer-traces')
export class MoeViewerTraces extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: flex;
        flex-direction: column;
        gap: 8px;
        min-width: 0;
        padding-block-start: 14px;
        border-block-start: 1px solid var(--moe-line);
      }
    `,
  ];

  @property({ attribute: false }) viewer: ViewerState | null = null;
  @property({ attribute: false }) endpoint: Endpoint | null = null;
  @state() private traces: TraceSummary | null = null;
  @state() private failure: unknown = null;
  private asked: string | null = null;

  protected override willUpdate(_changed: PropertyValues): void {
    const traced = this.viewer?.traced ?? null;
    if (traced === this.asked) return;
    this.asked = traced;
    this.traces = null;
    if (traced !== null) void this.load(traced);
  }

  private async load(traced: string): Promise<void> {
    try {
      const answer = await this.endpoint?.request(viewerTraces, {});
      if (this.asked === traced) this.traces = answer?.traces ?? null;
      this.failure = null;
    } catch (error) {
      this.failure = error;
    }
  }

  private readonly fetchLayer = (layer: number) =>
    this.endpoint === null
      ? Promise.reject(new Error('not connected'))
      : this.endpoint.request(viewerTraceLayer, { layer });

  override render(): TemplateResult {
    const traced = this.viewer?.traced ?? null;
    const trace = html`<vscode-button
      appearance="secondary"
      ?disabled=${this.viewer?.restricted === true}
      @click=${() => {
        command(this, 'trace');
      }}
      >${traced === null ? t('Trace Experts…') : t('Trace Again…')}</vscode-button
    >`;
    if (traced === null)
      return html`<h2>${t('What the routers do')}</h2>
        <p class="dim">
          ${t('Loads, entropy, pairs of experts and domains are known once a text has been run: evaluate the checkpoint, or trace a text.')}
        </p>
        <div>${trace}</div>`;
    return html`<div class="row">
        <span class="grow break"
          >${t('From')}
          <button
            class="link"
            type="button"
            @click=${() => {
              command(this, 'openResults');
            }}
          >
            ${visible(traced)}
          </button></span
        >
        ${trace}
      </div>
      ${
        this.failure === null
          ? nothing
          : html`<div class="note error" role="alert">
              ${icon('error', 'error')}
              <div class="break">${errorPageOf('', this.failure).message}</div>
            </div>`
      }
      ${
        this.traces === null
          ? html`<moe-progress what=${t('Reading')}></moe-progress>`
          : html`<moe-traces
              .traces=${this.traces}
              .fetch=${this.fetchLayer}
              @moe-export=${(event: CustomEvent<string>) => {
                command(this, 'exportTraces', event.detail);
              }}
            ></moe-traces>`
      }`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-viewer-traces': MoeViewerTraces;
  }
}
