/** The plan editor: the recipe's fields on the left, what they come to on the right. The recipe file is the truth. */
import { css, html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import * as z from 'zod/mini';
import type { ParamsOf } from '../../src/protocol/define.ts';
import { errorPageOf } from '../../src/protocol/errors.ts';
import type { JobView } from '../../src/protocol/jobs.ts';
import type { PlanSummary, RecipeChange, WireRecipeProblem } from '../../src/protocol/planning.ts';
import {
  plannerCancel,
  plannerChanged,
  plannerCommand,
  plannerCopy,
  plannerEdit,
  plannerJob,
  plannerPick,
  plannerReady,
  plannerReveal,
  plannerRun,
  plannerText,
} from '../../src/protocol/planner.ts';
import type { PlannerState } from '../../src/protocol/planner.ts';
import { groupFields } from '../lib/fields.ts';
import {
  bytesLong,
  bytesText,
  durationText,
  flopsText,
  grouped,
  plural,
  rangesText,
  shareText,
  shortCount,
  visible,
} from '../lib/format.ts';
import { isCancelled } from '../parts/page.ts';
import type { PageContext } from '../parts/page.ts';
import type { CopyDetail } from '../parts/copy.ts';
import '../parts/copy.ts';
import { icon } from '../parts/icon.ts';
import type { IconName } from '../lib/icons.ts';
import '../parts/status.ts';
import { severityIcon } from '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { key, t } from '../strings.ts';
import { checkedOf } from '../toolkit.ts';
import './field.ts';
import type { PickDetail } from './field.ts';
import { jobPanel } from './job.ts';
import './rows.ts';
import './shards.ts';

type PlannerCommand = ParamsOf<typeof plannerCommand>['command'];

const savedView = z.object({
  opened: z._default(z.array(z.string()), []),
  /** Groups of fields that are closed. */
  closed: z._default(z.array(z.string()), ['more']),
  text: z._default(z.boolean(), false),
  verify: z._default(z.boolean(), true),
  scroll: z._default(z.number(), 0),
});
type SavedView = z.output<typeof savedView>;

function readView(saved: unknown): SavedView {
  const read = savedView.safeParse(saved ?? {});
  return read.success ? read.data : savedView.parse({});
}

const EXACT: Readonly<Record<PlanSummary['exactness']['class'], readonly [IconName, string, string]>> = {
  'bit-exact': ['verified-filled', 'ok', key('Bit-exact')],
  exact: ['pass', 'ok', key('Exact')],
  approximate: ['warning', 'approximate', key('Approximate')],
  'not-preserving': ['error', 'broken', key('Does not keep the function')],
};

@customElement('moe-planner')
export class MoePlanner extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        display: block;
        height: 100%;
        overflow: auto;
        container-type: inline-size;
      }
      header {
        position: sticky;
        inset-block-start: 0;
        z-index: 5;
        display: flex;
        flex-wrap: wrap;
        gap: 6px 12px;
        align-items: center;
        padding: 10px 16px;
        background: var(--vscode-editor-background);
        border-block-end: 1px solid var(--vscode-contrastBorder, var(--moe-line));
      }
      header h1 {
        overflow-wrap: anywhere;
      }
      .columns {
        display: grid;
        grid-template-columns: minmax(280px, 360px) minmax(0, 1fr);
        gap: 20px;
        padding: 14px 16px 32px;
        align-items: start;
      }
      @container (max-width: 820px) {
        .columns {
          grid-template-columns: minmax(0, 1fr);
        }
        header {
          position: static;
        }
      }
      .plan {
        display: flex;
        flex-direction: column;
        gap: 18px;
        min-width: 0;
        container-type: inline-size;
      }
      .plan.old {
        opacity: 0.6;
      }
      .plan > section {
        display: flex;
        flex-direction: column;
        gap: 8px;
        min-width: 0;
      }
      .totals {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(min(100%, 230px), 1fr));
        gap: 10px;
        margin: 0;
      }
      .totals > div {
        padding: 8px 10px;
        background: var(--moe-card);
        border: 1px solid var(--vscode-contrastBorder, var(--moe-line));
        border-radius: 4px;
        min-width: 0;
      }
      .totals dt {
        color: var(--moe-dim);
      }
      .totals dd {
        margin: 0;
        font-variant-numeric: tabular-nums;
      }
      .totals strong {
        font-size: 1.35em;
        font-weight: 600;
        display: inline-flex;
        gap: 2px;
        align-items: center;
        white-space: nowrap;
      }
      .totals .dim {
        overflow-wrap: anywhere;
      }
      .exact {
        display: flex;
        gap: 8px;
        align-items: flex-start;
        padding: 8px 10px;
        border: 1px solid currentColor;
        border-radius: 4px;
      }
      .exact.ok {
        color: var(--moe-ok);
      }
      .exact.approximate {
        color: var(--moe-approximate);
      }
      .exact.broken {
        color: var(--moe-broken);
      }
      .exact moe-icon {
        color: inherit;
      }
      .exact span.reason {
        color: var(--vscode-foreground);
      }
      details.group {
        border-block-start: 1px solid var(--moe-line);
      }
      details.group:first-of-type {
        border-block-start: 0;
      }
      ul {
        margin: 0;
        padding-inline-start: 20px;
      }
      ul.plain {
        list-style: none;
        padding: 0;
        display: flex;
        flex-direction: column;
        gap: 6px;
      }
      ul.plain li {
        display: flex;
        gap: 8px;
      }
      pre {
        margin: 0;
        padding: 10px;
        max-height: 60vh;
        overflow: auto;
        border: 1px solid var(--moe-line);
        white-space: pre;
      }
      .out {
        display: grid;
        grid-template-columns: minmax(0, 1fr) auto;
        gap: 6px;
        align-items: center;
        padding-block: 8px;
      }
      .job {
        display: flex;
        flex-direction: column;
        gap: 6px;
      }
      .notices {
        display: flex;
        flex-direction: column;
        padding-inline: 16px;
      }
      .notices > * {
        margin-block-start: 12px;
      }
    `,
  ];

  @property({ attribute: false }) context: PageContext | null = null;
  @state() private planner: PlannerState | null = null;
  @state() private view: SavedView = readView(null);
  @state() private lost: unknown = null;
  /** Why the last edit or command did not do what was asked. */
  @state() private trouble = '';
  @state() private said = '';
  @state() private starting = false;
  @state() private planText: { readonly hash: string; readonly text: string } | null = null;
  private pending: Promise<void> = Promise.resolve();
  private version: number | null = null;
  private lastTold = 0;

  override connectedCallback(): void {
    super.connectedCallback();
    const { context } = this;
    if (context === null) return;
    this.view = readView(context.saved);
    const { endpoint } = context;
    endpoint.on(plannerChanged, (next) => {
      this.take(next);
    });
    endpoint.on(plannerJob, ({ job }) => {
      if (this.planner !== null) this.take({ ...this.planner, job });
    });
    endpoint.on(plannerReveal, ({ field }) => {
      void this.reveal(field);
    });
    this.addEventListener('moe-copy', (event) => {
      const { text, what } = (event as CustomEvent<CopyDetail>).detail;
      void this.attempt(async () => {
        await endpoint.request(plannerCopy, { text, what });
        this.said = t('Copied {0}', what);
      });
    });
    this.addEventListener('moe-change', (event) => {
      this.edit([(event as CustomEvent<RecipeChange>).detail]);
    });
    this.addEventListener('moe-pick', (event) => {
      void this.pick((event as CustomEvent<PickDetail>).detail);
    });
    this.addEventListener('moe-action', (event) => {
      void this.run('errorAction', String((event as CustomEvent<unknown>).detail));
    });
    this.addEventListener('scroll', () => {
      this.remember({ scroll: this.scrollTop });
    });
    void this.start(context);
  }

  private async start(context: PageContext): Promise<void> {
    try {
      this.take(await context.endpoint.request(plannerReady, {}));
      await this.updateComplete;
      if (this.view.scroll > 0) this.scrollTop = this.view.scroll;
    } catch (error) {
      this.lost = error;
    }
  }

  private take(next: PlannerState): void {
    const before = this.planner;
    this.planner = next;
    this.version = next.version;
    this.tell(before, next);
    if (next.plan !== null && this.view.text && this.planText?.hash !== next.plan.hash)
      void this.fetchText(next.plan.hash);
  }

  /** Speaks what changed, at most every three seconds while a job runs. */
  private tell(before: PlannerState | null, next: PlannerState): void {
    if (before !== null && next.plan !== null && before.plan?.hash !== next.plan.hash)
      this.said = t(
        'New plan: {0} parameters, {1} active, {2}',
        shortCount(next.plan.total),
        shortCount(next.plan.active),
        bytesText(next.plan.bytes),
      );
    const job = next.job;
    if (job === null) return;
    const now = performance.now();
    if (before?.job?.status !== job.status) this.said = t('Job: {0}', job.status);
    else if (job.status === 'running' && job.progress !== null && now - this.lastTold > 3000) {
      this.lastTold = now;
      this.said = shareText(job.progress.bytesDone, job.progress.bytesTotal);
    }
  }

  private remember(changes: Partial<SavedView>): void {
    this.view = { ...this.view, ...changes };
    this.context?.save(this.view);
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!isCancelled(error)) this.trouble = errorPageOf('', error).message;
    }
  }

  /** One edit after the other: each names the version that the one before led to. */
  private edit(changes: readonly RecipeChange[]): void {
    this.trouble = '';
    this.pending = this.pending.then(() =>
      this.attempt(async () => {
        const { context, version } = this;
        if (context === null || version === null) return;
        const answer = await context.endpoint.request(plannerEdit, { version, changes: [...changes] });
        this.version = answer.version;
        if (!answer.applied)
          this.trouble = answer.reason ?? t('The recipe changed meanwhile; look again and repeat the edit.');
      }),
    );
  }

  private async pick({ what, index }: PickDetail): Promise<void> {
    await this.attempt(async () => {
      const { context } = this;
      if (context === null) return;
      const { path } = await context.endpoint.request(plannerPick, { what, index });
      if (path === null) return;
      if (what === 'base') this.edit([{ op: 'set', path: ['base'], value: path }]);
      else if (index !== null) this.edit([{ op: 'set', path: ['parents', index, 'path'], value: path }]);
      else {
        const parents = this.planner?.fields.find(({ field }) => field === 'parents')?.value;
        const length = Array.isArray(parents) ? parents.length : 0;
        this.edit([
          length === 0
            ? { op: 'set', path: ['parents'], value: [{ path, experts: 1 }] }
            : { op: 'set', path: ['parents', length], value: { path, experts: 1 } },
        ]);
      }
    });
  }

  private async run(command: PlannerCommand, argument: string | null = null): Promise<void> {
    await this.attempt(async () => {
      await this.context?.endpoint.request(plannerCommand, { command, argument });
    });
  }

  private async startJob(resume: boolean): Promise<void> {
    const { context, planner } = this;
    const plan = planner?.plan;
    if (context === null || plan === null || plan === undefined) return;
    this.starting = true;
    this.trouble = '';
    await this.attempt(async () => {
      const { job } = await context.endpoint.request(plannerRun, {
        hash: plan.hash,
        out: planner?.out ?? null,
        resume,
        overwrite: false,
        verify: this.view.verify,
      });
      if (job !== null && this.planner !== null) this.take({ ...this.planner, job });
    });
    this.starting = false;
  }

  private async cancelJob(job: JobView): Promise<void> {
    await this.attempt(async () => {
      await this.context?.endpoint.request(plannerCancel, { job: job.id, keepPartial: null });
    });
  }

  private async fetchText(hash: string): Promise<void> {
    await this.attempt(async () => {
      const { context } = this;
      if (context === null) return;
      const { text } = await context.endpoint.request(plannerText, { hash });
      this.planText = { hash, text };
    });
  }

  private async reveal(name: string): Promise<void> {
    const fields = this.planner?.fields ?? [];
    const field =
      fields.find(({ field }) => field === name) ?? fields.find(({ field }) => name.startsWith(`${field}.`));
    if (field === undefined) return;
    const group = groupFields(fields).find((each) => each.fields.includes(field));
    if (group !== undefined) this.remember({ closed: this.view.closed.filter((id) => id !== group.id) });
    await this.updateComplete;
    for (const element of this.shadowRoot?.querySelectorAll('moe-recipe-field') ?? []) {
      element.classList.remove('flash');
      if (element.field?.field !== field.field) continue;
      element.scrollIntoView({ block: 'center' });
      element.classList.add('flash');
      setTimeout(() => {
        element.classList.remove('flash');
      }, 2500);
      element.shadowRoot
        ?.querySelector<HTMLElement>('vscode-text-field, moe-select, vscode-checkbox, vscode-text-area')
        ?.focus();
    }
  }

  override render(): TemplateResult {
    return html`${this.body()}
      <div class="hidden-text" role="status" aria-live="polite">${this.said}</div>`;
  }

  private body(): TemplateResult {
    const { planner } = this;
    if (this.lost !== null)
      return html`<main>
        <moe-error-page .page=${errorPageOf(t('This view lost its extension'), this.lost)}></moe-error-page>
      </main>`;
    if (planner === null)
      return html`<main class="notices"><moe-progress what=${t('Reading the recipe')}></moe-progress></main>`;
    return html`${this.header(planner)}
      <main>
        <div class="notices">${this.notices(planner)}</div>
        <div class="columns">
          <section aria-label=${t('Recipe')}>${this.recipe(planner)}</section>
          <div
            class=${planner.status === 'planning' && planner.plan !== null ? 'plan old' : 'plan'}
            aria-busy=${String(planner.status === 'planning')}
          >
            ${this.plan(planner)}
          </div>
        </div>
      </main>`;
  }

  private header(planner: PlannerState): TemplateResult {
    const { plan, job } = planner;
    const running = job !== null && (job.status === 'running' || job.status === 'queued');
    const why = this.cannotRun(planner);
    return html`<header>
      <h1>
        ${visible(planner.name)}${planner.dirty ? html`<span class="dim" title=${t('not saved')}> ●<span class="hidden-text">${t('not saved')}</span></span>` : nothing}
      </h1>
      ${plan === null ? nothing : html`<span class="tag">${visible(plan.targetType)}</span><span>${visible(plan.headline)}</span>`}
      <span class="grow"></span>
      <button class="tool" type="button" @click=${() => void this.run('openText')}>
        ${icon('go-to-file')}${t('Recipe text')}
      </button>
      <button class="tool" type="button" @click=${() => void this.run('replan')}>
        ${icon('refresh')}${t('Plan again')}
      </button>
      <vscode-button
        ?disabled=${why !== null || running || this.starting}
        title=${why ?? ''}
        @click=${() => void this.startJob(false)}
        >${this.starting ? t('Starting…') : t('Run…')}</vscode-button
      >
      ${why === null || planner.restricted ? nothing : html`<span class="dim">${why}</span>`}
    </header>`;
  }

  private cannotRun(planner: PlannerState): string | null {
    if (planner.restricted) return t('Restricted Mode: jobs do not run');
    if (planner.status === 'planning') return t('Planning…');
    if (planner.plan === null) return t('There is no plan yet');
    return planner.plan.planOnly;
  }

  private notices(planner: PlannerState): TemplateResult {
    const general = planner.problems.filter(({ field }) => !planner.fields.some((each) => each.field === field));
    const errors = planner.problems.filter(({ severity }) => severity === 'error').length;
    return html`${
      planner.restricted
        ? html`<div class="note warning">
            ${icon('workspace-untrusted', 'warning')}
            <div>
              ${t('Restricted Mode: the plan is shown, but nothing runs until you trust this folder.')}
              <button class="link" type="button" @click=${() => void this.run('manageTrust')}>
                ${t('Manage trust')}
              </button>
            </div>
          </div>`
        : nothing
    }
    ${
      this.trouble === ''
        ? nothing
        : html`<div class="note error" role="alert">
            ${icon('error', 'error')}
            <div class="grow break">${visible(this.trouble)}</div>
            <button class="tool" type="button" title=${t('Close')} @click=${() => (this.trouble = '')}>
              ${icon('close')}<span class="hidden-text">${t('Close')}</span>
            </button>
          </div>`
    }
    ${
      errors > 0
        ? html`<div class="note error">
            ${icon('error', 'error')}
            <div>
              ${t('{0} in the recipe: the plan is made when there is none.', plural(errors, t('error')))}
              ${problems(general)}
            </div>
          </div>`
        : general.length > 0
          ? html`<div class="note warning">
              ${icon('warning', 'warning')}
              <div>${problems(general)}</div>
            </div>`
          : nothing
    }
    ${
      planner.job === null
        ? nothing
        : jobPanel(
            planner.job,
            {
              cancel: (job) => void this.cancelJob(job),
              resume: () => void this.startJob(true),
              open: (job) => void this.run('openResult', job.id),
              log: (job) => void this.run('showLog', job.id),
              show: (job) => void this.run('showJob', job.id),
            },
            planner.restricted,
          )
    }`;
  }

  private recipe(planner: PlannerState): TemplateResult {
    const groups = groupFields(planner.fields);
    return html`${groups.map(
        (group) =>
          html`<details
            class="group"
            ?open=${!this.view.closed.includes(group.id)}
            @toggle=${(event: Event) => {
              this.folded(group.id, event);
            }}
          >
            <summary>${group.title}</summary>
            ${group.fields.map((field) => html`<moe-recipe-field .field=${field}></moe-recipe-field>`)}
          </details>`,
      )}
      <div class="out">
        <div class="break">
          <strong>${t('Output folder')}</strong><br />
          <span class=${planner.out === null ? 'dim' : 'mono'}
            >${planner.out === null ? t('asked for when it runs') : visible(planner.out)}</span
          >
        </div>
        <vscode-button
          appearance="secondary"
          aria-label=${t('Choose the output folder')}
          @click=${() =>
            void this.attempt(async () => {
              await this.context?.endpoint.request(plannerPick, { what: 'out', index: null });
            })}
          >${t('Choose…')}</vscode-button
        >
      </div>
      <vscode-checkbox
        .checked=${this.view.verify}
        @change=${(event: Event) => {
          if (checkedOf(event) !== this.view.verify) this.remember({ verify: checkedOf(event) });
        }}
        >${t('Verify the result against its source')}</vscode-checkbox
      >`;
  }

  private folded(id: string, event: Event): void {
    const { target } = event;
    if (!(target instanceof HTMLDetailsElement)) return;
    const closed = this.view.closed.filter((each) => each !== id);
    if (!target.open) closed.push(id);
    if (closed.length !== this.view.closed.length) this.remember({ closed });
  }

  private plan(planner: PlannerState): TemplateResult {
    const { plan } = planner;
    if (planner.status === 'failed' && planner.error !== null)
      return html`<moe-error-page .page=${planner.error}></moe-error-page>`;
    if (plan === null)
      return planner.status === 'planning'
        ? html`<moe-progress what=${t('Planning')}></moe-progress>`
        : html`<p class="dim">${t('The plan appears here when the recipe has no errors.')}</p>`;
    return html`${planner.status === 'planning' ? html`<moe-progress what=${t('Planning the changed recipe; below is the plan before')}></moe-progress>` : nothing}
      ${this.exactness(plan)}
      <section aria-label=${t('Totals')}>${this.totals(plan)}</section>
      ${
        plan.planOnly === null
          ? nothing
          : html`<div class="note">
              ${icon('info', 'info')}
              <div class="break">${visible(plan.planOnly)}</div>
            </div>`
      }
      ${
        plan.warnings.length === 0
          ? nothing
          : html`<section>
              <h2>${t('Warnings ({0})', grouped(plan.warnings.length))}</h2>
              <ul class="plain">
                ${plan.warnings.slice(0, 100).map(
                  (warning) =>
                    html`<li>
                      ${severityIcon('warning')}<span class="break"
                        >${visible(warning.message)} <span class="dim mono">${warning.code}</span></span
                      >
                    </li>`,
                )}
              </ul>
              ${plan.warnings.length > 100 ? html`<p class="dim">${t('{0} more are in the plan as text.', grouped(plan.warnings.length - 100))}</p>` : nothing}
            </section>`
      }
      <section>
        <div class="row">
          <h2 class="grow">${t('From dense to MoE')}</h2>
          <button
            class="tool"
            type="button"
            aria-pressed=${String(this.view.text)}
            @click=${() => {
              this.remember({ text: !this.view.text });
              if (this.view.text) void this.fetchText(plan.hash);
            }}
          >
            ${icon('list-flat')}${t('As text')}
          </button>
          <button class="tool" type="button" @click=${() => void this.run('savePlan', plan.hash)}>
            ${icon('save')}${t('Save plan…')}
          </button>
        </div>
        <p class="dim">
          ${t(
            '{0} of {1} layers become MoE{2}; {3} in {4}.',
            grouped(plan.moeLayers.length),
            grouped(plan.layers),
            plan.moeLayers.length === plan.layers || plan.moeLayers.length === 0
              ? ''
              : ` (${rangesText(plan.moeLayers)})`,
            plural(plan.tensors, t('tensor')),
            plural(plan.files, t('file')),
          )}
        </p>
        ${
          this.view.text
            ? this.asText(plan)
            : html`<moe-plan-rows
                .plan=${plan}
                .endpoint=${this.context?.endpoint ?? null}
                .opened=${this.view.opened}
                @moe-opened=${(event: CustomEvent<string[]>) => {
                  this.remember({ opened: event.detail.slice(-500) });
                }}
              ></moe-plan-rows>`
        }
      </section>
      <section>
        <h2>${t('Output files')}</h2>
        <moe-shard-bar .plan=${plan}></moe-shard-bar>
      </section>
      ${
        plan.assumptions.length === 0
          ? nothing
          : html`<section>
              <h2>${t('Assumptions')}</h2>
              <ul>
                ${plan.assumptions.map((assumption) => html`<li class="break">${visible(assumption)}</li>`)}
              </ul>
            </section>`
      }
      <section>
        <details>
          <summary>${t('Sources and config')}</summary>
          <ul>
            ${plan.sources.map(
              (source) =>
                html`<li class="break">
                  <button class="link mono" type="button" @click=${() => void this.run('openSource', source.path)}>
                    ${visible(source.path)}
                  </button>
                  ${source.modelType ?? source.format},
                  ${source.parameters === null ? t('parameters unknown') : t('{0} parameters', shortCount(source.parameters))},
                  ${bytesText(source.bytes)}
                </li>`,
            )}
          </ul>
          <div class="row">
            <moe-copy
              .text=${JSON.stringify(plan.config, null, 2)}
              what=${t('config.json')}
              label=${t('Copy config.json')}
            ></moe-copy>
          </div>
          <pre tabindex="0" role="region" aria-label="config.json">${JSON.stringify(plan.config, null, 2)}</pre>
        </details>
        <p class="dim">
          ${t('Planned in {0}.', durationText(plan.seconds))} ${t('Plan')} <code>${plan.hash.slice(0, 16)}</code>
          <moe-copy .text=${plan.hash} what=${t('the plan’s hash')}></moe-copy>
        </p>
      </section>`;
  }

  private exactness(plan: PlanSummary): TemplateResult {
    const [name, tone, words] = EXACT[plan.exactness.class];
    return html`<div class="exact ${tone}">
      ${icon(name)}
      <div><strong>${t(words)}</strong> <span class="reason break">– ${visible(plan.exactness.reason)}</span></div>
    </div>`;
  }

  private totals(plan: PlanSummary): TemplateResult {
    const tile = (label: string, value: string, exact: number, note: string): TemplateResult =>
      html`<div>
        <dt>${label}</dt>
        <dd>
          <strong title=${grouped(exact)}>${value}<moe-copy text=${String(exact)} what=${label}></moe-copy></strong>
          <div class="dim">${note}</div>
        </dd>
      </div>`;
    const { flops } = plan;
    const room =
      plan.freeBytes === null
        ? ''
        : plan.freeBytes < plan.physicalBytes
          ? t('only {0} are free', bytesText(plan.freeBytes))
          : t('{0} are free', bytesText(plan.freeBytes));
    return html`<dl class="totals">
        ${tile(t('Total parameters'), shortCount(plan.total), plan.total, t('dense: {0}', shortCount(plan.dense)))}
        ${tile(t('Active per token'), shortCount(plan.active), plan.active, t('{0} of all', shareText(plan.active, plan.total)))}
        ${tile(t('Size of the files'), bytesText(plan.bytes), plan.bytes, t('source: {0}', bytesText(plan.sourceBytes)))}
        ${tile(
          t('On disk'),
          bytesText(plan.physicalBytes),
          plan.physicalBytes,
          [plan.physicalKnown ? '' : t('without cloning, as no output folder is chosen'), room]
            .filter((each) => each !== '')
            .join('; '),
        )}
        ${tile(t('Memory to write it'), bytesText(plan.peakMemoryBytes), plan.peakMemoryBytes, plan.peakMemoryReason)}
        ${tile(
          t('Forward FLOPs per token'),
          flopsText(flops.forward2N),
          flops.forward2N,
          t('dense: {0}; 2 × active parameters', flopsText(flops.dense.forward2N)),
        )}
      </dl>
      <p class="dim">
        ${t('Training at {0} tokens: {1} per token (dense: {2}).', grouped(flops.sequence), flopsText(flops.trainingCausal), flopsText(flops.dense.trainingCausal))}
        ${flops.definition} <span class="hidden-text">${bytesLong(plan.bytes)}</span>
      </p>`;
  }

  private asText(plan: PlanSummary): TemplateResult {
    const text = this.planText?.hash === plan.hash ? this.planText.text : null;
    return text === null
      ? html`<moe-progress what=${t('Writing the plan as text')}></moe-progress>`
      : html`<div class="row"><moe-copy .text=${text} what=${t('the plan as text')} label=${t('Copy')}></moe-copy></div>
          <pre tabindex="0" role="region" aria-label=${t('The plan as text')}>${text}</pre>`;
  }
}

function problems(all: readonly WireRecipeProblem[]): TemplateResult | typeof nothing {
  if (all.length === 0) return nothing;
  return html`<ul class="plain">
    ${all.map(
      (problem) =>
        html`<li>
          ${severityIcon(problem.severity)}
          <span class="break"
            >${visible(problem.message)}${problem.at === null ? nothing : html` <span class="dim">${t('line {0}', problem.at.line)}</span>`}${
              problem.hint === null ? nothing : html` <span class="dim">${problem.hint}</span>`
            }</span
          >
        </li>`,
    )}
  </ul>`;
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-planner': MoePlanner;
  }
}
