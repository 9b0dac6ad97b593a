/** Experts matched with the dense weights, or with their like: heat map, table, the one that was chosen. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { CompareExpert, compareExperts, CompareSummary } from '../../src/protocol/comparing.ts';
import type { Of } from '../../src/protocol/define.ts';
import { matchGrid, matchSummary, matchText } from '../lib/compared.ts';
import type { ExpertMatch } from '../lib/compared.ts';
import { grouped, numberText, visible } from '../lib/format.ts';
import type { Cell } from '../lib/keys.ts';
import '../parts/heat-map.ts';
import type { HeatData } from '../parts/heat-map.ts';
import { icon } from '../parts/icon.ts';
import type { GridColumn, GridRow } from '../parts/virtual-grid.ts';
import '../parts/virtual-grid.ts';
import { t } from '../strings.ts';

export type Experts = Of<typeof compareExperts>;
type Mode = NonNullable<CompareSummary['mode']>;

/** What of the experts is shown, and what its controls do. */
export interface ShownExperts {
  readonly experts: Experts | null;
  readonly chosen: Cell | null;
  readonly table: boolean;
  /** Values are being compared. */
  readonly comparing: boolean;
  readonly compare: () => void;
  readonly asTable: (table: boolean) => void;
  readonly choose: (cell: Cell) => void;
}

/** The tab. */
export function expertTab(summary: CompareSummary, shown: ShownExperts): TemplateResult {
  if (summary.mode === null)
    return html`<p class="dim">
      ${t('Experts are matched where one side is an MoE and the other its dense model, or both are MoEs.')}
    </p>`;
  if (!summary.valuesCompared)
    return html`<p>${t('Experts are matched by their values, which are not compared yet.')}</p>
      <div>
        <vscode-button ?disabled=${shown.comparing} @click=${shown.compare}>${t('Compare values')}</vscode-button>
      </div>`;
  const { experts } = shown;
  if (experts === null) return html`<moe-progress what=${t('Matching experts')}></moe-progress>`;
  if (experts.experts.length === 0)
    return html`<p class="dim">${t('No expert could be matched.')}</p>
      ${notes(experts.notes)}`;
  const { mode } = summary;
  const { grid, heat } = matched(experts.experts, mode);
  const chosen = shown.chosen === null ? null : grid.at(shown.chosen.row, shown.chosen.column);
  return html`<div class="row">
      <h2 class="grow">
        ${summary.mode === 'dense-vs-moe' ? t('Distance of each expert to the dense weights') : t('Distance of each expert to its counterpart')}
      </h2>
      <button
        class="tool"
        type="button"
        aria-pressed=${String(shown.table)}
        @click=${() => {
          shown.asTable(!shown.table);
        }}
      >
        ${icon('table')}${t('As a table')}
      </button>
    </div>
    <p>${matchSummary(grid, mode)}</p>
    ${
      shown.table
        ? expertTable(experts.experts)
        : html`<moe-heat-map
              label=${`${t('Distance of each expert')}. ${matchSummary(grid, mode)}`}
              .data=${heat}
              .chosen=${shown.chosen}
              .legend=${{ low: t('near'), high: t('far'), marks: [['=', t('equal')]] }}
              @moe-cell=${(event: CustomEvent<Cell>) => {
                shown.choose(event.detail);
              }}
            ></moe-heat-map>
            ${chosen === null ? html`<p class="dim">${t('Choose a cell for its three matrices.')}</p>` : chosenExpert(chosen, mode)}`
    }
    ${notes(experts.notes)}`;
}

interface Matched {
  readonly grid: ExpertMatch;
  readonly heat: HeatData;
}
/** Made once for each answer of the host. */
const matches = new WeakMap<readonly CompareExpert[], Matched>();

function matched(
  experts: readonly CompareExpert[],
  mode: Mode,
): { readonly grid: ExpertMatch; readonly heat: HeatData } {
  const known = matches.get(experts);
  if (known !== undefined) return known;
  const grid = matchGrid(experts);
  const heat: HeatData = {
    rows: grid.layers.map((layer) => `L${String(layer)}`),
    columns: grid.columns,
    values: grid.values,
    min: grid.min,
    max: grid.max,
    describe: (row, column) => {
      const match = grid.at(row, column);
      return match === null ? t('no expert here') : matchText(match, mode);
    },
    mark: (row, column) => (grid.at(row, column)?.relativeL2 === 0 ? '=' : ''),
  };
  const made = { grid, heat };
  matches.set(experts, made);
  return made;
}

function notes(all: readonly string[]): TemplateResult | typeof nothing {
  return all.length === 0
    ? nothing
    : html`<ul class="dim">
        ${all.map((note) => html`<li class="break">${visible(note)}</li>`)}
      </ul>`;
}

function chosenExpert(match: CompareExpert, mode: Mode): TemplateResult {
  const part = (label: string, value: number | null): TemplateResult =>
    html`<tr>
      <th scope="row">${label}</th>
      <td class="num" title=${value === null ? '' : String(value)}>${value === null ? '–' : numberText(value)}</td>
    </tr>`;
  return html`<section class="card" aria-label=${t('Chosen expert')}>
    <p>${matchText(match, mode).split('\n').join(' · ')}</p>
    <table>
      <caption>
        ${t('Relative distance by matrix')}
      </caption>
      <tbody>
        ${part('gate', match.gate)} ${part('up', match.up)} ${part('down', match.down)}
      </tbody>
    </table>
  </section>`;
}

function expertTable(experts: readonly CompareExpert[]): TemplateResult {
  return html`<moe-virtual-grid
    label=${t('Matched experts')}
    .columns=${
      [
        { id: 'layer', title: t('Layer'), track: '64px', end: true },
        { id: 'expert', title: t('Expert'), track: '72px', end: true },
        { id: 'all', title: t('Rel. L2'), track: '90px', end: true },
        { id: 'gate', title: 'gate', track: '84px', end: true, from: 700 },
        { id: 'up', title: 'up', track: '84px', end: true, from: 700 },
        { id: 'down', title: 'down', track: '84px', end: true, from: 700 },
        { id: 'neurons', title: t('Neurons'), track: 'minmax(120px, 1fr)' },
        { id: 'note', title: t('Note'), track: 'minmax(100px, 1fr)', from: 560 },
      ] satisfies GridColumn[]
    }
    .total=${experts.length}
    .rowAt=${(index: number): GridRow | null => {
      const match = experts[index];
      if (match === undefined) return null;
      const number = (value: number | null): unknown =>
        value === null ? '–' : html`<span title=${String(value)}>${numberText(value)}</span>`;
      return {
        key: `${String(match.layer)}:${String(match.expert)}`,
        label: String(match.layer),
        level: 1,
        expanded: null,
        place: null,
        cell: (column) => {
          switch (column) {
            case 'layer':
              return String(match.layer);
            case 'expert':
              return match.expert === 'shared' ? t('shared') : String(match.expert);
            case 'all':
              return number(match.relativeL2);
            case 'gate':
              return number(match.gate);
            case 'up':
              return number(match.up);
            case 'down':
              return number(match.down);
            case 'neurons':
              return match.width === 0
                ? match.neurons
                : `${match.neurons} (${grouped(match.found)}/${grouped(match.width)})`;
            default:
              return match.note === null ? '' : visible(match.note);
          }
        },
      };
    }}
  ></moe-virtual-grid>`;
}
