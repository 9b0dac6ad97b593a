/** Rows of the tree of tensors: columns and cells. */
import { html, nothing } from 'lit';
import type { TreeRow } from '../../src/protocol/checkpoint.ts';
import { bytesText, grouped, shapeText, shortCount, visible } from '../lib/format.ts';
import type { UnitBase } from '../lib/format.ts';
import { severityIcon } from '../parts/status.ts';
import type { GridColumn, GridRow } from '../parts/virtual-grid.ts';
import { key, t } from '../strings.ts';

export const COLUMNS: readonly GridColumn[] = [
  { id: 'name', title: key('Name'), track: 'minmax(220px, 3fr)', sortable: true },
  { id: 'dtype', title: key('Type'), track: 'minmax(56px, 90px)', from: 420 },
  { id: 'shape', title: key('Shape'), track: 'minmax(90px, 150px)', end: true, from: 520 },
  { id: 'elements', title: key('Elements'), track: '84px', end: true, from: 760 },
  { id: 'size', title: key('Size'), track: '88px', end: true, sortable: true },
  { id: 'file', title: key('File'), track: 'minmax(90px, 1fr)', sortable: true, from: 900 },
];

/** A row of the tree for the grid. */
export function tensorRow(row: TreeRow, unitBase: UnitBase): GridRow {
  return {
    key: row.kind === 'tensor' ? `tensor:${row.name}` : row.id,
    label: row.label,
    level: row.level,
    expanded: row.kind === 'group' ? row.expanded : null,
    place: { position: row.position, siblings: row.siblings },
    cell: (column) => cellOf(row, column, unitBase),
  };
}

function cellOf(row: TreeRow, column: string, unitBase: UnitBase): unknown {
  switch (column) {
    case 'name':
      return html`${row.severity === null ? nothing : severityIcon(row.severity)}<span
          class="mono"
          title=${row.kind === 'tensor' ? row.name : row.label}
          >${highlighted(row.label, row.hits)}</span
        >${row.kind === 'group' ? html` <span class="dim">${groupNote(row)}</span>` : nothing}`;
    case 'dtype':
      return row.kind === 'tensor' ? row.dtype : html`<span class="dim">${row.dtypes.join(', ')}</span>`;
    case 'shape':
      return row.shape === null
        ? ''
        : html`<span class=${row.kind === 'group' ? 'dim' : ''}>${shapeText(row.shape)}</span>`;
    case 'elements':
      return html`<span title=${grouped(row.elements)}>${shortCount(row.elements)}</span>`;
    case 'size':
      return html`<span title=${t('{0} bytes', grouped(row.bytes))}>${bytesText(row.bytes, unitBase)}</span>`;
    default:
      return row.kind === 'tensor' ? html`<span title=${row.file}>${visible(row.file)}</span>` : '';
  }
}

function groupNote(row: Extract<TreeRow, { kind: 'group' }>): string {
  const tensors = row.tensors === 1 ? t('1 tensor') : t('{0} tensors', grouped(row.tensors));
  return row.repeats === null ? tensors : `× ${grouped(row.repeats)} · ${tensors}`;
}

/** The label with the filter's hits marked. */
function highlighted(label: string, hits: readonly (readonly [number, number])[]): unknown {
  if (hits.length === 0) return visible(label);
  const parts: unknown[] = [];
  let at = 0;
  for (const [from, to] of hits) {
    if (from < at || to > label.length) continue;
    parts.push(visible(label.slice(at, from)), html`<mark>${visible(label.slice(from, to))}</mark>`);
    at = to;
  }
  parts.push(visible(label.slice(at)));
  return parts;
}
