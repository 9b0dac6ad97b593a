/** The control for the prompts of the prompt gates: a box per expert, one prompt a line. Fires `moe-change`. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { RecipeChange, RecipeField } from '../../src/protocol/planning.ts';
import { linesOf, promptBoxes, promptEdit } from '../lib/prompts.ts';
import type { Prompts } from '../lib/prompts.ts';
import { severityIcon } from '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { t } from '../strings.ts';
import { textOf } from '../toolkit.ts';

@customElement('moe-prompts')
export class MoePrompts extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: flex;
        flex-direction: column;
        gap: 8px;
      }
      .expert {
        display: flex;
        flex-direction: column;
        gap: 2px;
      }
      vscode-text-area {
        width: 100%;
      }
      summary {
        cursor: pointer;
      }
      .bad {
        color: var(--vscode-errorForeground, inherit);
        display: flex;
        gap: 6px;
      }
    `,
  ];

  @property({ attribute: false }) field: RecipeField | null = null;
  @state() private wrong = '';

  override render(): TemplateResult | typeof nothing {
    const { field } = this;
    if (field === null) return nothing;
    const boxes = promptBoxes(field);
    return html`${boxes.map((prompts, index) => this.expert(field, prompts, index))}
    ${
      boxes.length === 0
        ? nothing
        : html`<p class="dim">
            ${t('One prompt a line. A line break inside a prompt is written \\n, a backslash before n twice.')}
          </p>`
    }
    ${this.wrong === '' ? nothing : html`<p class="bad" role="alert">${severityIcon('error')}<span>${this.wrong}</span></p>`}`;
  }

  private expert(field: RecipeField, { positive, negative }: Prompts, index: number): TemplateResult {
    const box = (kind: keyof Prompts, label: string, value: readonly string[]): TemplateResult =>
      html`<vscode-text-area
        rows=${Math.min(6, Math.max(2, value.length))}
        resize="vertical"
        aria-label=${label}
        ?disabled=${field.disabled !== null}
        .value=${linesOf(value)}
        @change=${(event: Event) => {
          this.commit(field, index, kind, textOf(event));
        }}
      ></vscode-text-area>`;
    return html`<div class="expert">
      <span class="dim" aria-hidden="true">${t('Expert {0}: answers', index)}</span>
      ${box('positive', t('Prompts that expert {0} answers', index), positive)}
      ${
        positive.length === 0
          ? nothing
          : html`<details ?open=${negative.length > 0}>
              <summary class="dim">${t('and does not answer')}</summary>
              ${box('negative', t('Prompts that expert {0} does not answer', index), negative)}
            </details>`
      }
    </div>`;
  }

  private commit(field: RecipeField, index: number, kind: keyof Prompts, typed: string): void {
    const edit = promptEdit(field, index, kind, typed);
    this.wrong = edit === 'needed' ? t('Expert {0} needs a prompt; only the last one can be taken away', index) : '';
    if (edit !== null && edit !== 'needed')
      this.dispatchEvent(new CustomEvent<RecipeChange>('moe-change', { detail: edit, bubbles: true, composed: true }));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-prompts': MoePrompts;
  }
}
