/** Two checkpoints side by side: summary, rows, experts matched with the dense weights, configs. */
import { css, html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import * as z from 'zod/mini';
import {
  compareChanged,
  compareCommand,
  compareCopy,
  compareExpertRows,
  compareReady,
  compareRows,
  compareValues,
} from '../../src/protocol/compare.ts';
import type { ComparisonState } from '../../src/protocol/compare.ts';
import { compareState } from '../../src/protocol/comparing.ts';
import type {
  CompareExpert,
  compareExperts,
  CompareRow,
  compareRowsPage,
  CompareSummary,
} from '../../src/protocol/comparing.ts';
import type { Of, ParamsOf } from '../../src/protocol/define.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { asExpertsLine, compareLine, countIn, matchGrid, matchSummary, matchText, STATES } from '../lib/compared.ts';
import type { ExpertMatch } from '../lib/compared.ts';
import { bytesText, grouped, jsonText, numberText, shapeText, shortCount, visible } from '../lib/format.ts';
import type { Cell } from '../lib/keys.ts';
import { isCancelled } from '../parts/page.ts';
import type { PageContext } from '../parts/page.ts';
import { Pages } from '../lib/pages.ts';
import type { CopyDetail } from '../parts/copy.ts';
import '../parts/copy.ts';
import '../parts/heat-map.ts';
import type { HeatData } from '../parts/heat-map.ts';
import { icon } from '../parts/icon.ts';
import '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { tabs, tabStyles } from '../parts/tabs.ts';
import type { GridColumn, GridRow, WantDetail } from '../parts/virtual-grid.ts';
import '../parts/virtual-grid.ts';
import { t } from '../strings.ts';
import { textOf } from '../toolkit.ts';

type RowsPage = Of<typeof compareRowsPage>;
type Experts = Of<typeof compareExperts>;
type Mode = NonNullable<CompareSummary['mode']>;

const tabName = z.enum(['tensors', 'experts', 'config']);
const savedView = z.object({
  tab: z._default(tabName, 'tensors'),
  filter: z._default(z.string(), ''),
  states: z._default(z.array(compareState), []),
  order: z._default(z.enum(['name', 'distance']), 'name'),
  table: z._default(z.boolean(), false),
});
type SavedView = z.output<typeof savedView>;

function readView(saved: unknown): SavedView {
  const read = savedView.safeParse(saved ?? {});
  return read.success ? read.data : savedView.parse({});
}

@customElement('moe-compare')
export class MoeCompare extends LitElement {
  static override styles = [
    base,
    tabStyles,
    css`
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
    `,
  ];

  @property({ attribute: false }) context: PageContext | null = null;
  @state() private comparison: ComparisonState | null = null;
  @state() private view: SavedView = readView(null);
  @state() private page: RowsPage | null = null;
  @state() private experts: Experts | null = null;
  @state() private failure: unknown = null;
  @state() private lost: unknown = null;
  @state() private said = '';
  @state() private version = 0;
  @state() private chosen: Cell | null = null;
  @state() private active = 0;
  @state() private valuesProgress: { readonly done: number; readonly total: number; readonly what: string } | null =
    null;
  private aborter: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private asked = '';
  private match: { readonly of: readonly CompareExpert[]; readonly grid: ExpertMatch; readonly heat: HeatData } | null =
    null;

  private readonly pages = new Pages<CompareRow, RowsPage>({
    size: 200,
    keep: 60,
    fetch: async (start, count, signal) => {
      const { context, view } = this;
      if (context === null) throw new Error('not connected');
      const { filter, states, order } = view;
      return context.endpoint.request(compareRows, { filter, states: [...states], order, start, count }, { signal });
    },
    arrived: (page) => {
      this.page = page;
      this.failure = null;
      this.version++;
    },
    failed: (error) => {
      this.failure = error;
    },
  });

  override connectedCallback(): void {
    super.connectedCallback();
    const { context } = this;
    if (context === null) return;
    this.view = readView(context.saved);
    context.endpoint.on(compareChanged, (next) => {
      this.take(next);
    });
    this.addEventListener('moe-copy', (event) => {
      const { text, what } = (event as CustomEvent<CopyDetail>).detail;
      void this.attempt(async () => {
        await context.endpoint.request(compareCopy, { text, what });
        this.said = t('Copied {0}', what);
      });
    });
    this.addEventListener('moe-action', (event) => {
      void this.run('errorAction', String((event as CustomEvent<unknown>).detail));
    });
    void context.endpoint.request(compareReady, {}).then(
      (next) => {
        this.take(next);
      },
      (error: unknown) => {
        this.lost = error;
      },
    );
  }

  private take(next: ComparisonState): void {
    const before = this.comparison;
    this.comparison = next;
    if (before?.status !== next.status) this.said = next.summary === null ? next.status : compareLine(next.summary);
    if (before?.summary?.valuesCompared !== next.summary?.valuesCompared || before?.a.path !== next.a.path) {
      this.asked = '';
      this.experts = null;
    }
  }

  private change(changes: Partial<SavedView>): void {
    this.view = { ...this.view, ...changes };
    this.context?.save(this.view);
  }

  protected override willUpdate(_changed: PropertyValues): void {
    const summary = this.comparison?.summary ?? null;
    if (summary === null) return;
    const { filter, states, order } = this.view;
    const asked = JSON.stringify([filter, states, order, summary.valuesCompared, summary.a.path, summary.b.path]);
    if (asked !== this.asked) {
      this.asked = asked;
      this.pages.reset();
      this.version++;
      this.pages.want(0, 1);
      this.experts = null;
    }
    if (this.view.tab === 'experts' && this.experts === null && summary.mode !== null && summary.valuesCompared)
      void this.fetchExperts();
  }

  private expertsAsked = '';
  private async fetchExperts(): Promise<void> {
    if (this.expertsAsked === this.asked) return;
    this.expertsAsked = this.asked;
    await this.attempt(async () => {
      if (this.context === null) return;
      this.experts = await this.context.endpoint.request(compareExpertRows, {});
    });
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
    }
  }

  private async run(
    command: ParamsOf<typeof compareCommand>['command'],
    argument: string | null = null,
  ): Promise<void> {
    await this.attempt(async () => {
      await this.context?.endpoint.request(compareCommand, { command, argument });
    });
  }

  private async compareValues(): Promise<void> {
    const { context } = this;
    if (context === null) return;
    const aborter = new AbortController();
    this.aborter = aborter;
    this.valuesProgress = { done: 0, total: 0, what: t('Comparing values') };
    let told = 0;
    await this.attempt(async () => {
      const summary = await context.endpoint.request(
        compareValues,
        {},
        {
          signal: aborter.signal,
          onProgress: (progress) => {
            this.valuesProgress = progress;
            const now = performance.now();
            if (now - told > 3000) {
              told = now;
              this.said = t('{0} of {1}', grouped(progress.done), grouped(progress.total));
            }
          },
        },
      );
      if (this.comparison !== null) this.take({ ...this.comparison, summary, status: 'ready', progress: null });
    });
    this.valuesProgress = null;
  }

  override render(): TemplateResult {
    return html`${this.body()}
      <div class="hidden-text" role="status" aria-live="polite">${this.said}</div>`;
  }

  private body(): TemplateResult {
    const { comparison } = this;
    if (this.lost !== null)
      return html`<main>
        <moe-error-page .page=${errorPageOf(t('This view lost its extension'), this.lost)}></moe-error-page>
      </main>`;
    if (comparison === null) return html`<main class="card"><moe-progress what=${t('Opening')}></moe-progress></main>`;
    if (comparison.status === 'failed')
      return html`<main class="scroll">
        <moe-error-page
          .page=${comparison.error ?? errorPageOf(t('The checkpoints could not be compared'), t('No reason was given.'))}
        ></moe-error-page>
      </main>`;
    const { summary, progress } = comparison;
    return html`<header>
        <h1 class="hidden-text">${t('Comparison of {0} and {1}', comparison.a.name, comparison.b.name)}</h1>
        <div class="sides">
          ${this.side('A', comparison.a, summary?.a ?? null, summary?.dense === 'a', () => void this.run('openA'))}
          <button class="tool" type="button" title=${t('Swap sides')} @click=${() => void this.run('swap')}>
            ${icon('arrow-swap')}<span class="hidden-text">${t('Swap sides')}</span>
          </button>
          ${this.side('B', comparison.b, summary?.b ?? null, summary?.dense === 'b', () => void this.run('openB'))}
        </div>
        ${
          progress === null && this.valuesProgress === null
            ? nothing
            : this.progress(this.valuesProgress ?? progress ?? { done: 0, total: 0, what: '' })
        }
        ${
          this.failure === null
            ? nothing
            : html`<div class="note error" role="alert">
                ${icon('error', 'error')}
                <div class="break">${errorPageOf('', this.failure).message}</div>
              </div>`
        }
        ${summary === null ? nothing : this.summary(summary)}
      </header>
      ${summary === null ? html`<main></main>` : this.tabs(summary)}`;
  }

  private progress(progress: { readonly done: number; readonly total: number; readonly what: string }): TemplateResult {
    return html`<div>
      <moe-progress
        what=${progress.what}
        done=${progress.done}
        total=${progress.total}
        detail=${progress.total === 0 ? '' : t('{0} of {1}', grouped(progress.done), grouped(progress.total))}
      ></moe-progress>
      ${this.valuesProgress === null ? nothing : html`<button class="link" type="button" @click=${() => this.aborter?.abort()}>${t('Cancel')}</button>`}
    </div>`;
  }

  private side(
    letter: string,
    where: { readonly name: string; readonly path: string },
    side: CompareSummary['a'] | null,
    dense: boolean,
    open: () => void,
  ): TemplateResult {
    const about =
      side === null
        ? visible(where.path)
        : [
            side.modelType === null ? t('family unknown') : visible(side.modelType),
            side.parameters === null ? null : t('{0} parameters', shortCount(side.parameters)),
            bytesText(side.bytes),
            t('{0} tensors', grouped(side.tensors)),
          ]
            .filter((each) => each !== null)
            .join(' · ');
    return html`<div class="card side">
      <div class="row">
        <span class="tag" aria-label=${t('Side {0}', letter)}>${letter}</span>
        <button class="link" type="button" title=${where.path} @click=${open}>${visible(where.name)}</button>
        ${dense ? html`<span class="tag">${t('dense')}</span>` : side?.kind === 'moe' ? html`<span class="tag">${t('MoE')}</span>` : nothing}
      </div>
      <p class="dim about" title=${about}>${about}</p>
    </div>`;
  }

  private summary(summary: CompareSummary): TemplateResult {
    const elsewhere = asExpertsLine(summary);
    return html`<div class="row">
        ${summary.identical === true ? icon('pass', 'ok') : icon('compare-changes')}
        <div class="says"><strong>${compareLine(summary)}</strong> ${elsewhere === null ? nothing : elsewhere}</div>
        ${
          summary.valuesCompared || this.valuesProgress !== null
            ? nothing
            : html`<vscode-button @click=${() => void this.compareValues()}>${t('Compare values')}</vscode-button>`
        }
      </div>
      ${
        summary.notes.length + summary.skipped.length === 0
          ? nothing
          : html`<details>
              <summary>
                ${t('Notes ({0})', grouped(summary.notes.length + summary.skipped.length + summary.moreSkipped))}
              </summary>
              <ul>
                ${summary.notes.map((note) => html`<li class="break">${visible(note)}</li>`)}
                ${summary.skipped.map((name) => html`<li class="break">${t('not matched: {0}', visible(name))}</li>`)}
                ${summary.moreSkipped > 0 ? html`<li>${t('{0} more are not matched', grouped(summary.moreSkipped))}</li>` : nothing}
              </ul>
            </details>`
      }`;
  }

  private tabs(summary: CompareSummary): TemplateResult {
    const { tab } = this.view;
    return html`<nav aria-label=${t('Parts of the comparison')}>
        ${tabs(
          t('Views'),
          [
            { id: 'tensors', label: t('Tensors'), icon: 'list-flat', badge: '' },
            { id: 'experts', label: t('Experts'), icon: 'layers', badge: '' },
            {
              id: 'config',
              label: t('Config'),
              icon: 'json',
              badge: summary.config === null || summary.config.length === 0 ? '' : grouped(summary.config.length),
            },
          ],
          tab,
          (id) => {
            const name = tabName.safeParse(id);
            if (name.success) this.change({ tab: name.data });
          },
          this,
        )}
      </nav>
      <main>
        <div
          id="panel-${tab}"
          role="tabpanel"
          aria-labelledby="tab-${tab}"
          tabindex=${tab === 'tensors' ? nothing : '0'}
        >
          ${tab === 'tensors' ? this.tensors(summary) : tab === 'experts' ? this.expertTab(summary) : config(summary)}
        </div>
      </main>`;
  }

  private tensors(summary: CompareSummary): TemplateResult {
    const { states } = this.view;
    return html`<div class="row bar">
        <vscode-text-field
          aria-label=${t('Filter by name')}
          placeholder=${t('Filter by name')}
          .value=${this.view.filter}
          @input=${(event: Event) => {
            const filter = textOf(event);
            if (this.timer !== null) clearTimeout(this.timer);
            this.timer = setTimeout(() => {
              this.change({ filter });
            }, 150);
          }}
        ></vscode-text-field>
        <div class="states" role="group" aria-label=${t('Show only')}>
          ${STATES.filter(([each]) => countIn(summary, each) > 0).map(
            ([each, name, word]) =>
              html`<button
                class="tool"
                type="button"
                aria-pressed=${String(states.includes(each))}
                @click=${() => {
                  this.change({
                    states: states.includes(each) ? states.filter((other) => other !== each) : [...states, each],
                  });
                }}
              >
                ${icon(name)}${t(word)} <span class="num">${grouped(countIn(summary, each))}</span>
              </button>`,
          )}
        </div>
        <span class="dim num" role="status"
          >${this.page === null ? t('reading…') : t('{0} rows', grouped(this.page.total))}</span
        >
      </div>
      <moe-virtual-grid
        label=${t('Tensors of both sides')}
        .columns=${
          [
            { id: 'state', title: t('State'), track: '118px' },
            { id: 'name', title: t('Name'), track: 'minmax(200px, 3fr)', sortable: true },
            { id: 'a', title: 'A', track: 'minmax(160px, 1fr)', from: 1040 },
            { id: 'b', title: 'B', track: 'minmax(160px, 1fr)', from: 1040 },
            { id: 'types', title: t('Type'), track: 'minmax(150px, 1fr)', from: 640, until: 1040 },
            { id: 'distance', title: t('Rel. L2'), track: '88px', end: true, sortable: true },
            { id: 'max', title: t('Max |Δ|'), track: '84px', end: true, from: 780 },
          ] satisfies GridColumn[]
        }
        .sort=${{ column: this.view.order, descending: this.view.order === 'distance' }}
        .total=${this.page?.total ?? 0}
        .rowAt=${this.rowAt}
        .version=${this.version}
        .nothing=${this.page === null ? '' : t('No row matches.')}
        @moe-want=${(event: CustomEvent<WantDetail>) => {
          this.pages.want(event.detail.first, event.detail.end);
        }}
        @moe-sort=${(event: CustomEvent<string>) => {
          this.change({ order: event.detail === 'distance' ? 'distance' : 'name' });
        }}
        @moe-active=${(event: CustomEvent<number>) => (this.active = event.detail)}
        @moe-open=${(event: CustomEvent<number>) => {
          this.openRow(event.detail);
        }}
      ></moe-virtual-grid>
      ${this.rowDetails()}
      <p class="dim">${t('Relative L2 distance: ‖A − B‖ / ‖A‖. Enter opens the tensor.')}</p>`;
  }

  /** The row in focus in full: cells are cut, and tooltips are for pointers only. */
  private rowDetails(): TemplateResult | typeof nothing {
    const row = this.pages.at(this.active);
    if (row === null) return nothing;
    const words = rowWords(row);
    return html`<div class="row" role="group" aria-label=${t('The row in focus')}>
      <span class="grow break">${visible(words)}</span><moe-copy .text=${words} what=${t('this row')}></moe-copy>
    </div>`;
  }

  private openRow(index: number): void {
    const row = this.pages.at(index);
    if (row !== null) void this.run('openTensor', row.name);
  }

  private readonly rowAt = (index: number): GridRow | null => {
    const row = this.pages.at(index);
    if (row === null) return null;
    return {
      key: row.name,
      label: row.name,
      level: 1,
      expanded: null,
      place: null,
      cell: (column) => rowCell(row, column),
    };
  };

  private expertTab(summary: CompareSummary): TemplateResult {
    if (summary.mode === null)
      return html`<p class="dim">
        ${t('Experts are matched where one side is an MoE and the other its dense model, or both are MoEs.')}
      </p>`;
    if (!summary.valuesCompared)
      return html`<p>${t('Experts are matched by their values, which are not compared yet.')}</p>
        <div>
          <vscode-button ?disabled=${this.valuesProgress !== null} @click=${() => void this.compareValues()}
            >${t('Compare values')}</vscode-button
          >
        </div>`;
    const { experts } = this;
    if (experts === null) return html`<moe-progress what=${t('Matching experts')}></moe-progress>`;
    if (experts.experts.length === 0)
      return html`<p class="dim">${t('No expert could be matched.')}</p>
        ${notes(experts.notes)}`;
    const { mode } = summary;
    const { grid, heat } = this.matched(experts.experts, mode);
    const chosen = this.chosen === null ? null : grid.at(this.chosen.row, this.chosen.column);
    return html`<div class="row">
        <h2 class="grow">
          ${summary.mode === 'dense-vs-moe' ? t('Distance of each expert to the dense weights') : t('Distance of each expert to its counterpart')}
        </h2>
        <button
          class="tool"
          type="button"
          aria-pressed=${String(this.view.table)}
          @click=${() => {
            this.change({ table: !this.view.table });
          }}
        >
          ${icon('table')}${t('As a table')}
        </button>
      </div>
      <p>${matchSummary(grid, mode)}</p>
      ${
        this.view.table
          ? expertTable(experts.experts)
          : html`<moe-heat-map
                label=${`${t('Distance of each expert')}. ${matchSummary(grid, mode)}`}
                .data=${heat}
                .chosen=${this.chosen}
                .legend=${{ low: t('near'), high: t('far'), marks: [['=', t('equal')]] }}
                @moe-cell=${(event: CustomEvent<Cell>) => (this.chosen = event.detail)}
              ></moe-heat-map>
              ${chosen === null ? html`<p class="dim">${t('Choose a cell for its three matrices.')}</p>` : chosenExpert(chosen, mode)}`
      }
      ${notes(experts.notes)}`;
  }

  private matched(
    experts: readonly CompareExpert[],
    mode: Mode,
  ): { readonly grid: ExpertMatch; readonly heat: HeatData } {
    if (this.match?.of === experts) return this.match;
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
    this.match = { of: experts, grid, heat };
    return this.match;
  }
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

function typeText(side: CompareRow['a']): string {
  return side === null ? '–' : `${side.dtype} ${shapeText(side.shape)}`;
}

function rowCell(row: CompareRow, column: string): unknown {
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

function rowWords(row: CompareRow): string {
  const parts = [`${row.name}: ${row.state}`, `A ${typeText(row.a)}`, `B ${typeText(row.b)}`];
  if (row.relativeL2 !== null) parts.push(t('relative L2 {0}', row.relativeL2));
  if (row.maxAbs !== null) parts.push(t('largest difference {0}', row.maxAbs));
  if (row.notFinite !== null && row.notFinite > 0) parts.push(t('{0} not finite', grouped(row.notFinite)));
  if (row.reason !== null) parts.push(row.reason);
  return parts.join(', ');
}

function config(summary: CompareSummary): TemplateResult {
  if (summary.config === null) return html`<p class="dim">${t('At least one side has no config.json.')}</p>`;
  if (summary.config.length === 0) return html`<p>${t('Both configs say the same.')}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Fields that differ')}>
    <table>
      <caption>
        ${t('Fields that differ')}
      </caption>
      <thead>
        <tr>
          <th>${t('Field')}</th>
          <th>A</th>
          <th>B</th>
        </tr>
      </thead>
      <tbody>
        ${summary.config.map(
          ({ field, a, b }) =>
            html`<tr>
              <th scope="row" class="mono break">${visible(field)}</th>
              <td class="mono break">${a === null ? t('(none)') : visible(jsonText(a))}</td>
              <td class="mono break">${b === null ? t('(none)') : visible(jsonText(b))}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-compare': MoeCompare;
  }
}
