/** The results editor: a run that goes on or is done, its scores, subjects, comparison with another run, and its experts. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import * as z from 'zod/mini';
import type { ParamsOf } from '../../src/protocol/define.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import {
  resultsChanged,
  resultsCommand,
  resultsCompare,
  resultsCopy,
  resultsLayer,
  resultsReady,
} from '../../src/protocol/results.ts';
import type { Evaluation, ResultsState } from '../../src/protocol/results.ts';
import { grouped, visible } from '../lib/format.ts';
import type { IconName } from '../lib/icons.ts';
import { evaluationLine, scoreText, subjectsText, Z95 } from '../lib/scores.ts';
import '../parts/bars.ts';
import type { CopyDetail } from '../parts/copy.ts';
import { icon } from '../parts/icon.ts';
import { isCancelled } from '../parts/page.ts';
import type { PageContext } from '../parts/page.ts';
import '../parts/select.ts';
import { empty, emptyStyles } from '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { tabs, tabStyles } from '../parts/tabs.ts';
import type { Tab } from '../parts/tabs.ts';
import '../parts/traces.ts';
import { t } from '../strings.ts';
import { comparisonPart } from './comparison.ts';
import { jobPart } from './job.ts';
import { scoreTable } from './tables.ts';

type Command = ParamsOf<typeof resultsCommand>['command'];

const tabName = z.enum(['scores', 'subjects', 'compare', 'experts']);
type TabName = z.output<typeof tabName>;
const savedView = z.object({ tab: z._default(tabName, 'scores'), table: z._default(z.boolean(), false) });
type SavedView = z.output<typeof savedView>;

/** Four choices: what guessing gives. */
const MMLU_CHANCE = 0.25;

@customElement('moe-results')
export class MoeResults extends LitElement {
  static override styles = [
    base,
    tabStyles,
    emptyStyles,
    css`
      :host {
        display: flex;
        flex-direction: column;
        min-height: 100%;
      }
      header {
        padding: 12px 16px 8px;
        display: flex;
        flex-direction: column;
        gap: 8px;
      }
      nav {
        padding-inline: 12px;
      }
      [role='tabpanel'],
      main:not(.panels) {
        display: flex;
        flex-direction: column;
        gap: 12px;
        padding: 12px 16px 24px;
        min-width: 0;
      }
      .facts {
        display: flex;
        flex-wrap: wrap;
        gap: 2px 16px;
      }
      th[scope='row']:not(.group) {
        font-weight: 400;
      }
      .running {
        display: flex;
        flex-direction: column;
        gap: 8px;
      }
      .running table {
        max-width: 640px;
      }
    `,
  ];

  @property({ attribute: false }) context: PageContext | null = null;
  @state() private results: ResultsState | null = null;
  @state() private view: SavedView = savedView.parse({});
  @state() private failure: unknown = null;
  @state() private lost: unknown = null;
  @state() private comparing = false;
  @state() private said = '';
  private told = -Infinity;

  override connectedCallback(): void {
    super.connectedCallback();
    const { context } = this;
    if (context === null) return;
    const saved = savedView.safeParse(context.saved ?? {});
    if (saved.success) this.view = saved.data;
    context.endpoint.on(resultsChanged, (next) => {
      this.take(next);
    });
    this.addEventListener('moe-copy', (event) => {
      const { text, what } = (event as CustomEvent<CopyDetail>).detail;
      void this.attempt(async () => {
        await context.endpoint.request(resultsCopy, { text, what });
        this.said = t('Copied {0}', what);
      });
    });
    this.addEventListener('moe-action', (event) => void this.run('errorAction', detailOf(event)));
    this.addEventListener('moe-export', (event) => void this.run('exportTraces', detailOf(event)));
    context.endpoint.request(resultsReady, {}).then(
      (next) => {
        this.take(next);
      },
      (error: unknown) => {
        this.lost = error;
      },
    );
  }

  private take(next: ResultsState): void {
    const before = this.results;
    this.results = next;
    if (before?.evaluation === null && next.evaluation !== null) {
      this.said = t('Done: {0}', evaluationLine(next.evaluation));
      return;
    }
    if (before?.job?.status !== next.job?.status) this.said = next.job?.words ?? '';
    const now = performance.now();
    if (next.job?.status !== 'running' || now - this.told < 15_000) return;
    this.told = now;
    this.said = next.job.words;
  }

  private change(changes: Partial<SavedView>): void {
    this.view = { ...this.view, ...changes };
    this.context?.save(this.view);
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    this.failure = null;
    try {
      await action();
    } catch (error) {
      if (!isCancelled(error)) this.failure = error;
    }
  }

  private async run(command: Command, argument: string | null = null): Promise<void> {
    await this.attempt(async () => {
      await this.context?.endpoint.request(resultsCommand, { command, argument });
    });
  }

  private async compare(file: string | null): Promise<void> {
    this.comparing = true;
    await this.attempt(async () => {
      await this.context?.endpoint.request(resultsCompare, { file });
    });
    this.comparing = false;
  }

  override render(): TemplateResult {
    return html`${this.body()}
      <div class="hidden-text" role="status" aria-live="polite">${this.said}</div>`;
  }

  private body(): TemplateResult {
    const { results } = this;
    if (this.lost !== null)
      return html`<main>
        <moe-error-page .page=${errorPageOf(t('This view lost its extension'), this.lost)}></moe-error-page>
      </main>`;
    if (results === null) return html`<main><moe-progress what=${t('Opening')}></moe-progress></main>`;
    const { evaluation, job, error } = results;
    const failure =
      this.failure === null
        ? nothing
        : html`<div class="note error" role="alert">
            ${icon('error', 'error')}
            <div class="break">${errorPageOf('', this.failure).message}</div>
          </div>`;
    if (error !== null && (job === null || job.status === 'done'))
      return html`<main><moe-error-page .page=${error}></moe-error-page></main>`;
    return html`<header>
        ${evaluation === null ? html`<h1 class="break">${visible(results.name)}</h1>` : this.head(evaluation)}
        ${failure}
        ${job === null || (job.status === 'done' && evaluation !== null) ? nothing : jobPart(job, (command) => void this.run(command))}
      </header>
      ${
        evaluation === null
          ? html`<main>${job === null ? unfinished() : nothing}</main>`
          : this.tabs(results, evaluation)
      }`;
  }

  private head(evaluation: Evaluation): TemplateResult {
    const { model, path, date, tool, partial, facts, notes } = evaluation;
    return html`<div class="row">
        <h1 class="break grow">
          ${
            path === null
              ? visible(model)
              : html`<button class="link" type="button" title=${path} @click=${() => void this.run('openCheckpoint')}>
                  ${visible(model)}
                </button>`
          }
        </h1>
        ${toolButton('save', t('Save As…'), () => void this.run('saveAs'))}
        ${toolButton('copy', t('Copy as Markdown'), () => void this.run('copyMarkdown'))}
        ${toolButton('json', t('Copy as JSON'), () => void this.run('copyJson'))}
      </div>
      <div class="facts dim">
        <span>${visible(tool)}${date === null ? '' : `, ${new Date(date).toLocaleString()}`}</span>
        ${facts.map(
          ({ label, value, note }) => html`<span title=${note ?? ''} class="break">${label}: ${visible(value)}</span>`,
        )}
      </div>
      ${
        partial === null
          ? nothing
          : html`<div class="note warning">
              ${icon('warning', 'warning')}
              <div class="break"><strong>${t('Partial run')}</strong>: ${visible(partial)}</div>
            </div>`
      }
      ${
        notes.length === 0
          ? nothing
          : html`<details>
              <summary>${t('Notes ({0})', grouped(notes.length))}</summary>
              <ul>
                ${notes.map((note) => html`<li class="break">${visible(note)}</li>`)}
              </ul>
            </details>`
      }`;
  }

  private tabs(results: ResultsState, evaluation: Evaluation): TemplateResult {
    const { rows, subjects, traces } = evaluation;
    const all: Tab[] = [];
    if (rows.length > 0) all.push({ id: 'scores', label: t('Scores'), icon: 'table', badge: '' });
    if (subjects.length > 0)
      all.push({ id: 'subjects', label: t('Subjects'), icon: 'graph', badge: grouped(subjects.length) });
    if (rows.length > 0) all.push({ id: 'compare', label: t('Compare'), icon: 'compare-changes', badge: '' });
    if (traces !== null) all.push({ id: 'experts', label: t('Experts'), icon: 'layers', badge: '' });
    const [first] = all;
    if (first === undefined) return html`<main>${empty('graph', t('No results'), t('The file names no task.'))}</main>`;
    const current = all.some(({ id }) => id === this.view.tab) ? this.view.tab : tabName.parse(first.id);
    return html`<nav aria-label=${t('Parts of the results')}>
        ${tabs(
          t('Views'),
          all,
          current,
          (id) => {
            const name = tabName.safeParse(id);
            if (name.success) this.change({ tab: name.data });
          },
          this,
        )}
      </nav>
      <main class="panels">
        <div role="tabpanel" id="panel-${current}" aria-labelledby="tab-${current}">
          ${this.panel(current, results, evaluation)}
        </div>
      </main>`;
  }

  private panel(current: TabName, results: ResultsState, evaluation: Evaluation): TemplateResult {
    switch (current) {
      case 'scores':
        return scoreTable(evaluation);
      case 'subjects':
        return this.subjects(evaluation);
      case 'compare':
        return this.comparePanel(results);
      case 'experts':
        return html`<moe-traces .traces=${evaluation.traces} .fetch=${this.fetchLayer}></moe-traces>`;
    }
  }

  private readonly fetchLayer = (layer: number) => {
    const { context } = this;
    if (context === null) return Promise.reject(new Error('not connected'));
    return context.endpoint.request(resultsLayer, { layer });
  };

  private subjects({ subjects }: Evaluation): TemplateResult {
    const areas = [...new Set(subjects.map(({ area }) => area))].sort();
    const sorted = areas.flatMap((area) =>
      subjects.filter((one) => one.area === area).sort((a, b) => b.value - a.value),
    );
    const bars = sorted.map(({ label, area, value, stderr }) => ({
      label,
      group: area,
      value,
      low: stderr === null ? null : Math.max(0, value - Z95 * stderr),
      high: stderr === null ? null : Math.min(1, value + Z95 * stderr),
      text: stderr === null ? scoreText(value) : `${scoreText(value)} ± ${stderr.toFixed(4)}`,
    }));
    return html`<div class="row">
        <h2 class="grow">${t('Accuracy by subject')}</h2>
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
      <p>${subjectsText(subjects, MMLU_CHANCE)}</p>
      ${
        this.view.table
          ? html`<div class="scroll" tabindex="0" role="region" aria-label=${t('Accuracy by subject')}>
              <table>
                <thead>
                  <tr>
                    <th scope="col">${t('Subject')}</th>
                    <th scope="col">${t('Area')}</th>
                    <th scope="col" class="num">${t('Documents')}</th>
                    <th scope="col" class="num">acc</th>
                    <th scope="col" class="num">${t('± Stderr')}</th>
                  </tr>
                </thead>
                <tbody>
                  ${sorted.map(
                    ({ label, area, value, stderr, documents }) =>
                      html`<tr>
                        <th scope="row">${visible(label)}</th>
                        <td>${area}</td>
                        <td class="num">${documents === null ? '–' : grouped(documents)}</td>
                        <td class="num">${scoreText(value)}</td>
                        <td class="num">${stderr === null ? '–' : stderr.toFixed(4)}</td>
                      </tr>`,
                  )}
                </tbody>
              </table>
            </div>`
          : html`<moe-bars
              label=${t('Accuracy by subject')}
              .bars=${bars}
              most="1"
              .mark=${{ at: MMLU_CHANCE, word: t('guessing, {0}', MMLU_CHANCE) }}
            ></moe-bars>`
      }`;
  }

  private comparePanel({ others, comparison }: ResultsState): TemplateResult {
    const choices = [
      { value: '', label: t('(choose a run)') },
      ...others.map(({ file, label, about }) => ({ value: file, label: `${visible(label)} (${visible(about)})` })),
    ];
    const chosen = comparison?.other.file ?? '';
    if (chosen !== '' && !others.some(({ file }) => file === chosen))
      choices.push({ value: chosen, label: visible(comparison?.other.name ?? chosen) });
    return html`<div class="row">
        <moe-select
          label=${t('Compare with')}
          .choices=${choices}
          .value=${chosen}
          ?disabled=${this.comparing}
          @change=${(event: CustomEvent<string>) => void this.compare(event.detail === '' ? null : event.detail)}
        ></moe-select>
        ${toolButton('folder-opened', t('Results in a File…'), () => void this.run('import'))}
      </div>
      <p class="dim">
        ${t('Results of lm-evaluation-harness can be chosen too. With its samples files beside them, questions are compared one by one.')}
      </p>
      ${this.comparing ? html`<moe-progress what=${t('Comparing')}></moe-progress>` : nothing}
      ${comparison === null ? nothing : comparisonPart(comparison)}`;
  }
}

function unfinished(): TemplateResult {
  return empty(
    'history',
    t('This evaluation was not finished'),
    t('Its job is no longer known. Evaluate the checkpoint again from the palette.'),
  );
}

function toolButton(name: IconName, label: string, act: () => void): TemplateResult {
  return html`<button class="tool" type="button" @click=${act}>${icon(name)}${label}</button>`;
}

function detailOf(event: Event): string {
  return event instanceof CustomEvent ? String(event.detail) : '';
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-results': MoeResults;
  }
}
