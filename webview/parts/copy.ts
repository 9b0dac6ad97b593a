/** A button that copies an exact text, and says that it did. The page's host puts it on the clipboard. */
import { css, html, LitElement } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { t } from '../strings.ts';
import { icon } from './icon.ts';
import { base } from './styles.ts';

/** What a `moe-copy` event carries: the page's root sends it to the host. */
export interface CopyDetail {
  readonly text: string;
  readonly what: string;
}

@customElement('moe-copy')
export class MoeCopy extends LitElement {
  static override shadowRootOptions: ShadowRootInit = { ...LitElement.shadowRootOptions, delegatesFocus: true };
  static override styles = [
    base,
    css`
      :host {
        display: inline-flex;
        vertical-align: middle;
      }
      .tool {
        min-width: 22px;
        min-height: 22px;
        padding: 1px 3px;
      }
    `,
  ];

  /** What is copied. */
  @property() text = '';
  /** What it is, for the button's name: "the exact value of parameters". */
  @property() what = '';
  /** Words beside the icon. */
  @property() label = '';
  @state() private done = false;

  override render(): TemplateResult {
    const name = t('Copy {0}', this.what);
    return html`<button class="tool" type="button" title=${name} aria-label=${name} @click=${this.copy}>
      ${icon(this.done ? 'check' : 'copy')}${this.label === '' ? '' : html`<span>${this.label}</span>`}
    </button>`;
  }

  private copy(event: Event): void {
    event.stopPropagation();
    copyText(this, this.text, this.what);
    this.done = true;
    setTimeout(() => (this.done = false), 1500);
  }
}

/** Asks the page to copy a text. */
export function copyText(from: EventTarget, text: string, what: string): void {
  from.dispatchEvent(
    new CustomEvent<CopyDetail>('moe-copy', { detail: { text, what }, bubbles: true, composed: true }),
  );
}
