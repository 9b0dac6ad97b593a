/** How alike the experts of one layer are: a matrix of cosines, or the same as a table. */
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { similarityRequest } from '../../src/protocol/checkpoint.ts';
import type { Similarity } from '../../src/protocol/checkpoint.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { numberText } from '../lib/format.ts';
import '../parts/heat-map.ts';
import type { HeatData } from '../parts/heat-map.ts';
import { icon } from '../parts/icon.ts';
import '../parts/select.ts';
import type { GridColumn, GridRow } from '../parts/virtual-grid.ts';
import '../parts/virtual-grid.ts';
import { t } from '../strings.ts';
import { exactCell, flatRow } from './expert-rows.ts';
import type { SavedView } from './state.ts';

const PARTS = ['all', 'gate', 'up', 'down', 'router'] as const;

/** What of the matrix is shown, and what its controls do. */
export interface ShownMatrix {
  readonly layer: number | null;
  readonly similarity: Similarity | null;
  readonly state: 'none' | 'working' | 'done';
  readonly failure: unknown;
  /** The weights cannot be read. */
  readonly unavailable: boolean;
  readonly view: SavedView;
  readonly change: (changes: Partial<SavedView>) => void;
  readonly compute: () => void;
}

/** The section of one layer. */
export function matrixSection(shown: ShownMatrix): TemplateResult {
  const { similarity, layer, view } = shown;
  const names: Readonly<Record<(typeof PARTS)[number], string>> = {
    all: t('all weights'),
    gate: t('gate'),
    up: t('up'),
    down: t('down'),
    router: t('router rows'),
  };
  return html`<section>
    <div class="row">
      <h2 class="grow">${t('Likeness of the experts of layer {0}', layer ?? '–')}</h2>
      <moe-select
        label=${t('Of')}
        .choices=${PARTS.map((part) => ({ value: part, label: names[part] }))}
        .value=${view.part}
        @change=${(event: CustomEvent<string>) => {
          const part = similarityRequest.shape.part.safeParse(event.detail);
          if (part.success) shown.change({ part: part.data });
        }}
      ></moe-select>
      <button
        class="tool"
        type="button"
        aria-pressed=${String(view.matrixTable)}
        @click=${() => {
          shown.change({ matrixTable: !view.matrixTable });
        }}
      >
        ${icon('table')}${t('As a table')}
      </button>
    </div>
    <p class="dim">${t('Cosine of the weights of each two experts. 1: the same direction, 0: unrelated.')}</p>
    ${
      shown.failure === null
        ? nothing
        : html`<div class="note error" role="alert">
            ${icon('error', 'error')}
            <div class="break">${errorPageOf('', shown.failure).message}</div>
          </div>`
    }
    ${shown.state === 'working' ? html`<moe-progress what=${t('Comparing experts')}></moe-progress>` : nothing}
    ${
      similarity === null
        ? shown.state === 'none'
          ? html`<div>
              <vscode-button appearance="secondary" ?disabled=${shown.unavailable} @click=${shown.compute}
                >${t('Compute the matrix')}</vscode-button
              >
            </div>`
          : nothing
        : matrixView(similarity, view.matrixTable)
    }
  </section>`;
}

function matrixView(similarity: Similarity, table: boolean): TemplateResult {
  const { experts, values } = similarity;
  const size = experts.length;
  const names = experts.map(String);
  const at = (row: number, column: number): number => values[row * size + column] ?? NaN;
  const describe = (row: number, column: number): string =>
    row === column
      ? t('Expert {0} with itself', names[row] ?? '')
      : t('Experts {0} and {1}: cosine {2}', names[row] ?? '', names[column] ?? '', numberText(at(row, column)));
  return html`<p>${similarity.summary}</p>
    ${
      table
        ? html`<moe-virtual-grid
            label=${t('Likeness of each two experts')}
            .columns=${
              [
                { id: 'a', title: t('Expert'), track: '80px', end: true },
                { id: 'b', title: t('and'), track: '80px', end: true },
                { id: 'value', title: t('Cosine'), track: 'minmax(120px, 1fr)', end: true },
              ] satisfies GridColumn[]
            }
            .total=${(size * (size - 1)) / 2}
            .rowAt=${(index: number): GridRow => {
              const [a, b] = pairAt(index, size);
              return flatRow(`${String(a)}:${String(b)}`, names[a] ?? '', (id) =>
                id === 'a' ? (names[a] ?? '') : id === 'b' ? (names[b] ?? '') : exactCell(at(a, b)),
              );
            }}
          ></moe-virtual-grid>`
        : html`<moe-heat-map
            square
            label=${`${t('Likeness of each two experts')}. ${similarity.summary}`}
            .data=${{ rows: names, columns: names, values, min: similarity.min ?? 0, max: similarity.max ?? 1, describe } satisfies HeatData}
            .legend=${{ low: t('apart'), high: t('alike'), marks: [] }}
          ></moe-heat-map>`
    }
    ${similarity.notes.map((note) => html`<p class="dim">${note}</p>`)}`;
}

/** The pair of a place in the list 0-1, 0-2, …, 1-2, … */
export function pairAt(index: number, size: number): readonly [number, number] {
  let rest = index;
  for (let a = 0; a < size - 1; a++) {
    const row = size - 1 - a;
    if (rest < row) return [a, a + 1 + rest];
    rest -= row;
  }
  return [0, 0];
}
