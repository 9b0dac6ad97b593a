/** The host side of one plan tab: plans the document's text in the worker, edits it, runs it. */
import * as vscode from 'vscode';
import { basename, dirname } from 'node:path';
import { MoeError } from '../common/errors.ts';
import type { JobView } from '../protocol/jobs.ts';
import {
  plannerCancel,
  plannerChanged,
  plannerCommand,
  plannerCopy,
  plannerEdit,
  plannerFault,
  plannerJob,
  plannerPick,
  plannerReady,
  plannerReveal,
  plannerRow,
  plannerRun,
  plannerText,
} from '../protocol/planner.ts';
import type { PlannerState } from '../protocol/planner.ts';
import type { ParamsOf } from '../protocol/define.ts';
import { errorPageOf } from '../protocol/errors.ts';
import type { Endpoint } from '../protocol/host.ts';
import { workerPlan, workerPlanRow, workerPlanText, workerRecipe, workerSavePlan } from '../protocol/worker.ts';
import { applyRecipeChanges } from '../view/recipe-edit.ts';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { COMMANDS } from './ids.ts';
import { confirmOutput } from './output-dialog.ts';
import { pickLabText, serveLabPage } from './plan-lab.ts';
import { portable } from './recipe-draft.ts';
import { defaultOutput } from './default-output.ts';
import type { Services } from './services.ts';
import { deviceSetting, proveSetting, setting } from './settings.ts';
import type { TextDocuments } from './text-documents.ts';
import { replacementOf } from './text-edit.ts';
import { pickCheckpoint } from './choose-checkpoint.ts';
import { copyText, logPageFault, openPage } from './webview-page.ts';

interface Parts {
  readonly services: Services;
  readonly editors: CheckpointEditors;
  readonly texts: TextDocuments;
}
type Planned = Pick<PlannerState, 'recipe' | 'fields' | 'problems' | 'status' | 'error' | 'plan'>;
type RunRequest = ParamsOf<typeof plannerRun>;

function noSource(): PlannerState['error'] {
  const error = new MoeError('input', 'source-missing', vscode.l10n.t('The recipe names no dense checkpoint'), {
    field: 'base',
    hint: vscode.l10n.t('Choose one, or write "base" into the recipe.'),
  });
  return errorPageOf(vscode.l10n.t('There is nothing to plan yet'), error);
}

/** Typing pauses this long before a plan is made; the recipe alone is judged at once. */
const PLAN_MS = 250;

export class PlanHost {
  private readonly endpoint: Endpoint;
  private readonly disposables: { dispose(): unknown }[] = [];
  private planned: Planned = { recipe: null, fields: [], problems: [], status: 'planning', error: null, plan: null };
  private ready = false;
  private wanted: string | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private aborter = new AbortController();
  private out: string;
  private jobId: string | null;
  private jobSeen = '';
  private closed = false;

  constructor(
    private readonly document: vscode.TextDocument,
    panel: vscode.WebviewPanel,
    private readonly parts: Parts,
  ) {
    const { services } = parts;
    this.out = this.remembered('out') ?? defaultOutput(document.uri.fsPath);
    this.jobId = this.remembered('job');
    this.endpoint = openPage(panel.webview, 'planner', basename(document.uri.path), services);
    this.serve();
    this.disposables.push(
      vscode.workspace.onDidChangeTextDocument((event) => {
        if (event.document.uri.toString() !== document.uri.toString()) return;
        // Saving alone changes no text, but `dirty`.
        if (event.contentChanges.length > 0) this.replan(PLAN_MS);
        else this.tell();
      }),
      vscode.workspace.onDidSaveTextDocument((saved) => {
        if (saved === document) this.tell();
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(() => {
        this.tell();
      }),
      services.jobs.onDidChange(() => {
        this.followJob();
      }),
      panel.onDidChangeViewState(() => {
        if (panel.visible) this.tell();
      }),
      panel.onDidDispose(() => {
        this.closed = true;
        this.aborter.abort();
        if (this.timer !== null) clearTimeout(this.timer);
        this.endpoint.close('the tab was closed');
        for (const one of this.disposables) one.dispose();
      }),
    );
    this.replan(0);
  }

  private key(what: string): string {
    return `plan.${what}:${this.document.uri.toString()}`;
  }

  private remembered(what: 'out' | 'job'): string | null {
    const value: unknown = this.parts.services.context.workspaceState.get(this.key(what));
    return typeof value === 'string' ? value : null;
  }

  private remember(what: 'out' | 'job', value: string): void {
    void this.parts.services.context.workspaceState.update(this.key(what), value);
  }

  /** Goes to a field; where the page is only being made, as soon as it is there. */
  reveal(field: string): void {
    if (this.ready) this.endpoint.notify(plannerReveal, { field });
    else this.wanted = field;
  }

  private get file(): string {
    return this.document.uri.fsPath;
  }

  private request(): ParamsOf<typeof workerPlan> {
    return {
      file: this.file,
      text: this.document.getText(),
      preset: null,
      sets: [],
      src: null,
      cwd: dirname(this.file),
      out: this.out,
    };
  }

  /** Judges the text at once, then plans. What was under way for an older text is given up. */
  private replan(delay: number): void {
    this.aborter.abort();
    const aborter = new AbortController();
    this.aborter = aborter;
    if (this.timer !== null) clearTimeout(this.timer);
    this.planned = { ...this.planned, status: 'planning' };
    void this.judge(aborter.signal);
    this.timer = setTimeout(() => void this.plan(aborter.signal), delay);
  }

  private async judge(signal: AbortSignal): Promise<void> {
    try {
      const read = await this.parts.services.worker.request(workerRecipe, this.request(), { signal });
      if (signal.aborted || this.planned.status !== 'planning') return;
      this.planned = { ...this.planned, ...read, status: read.recipe === null ? 'invalid' : 'planning' };
      this.tell();
    } catch {
      // Planning says the same, with its place.
    }
  }

  private async plan(signal: AbortSignal): Promise<void> {
    try {
      const planned = await this.parts.services.worker.request(workerPlan, this.request(), { signal });
      if (signal.aborted) return;
      const status = planned.recipe === null ? 'invalid' : planned.plan === null ? 'failed' : 'ready';
      const error = status === 'failed' ? noSource() : null;
      this.planned = { ...planned, plan: planned.plan ?? this.planned.plan, status, error };
    } catch (error) {
      if (signal.aborted) return;
      const page = errorPageOf(vscode.l10n.t('The plan cannot be made'), error, [
        { id: 'replan', label: vscode.l10n.t('Try Again') },
      ]);
      this.planned = { ...this.planned, status: 'failed', error: page };
    }
    this.tell();
  }

  private job(): JobView | null {
    return this.jobId === null ? null : this.parts.services.jobs.get(this.jobId);
  }

  private followJob(): void {
    const job = this.job();
    const seen = job === null ? '' : JSON.stringify([job.status, job.progress, job.cancelling, job.place]);
    if (seen === this.jobSeen) return;
    this.jobSeen = seen;
    if (this.ready) this.endpoint.notify(plannerJob, { job });
  }

  private state(): PlannerState {
    const { document } = this;
    return {
      version: document.version,
      name: basename(document.uri.path),
      path: this.file,
      text: document.getText(),
      ...this.planned,
      out: this.out,
      job: this.job(),
      restricted: !vscode.workspace.isTrusted,
      dirty: document.isDirty,
    };
  }

  private tell(): void {
    if (this.ready) this.endpoint.notify(plannerChanged, this.state());
  }

  private serve(): void {
    const { endpoint, parts } = this;
    const { worker, jobs } = parts.services;
    endpoint.handle(plannerReady, () => {
      this.ready = true;
      const { wanted } = this;
      this.wanted = null;
      // After the answer: the page must know the fields first.
      if (wanted !== null) setTimeout(() => this.reveal(wanted), 0);
      return this.state();
    });
    endpoint.on(plannerFault, ({ message, stack }) => {
      logPageFault(parts.services, 'planner', message, stack);
    });
    endpoint.handle(plannerEdit, (request) => this.edit(request));
    endpoint.handle(plannerRow, (request, { signal }) => worker.request(workerPlanRow, request, { signal }));
    endpoint.handle(plannerText, (request, { signal }) => worker.request(workerPlanText, request, { signal }));
    serveLabPage(endpoint, parts.services, () => this.request());
    endpoint.handle(plannerRun, async (request) => ({ job: await this.run(request) }));
    endpoint.handle(plannerCancel, async ({ job, keepPartial }) => ({
      cancelled: await jobs.cancel(job, keepPartial),
    }));
    endpoint.handle(plannerPick, async ({ what }) => ({ path: await this.pick(what) }));
    endpoint.handle(plannerCopy, copyText);
    endpoint.handle(plannerCommand, async ({ command, argument }) => ({ done: await this.command(command, argument) }));
  }

  /** Edits the document as little as can be, so that comments stay and Undo takes one step. */
  private async edit({ version, changes }: ParamsOf<typeof plannerEdit>): Promise<{
    applied: boolean;
    version: number;
    reason: string | null;
  }> {
    const { document } = this;
    const refuse = (reason: string): { applied: boolean; version: number; reason: string } => ({
      applied: false,
      version: document.version,
      reason,
    });
    if (version !== document.version) return refuse(vscode.l10n.t('The recipe has changed meanwhile.'));
    const before = document.getText();
    let after: string;
    try {
      after = applyRecipeChanges(before, changes);
    } catch (error) {
      if (error instanceof MoeError) return refuse(error.message);
      throw error;
    }
    const replacement = replacementOf(before, after);
    if (replacement === null) return { applied: true, version: document.version, reason: null };
    const edit = new vscode.WorkspaceEdit();
    const { from, to, text } = replacement;
    edit.replace(document.uri, new vscode.Range(document.positionAt(from), document.positionAt(to)), text);
    const applied = await vscode.workspace.applyEdit(edit);
    return { applied, version: document.version, reason: applied ? null : vscode.l10n.t('The file cannot be edited.') };
  }

  /** Starts the job that writes what the user saw. Null: a dialogue was closed. */
  async run(request: RunRequest): Promise<JobView | null> {
    const { services } = this.parts;
    if (request.out !== null) this.setOut(request.out);
    const plan = this.planned.status === 'ready' ? this.planned.plan : null;
    if (plan === null || plan.hash !== request.hash)
      throw new MoeError('usage', 'plan-outdated', vscode.l10n.t('The plan has changed since it was shown'), {
        hint: vscode.l10n.t('Look at the new plan and run it.'),
      });
    if (plan.planOnly !== null) throw new MoeError('usage', 'plan-only', plan.planOnly);
    const confirmed = await confirmOutput(this.out, request);
    if (confirmed === null) return null;
    this.setOut(confirmed.out);
    const job = await services.jobs.add({
      kind: 'upcycle',
      from: {
        type: 'recipe',
        file: this.file,
        text: this.document.getText(),
        preset: null,
        sets: [],
        src: null,
      },
      out: confirmed.out,
      planHash: plan.hash,
      overwrite: confirmed.overwrite,
      resume: request.resume,
      clone: true,
      verify: request.verify,
      logits: proveSetting(),
      device: deviceSetting(),
      keepPartial: setting('upcycle.keepPartial'),
    });
    this.jobId = job.id;
    this.remember('job', job.id);
    this.followJob();
    return job;
  }

  /** Runs what is planned now: for the CodeLens and the title bar. Waits for the plan. */
  async runNow(): Promise<JobView | null> {
    while (this.planned.status === 'planning' && !this.closed) await new Promise((resolve) => setTimeout(resolve, 50));
    const { status, plan, error, problems } = this.planned;
    if (status !== 'ready' || plan === null)
      throw new MoeError(
        'input',
        'plan-failed',
        error?.message ?? problems[0]?.message ?? vscode.l10n.t('There is no plan to run'),
      );
    return this.run({
      hash: plan.hash,
      out: this.out,
      resume: false,
      overwrite: false,
      verify: setting('upcycle.verify'),
    });
  }

  private setOut(out: string): void {
    if (out === this.out) return;
    this.out = out;
    this.remember('out', out);
    // Whether blocks can be shared depends on where it goes.
    this.replan(0);
  }

  private async pick(what: ParamsOf<typeof plannerPick>['what']): Promise<string | null> {
    if (what === 'text') return pickLabText();
    if (what !== 'out') {
      const chosen = await pickCheckpoint(
        what === 'base' ? vscode.l10n.t('Choose the Dense Checkpoint') : vscode.l10n.t('Choose a Parent'),
        vscode.Uri.file(dirname(this.file)),
      );
      return chosen === null ? null : portable(chosen, this.file);
    }
    const chosen = await vscode.window.showSaveDialog({
      title: vscode.l10n.t('Output Folder'),
      saveLabel: vscode.l10n.t('Choose'),
      defaultUri: vscode.Uri.file(this.out),
    });
    if (chosen === undefined) return null;
    this.setOut(chosen.fsPath);
    this.tell();
    return chosen.fsPath;
  }

  private async command(
    command: ParamsOf<typeof plannerCommand>['command'],
    argument: string | null,
  ): Promise<boolean> {
    const run = async (id: string, ...args: unknown[]): Promise<boolean> => {
      await vscode.commands.executeCommand(id, ...args);
      return true;
    };
    const job = this.job();
    switch (command) {
      case 'openText':
        return run('vscode.openWith', this.document.uri, 'default', vscode.ViewColumn.Beside);
      case 'openSource': {
        const path = argument ?? this.planned.recipe?.basePath ?? null;
        const known = [this.planned.recipe?.basePath, ...(this.planned.recipe?.parentPaths ?? [])];
        if (path === null || !known.includes(path)) return false;
        await this.parts.editors.open(path);
        return true;
      }
      case 'openResult':
        await this.parts.editors.open(this.out);
        return true;
      case 'showJob':
        return run(COMMANDS.focusJobs);
      case 'showLog':
        return job === null ? false : run(COMMANDS.jobLog, job);
      case 'savePlan':
        return this.savePlan();
      case 'replan':
      case 'errorAction':
        this.replan(0);
        return true;
      case 'manageTrust':
        return run('workbench.trust.manage');
    }
  }

  private async savePlan(): Promise<boolean> {
    const { plan } = this.planned;
    if (plan === null) return false;
    const to = await vscode.window.showSaveDialog({
      title: vscode.l10n.t('Save the Plan'),
      defaultUri: vscode.Uri.file(this.file.replace(/\.moe\.ya?ml$/i, '.plan.json')),
      filters: { JSON: ['json'] },
    });
    if (to === undefined) return false;
    await this.parts.services.worker.request(workerSavePlan, { hash: plan.hash, to: to.fsPath });
    return true;
  }
}
