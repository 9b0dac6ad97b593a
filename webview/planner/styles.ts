/** The looks of the plan editor. */
import { css } from 'lit';

export const plannerStyles = css`
  :host {
    display: block;
    height: 100%;
    overflow: auto;
    container-type: inline-size;
  }
  header {
    position: sticky;
    inset-block-start: 0;
    z-index: 5;
    display: flex;
    flex-wrap: wrap;
    gap: 6px 12px;
    align-items: center;
    padding: 10px 16px;
    background: var(--vscode-editor-background);
    border-block-end: 1px solid var(--vscode-contrastBorder, var(--moe-line));
  }
  header h1 {
    overflow-wrap: anywhere;
  }
  .columns {
    display: grid;
    grid-template-columns: minmax(280px, 360px) minmax(0, 1fr);
    gap: 20px;
    padding: 14px 16px 32px;
    align-items: start;
  }
  @container (max-width: 820px) {
    .columns {
      grid-template-columns: minmax(0, 1fr);
    }
    header {
      position: static;
    }
  }
  .plan {
    display: flex;
    flex-direction: column;
    gap: 18px;
    min-width: 0;
    container-type: inline-size;
  }
  .plan.old {
    opacity: 0.6;
  }
  .plan > section {
    display: flex;
    flex-direction: column;
    gap: 8px;
    min-width: 0;
  }
  .totals {
    display: grid;
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 230px), 1fr));
    gap: 10px;
    margin: 0;
  }
  .totals > div {
    padding: 8px 10px;
    background: var(--moe-card);
    border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
    border-radius: 4px;
    min-width: 0;
  }
  .totals dt {
    color: var(--moe-dim);
  }
  .totals dd {
    margin: 0;
    font-variant-numeric: tabular-nums;
  }
  .totals strong {
    font-size: 1.35em;
    font-weight: 600;
    display: inline-flex;
    gap: 2px;
    align-items: center;
    white-space: nowrap;
  }
  .totals .dim {
    overflow-wrap: anywhere;
  }
  .exact {
    display: flex;
    gap: 8px;
    align-items: flex-start;
    padding: 8px 10px;
    border: 1px solid currentColor;
    border-radius: 4px;
  }
  .exact.ok {
    color: var(--moe-ok);
  }
  .exact.approximate {
    color: var(--moe-approximate);
  }
  .exact.broken {
    color: var(--moe-broken);
  }
  .exact moe-icon {
    color: inherit;
  }
  .exact span.reason {
    color: var(--vscode-foreground);
  }
  details.group {
    border-block-start: 1px solid var(--moe-line);
  }
  details.group:first-of-type {
    border-block-start: 0;
  }
  ul {
    margin: 0;
    padding-inline-start: 20px;
  }
  ul.plain {
    list-style: none;
    padding: 0;
    display: flex;
    flex-direction: column;
    gap: 6px;
  }
  ul.plain li {
    display: flex;
    gap: 8px;
  }
  pre {
    margin: 0;
    padding: 10px;
    max-height: 60vh;
    overflow: auto;
    border: 1px solid var(--moe-line);
    white-space: pre;
  }
  .out {
    display: grid;
    grid-template-columns: minmax(0, 1fr) auto;
    gap: 6px;
    align-items: center;
    padding-block: 8px;
  }
  .logits dl {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 20px;
    margin: 4px 0 0;
  }
  .logits dd {
    margin: 0;
    font-variant-numeric: tabular-nums;
  }
  .job {
    display: flex;
    flex-direction: column;
    gap: 6px;
  }
  .notices {
    display: flex;
    flex-direction: column;
    padding-inline: 16px;
  }
  .notices > * {
    margin-block-start: 12px;
  }
`;
