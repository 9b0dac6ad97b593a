/** Styles of the playground. An expert's colour lies under its tokens as a line; its number stands beside them. */
import { css } from 'lit';
import { base } from '../parts/styles.ts';

export const playgroundStyles = [
  base,
  css`
    :host {
      display: block;
    }
    main {
      display: flex;
      flex-direction: column;
      gap: 12px;
      padding: 12px 16px 24px;
      max-width: 1100px;
    }
    section {
      display: flex;
      flex-direction: column;
      gap: 8px;
      min-width: 0;
    }
    .prompt,
    .field {
      display: flex;
      flex-direction: column;
      gap: 2px;
    }
    .field input {
      width: 90px;
      height: 26px;
    }
    .fields {
      align-items: flex-end;
    }
    input,
    textarea {
      font: inherit;
      padding: 3px 6px;
      color: var(--vscode-input-foreground, inherit);
      background: var(--vscode-input-background, transparent);
      border: 1px solid var(--vscode-contrastBorder, var(--vscode-input-border, var(--moe-line)));
      border-radius: 2px;
    }
    textarea {
      font-family: var(--vscode-editor-font-family, monospace);
      resize: vertical;
      width: 100%;
    }
    input:focus-visible,
    textarea:focus-visible {
      outline-offset: -1px;
    }
    .text {
      padding: 10px 12px;
      line-height: 2.1;
      overflow-wrap: anywhere;
      border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
      border-radius: 3px;
    }
    .token {
      border-block-end: 3px solid var(--hue, transparent);
      border-radius: 2px;
      cursor: default;
    }
    .token > span {
      white-space: pre-wrap;
    }
    .token:not(.given) > span {
      font-weight: 600;
    }
    /* Part of a character: its entry in the vocabulary stands for it. */
    .part {
      font-style: italic;
      font-size: 0.85em;
    }
    .token:hover {
      background: var(--vscode-list-hoverBackground, rgb(128 128 128 / 15%));
    }
    sub {
      font-size: 0.72em;
      line-height: 1;
      user-select: none;
    }
    .legend {
      display: flex;
      flex-wrap: wrap;
      gap: 4px 16px;
      margin: 0;
      padding: 0;
      list-style: none;
    }
    .swatch {
      display: inline-block;
      width: 14px;
      height: 4px;
      margin-inline-end: 5px;
      vertical-align: middle;
      background: var(--hue);
      border-radius: 1px;
    }
    .hue0 {
      --hue: var(--vscode-charts-blue, #3794ff);
    }
    .hue1 {
      --hue: var(--vscode-charts-orange, #d18616);
    }
    .hue2 {
      --hue: var(--vscode-charts-green, #89d185);
    }
    .hue3 {
      --hue: var(--vscode-charts-purple, #b180d7);
    }
    .hue4 {
      --hue: var(--vscode-charts-red, #f14c4c);
    }
    .hue5 {
      --hue: var(--vscode-charts-yellow, #cca700);
    }
    .hue6 {
      --hue: var(--vscode-terminal-ansiCyan, #11a8cd);
    }
    .hue7 {
      --hue: var(--vscode-terminal-ansiMagenta, #bc3fbc);
    }
  `,
];
