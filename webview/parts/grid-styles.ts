/** The looks of the virtual grid. */
import { css } from 'lit';

export const gridStyles = css`
  :host {
    display: flex;
    flex-direction: column;
    min-height: 0;
    min-width: 0;
    border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
    border-radius: 3px;
    background: var(--vscode-editor-background);
    contain: content;
  }
  .view {
    position: relative;
    flex: 1 1 auto;
    min-height: 0;
    overflow: auto;
    overscroll-behavior: contain;
    outline-offset: -1px;
  }
  /* Low windows scroll as a whole: the wheel goes on to the page at either end. */
  @media (max-height: 520px) {
    .view {
      overscroll-behavior: auto;
    }
  }
  .head,
  .line {
    display: grid;
    grid-template-columns: var(--tracks);
    align-items: center;
    min-width: min-content;
  }
  /* The group sticks, not the row in it: a row cannot leave its group. */
  .head-group {
    position: sticky;
    inset-block-start: 0;
    z-index: 2;
    min-width: min-content;
  }
  .head {
    height: 28px;
    font-weight: 600;
    background-color: var(--vscode-editorWidget-background, Canvas);
    border-block-end: 1px solid var(--vscode-contrastBorder, var(--moe-line));
  }
  .body {
    position: relative;
  }
  .line {
    position: absolute;
    inset-inline: 0;
    height: 24px;
    cursor: default;
  }
  .line:hover {
    background: var(--vscode-list-hoverBackground, rgb(128 128 128 / 10%));
    color: var(--vscode-list-hoverForeground, inherit);
  }
  .line[aria-selected='true'] {
    --moe-dim: currentColor;
    background: var(--vscode-list-inactiveSelectionBackground, rgb(128 128 128 / 25%));
    color: var(--vscode-list-inactiveSelectionForeground, inherit);
    outline: 1px dotted var(--vscode-contrastActiveBorder, transparent);
    outline-offset: -1px;
  }
  .view:focus-visible .line.active {
    outline: 1px solid var(--vscode-list-focusOutline, var(--vscode-focusBorder, currentColor));
    outline-offset: -1px;
  }
  .view:focus .line[aria-selected='true'] {
    background: var(--vscode-list-activeSelectionBackground, rgb(0 90 180 / 40%));
    color: var(--vscode-list-activeSelectionForeground, inherit);
  }
  .cell {
    min-width: 0;
    padding-inline: 8px;
    overflow: hidden;
    white-space: nowrap;
    text-overflow: ellipsis;
  }
  .cell.end {
    text-align: end;
    font-variant-numeric: tabular-nums;
  }
  .tree {
    display: flex;
    align-items: center;
    gap: 2px;
  }
  .tree > .text {
    min-width: 0;
    overflow: hidden;
    text-overflow: ellipsis;
  }
  .twisty {
    flex: none;
    display: inline-flex;
    width: 18px;
    height: 22px;
    align-items: center;
    justify-content: center;
  }
  button.sort {
    appearance: none;
    display: inline-flex;
    align-items: center;
    gap: 2px;
    max-width: 100%;
    border: 0;
    padding: 0;
    background: none;
    color: inherit;
    font: inherit;
    font-weight: 600;
    cursor: pointer;
  }
  mark {
    color: var(--vscode-list-highlightForeground, inherit);
    background: none;
    font-weight: 700;
  }
  .line[aria-selected='true'] mark {
    color: inherit;
    text-decoration: underline;
  }
  .wait {
    color: var(--moe-dim);
  }
  .note {
    padding: 16px;
    border: 0;
    justify-content: center;
  }
  moe-icon {
    vertical-align: text-bottom;
  }
`;
