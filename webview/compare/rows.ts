/** Rows of the comparison: columns, cells, the row in focus in words. */
import { html } from 'lit';
import type { CompareRow } from '../../src/protocol/comparing.ts';
import { STATES } from '../lib/compared.ts';
import { grouped, numberText, shapeText, visible } from '../lib/format.ts';
import { icon } from '../parts/icon.ts';
import type { GridColumn } from '../parts/virtual-grid.ts';
import { t } from '../strings.ts';

/** The columns. Where both types do not fit, one column has them. */
export function rowColumns(): GridColumn[] {
  return [
    { id: 'state', title: t('State'), track: '118px' },
    { id: 'name', title: t('Name'), track: 'minmax(200px, 3fr)', sortable: true },
    { id: 'a', title: 'A', track: 'minmax(160px, 1fr)', from: 1040 },
    { id: 'b', title: 'B', track: 'minmax(160px, 1fr)', from: 1040 },
    { id: 'types', title: t('Type'), track: 'minmax(150px, 1fr)', from: 640, until: 1040 },
    { id: 'distance', title: t('Rel. L2'), track: '88px', end: true, sortable: true },
    { id: 'max', title: t('Max |Δ|'), track: '84px', end: true, from: 780 },
  ];
}

function typeText(side: CompareRow['a']): string {
  return side === null ? '–' : `${side.dtype} ${shapeText(side.shape)}`;
}

/** What a cell shows. */
export function rowCell(row: CompareRow, column: string): unknown {
  switch (column) {
    case 'state': {
      const [, name = 'question', word = row.state] = STATES.find(([each]) => each === row.state) ?? [];
      return html`${icon(name)} ${t(word)}`;
    }
    case 'name':
      return html`<span class="mono" title=${row.reason === null ? row.name : `${row.name}\n${row.reason}`}
        >${visible(row.name)}</span
      >`;
    case 'a':
      return typeText(row.a);
    case 'b':
      return typeText(row.b);
    case 'types': {
      const [a, b] = [typeText(row.a), typeText(row.b)];
      // The state says which side lacks it.
      const both = row.a === null || a === b ? b : row.b === null ? a : `${a} → ${b}`;
      return html`<span title=${both}>${both}</span>`;
    }
    case 'distance':
      return row.relativeL2 === null
        ? row.notFinite !== null && row.notFinite > 0
          ? t('{0} not finite', grouped(row.notFinite))
          : '–'
        : html`<span title=${String(row.relativeL2)}>${numberText(row.relativeL2)}</span>`;
    default:
      return row.maxAbs === null ? '–' : html`<span title=${String(row.maxAbs)}>${numberText(row.maxAbs)}</span>`;
  }
}

/** A row in full, as text. */
export function rowWords(row: CompareRow): string {
  const parts = [`${row.name}: ${row.state}`, `A ${typeText(row.a)}`, `B ${typeText(row.b)}`];
  if (row.relativeL2 !== null) parts.push(t('relative L2 {0}', row.relativeL2));
  if (row.maxAbs !== null) parts.push(t('largest difference {0}', row.maxAbs));
  if (row.notFinite !== null && row.notFinite > 0) parts.push(t('{0} not finite', grouped(row.notFinite)));
  if (row.reason !== null) parts.push(row.reason);
  return parts.join(', ');
}
