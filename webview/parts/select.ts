/** A native select in the editor's colours, with its label. Its list is never cut off by a scrolling pane. */
import { css, html, LitElement } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { base } from './styles.ts';

export interface Choice {
  readonly value: string;
  readonly label: string;
  readonly about?: string | null;
}

/** Fires `change` (bubbling) with `detail` the chosen value. */
@customElement('moe-select')
export class MoeSelect extends LitElement {
  static override shadowRootOptions: ShadowRootInit = { ...LitElement.shadowRootOptions, delegatesFocus: true };
  static override styles = [
    base,
    css`
      :host {
        display: inline-block;
        min-width: 0;
        max-width: 100%;
      }
      label {
        display: inline-flex;
        gap: 6px;
        align-items: center;
        max-width: 100%;
      }
      select {
        min-width: 0;
        max-width: 100%;
        width: 100%;
        height: 26px;
        padding: 0 4px;
        font: inherit;
        color: var(--vscode-dropdown-foreground, inherit);
        background: var(--vscode-dropdown-background, transparent);
        border: 1px solid var(--vscode-contrastBorder, var(--vscode-dropdown-border, var(--moe-line)));
        border-radius: 2px;
      }
      select:focus-visible {
        outline-offset: -1px;
      }
      select:disabled {
        opacity: 0.6;
      }
      option {
        color: var(--vscode-dropdown-foreground, inherit);
        background: var(--vscode-dropdown-listBackground, var(--vscode-dropdown-background, transparent));
      }
    `,
  ];

  @property() label = '';
  /** The label is for screen readers only. */
  @property({ type: Boolean }) quiet = false;
  @property({ attribute: false }) choices: readonly Choice[] = [];
  @property() value = '';
  @property({ type: Boolean }) disabled = false;
  @property() describedby = '';

  override render(): TemplateResult {
    return html`<label>
      <span class=${this.quiet ? 'hidden-text' : 'dim'}>${this.label}</span>
      <select ?disabled=${this.disabled} @change=${this.changed}>
        ${this.choices.map(
          ({ value, label, about }) =>
            html`<option value=${value} title=${about ?? ''} .selected=${value === this.value}>${label}</option>`,
        )}
      </select>
    </label>`;
  }

  private changed(event: Event): void {
    if (!(event.target instanceof HTMLSelectElement)) return;
    this.value = event.target.value;
    this.dispatchEvent(new CustomEvent('change', { detail: this.value, bubbles: true }));
  }
}
