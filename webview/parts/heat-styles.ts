/** The looks of the heat map around its canvas. */
import { css } from 'lit';

export const heatStyles = css`
  :host {
    display: block;
    min-width: 0;
  }
  .frame {
    display: grid;
    grid-template-columns: max-content minmax(0, 1fr);
    grid-template-rows: minmax(0, 1fr);
    gap: 4px;
    font-variant-numeric: tabular-nums;
    font-size: 11px;
  }
  .scroll {
    position: relative;
    overflow: auto;
    max-height: var(--moe-map-height, 60vh);
    overscroll-behavior: auto;
  }
  .sheet {
    display: grid;
    grid-template-columns: max-content max-content;
    width: max-content;
  }
  .rows,
  .columns {
    position: sticky;
    background: var(--moe-map-surface, var(--vscode-editor-background));
    color: var(--moe-dim);
    z-index: 1;
  }
  .rows {
    inset-inline-start: 0;
  }
  .columns {
    inset-block-start: 0;
  }
  .corner {
    position: sticky;
    inset: 0 auto auto 0;
    z-index: 2;
    background: var(--moe-map-surface, var(--vscode-editor-background));
  }
  .tick {
    position: absolute;
    white-space: nowrap;
    line-height: 1;
  }
  .rows .tick {
    inset-inline-end: 5px;
    transform: translateY(-50%);
  }
  .columns .tick {
    transform: translateX(-50%);
    inset-block-end: 3px;
  }
  .map {
    position: relative;
  }
  canvas {
    display: block;
  }
  .cell {
    position: absolute;
    outline: none;
    border-radius: 1px;
  }
  .cell.chosen {
    box-shadow:
      inset 0 0 0 2px var(--vscode-foreground),
      inset 0 0 0 3px var(--vscode-editor-background, #000);
  }
  .cell:focus-visible {
    box-shadow:
      inset 0 0 0 2px var(--vscode-focusBorder, currentColor),
      inset 0 0 0 3px var(--vscode-editor-background, #000),
      0 0 0 2px var(--vscode-focusBorder, currentColor);
  }
  .tip {
    position: fixed;
    z-index: 10;
    max-width: min(360px, 90vw);
    padding: 4px 8px;
    pointer-events: none;
    color: var(--vscode-editorHoverWidget-foreground, var(--vscode-foreground));
    background: var(--vscode-editorHoverWidget-background, Canvas);
    border: 1px solid var(--vscode-contrastBorder, var(--vscode-editorHoverWidget-border, var(--moe-line)));
    border-radius: 3px;
    white-space: pre-line;
    font-size: 12px;
  }
  .legend {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 12px;
    align-items: center;
    margin-block-start: 6px;
    font-variant-numeric: tabular-nums;
  }
  .scale {
    display: flex;
    flex: 0 1 auto;
    gap: 8px;
    align-items: center;
    min-width: 0;
    white-space: nowrap;
  }
  .ramp {
    flex: 0 1 120px;
    width: 120px;
    min-width: 16px;
    height: 10px;
    border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
    background: linear-gradient(to right, var(--moe-cold), var(--moe-hot));
  }
  .ramp.one {
    flex: none;
    width: 14px;
    background: var(--moe-cold);
  }
  :host([dir='rtl']) .ramp {
    transform: scaleX(-1);
  }
`;
