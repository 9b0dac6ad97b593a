/** The looks of the tensors' tab. */
import { css } from 'lit';

export const tensorsStyles = css`
  :host {
    display: flex;
    flex-direction: column;
    min-height: 0;
    min-width: 0;
    padding: 8px 16px 12px;
    gap: 6px;
  }
  .bar {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 6px;
    align-items: center;
  }
  .bar vscode-text-field {
    flex: 1 1 260px;
    min-width: 0;
  }
  .help {
    max-height: 40vh;
    overflow: auto;
  }
  .help table {
    width: auto;
  }
  .panes {
    flex: 1 1 auto;
    min-height: 0;
    display: flex;
    gap: 0;
  }
  .panes.narrow {
    flex-direction: column;
    gap: 8px;
  }
  moe-virtual-grid {
    flex: 1 1 0;
    min-width: 0;
    min-height: 80px;
  }
  moe-viewer-inspector {
    flex: none;
    min-width: 0;
    overflow: auto;
  }
  .narrow moe-viewer-inspector {
    flex: 1 1 55%;
    min-height: 0;
    width: auto !important;
  }
  /* Low windows (200 % zoom): the page scrolls, so everything gets the height that it needs. */
  @media (max-height: 520px) {
    moe-virtual-grid {
      flex: none;
      height: 280px;
    }
    .panes:not(.narrow) moe-virtual-grid {
      flex: 1 1 0;
      height: auto;
      min-height: 280px;
    }
    .narrow moe-viewer-inspector {
      flex: none;
      height: auto;
    }
  }
  .problem {
    color: var(--vscode-errorForeground, inherit);
  }
  .problem code {
    color: inherit;
    white-space: pre-wrap;
  }
  .problem code u {
    text-decoration: underline wavy;
  }
`;
