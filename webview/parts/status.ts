/** Progress, empty and error states. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { ErrorPage, WireProblem } from '../../src/protocol/wire.ts';
import { grouped, visible } from '../lib/format.ts';
import { key, t } from '../strings.ts';
import { icon } from './icon.ts';
import type { Tone } from './icon.ts';
import type { IconName } from '../lib/icons.ts';
import { props } from './props.ts';
import { base } from './styles.ts';

/** A progress bar with words; without `total` it only tells that something goes on. */
@customElement('moe-progress')
export class MoeProgress extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
      }
      .bar {
        height: 4px;
        margin-block: 4px;
        background: var(--vscode-scrollbarSlider-background, rgb(128 128 128 / 30%));
        border: 1px solid var(--vscode-contrastBorder, transparent);
        overflow: hidden;
        border-radius: 2px;
      }
      .fill {
        height: 100%;
        background: var(--vscode-progressBar-background, #0e70c0);
        transition: width 0.2s;
      }
      .unknown .fill {
        width: 30%;
        animation: slide 1.6s ease-in-out infinite;
      }
      @keyframes slide {
        from {
          transform: translateX(-100%);
        }
        to {
          transform: translateX(333%);
        }
      }
    `,
  ];

  @property({ type: Number }) done = 0;
  /** 0: not known. */
  @property({ type: Number }) total = 0;
  @property() what = '';
  /** Words after the bar: "137 of 200". */
  @property() detail = '';

  override render(): TemplateResult {
    const known = this.total > 0;
    const share = known ? Math.min(1, this.done / this.total) : 0;
    return html`<div>
        <span>${this.what}</span>
        ${this.detail === '' ? nothing : html`<span class="dim num"> ${this.detail}</span>`}
      </div>
      <div
        class=${known ? 'bar' : 'bar unknown'}
        role="progressbar"
        aria-label=${this.what === '' ? t('Progress') : this.what}
        aria-valuemin="0"
        aria-valuemax="100"
        aria-valuenow=${known ? String(Math.round(share * 100)) : nothing}
        aria-valuetext=${this.detail === '' ? nothing : this.detail}
      >
        <div class="fill" ${known ? props({ width: `${(share * 100).toFixed(2)}%` }) : nothing}></div>
      </div>`;
  }
}

/** Where there is nothing to show: why, and what can be done. */
export function empty(name: IconName, title: string, about: string, actions: unknown = nothing): TemplateResult {
  return html`<div class="empty">
    <moe-icon name=${name}></moe-icon>
    <h2>${title}</h2>
    <p class="dim">${about}</p>
    ${actions === nothing ? nothing : html`<div class="row">${actions}</div>`}
  </div>`;
}

export const emptyStyles = css`
  .empty {
    display: flex;
    flex-direction: column;
    align-items: center;
    justify-content: center;
    gap: 8px;
    min-height: 160px;
    padding: 32px 16px;
    text-align: center;
  }
  .empty > moe-icon {
    width: 32px;
    height: 32px;
    font-size: 32px;
    color: var(--moe-dim);
  }
  .empty p {
    max-width: 60ch;
  }
`;

/** A failure as a page: what is wrong, where, and what to do. Fires `moe-action` with the id of the chosen action. */
@customElement('moe-error-page')
export class MoeErrorPage extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
        padding: 24px 16px;
      }
      .page {
        max-width: 760px;
        margin-inline: auto;
        display: flex;
        flex-direction: column;
        gap: 14px;
      }
      header {
        display: flex;
        gap: 10px;
        align-items: flex-start;
      }
      header moe-icon {
        width: 24px;
        height: 24px;
        font-size: 24px;
        margin-top: 2px;
      }
      dl {
        display: grid;
        grid-template-columns: max-content minmax(0, 1fr);
        gap: 4px 16px;
        margin: 0;
      }
      dt {
        color: var(--moe-dim);
      }
      dd {
        margin: 0;
        overflow-wrap: anywhere;
      }
      .message {
        overflow-wrap: anywhere;
        white-space: pre-wrap;
      }
    `,
  ];

  @property({ attribute: false }) page: ErrorPage | null = null;

  override render(): TemplateResult | typeof nothing {
    const { page } = this;
    if (page === null) return nothing;
    const place: [string, string][] = [];
    if (page.file !== null) place.push([t('File'), page.file]);
    if (page.tensor !== null) place.push([t('Tensor'), page.tensor]);
    if (page.byte !== null) place.push([t('Byte'), grouped(page.byte)]);
    if (page.field !== null) place.push([t('Field'), page.field]);
    const all = [
      page.title,
      page.message,
      ...place.map(([name, value]) => `${name}: ${value}`),
      page.hint ?? '',
      page.code,
    ];
    return html`<div class="page card" role="alert">
      <header>
        ${icon(page.kind === 'cancelled' ? 'circle-slash' : 'error', page.kind === 'cancelled' ? '' : 'error')}
        <div class="grow">
          <h1 class="break">${visible(page.title)}</h1>
        </div>
      </header>
      <p class="message">${visible(page.message)}</p>
      <dl>
        ${place.map(
          ([name, value]) =>
            html`<dt>${name}</dt>
              <dd class="mono">${visible(value)}</dd>`,
        )}
        <dt>${t('Code')}</dt>
        <dd class="mono">${page.code}</dd>
      </dl>
      ${
        page.hint === null
          ? nothing
          : html`<div class="note">
              ${icon('info', 'info')}
              <div>
                <strong>${t('What to do')}</strong>
                <p class="break">${page.hint}</p>
              </div>
            </div>`
      }
      <div class="row">
        ${page.actions.map(
          (action, at) =>
            html`<vscode-button appearance=${at === 0 ? 'primary' : 'secondary'} @click=${() => this.act(action.id)}
              >${action.label}</vscode-button
            >`,
        )}
        <moe-copy
          .text=${all.filter((line) => line !== '').join('\n')}
          what=${t('this error')}
          label=${t('Copy')}
        ></moe-copy>
      </div>
    </div>`;
  }

  private act(id: string): void {
    this.dispatchEvent(new CustomEvent('moe-action', { detail: id, bubbles: true, composed: true }));
  }
}

const TONES: Readonly<Record<'error' | 'warning' | 'info', readonly [IconName, Tone, string]>> = {
  error: ['error', 'error', key('Error')],
  warning: ['warning', 'warning', key('Warning')],
  info: ['info', 'info', key('Note')],
};

/** The icon of a severity, with its name for screen readers. */
export function severityIcon(severity: 'error' | 'warning' | 'info'): TemplateResult {
  const [name, tone, word] = TONES[severity];
  return html`${icon(name, tone)}<span class="hidden-text">${t(word)}: </span>`;
}

/** A list of problems. Fires `moe-tensor` with a tensor's name where one is named and chosen. */
@customElement('moe-problems')
export class MoeProblems extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
      }
      ul {
        list-style: none;
        margin: 0;
        padding: 0;
        display: flex;
        flex-direction: column;
        gap: 8px;
      }
      li {
        display: flex;
        gap: 8px;
        align-items: flex-start;
      }
      li > div {
        min-width: 0;
      }
    `,
  ];

  @property({ attribute: false }) problems: readonly WireProblem[] = [];
  @property({ type: Number }) more = 0;
  /** Shown at first. */
  @property({ type: Number }) limit = 50;

  override render(): TemplateResult {
    const shown = this.problems.slice(0, this.limit);
    const left = this.problems.length - shown.length;
    return html`<ul role="list">
        ${shown.map(
          (problem) =>
            html`<li>
              ${severityIcon(problem.severity)}
              <div>
                <div class="break">${visible(problem.message)} <span class="dim mono">${problem.code}</span></div>
                ${
                  problem.file === undefined && problem.tensor === undefined
                    ? nothing
                    : html`<div class="dim break">
                        ${visible(problem.file ?? '')}${problem.byte === undefined ? '' : ` · ${t('byte {0}', grouped(problem.byte))}`}
                        ${
                          problem.tensor === undefined
                            ? nothing
                            : html`<button
                                class="link mono"
                                type="button"
                                @click=${() => this.go(problem.tensor ?? '')}
                              >
                                ${visible(problem.tensor)}
                              </button>`
                        }
                      </div>`
                }
                ${problem.hint === undefined ? nothing : html`<div class="break">${problem.hint}</div>`}
              </div>
            </li>`,
        )}
      </ul>
      ${
        left > 0
          ? html`<button class="link" type="button" @click=${() => (this.limit += 200)}>
              ${t('Show {0} more', grouped(Math.min(200, left)))}
            </button>`
          : nothing
      }
      ${this.more > 0 ? html`<p class="dim">${t('{0} further problems are not listed.', grouped(this.more))}</p>` : nothing}`;
  }

  private go(tensor: string): void {
    this.dispatchEvent(new CustomEvent('moe-tensor', { detail: tensor, bubbles: true, composed: true }));
  }
}
