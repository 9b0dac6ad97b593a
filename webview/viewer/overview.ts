/** What a checkpoint is: family, counts, memory, files, problems, metadata. Facts come from headers alone. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { Overview } from '../../src/protocol/checkpoint.ts';
import type { ViewerState } from '../../src/protocol/viewer.ts';
import { bytesText, grouped, plural, visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import { base } from '../parts/styles.ts';
import { t } from '../strings.ts';
import { command } from './events.ts';
import { facts, memory, totals } from './overview-facts.ts';

@customElement('moe-viewer-overview')
export class MoeViewerOverview extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
        padding: 16px;
        container-type: inline-size;
      }
      .page {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
        gap: 16px;
        align-items: start;
        max-width: 1400px;
      }
      .wide {
        grid-column: 1 / -1;
      }
      section {
        min-width: 0;
      }
      section > h2 {
        margin-block-end: 8px;
      }
      .totals {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 150px), 1fr));
        gap: 12px;
      }
      .total strong {
        display: block;
        font-size: 1.6em;
        font-weight: 600;
        font-variant-numeric: tabular-nums;
        line-height: 1.2;
      }
      .facts th {
        width: 38%;
        font-weight: normal;
        color: var(--moe-dim);
      }
      .facts td > div {
        display: flex;
        gap: 6px;
        align-items: flex-start;
      }
      .facts td .grow {
        overflow-wrap: anywhere;
      }
      .scroll {
        max-height: 320px;
      }
      .scroll thead th {
        position: sticky;
        inset-block-start: 0;
        background: var(--vscode-editorWidget-background, var(--vscode-editor-background));
      }
      pre {
        margin: 0;
        white-space: pre-wrap;
        overflow-wrap: anywhere;
      }
      moe-problems + vscode-button {
        margin-block-start: 8px;
      }
      .note {
        margin-block-end: 8px;
      }
      .state {
        white-space: nowrap;
      }
      td.break {
        min-width: 100px;
      }
    `,
  ];

  @property({ attribute: false }) viewer: ViewerState | null = null;
  @state() private filesShown = 100;
  @state() private metadataShown = 50;

  override render(): TemplateResult | typeof nothing {
    const overview = this.viewer?.overview ?? null;
    if (overview === null) return nothing;
    return html`<div class="page">
      <div class="wide row">${this.actions(overview)}</div>
      ${this.notices(overview)}
      <section class="wide card totals" aria-label=${t('Totals')}>${totals(overview, this.unitBase)}</section>
      ${this.problems(overview)}
      <section class="card">
        <h2>${t('Facts')}</h2>
        ${facts(overview, this.unitBase)}
      </section>
      <section class="card">
        <h2>${t('Memory of the weights')}</h2>
        ${memory(overview, this.unitBase)}
      </section>
      ${this.files(overview)} ${this.metadata(overview)} ${this.config(overview)}
    </div>`;
  }

  private get unitBase(): 1000 | 1024 {
    return this.viewer?.settings.unitBase ?? 1000;
  }

  private actions(overview: Overview): TemplateResult {
    const restricted = this.viewer?.restricted === true;
    const button = (name: Parameters<typeof command>[1], label: string, primary = false, off = false): TemplateResult =>
      html`<vscode-button
        appearance=${primary ? 'primary' : 'secondary'}
        ?disabled=${off}
        @click=${() => {
          command(this, name);
        }}
        >${label}</vscode-button
      >`;
    return html`${overview.kind === 'moe' ? nothing : button('upcycle', t('Upcycle to MoE…'), true, restricted)}
      ${button('compare', t('Compare…'))}
      ${overview.upcycled ? html`${button('verify', t('Verify'), false, restricted)}${button('revert', t('Revert to dense…'), false, restricted)}` : nothing}
      ${button('doctor', t('Check health'), false, restricted)}
      <button
        class="tool"
        type="button"
        @click=${() => {
          command(this, 'reveal');
        }}
      >
        ${icon('folder-opened')}${t('Reveal')}
      </button>
      <button
        class="tool"
        type="button"
        @click=${() => {
          command(this, 'reload');
        }}
      >
        ${icon('refresh')}${t('Read again')}
      </button>
      <button
        class="tool"
        type="button"
        @click=${() => {
          command(this, 'copyDiagnostics');
        }}
      >
        ${icon('copy')}${t('Copy diagnostics')}
      </button>`;
  }

  private notices(overview: Overview): TemplateResult {
    return html`${
      this.viewer?.restricted === true
        ? html`<div class="wide note warning">
            ${icon('workspace-untrusted', 'warning')}
            <div>
              ${t('Restricted Mode: viewing works; upcycling, checks and other jobs do not run until you trust this folder.')}
              <button
                class="link"
                type="button"
                @click=${() => {
                  command(this, 'manageTrust');
                }}
              >
                ${t('Manage trust')}
              </button>
            </div>
          </div>`
        : nothing
    }
    ${
      overview.planOnly
        ? html`<div class="wide note">
            ${icon('info', 'info')}
            <div>
              ${t('Only config and index are here, no weight files: it can be looked at and planned with, not read or written from.')}
            </div>
          </div>`
        : nothing
    }`;
  }

  private problems(overview: Overview): TemplateResult {
    const total = overview.problems.length + overview.moreProblems;
    if (total === 0)
      return html`<section class="wide note ok">
        ${icon('pass', 'ok')}
        <div>${t('No problems found in headers, index and config.')}</div>
      </section>`;
    const rebuild = overview.problems.some(({ code }) => code.includes('index') || code.includes('shard'));
    return html`<section class="wide card" aria-labelledby="problems">
      <h2 id="problems">${t('Problems ({0})', grouped(total))}</h2>
      <moe-problems .problems=${overview.problems} more=${overview.moreProblems} limit="20"></moe-problems>
      ${
        rebuild && overview.format !== 'gguf'
          ? html`<vscode-button
              appearance="secondary"
              ?disabled=${this.viewer?.restricted === true}
              @click=${() => {
                command(this, 'rebuildIndex');
              }}
              >${t('Rebuild the index…')}</vscode-button
            >`
          : nothing
      }
    </section>`;
  }

  private files(overview: Overview): TemplateResult {
    const { files } = overview;
    const bad = files.filter(({ state: is }) => is !== 'ok');
    // Bad ones first: they are what one looks for.
    const shown = [...bad, ...files.filter(({ state: is }) => is === 'ok')].slice(0, this.filesShown);
    return html`<section class="card">
      <h2>${t('Files ({0})', grouped(files.length))}</h2>
      ${bad.length > 0 ? html`<div class="note error">${icon('error', 'error')}${t('{0} missing or unreadable', plural(bad.length, t('file')))}</div>` : nothing}
      <div class="scroll" tabindex="0" role="region" aria-label=${t('Files')}>
        <table>
          <thead>
            <tr>
              <th>${t('File')}</th>
              <th class="num">${t('Size')}</th>
              <th>${t('State')}</th>
            </tr>
          </thead>
          <tbody>
            ${shown.map(
              (file) =>
                html`<tr>
                  <td class="break">
                    <button
                      class="link"
                      type="button"
                      @click=${() => {
                        command(this, 'openFile', file.path);
                      }}
                    >
                      ${visible(file.name)}
                    </button>
                  </td>
                  <td class="num">${file.state === 'missing' ? '–' : bytesText(file.bytes, this.unitBase)}</td>
                  <td class="state">
                    ${
                      file.state === 'ok'
                        ? html`${icon('pass', 'ok')} ${t('ok')}`
                        : html`${icon('error', 'error')} ${file.state === 'missing' ? t('missing') : t('unreadable')}`
                    }
                  </td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
      ${
        files.length > shown.length
          ? html`<button class="link" type="button" @click=${() => (this.filesShown += 1000)}>
              ${t('Show more ({0} left)', grouped(files.length - shown.length))}
            </button>`
          : nothing
      }
    </section>`;
  }

  private metadata(overview: Overview): TemplateResult | typeof nothing {
    const { metadata } = overview;
    if (metadata.length === 0) return nothing;
    const shown = metadata.slice(0, this.metadataShown);
    return html`<section class="card">
      <h2>${t('Metadata ({0})', grouped(metadata.length))}</h2>
      <div class="scroll" tabindex="0" role="region" aria-label=${t('Metadata')}>
        <table>
          <tbody>
            ${shown.map(
              ({ key, value, cut }) =>
                html`<tr>
                  <th scope="row" class="break mono">${visible(key)}</th>
                  <td class="break mono">
                    ${visible(value)}${cut ? html` <span class="dim">${t('(shortened)')}</span>` : nothing}
                    <moe-copy .text=${value} .what=${t('the value of {0}', key)}></moe-copy>
                  </td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
      ${
        metadata.length > shown.length
          ? html`<button class="link" type="button" @click=${() => (this.metadataShown += 500)}>
              ${t('Show more ({0} left)', grouped(metadata.length - shown.length))}
            </button>`
          : nothing
      }
    </section>`;
  }

  private config(overview: Overview): TemplateResult | typeof nothing {
    if (overview.config === null) return nothing;
    const text = JSON.stringify(overview.config, null, 2);
    return html`<section class="card">
      <details>
        <summary>${t('Config')}</summary>
        <div class="row">
          <moe-copy .text=${text} what=${t('the config')} label=${t('Copy')}></moe-copy>
          <button
            class="tool"
            type="button"
            @click=${() => {
              command(this, 'openConfig');
            }}
          >
            ${icon('go-to-file')}${t('Open file')}
          </button>
        </div>
        <div class="scroll" tabindex="0" role="region" aria-label=${t('Config')}><pre>${text}</pre></div>
      </details>
    </section>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-viewer-overview': MoeViewerOverview;
  }
}
