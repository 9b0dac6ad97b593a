/** The looks of the experts' tab. */
import { css } from 'lit';

export const expertsStyles = css`
  :host {
    display: block;
    padding: 16px;
  }
  .page {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr));
    gap: 20px 24px;
    align-items: start;
    max-width: 1600px;
  }
  .wide {
    grid-column: 1 / -1;
  }
  section {
    display: flex;
    flex-direction: column;
    gap: 8px;
    min-width: 0;
  }
  moe-virtual-grid {
    height: min(340px, 50vh);
  }
  .notes {
    margin: 0;
    padding-inline-start: 18px;
  }
`;
