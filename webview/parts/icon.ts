/** A codicon. Decorative: words beside it say the same. */
import { css, html, LitElement } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { ICONS } from '../lib/icons.ts';
import type { IconName } from '../lib/icons.ts';

@customElement('moe-icon')
export class MoeIcon extends LitElement {
  static override styles = css`
    :host {
      display: inline-flex;
      flex: none;
      width: 16px;
      height: 16px;
      font: normal normal normal 16px/1 codicon;
      text-rendering: auto;
      -webkit-font-smoothing: antialiased;
      user-select: none;
      vertical-align: text-bottom;
    }
    :host([tone='error']) {
      color: var(--vscode-editorError-foreground, #f14c4c);
    }
    :host([tone='warning']) {
      color: var(--vscode-editorWarning-foreground, #cca700);
    }
    :host([tone='info']) {
      color: var(--vscode-editorInfo-foreground, #3794ff);
    }
    :host([tone='ok']) {
      color: var(--vscode-moe-ok, var(--vscode-testing-iconPassed, #388a34));
    }
  `;

  @property() name: IconName = 'info';

  override connectedCallback(): void {
    super.connectedCallback();
    this.setAttribute('aria-hidden', 'true');
  }

  override render(): string {
    return String.fromCodePoint(ICONS[this.name]);
  }
}

export type Tone = 'error' | 'warning' | 'info' | 'ok';

/** An icon, coloured by what it says. */
export function icon(name: IconName, tone: Tone | '' = ''): TemplateResult {
  return tone === '' ? html`<moe-icon name=${name}></moe-icon>` : html`<moe-icon name=${name} tone=${tone}></moe-icon>`;
}
