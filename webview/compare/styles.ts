/** The looks of the comparison. */
import { css } from 'lit';

export const compareStyles = css`
  :host {
    display: flex;
    flex-direction: column;
    height: 100%;
    min-width: 0;
  }
  header {
    padding: 12px 16px 8px;
    display: flex;
    flex-direction: column;
    gap: 8px;
  }
  .sides {
    display: grid;
    grid-template-columns: minmax(0, 1fr) auto minmax(0, 1fr);
    gap: 10px;
    align-items: center;
  }
  .side {
    min-width: 0;
    padding: 8px 10px;
  }
  .about {
    overflow-wrap: anywhere;
  }
  .says {
    flex: 1 1 0;
    min-width: 220px;
  }
  .states {
    display: flex;
    flex-wrap: wrap;
    gap: 4px;
  }
  nav {
    padding-inline: 12px;
  }
  main {
    flex: 1 1 auto;
    min-height: 0;
    display: flex;
    flex-direction: column;
  }
  [role='tabpanel'] {
    flex: 1 1 auto;
    min-height: 200px;
    display: flex;
    flex-direction: column;
    gap: 8px;
    padding: 8px 16px 12px;
    overflow: auto;
    outline-offset: -2px;
  }
  moe-virtual-grid {
    flex: 1 1 auto;
    min-height: 160px;
  }
  .card table {
    max-width: 360px;
  }
  .bar vscode-text-field {
    flex: 1 1 220px;
  }
  @media (max-height: 520px) {
    :host {
      height: auto;
      min-height: 100%;
    }
    header {
      padding-block: 6px 2px;
      gap: 4px;
    }
    .side {
      padding: 3px 8px;
    }
    .side > .row {
      flex-wrap: nowrap;
    }
    .side .link,
    .about {
      min-width: 0;
      overflow: hidden;
      white-space: nowrap;
      text-overflow: ellipsis;
    }
    .tabs [role='tab'] {
      padding-block: 4px;
    }
    [role='tabpanel'] {
      overflow: visible;
    }
    moe-virtual-grid {
      flex: none;
      height: 280px;
    }
  }
  @media (max-width: 420px) {
    /* The name needs the room; the family below says what it is. */
    .side .link ~ .tag {
      display: none;
    }
  }
`;
