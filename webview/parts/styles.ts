/** Styles that all parts share. Colours come from the editor's theme alone; what it does not define has a fallback. */
import { css } from 'lit';

export const base = css`
  :host {
    box-sizing: border-box;
    color: var(--vscode-foreground);
    font-family: var(--vscode-font-family);
    font-size: var(--vscode-font-size, 13px);
    line-height: 1.45;
    --moe-line: var(--vscode-panel-border, var(--vscode-widget-border, rgb(128 128 128 / 35%)));
    --moe-dim: var(--vscode-descriptionForeground, var(--vscode-foreground));
    --moe-card: var(--vscode-editorWidget-background, transparent);
    --moe-hot: var(--vscode-moe-expertHot, #f0a030);
    --moe-cold: var(--vscode-moe-expertCold, #24466e);
    --moe-shared: var(--vscode-moe-expertShared, #6aa84f);
    --moe-router: var(--vscode-moe-expertRouter, #b180d7);
    --moe-ok: var(--vscode-moe-ok, var(--vscode-testing-iconPassed, #388a34));
    --moe-approximate: var(--vscode-moe-approximate, var(--vscode-editorWarning-foreground, #bf8803));
    --moe-broken: var(--vscode-moe-broken, var(--vscode-errorForeground, #c72e0f));
  }
  :host([hidden]),
  [hidden] {
    display: none !important;
  }
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  :focus-visible {
    outline: 1px solid var(--vscode-focusBorder, currentColor);
    outline-offset: 1px;
  }
  h1,
  h2,
  h3 {
    margin: 0;
    font-weight: 600;
    line-height: 1.3;
  }
  h1 {
    font-size: 1.35em;
  }
  h2 {
    font-size: 1.1em;
  }
  h3 {
    font-size: 1em;
  }
  p {
    margin: 0;
  }
  code,
  pre,
  .mono {
    font-family: var(--vscode-editor-font-family, monospace);
    font-size: var(--vscode-editor-font-size, 12px);
  }
  code {
    color: inherit;
    background: none;
  }
  .num {
    font-variant-numeric: tabular-nums;
    text-align: end;
  }
  .dim {
    color: var(--moe-dim);
  }
  .hidden-text {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .row {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
    align-items: center;
  }
  .grow {
    flex: 1 1 auto;
    min-width: 0;
  }
  .break {
    overflow-wrap: anywhere;
  }
  table {
    border-collapse: collapse;
    width: 100%;
  }
  caption {
    text-align: start;
    font-weight: 600;
    padding-block: 4px;
  }
  th,
  td {
    padding: 3px 8px;
    text-align: start;
    vertical-align: top;
    border-block-end: 1px solid var(--moe-line);
  }
  th {
    font-weight: 600;
  }
  th.num,
  td.num {
    text-align: end;
    white-space: nowrap;
  }
  .scroll {
    overflow: auto;
  }
  .card {
    background: var(--moe-card);
    border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
    border-radius: 4px;
    padding: 12px;
  }
  .note {
    display: flex;
    gap: 8px;
    align-items: flex-start;
    padding: 8px 10px;
    border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
    border-inline-start: 3px solid var(--vscode-editorInfo-foreground, #3794ff);
    border-radius: 3px;
    background: var(--moe-card);
  }
  .note.warning {
    border-inline-start-color: var(--vscode-editorWarning-foreground, #bf8803);
  }
  .note.ok {
    border-inline-start-color: var(--moe-ok);
  }
  .note.error {
    border-inline-start-color: var(--vscode-editorError-foreground, #f14c4c);
  }
  .tag {
    display: inline-flex;
    align-items: center;
    gap: 4px;
    padding: 0 6px;
    border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
    border-radius: 9px;
    font-size: 0.92em;
    white-space: nowrap;
  }
  .link {
    appearance: none;
    border: 0;
    padding: 0;
    background: none;
    color: var(--vscode-textLink-foreground, #3794ff);
    font: inherit;
    text-align: start;
    cursor: pointer;
    text-decoration: underline;
    overflow-wrap: anywhere;
  }
  .link:hover {
    color: var(--vscode-textLink-activeForeground, inherit);
  }
  .tool {
    appearance: none;
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 4px;
    min-width: 24px;
    min-height: 24px;
    padding: 2px 4px;
    border: 1px solid transparent;
    border-radius: 4px;
    background: none;
    color: var(--vscode-icon-foreground, inherit);
    font: inherit;
    cursor: pointer;
  }
  .tool:hover:not(:disabled) {
    background: var(--vscode-toolbar-hoverBackground, rgb(128 128 128 / 20%));
    outline: 1px dashed var(--vscode-toolbar-hoverOutline, transparent);
  }
  .tool:disabled {
    opacity: 0.5;
    cursor: default;
  }
  .tool[aria-pressed='true'] {
    background: var(--vscode-inputOption-activeBackground, rgb(0 122 204 / 30%));
    color: var(--vscode-inputOption-activeForeground, inherit);
    border-color: var(--vscode-inputOption-activeBorder, transparent);
  }
  .tool:focus-visible {
    outline: 1px solid var(--vscode-focusBorder, currentColor);
  }
  /* The toolkit's border is that of the main button: around a grey one it reads as focus. */
  vscode-button[appearance='secondary']::part(control) {
    border-color: var(--vscode-button-secondaryBorder, var(--vscode-contrastBorder, transparent));
  }
  details > summary {
    cursor: pointer;
    font-weight: 600;
    padding: 4px 0;
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation: none !important;
      transition: none !important;
    }
  }
`;
