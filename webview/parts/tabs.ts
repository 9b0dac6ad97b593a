/** Tabs: one tab stop, arrows go, the panel follows. Panels are the caller's; ids tie them. */
import { css, html, nothing } from 'lit';
import type { LitElement, TemplateResult } from 'lit';
import { icon } from './icon.ts';
import type { IconName } from '../lib/icons.ts';

export interface Tab {
  readonly id: string;
  readonly label: string;
  readonly icon: IconName;
  /** A number after the label, or ''. */
  readonly badge: string;
}

export const tabStyles = css`
  .tabs {
    display: flex;
    flex-wrap: wrap;
    gap: 0 4px;
    border-block-end: 1px solid var(--vscode-contrastBorder, var(--moe-line));
  }
  .tabs [role='tab'] {
    appearance: none;
    display: inline-flex;
    gap: 6px;
    align-items: center;
    padding: 7px 10px;
    border: 0;
    border-block-end: 2px solid transparent;
    background: none;
    color: var(--vscode-panelTitle-inactiveForeground, var(--moe-dim));
    font: inherit;
    cursor: pointer;
  }
  .tabs [role='tab']:hover {
    color: var(--vscode-panelTitle-activeForeground, var(--vscode-foreground));
  }
  .tabs [role='tab'][aria-selected='true'] {
    color: var(--vscode-panelTitle-activeForeground, var(--vscode-foreground));
    border-block-end-color: var(--vscode-panelTitle-activeBorder, var(--vscode-focusBorder, currentColor));
  }
  .tabs [role='tab']:focus-visible {
    outline-offset: -2px;
  }
  @media (max-width: 520px) {
    .tabs [role='tab'] {
      padding: 5px 7px;
    }
    .tabs [role='tab'] moe-icon {
      display: none;
    }
  }
  .tabs .badge {
    padding: 0 6px;
    border-radius: 9px;
    font-size: 0.85em;
    font-variant-numeric: tabular-nums;
    background: var(--vscode-badge-background, #4d4d4d);
    color: var(--vscode-badge-foreground, #fff);
    border: 1px solid var(--vscode-contrastBorder, transparent);
  }
`;

/** Panels are `<div role="tabpanel" id="panel-ID" aria-labelledby="tab-ID">` in the same root. */
export function tabs(
  label: string,
  all: readonly Tab[],
  current: string,
  choose: (id: string) => void,
  root: LitElement,
): TemplateResult {
  const pressed = (event: KeyboardEvent): void => {
    const at = all.findIndex(({ id }) => id === current);
    const to =
      event.key === 'ArrowRight'
        ? at + 1
        : event.key === 'ArrowLeft'
          ? at - 1
          : event.key === 'Home'
            ? 0
            : event.key === 'End'
              ? all.length - 1
              : null;
    if (to === null) return;
    event.preventDefault();
    const next = all[(to + all.length) % all.length];
    if (next === undefined) return;
    choose(next.id);
    void root.updateComplete.then(() => root.shadowRoot?.querySelector<HTMLElement>(`#tab-${next.id}`)?.focus());
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} @keydown=${pressed}>
    ${all.map(
      (tab) =>
        html`<button
          type="button"
          role="tab"
          id="tab-${tab.id}"
          aria-selected=${String(tab.id === current)}
          aria-controls=${tab.id === current ? `panel-${tab.id}` : nothing}
          tabindex=${tab.id === current ? '0' : '-1'}
          @click=${() => {
            choose(tab.id);
          }}
        >
          ${icon(tab.icon)}<span>${tab.label}</span>${tab.badge === '' ? nothing : html`<span class="badge">${tab.badge}</span>`}
        </button>`,
    )}
  </div>`;
}
