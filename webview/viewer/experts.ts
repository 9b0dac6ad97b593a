/** The experts of an MoE from their weights: layer × expert heat map, one layer's table, similarity matrix. */
import { html, LitElement, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { metricName } from '../../src/protocol/checkpoint.ts';
import type { ExpertGrid, LayerExperts, Similarity } from '../../src/protocol/checkpoint.ts';
import type { Endpoint } from '../../src/protocol/page.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import { viewerExperts, viewerGrid, viewerPickParent, viewerSimilarity } from '../../src/protocol/viewer.ts';
import type { ViewerState } from '../../src/protocol/viewer.ts';
import { flagText, gridOf, gridSummary, markOf, metricOf, metricTexts } from '../lib/experts.ts';
import type { Grid, MetricText } from '../lib/experts.ts';
import { durationText, grouped, numberText } from '../lib/format.ts';
import { isCancelled } from '../parts/page.ts';
import '../parts/heat-map.ts';
import { expertMarks } from '../parts/heat-map.ts';
import type { HeatData } from '../parts/heat-map.ts';
import type { Cell } from '../lib/keys.ts';
import { icon } from '../parts/icon.ts';
import '../parts/select.ts';
import { empty, emptyStyles } from '../parts/status.ts';
import { base } from '../parts/styles.ts';
import '../parts/virtual-grid.ts';
import { t } from '../strings.ts';
import { changeView, command, say } from './events.ts';
import { readView } from './state.ts';
import type { SavedView } from './state.ts';
import { matrixSection } from './expert-matrix.ts';
import type { ShownMatrix } from './expert-matrix.ts';
import { layerSection, metricTable } from './expert-tables.ts';
import './traces.ts';
import { expertsStyles } from './experts-styles.ts';

@customElement('moe-viewer-experts')
export class MoeViewerExperts extends LitElement {
  static override styles = [base, emptyStyles, expertsStyles];

  @property({ attribute: false }) viewer: ViewerState | null = null;
  @property({ attribute: false }) view: SavedView = readView(null);
  @property({ attribute: false }) endpoint: Endpoint | null = null;
  @state() private grid: ExpertGrid | null = null;
  @state() private layers: ReadonlyMap<number, LayerExperts> = new Map();
  @state() private progress: { readonly done: number; readonly total: number } | null = null;
  @state() private failure: unknown = null;
  @state() private seconds: number | null = null;
  @state() private notes: readonly string[] = [];
  @state() private similarity: Similarity | null = null;
  @state() private similarityState: 'none' | 'working' | 'done' = 'none';
  @state() private similarityFailure: unknown = null;
  private parent: string | null = null;
  private aborter: AbortController | null = null;
  private similarityAborter: AbortController | null = null;
  private asked: number | null = null;
  private matrixAsked = '';
  private drawn: { readonly key: unknown[]; readonly grid: Grid; readonly heat: HeatData } | null = null;

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.aborter?.abort();
    this.similarityAborter?.abort();
    this.asked = null;
  }

  protected override willUpdate(_changed: PropertyValues): void {
    const generation = this.viewer?.generation ?? null;
    if (generation !== null && generation !== this.asked) {
      this.asked = generation;
      this.layers = new Map();
      this.seconds = null;
      this.grid = null;
      this.similarity = null;
      this.similarityState = 'none';
      this.matrixAsked = '';
      void this.load();
    }
    const layer = this.layer;
    const wanted = `${String(layer)}:${this.view.part}`;
    if (this.grid !== null && this.similarityState !== 'none' && wanted !== this.matrixAsked) void this.matrix();
  }

  private get layer(): number | null {
    const layers = this.grid?.layers ?? [];
    const { layer } = this.view;
    return layers.some((each) => each.layer === layer) ? layer : (layers[0]?.layer ?? null);
  }

  private async load(): Promise<void> {
    const { endpoint } = this;
    if (endpoint === null) return;
    this.failure = null;
    try {
      this.grid = await endpoint.request(viewerGrid, {});
    } catch (error) {
      this.failure = error;
      return;
    }
    const { grid } = this;
    if (grid.summary !== null && grid.unavailable === null && this.viewer?.settings.autoStats === true && this.small)
      await this.compute();
  }

  /** Little enough to read without being asked: under 2 GB of weights. */
  private get small(): boolean {
    return (this.viewer?.overview?.bytes ?? Infinity) < 2e9;
  }

  private async compute(): Promise<void> {
    const { endpoint, grid } = this;
    if (endpoint === null || grid === null) return;
    this.aborter?.abort();
    const aborter = new AbortController();
    this.aborter = aborter;
    this.failure = null;
    this.progress = { done: 0, total: grid.layers.length };
    let told = 0;
    try {
      const result = await endpoint.request(
        viewerExperts,
        { layers: null, parent: this.parent },
        {
          signal: aborter.signal,
          onProgress: ({ done, total, layer }) => {
            if (aborter.signal.aborted) return;
            this.progress = { done, total };
            if (layer !== null) this.layers = new Map(this.layers).set(layer.layer, layer);
            const now = performance.now();
            if (now - told > 3000) {
              told = now;
              say(this, t('{0} of {1} layers', grouped(done), grouped(total)));
            }
          },
        },
      );
      this.layers = new Map(result.layers.map((layer) => [layer.layer, layer]));
      this.seconds = result.seconds;
      this.notes = result.notes;
      say(this, t('All {0} layers are there', grouped(result.layers.length)));
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
    } finally {
      if (this.aborter === aborter) this.progress = null;
    }
  }

  private async matrix(): Promise<void> {
    const { endpoint, layer } = this;
    if (endpoint === null || layer === null) return;
    const { part } = this.view;
    this.matrixAsked = `${String(layer)}:${part}`;
    this.similarityAborter?.abort();
    const aborter = new AbortController();
    this.similarityAborter = aborter;
    this.similarityState = 'working';
    this.similarityFailure = null;
    try {
      const similarity = await endpoint.request(viewerSimilarity, { layer, part }, { signal: aborter.signal });
      if (!aborter.signal.aborted) this.similarity = similarity;
    } catch (error) {
      if (!isCancelled(error)) this.similarityFailure = error;
    } finally {
      if (this.similarityAborter === aborter) this.similarityState = 'done';
    }
  }

  private async pickParent(): Promise<void> {
    const { endpoint } = this;
    if (endpoint === null) return;
    try {
      const { path } = await endpoint.request(viewerPickParent, {});
      if (path === null) return;
      this.parent = path;
      changeView(this, { metric: 'distance' });
      await this.compute();
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
    }
  }

  override render(): TemplateResult {
    const { grid } = this;
    if (grid === null)
      return this.failure === null
        ? html`<moe-progress what=${t('Looking for experts')}></moe-progress>`
        : html`<moe-error-page
            .page=${errorPageOf(t('The experts could not be read'), this.failure)}
          ></moe-error-page>`;
    if (grid.summary === null || grid.layers.length === 0)
      return empty(
        'layers',
        t('There are no experts here'),
        t(
          'This is a dense checkpoint: every token passes through the same feed-forward weights. Upcycling makes experts of them.',
        ),
        html`<vscode-button
          ?disabled=${this.viewer?.restricted === true}
          @click=${() => {
            command(this, 'upcycle');
          }}
          >${t('Upcycle to MoE…')}</vscode-button
        >`,
      );
    const text = metricTexts().find(({ name }) => name === this.view.metric) ?? metricTexts()[0];
    if (text === undefined) return html``;
    const { layer } = this;
    const change = (changes: Partial<SavedView>): void => {
      changeView(this, changes);
    };
    return html`<div class="page">
      <div class="wide row">${this.bar(grid, text)}</div>
      ${this.notices(grid)} ${this.map(grid, text)}
      ${layerSection(grid, text, layer, layer === null ? undefined : this.layers.get(layer), this.view.expert, change)}
      ${matrixSection(this.shownMatrix(change))}
      <moe-viewer-traces class="wide" .viewer=${this.viewer} .endpoint=${this.endpoint}></moe-viewer-traces>
    </div>`;
  }

  private bar(grid: ExpertGrid, text: MetricText): TemplateResult {
    return html`<moe-select
        label=${t('Show')}
        .choices=${metricTexts().map(({ name, label, about }) => ({ value: name, label, about }))}
        .value=${text.name}
        @change=${(event: CustomEvent<string>) => {
          const name = metricName.safeParse(event.detail);
          if (name.success) changeView(this, { metric: name.data });
        }}
      ></moe-select>
      <button
        class="tool"
        type="button"
        aria-pressed=${String(this.view.expertTable)}
        @click=${() => {
          changeView(this, { expertTable: !this.view.expertTable });
        }}
      >
        ${icon('table')}${t('As a table')}
      </button>
      ${
        this.progress === null
          ? html`<vscode-button
              appearance=${this.layers.size === 0 ? 'primary' : 'secondary'}
              ?disabled=${grid.unavailable !== null}
              @click=${() => void this.compute()}
              >${this.layers.size === 0 ? t('Compute metrics') : t('Compute again')}</vscode-button
            >`
          : html`<vscode-button appearance="secondary" @click=${() => this.aborter?.abort()}
              >${t('Cancel')}</vscode-button
            >`
      }
      <vscode-button
        appearance="secondary"
        ?disabled=${grid.unavailable !== null}
        @click=${() => void this.pickParent()}
        >${grid.parent === null ? t('Choose the dense parent…') : t('Other parent…')}</vscode-button
      >
      <span class="dim break">${this.parentText(grid)}</span>`;
  }

  private parentText(grid: ExpertGrid): string {
    if (this.parent !== null) return t('Parent: {0}', this.parent);
    return grid.parent === null
      ? t('No dense parent is known; distances need one.')
      : t('Parent: {0} ({1})', grid.parent.name, grid.parent.why);
  }

  private notices(grid: ExpertGrid): TemplateResult {
    return html`${
      grid.identicalExpected
        ? html`<div class="wide note">
            ${icon('info', 'info')}
            <div>
              ${t('This model is freshly upcycled: identical experts are expected at step 0. They part while training; likeness of 1 is no fault here.')}
            </div>
          </div>`
        : nothing
    }
    ${
      grid.unavailable === null
        ? nothing
        : html`<div class="wide note warning">
            ${icon('warning', 'warning')}
            <div class="break">${grid.unavailable}</div>
          </div>`
    }
    ${
      this.failure === null
        ? nothing
        : html`<div class="wide note error" role="alert">
            ${icon('error', 'error')}
            <div class="break">${errorPageOf('', this.failure).message}</div>
          </div>`
    }
    ${
      this.progress === null
        ? nothing
        : html`<div class="wide">
            <moe-progress
              what=${t('Reading the experts’ weights')}
              done=${this.progress.done}
              total=${this.progress.total}
              detail=${t('{0} of {1} layers', grouped(this.progress.done), grouped(this.progress.total))}
            ></moe-progress>
          </div>`
    }`;
  }

  /** The grid as it is drawn; made anew only where something changed. */
  private prepared(grid: ExpertGrid, text: MetricText): { readonly grid: Grid; readonly heat: HeatData } {
    const key = [grid, this.layers, text.name];
    if (this.drawn !== null && this.drawn.key.every((each, at) => each === key[at])) return this.drawn;
    const made = gridOf(grid.layers, this.layers, text.name);
    const heat: HeatData = {
      rows: made.layers.map((layer) => `L${String(layer)}`),
      columns: made.columns,
      values: made.values,
      min: made.min,
      max: made.max,
      describe: (row, column) => this.describe(made, text, row, column),
      mark: (row, column) => markOf(made.at(row, column)),
    };
    this.drawn = { key, grid: made, heat };
    return this.drawn;
  }

  private describe(grid: Grid, text: MetricText, row: number, column: number): string {
    const metric = grid.at(row, column);
    const name = t('Layer {0}, expert {1}', grid.layers[row] ?? 0, grid.columns[column] ?? '');
    if (metric === null) return `${name}\n${t('not computed')}`;
    const value = metricOf(metric, text.name);
    const lines = [name, `${text.label}: ${Number.isNaN(value) ? t('not known') : numberText(value)}`];
    if (text.name === 'nearest' && metric.nearest !== null) lines.push(t('nearest: expert {0}', metric.nearest.expert));
    if (metric.flags.length > 0) lines.push(metric.flags.map((flag) => flagText(metric, flag)).join(', '));
    return lines.join('\n');
  }

  private map(grid: ExpertGrid, text: MetricText): TemplateResult {
    const { grid: made, heat } = this.prepared(grid, text);
    const row = this.layer === null ? -1 : made.layers.indexOf(this.layer);
    const chosen = row < 0 ? null : { row, column: this.view.expert ?? 0 };
    return html`<section class="wide">
      <h2>${t('{0}, layer by expert', text.label)}</h2>
      <p class="dim">${text.about}</p>
      <p>
        ${gridSummary(made, text)}${this.seconds === null ? nothing : html` <span class="dim">${t('Computed in {0}.', durationText(this.seconds))}</span>`}
      </p>
      ${
        this.view.expertTable
          ? metricTable(made, text, this.layers.size)
          : html`<moe-heat-map
              label=${`${t('{0}, layer by expert', text.label)}. ${gridSummary(made, text)}`}
              .data=${heat}
              .chosen=${chosen}
              .legend=${{ low: text.low, high: text.high, marks: expertMarks() }}
              @moe-cell=${(event: CustomEvent<Cell>) => {
                const layer = made.layers[event.detail.row];
                if (layer !== undefined) changeView(this, { layer, expert: event.detail.column });
              }}
            ></moe-heat-map>`
      }
      ${
        this.notes.length + grid.notes.length === 0
          ? nothing
          : html`<ul class="notes dim">
              ${[...grid.notes, ...this.notes].map((note) => html`<li>${note}</li>`)}
            </ul>`
      }
    </section>`;
  }

  private shownMatrix(change: (changes: Partial<SavedView>) => void): ShownMatrix {
    return {
      layer: this.layer,
      similarity: this.similarity,
      state: this.similarityState,
      failure: this.similarityFailure,
      unavailable: this.grid?.unavailable !== null,
      view: this.view,
      change,
      compute: () => void this.matrix(),
    };
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-viewer-experts': MoeViewerExperts;
    'moe-heat-map': HTMLElement;
  }
}
