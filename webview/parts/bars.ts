/**
 * A bar chart with one row in focus: arrows move it, and it says its label, value and interval. The numbers stand beside the
 * bars, so that nothing is told by length alone.
 */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { visible } from '../lib/format.ts';
import { clamp } from '../lib/window.ts';
import { t } from '../strings.ts';
import { props } from './props.ts';
import { base } from './styles.ts';

export interface Bar {
  readonly label: string;
  /** Rows of one group stand together under its name; '' has none. */
  readonly group: string;
  readonly value: number;
  /** Ends of an interval; null: none. */
  readonly low: number | null;
  readonly high: number | null;
  readonly text: string;
}

@customElement('moe-bars')
export class MoeBars extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
        min-width: 0;
        container-type: inline-size;
      }
      .group {
        margin-block: 10px 2px;
      }
      .bar {
        display: grid;
        grid-template-columns: minmax(90px, 230px) minmax(60px, 1fr) max-content;
        gap: 8px;
        align-items: center;
        padding: 1px 4px;
        border-radius: 2px;
      }
      @container (max-width: 420px) {
        .bar {
          grid-template-columns: minmax(0, 1fr) max-content;
        }
        .bar .track {
          grid-column: 1 / -1;
          grid-row: 2;
        }
      }
      .bar:focus-visible {
        outline-offset: -1px;
      }
      .label {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .track {
        position: relative;
        height: 12px;
        background: rgb(128 128 128 / 18%);
        border: 1px solid var(--vscode-contrastBorder, transparent);
      }
      .fill {
        position: absolute;
        inset-block: 0;
        inset-inline-start: 0;
        background: var(--vscode-progressBar-background, #0e70c0);
      }
      .range {
        position: absolute;
        inset-block: 4px;
        border: 1px solid var(--vscode-foreground);
        border-block-end: 0;
        border-inline-width: 1px;
      }
      .mark {
        position: absolute;
        inset-block: -2px;
        border-inline-start: 2px dashed var(--vscode-foreground);
      }
    `,
  ];

  @property() label = '';
  @property({ attribute: false }) bars: readonly Bar[] = [];
  /** The end of the scale; it begins at 0. */
  @property({ type: Number }) most = 1;
  /** A line across all bars (chance, balance); null: none. */
  @property({ attribute: false }) mark: { readonly at: number; readonly word: string } | null = null;
  @state() private at = 0;

  override render(): TemplateResult {
    const at = clamp(this.at, 0, Math.max(0, this.bars.length - 1));
    let group = '';
    return html`<div role="list" aria-label=${this.label} @keydown=${this.pressed}>
        ${this.bars.map((bar, index) => {
          const head = bar.group !== group && bar.group !== '';
          group = bar.group;
          return html`${head ? html`<h3 class="group" role="presentation">${visible(bar.group)}</h3>` : nothing}
            <div
              class="bar"
              role="listitem"
              tabindex=${index === at ? '0' : '-1'}
              aria-label=${`${bar.label}: ${bar.text}`}
              title=${`${visible(bar.label)}: ${bar.text}`}
              @focus=${() => (this.at = index)}
            >
              <span class="label" aria-hidden="true">${visible(bar.label)}</span>
              ${this.track(bar)}
              <span class="num" aria-hidden="true">${bar.text}</span>
            </div>`;
        })}
      </div>
      ${
        this.mark === null
          ? nothing
          : html`<p class="dim">
              ${t('Dashed line: {0}.', this.mark.word)}
              ${this.bars.some(({ low }) => low !== null) ? t('Bracket: 95 % interval.') : nothing}
            </p>`
      }`;
  }

  private track({ value, low, high }: Bar): TemplateResult {
    const share = (one: number): number => clamp(this.most <= 0 ? 0 : one / this.most, 0, 1) * 100;
    const percent = (one: number): string => `${share(one).toFixed(2)}%`;
    return html`<span class="track" aria-hidden="true">
      <span class="fill" ${props({ width: percent(value) })}></span>
      ${
        low === null || high === null
          ? nothing
          : html`<span
              class="range"
              ${props({ 'inset-inline-start': percent(low), width: `${(share(high) - share(low)).toFixed(2)}%` })}
            ></span>`
      }
      ${this.mark === null ? nothing : html`<span class="mark" ${props({ 'inset-inline-start': percent(this.mark.at) })}></span>`}
    </span>`;
  }

  private pressed(event: KeyboardEvent): void {
    const last = this.bars.length - 1;
    const to =
      event.key === 'ArrowDown'
        ? this.at + 1
        : event.key === 'ArrowUp'
          ? this.at - 1
          : event.key === 'Home'
            ? 0
            : event.key === 'End'
              ? last
              : event.key === 'PageDown'
                ? this.at + 10
                : event.key === 'PageUp'
                  ? this.at - 10
                  : null;
    if (to === null || last < 0) return;
    event.preventDefault();
    this.at = clamp(to, 0, last);
    void this.updateComplete.then(() => {
      const bar = this.shadowRoot?.querySelectorAll<HTMLElement>('.bar')[this.at];
      bar?.focus();
      bar?.scrollIntoView({ block: 'nearest' });
    });
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-bars': MoeBars;
  }
}
