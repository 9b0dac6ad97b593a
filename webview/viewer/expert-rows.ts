/** Rows of the tables of experts. */
import { html } from 'lit';
import type { ExpertMetric } from '../../src/protocol/checkpoint.ts';
import { flagText } from '../lib/experts.ts';
import { numberText } from '../lib/format.ts';
import type { GridRow } from '../parts/virtual-grid.ts';
import { t } from '../strings.ts';

/** A row of a table that is no tree. */
export function flatRow(key: string, label: string, cell: (column: string) => unknown): GridRow {
  return { key, label, level: 1, expanded: null, place: null, cell };
}

/** A number, in full in its tooltip. */
export function exactCell(value: number): unknown {
  return Number.isNaN(value) ? '–' : html`<span title=${String(value)}>${numberText(value)}</span>`;
}

/** The metrics of one expert. */
export function expertRow(metric: ExpertMetric): GridRow {
  const name = metric.expert === 'shared' ? t('shared') : String(metric.expert);
  return flatRow(name, name, (id) => {
    switch (id) {
      case 'expert':
        return name;
      case 'norm':
        return exactCell(metric.norm.all ?? NaN);
      case 'distance':
        return exactCell(metric.distance ?? NaN);
      case 'nearest':
        return metric.nearest === null
          ? '–'
          : html`${exactCell(metric.nearest.cosine)} <span class="dim">E${metric.nearest.expert}</span>`;
      case 'effectiveRank':
        return exactCell(metric.effectiveRank ?? NaN);
      case 'routerNorm':
        return exactCell(metric.routerNorm ?? NaN);
      default:
        return metric.flags.map((flag) => flagText(metric, flag)).join(', ');
    }
  });
}
