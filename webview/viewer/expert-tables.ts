/** Experts as tables: one metric of all, all metrics of one layer. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { ExpertGrid, LayerExperts } from '../../src/protocol/checkpoint.ts';
import { flagText, metricOf } from '../lib/experts.ts';
import type { Grid, MetricText } from '../lib/experts.ts';
import { grouped, numberText } from '../lib/format.ts';
import '../parts/select.ts';
import type { GridColumn, GridRow } from '../parts/virtual-grid.ts';
import '../parts/virtual-grid.ts';
import { t } from '../strings.ts';
import { exactCell, expertRow, flatRow } from './expert-rows.ts';
import type { SavedView } from './state.ts';

type Change = (changes: Partial<SavedView>) => void;

/** One metric of all experts as a table; `version` changes with the values. */
export function metricTable(grid: Grid, text: MetricText, version: number): TemplateResult {
  const width = Math.max(1, grid.columns.length);
  return html`<moe-virtual-grid
    label=${text.label}
    .columns=${
      [
        { id: 'layer', title: t('Layer'), track: '70px', end: true },
        { id: 'expert', title: t('Expert'), track: '80px', end: true },
        { id: 'value', title: text.label, track: '220px', end: true },
        { id: 'flags', title: t('Flags'), track: 'minmax(120px, 1fr)' },
      ] satisfies GridColumn[]
    }
    .total=${grid.layers.length * grid.columns.length}
    .rowAt=${(index: number): GridRow => {
      const [row, column] = [Math.floor(index / width), index % width];
      const metric = grid.at(row, column);
      const layer = String(grid.layers[row] ?? '');
      return flatRow(`${layer}:${String(column)}`, layer, (id) => {
        if (id === 'layer') return layer;
        if (id === 'expert') return grid.columns[column] ?? '';
        if (id === 'value') return metric === null ? '–' : exactCell(metricOf(metric, text.name));
        return metric === null ? '' : metric.flags.map((flag) => flagText(metric, flag)).join(', ');
      });
    }}
    .version=${version}
  ></moe-virtual-grid>`;
}

function layerPicker(grid: ExpertGrid, layer: number | null, change: Change): TemplateResult {
  return html`<moe-select
    label=${t('Layer')}
    .choices=${grid.layers.map(({ layer }) => ({ value: String(layer), label: String(layer) }))}
    .value=${String(layer ?? '')}
    @change=${(event: CustomEvent<string>) => {
      change({ layer: Number(event.detail), expert: null });
    }}
  ></moe-select>`;
}

/** The experts of the chosen layer; `metrics` where they are computed. */
export function layerSection(
  grid: ExpertGrid,
  text: MetricText,
  layer: number | null,
  metrics: LayerExperts | undefined,
  expert: number | null,
  change: Change,
): TemplateResult {
  return html`<section>
    <div class="row">
      <h2 class="grow">${t('Experts of layer {0}', layer ?? '–')}</h2>
      ${layerPicker(grid, layer, change)}
    </div>
    ${
      metrics === undefined
        ? html`<p class="dim">${t('The metrics of this layer are not computed yet.')}</p>`
        : html`<p>${layerSummary(metrics)}</p>
            <moe-virtual-grid
              label=${t('Experts of layer {0}', metrics.layer)}
              .columns=${
                [
                  { id: 'expert', title: t('Expert'), track: '68px', end: true },
                  { id: 'norm', title: t('Norm'), track: 'minmax(70px, 1fr)', end: true },
                  { id: 'distance', title: t('To parent'), track: 'minmax(92px, 1fr)', end: true },
                  { id: 'nearest', title: t('Nearest'), track: 'minmax(110px, 1fr)', end: true, from: 380 },
                  { id: 'effectiveRank', title: t('Eff. rank'), track: 'minmax(84px, 1fr)', end: true, from: 520 },
                  { id: 'routerNorm', title: t('Router'), track: 'minmax(70px, 1fr)', end: true, from: 440 },
                  { id: 'flags', title: t('Flags'), track: 'minmax(96px, 1.4fr)' },
                ] satisfies GridColumn[]
              }
              .total=${metrics.experts.length}
              .rowAt=${(index: number): GridRow | null => {
                const metric = metrics.experts[index];
                return metric === undefined ? null : expertRow(metric);
              }}
              .version=${metrics.layer}
              .selected=${expert === null ? '' : String(expert)}
              @moe-open=${(event: CustomEvent<number>) => {
                const opened = metrics.experts[event.detail]?.expert;
                if (typeof opened === 'number') change({ layer: metrics.layer, expert: opened });
              }}
            ></moe-virtual-grid>
            ${metrics.rankOf === null ? nothing : html`<p class="dim">${metrics.rankOf}</p>`}
            ${metrics.notes.map((note) => html`<p class="dim">${note}</p>`)}`
    }
    <span class="hidden-text">${text.label}</span>
  </section>`;
}

function layerSummary(metrics: LayerExperts): string {
  const parts = [t('{0} experts.', grouped(metrics.experts.length))];
  if (metrics.cosine !== null)
    parts.push(
      t(
        'Pairwise cosine {0} on average, {1} to {2}.',
        numberText(metrics.cosine.mean),
        numberText(metrics.cosine.min),
        numberText(metrics.cosine.max),
      ),
    );
  if (metrics.router !== null)
    parts.push(
      metrics.router.zero
        ? t('The router is all zeros: every token ties.')
        : t('Router rows: norm {0} ± {1}.', numberText(metrics.router.meanNorm), numberText(metrics.router.stdNorm)),
    );
  const flagged = metrics.experts.filter(({ flags }) => flags.length > 0).length;
  parts.push(flagged === 0 ? t('None is flagged.') : t('{0} flagged.', grouped(flagged)));
  return parts.join(' ');
}
