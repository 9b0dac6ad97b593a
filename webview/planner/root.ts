/** The plan editor: the recipe's fields on the left, what they come to on the right. The recipe file is the truth. */
import { html, LitElement, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { errorPageOf } from '../../src/protocol/errors.ts';
import type { JobView } from '../../src/protocol/jobs.ts';
import type { RecipeChange } from '../../src/protocol/planning.ts';
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
import { bytesText, shareText, shortCount, visible } from '../lib/format.ts';
import { isCancelled } from '../parts/page.ts';
import type { PageContext } from '../parts/page.ts';
import type { CopyDetail } from '../parts/copy.ts';
import { icon } from '../parts/icon.ts';
import '../parts/status.ts';
import { base } from '../parts/styles.ts';
import { t } from '../strings.ts';
import { checkedOf } from '../toolkit.ts';
import './field.ts';
import './lab.ts';
import type { PickDetail } from './field.ts';
import { notices } from './notices.ts';
import { planView } from './plan.ts';
import type { PlannerCommand } from './plan.ts';
import { readView } from './state.ts';
import type { SavedView } from './state.ts';
import { plannerStyles } from './styles.ts';

/** What `reveal` calls the router lab. */
const LAB = 'router-lab';

@customElement('moe-planner')
export class MoePlanner extends LitElement {
  static override styles = [base, plannerStyles];

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
  private labWanted = false;

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
    this.addEventListener('moe-use-init', (event) => {
      this.edit([{ op: 'set', path: ['router', 'init'], value: String((event as CustomEvent<unknown>).detail) }]);
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
    if (name === LAB) {
      // It stands below the plan, which may still be made.
      this.labWanted = true;
      this.requestUpdate();
      return;
    }
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
      flash(element);
      element.shadowRoot
        ?.querySelector<HTMLElement>('vscode-text-field, moe-select, vscode-checkbox, vscode-text-area')
        ?.focus();
    }
  }

  protected override updated(): void {
    const lab = this.labWanted ? this.shadowRoot?.querySelector('moe-router-lab') : null;
    if (lab === null || lab === undefined) return;
    this.labWanted = false;
    flash(lab);
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
    return notices(planner, this.trouble, {
      trust: () => void this.run('manageTrust'),
      close: () => {
        this.trouble = '';
      },
      job: {
        cancel: (job) => void this.cancelJob(job),
        resume: () => void this.startJob(true),
        open: (job) => void this.run('openResult', job.id),
        log: (job) => void this.run('showLog', job.id),
        show: (job) => void this.run('showJob', job.id),
      },
    });
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
    return html`${planView(plan, {
        again: planner.status === 'planning',
        asText: this.view.text,
        text: this.planText?.hash === plan.hash ? this.planText.text : null,
        opened: this.view.opened,
        endpoint: this.context?.endpoint ?? null,
        run: (command, argument) => void this.run(command, argument),
        showText: (asText) => {
          this.remember({ text: asText });
          if (asText) void this.fetchText(plan.hash);
        },
        open: (rows) => {
          this.remember({ opened: rows.slice(-500) });
        },
      })}
      <section>
        <moe-router-lab
          .endpoint=${this.context?.endpoint ?? null}
          .off=${this.cannotRun(planner)}
          .init=${startOf(planner)}
          .recipe=${restOf(planner)}
        ></moe-router-lab>
      </section>`;
  }
}

/** Brings a part into view, for a moment with a frame. */
function flash(element: HTMLElement | null): void {
  element?.scrollIntoView({ block: 'center' });
  element?.classList.add('flash');
  setTimeout(() => {
    element?.classList.remove('flash');
  }, 2500);
}

/** The way of starting the router that holds. */
function startOf({ fields }: PlannerState): string {
  const value = fields.find(({ field }) => field === 'router.init')?.value;
  return typeof value === 'string' ? value : '';
}

/** Everything that the lab depends on but for that. */
function restOf({ fields }: PlannerState): string {
  return JSON.stringify(
    fields.filter(({ field }) => field !== 'router.init').map(({ field, value }) => [field, value]),
  );
}

declare global {
  interface HTMLElementTagNameMap {
    'moe-planner': MoePlanner;
  }
}
