/** One tab of the results editor: its file, the job that writes it, and the run it is compared with. */
import * as vscode from 'vscode';
import { basename, dirname, join, resolve } from 'node:path';
import { errorPageOf, fromWireError } from '../protocol/errors.ts';
import type { ParamsOf } from '../protocol/define.ts';
import type { Endpoint } from '../protocol/host.ts';
import type { JobView } from '../protocol/jobs.ts';
import {
  resultsChanged,
  resultsCommand,
  resultsCompare,
  resultsCopy,
  resultsFault,
  resultsLayer,
  resultsReady,
} from '../protocol/results.ts';
import type { ResultsJob, ResultsState } from '../protocol/results.ts';
import {
  workerEvaluation,
  workerEvaluationCompare,
  workerEvaluationLayer,
  workerEvaluationText,
  workerSaveEvaluation,
} from '../protocol/worker-eval.ts';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { nameOf } from './checkpoint-session.ts';
import { parentOf } from './dense-parent.ts';
import { RESULTS_ENDING } from './evaluations.ts';
import type { EvaluationHistory } from './evaluations.ts';
import { exportTraces } from './export-traces.ts';
import { COMMANDS } from './ids.ts';
import { statusText } from './job-words.ts';
import type { Services } from './services.ts';
import { copyText, logPageFault, openPage } from './webview-page.ts';

export interface ResultsParts {
  readonly services: Services;
  readonly editors: CheckpointEditors;
  readonly history: EvaluationHistory;
  readonly show: (file: string) => Promise<void>;
}

export class ResultsHost {
  private readonly endpoint: Endpoint;
  private readonly listening: { dispose(): void }[] = [];
  private ready = false;
  private state: ResultsState;
  private jobId: string | null = null;
  private jobStatus: JobView['status'] | null = null;
  private told: ReturnType<typeof setTimeout> | null = null;

  constructor(
    panel: vscode.WebviewPanel,
    private readonly file: string,
    private readonly parts: ResultsParts,
  ) {
    const { services, history } = parts;
    const name = basename(file).replace(/\.moe-eval\.json$|\.json$/i, '');
    this.state = { name, file, evaluation: null, job: null, error: null, others: [], comparison: null };
    this.endpoint = openPage(panel.webview, 'results', name, services);
    this.serve();
    this.listening.push(
      services.jobs.onDidChange(() => {
        this.followJob();
      }),
      history.onDidChange(() => void this.findOthers()),
      panel.onDidChangeViewState(() => {
        if (panel.visible) this.tell();
      }),
    );
    void this.begin();
  }

  dispose(): void {
    if (this.told !== null) clearTimeout(this.told);
    for (const one of this.listening) one.dispose();
    this.endpoint.close('the tab was closed');
  }

  private set(change: Partial<ResultsState>): void {
    this.state = { ...this.state, ...change };
    this.tell();
  }

  private tell(): void {
    if (this.ready) this.endpoint.notify(resultsChanged, this.state);
  }

  private async begin(): Promise<void> {
    const { jobs } = this.parts.services;
    // Jobs are not what most results need: a storage that fails must not hide them.
    await jobs.open().catch(() => undefined);
    this.followJob();
    await this.load();
  }

  /** The newest job that writes this file. */
  private job(): JobView | null {
    const { jobs } = this.parts.services;
    return (
      jobs.list().find(({ params }) => {
        return (params.kind === 'eval' || params.kind === 'trace') && resolve(params.out) === this.file;
      }) ?? null
    );
  }

  private followJob(): void {
    const job = this.job();
    const ended = job !== null && job.id === this.jobId && job.status !== this.jobStatus && job.status === 'done';
    const changed = job?.id !== this.jobId || job?.status !== this.jobStatus;
    this.jobId = job?.id ?? null;
    this.jobStatus = job?.status ?? null;
    if (job === null && this.state.job === null) return;
    this.set({ job: job === null ? null : jobOf(job) });
    if (ended) void this.load();
    else if (changed) this.parts.history.touch();
  }

  private async load(): Promise<void> {
    const { worker } = this.parts.services;
    try {
      const { evaluation, begun } = await worker.request(workerEvaluation, { file: this.file });
      this.set({ evaluation: begun ? null : evaluation, error: null });
    } catch (error) {
      const page = errorPageOf(vscode.l10n.t('The results cannot be shown'), error, [
        { id: 'reload', label: vscode.l10n.t('Try Again') },
        { id: 'text', label: vscode.l10n.t('Open as Text') },
      ]);
      this.set({ evaluation: null, error: page });
    }
    await this.findOthers();
    this.parts.history.touch();
  }

  /** Other runs, those of the dense parent first, then those of the same checkpoint. */
  private async findOthers(): Promise<void> {
    const { services, history } = this.parts;
    const all = (await history.all()).filter(({ file }) => resolve(file) !== this.file);
    const own = this.state.evaluation?.path ?? null;
    const parent = own === null || all.length === 0 ? null : await parentOf(services, own);
    const rank = (checkpoint: string): number => (checkpoint === parent ? 0 : checkpoint === own ? 1 : 2);
    const others = all
      .map((one) => ({ ...one, rank: rank(one.checkpoint) }))
      .sort((a, b) => a.rank - b.rank || b.mtimeMs - a.mtimeMs)
      .slice(0, 200)
      .map(({ file, name, checkpoint, rank: order }) => ({
        file,
        label: name,
        about:
          order === 0
            ? vscode.l10n.t('dense parent')
            : order === 1
              ? vscode.l10n.t('the same checkpoint')
              : nameOf(checkpoint),
      }));
    if (JSON.stringify(others) !== JSON.stringify(this.state.others)) this.set({ others });
  }

  private async compare(other: string | null): Promise<void> {
    if (other === null) {
      this.set({ comparison: null });
      return;
    }
    const { worker } = this.parts.services;
    this.set({ comparison: await worker.request(workerEvaluationCompare, { other, file: this.file }) });
  }

  private serve(): void {
    const { endpoint, file } = this;
    const { services } = this.parts;
    const { worker } = services;
    endpoint.handle(resultsReady, () => {
      this.ready = true;
      return this.state;
    });
    endpoint.on(resultsFault, ({ message, stack }) => {
      logPageFault(services, 'results', message, stack);
    });
    endpoint.handle(resultsCompare, async ({ file: other }) => {
      await this.compare(other);
      return {};
    });
    endpoint.handle(resultsLayer, ({ layer }, { signal }) =>
      worker.request(workerEvaluationLayer, { file, layer }, { signal }),
    );
    endpoint.handle(resultsCopy, copyText);
    endpoint.handle(resultsCommand, async ({ command, argument }) => ({ done: await this.run(command, argument) }));
  }

  private async run(command: ParamsOf<typeof resultsCommand>['command'], argument: string | null): Promise<boolean> {
    const { services, editors } = this.parts;
    const { worker, jobs } = services;
    const { file } = this;
    switch (command) {
      case 'errorAction':
        if (argument === 'text')
          await vscode.commands.executeCommand('vscode.openWith', vscode.Uri.file(file), 'default');
        else await this.load();
        return true;
      case 'reload':
        await this.load();
        return true;
      case 'copyMarkdown':
      case 'copyJson': {
        const format = command === 'copyJson' ? 'json' : 'markdown';
        const { text } = await worker.request(workerEvaluationText, { file, format });
        await copyText({
          text,
          what: format === 'json' ? vscode.l10n.t('the results as JSON') : vscode.l10n.t('the table'),
        });
        return true;
      }
      case 'saveAs':
        return this.saveAs();
      case 'import': {
        const chosen = await vscode.window.showOpenDialog({
          title: vscode.l10n.t('Results to Compare With'),
          canSelectMany: false,
          filters: { [vscode.l10n.t('Results of MoE Workbench or lm-evaluation-harness')]: ['json'] },
        });
        const path = chosen?.[0]?.fsPath;
        if (path === undefined) return false;
        await this.compare(path);
        return true;
      }
      case 'cancel':
        return this.jobId !== null && (await jobs.cancel(this.jobId));
      case 'resume':
        if (this.jobId !== null) await jobs.resume(this.jobId);
        return true;
      case 'again':
        if (this.jobId !== null) await jobs.rerun(this.jobId);
        return true;
      case 'showLog':
        if (this.jobId !== null) await vscode.commands.executeCommand(COMMANDS.jobLog, this.jobId);
        return true;
      case 'openCheckpoint': {
        const path = this.state.evaluation?.path ?? null;
        if (path !== null) await editors.open(path);
        return path !== null;
      }
      case 'exportTraces':
        return exportTraces(services, file, argument === 'csv' ? 'csv' : 'json');
    }
  }

  private async saveAs(): Promise<boolean> {
    const to = await vscode.window.showSaveDialog({
      title: vscode.l10n.t('Save Results As'),
      defaultUri: vscode.Uri.file(join(suggestedFolder() ?? dirname(this.file), basename(this.file))),
      filters: { [vscode.l10n.t('Results')]: [RESULTS_ENDING.slice(1), 'json'] },
    });
    if (to === undefined) return false;
    if (resolve(to.fsPath) !== this.file)
      await this.parts.services.worker.request(workerSaveEvaluation, { file: this.file, to: to.fsPath });
    await this.parts.show(to.fsPath);
    return true;
  }
}

function suggestedFolder(): string | null {
  return vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? null;
}

function jobOf(job: JobView): ResultsJob {
  const { status, title, progress, cancelling, resumable, error } = job;
  return {
    title,
    status: status === 'checked-bad' ? 'failed' : status,
    words: statusText(job),
    progress,
    cancelling,
    resumable,
    error: error === null ? null : errorPageOf(title, fromWireError(error)),
  };
}
