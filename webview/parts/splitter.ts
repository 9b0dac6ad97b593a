/** A separator between two panes: dragged, or moved by arrow keys. Fires `moe-resize` with the new width of the pane after it. */
import { css, html, LitElement } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { clamp } from '../lib/window.ts';

@customElement('moe-splitter')
export class MoeSplitter extends LitElement {
  static override styles = css`
    :host {
      display: flex;
      flex: none;
      width: 9px;
    }
    div {
      flex: 1;
      margin-inline: 3px;
      cursor: col-resize;
      touch-action: none;
      border-radius: 2px;
    }
    div:hover,
    div:focus-visible {
      background: var(--vscode-sash-hoverBorder, var(--vscode-focusBorder, currentColor));
      outline: none;
    }
  `;

  @property() label = '';
  @property({ type: Number }) value = 0;
  @property({ type: Number }) min = 0;
  @property({ type: Number }) max = 1000;

  override render(): TemplateResult {
    return html`<div
      role="separator"
      tabindex="0"
      aria-orientation="vertical"
      aria-label=${this.label}
      aria-valuenow=${Math.round(this.value)}
      aria-valuemin=${this.min}
      aria-valuemax=${Math.round(this.max)}
      @keydown=${this.pressed}
      @pointerdown=${this.begin}
    ></div>`;
  }

  private pressed(event: KeyboardEvent): void {
    const step = event.shiftKey ? 80 : 20;
    const to =
      event.key === 'ArrowLeft'
        ? this.value + step
        : event.key === 'ArrowRight'
          ? this.value - step
          : event.key === 'Home'
            ? this.max
            : event.key === 'End'
              ? this.min
              : null;
    if (to === null) return;
    event.preventDefault();
    this.set(to);
  }

  private begin(event: PointerEvent): void {
    const { target } = event;
    if (!(target instanceof HTMLElement)) return;
    event.preventDefault();
    target.setPointerCapture(event.pointerId);
    const from = event.clientX;
    const { value } = this;
    const move = (moved: PointerEvent): void => {
      this.set(value + from - moved.clientX);
    };
    const end = (): void => {
      target.removeEventListener('pointermove', move);
      target.removeEventListener('pointerup', end);
      target.removeEventListener('pointercancel', end);
    };
    target.addEventListener('pointermove', move);
    target.addEventListener('pointerup', end);
    target.addEventListener('pointercancel', end);
  }

  private set(value: number): void {
    this.dispatchEvent(new CustomEvent('moe-resize', { detail: clamp(Math.round(value), this.min, this.max) }));
  }
}
