/** The status bar: the checkpoint that is looked at, and jobs while there are any. Also keeps the context keys. */
import * as vscode from 'vscode';
import { mainDtype, kindWords } from './checkpoint-words.ts';
import { COMMANDS, CONTEXT_KEYS } from './ids.ts';
import { progressText, shareDone } from './job-words.ts';
import type { Services } from './services.ts';

export class StatusBar {
  private readonly checkpoint = vscode.window.createStatusBarItem(
    'moe.checkpoint',
    vscode.StatusBarAlignment.Right,
    90,
  );
  private readonly job = vscode.window.createStatusBarItem('moe.job', vscode.StatusBarAlignment.Left, 10);
  private readonly context = new Map<string, unknown>();

  constructor(private readonly services: Services) {
    this.checkpoint.name = vscode.l10n.t('MoE checkpoint');
    this.checkpoint.command = COMMANDS.upcycle;
    this.job.name = vscode.l10n.t('MoE jobs');
    this.job.command = COMMANDS.focusJobs;
  }

  register(): vscode.Disposable {
    const { sessions, jobs } = this.services;
    const listening = [
      sessions.onDidChangeActive(() => {
        this.showCheckpoint();
      }),
      jobs.onDidChange(() => {
        this.showJobs();
      }),
    ];
    return vscode.Disposable.from(
      this.checkpoint,
      this.job,
      // The item belongs to the editor that is looked at.
      vscode.window.tabGroups.onDidChangeTabs(() => {
        this.showCheckpoint();
      }),
      new vscode.Disposable(() => {
        for (const one of listening) one.dispose();
      }),
    );
  }

  private set(key: string, value: unknown): void {
    if (this.context.get(key) === value) return;
    this.context.set(key, value);
    void vscode.commands.executeCommand('setContext', key, value);
  }

  private showCheckpoint(): void {
    const session = this.services.sessions.active?.session ?? null;
    const overview = session?.overview ?? null;
    this.set(CONTEXT_KEYS.activeKind, overview?.kind ?? '');
    this.set(CONTEXT_KEYS.activeUpcycled, overview?.upcycled ?? false);
    const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
    const shown = input instanceof vscode.TabInputCustom || input instanceof vscode.TabInputWebview;
    if (session === null || overview === null || !shown || !input.viewType.includes('moe.checkpoint')) {
      this.checkpoint.hide();
      return;
    }
    const shards = overview.shards > 1 ? `, ${String(overview.shards)} shards` : '';
    this.checkpoint.text = `$(circuit-board) ${kindWords(overview)}, ${mainDtype(overview)}${shards}`;
    this.checkpoint.tooltip = vscode.l10n.t('{0}\nUpcycle to MoE…', session.path);
    this.checkpoint.accessibilityInformation = { label: `${session.name}: ${kindWords(overview)}` };
    this.checkpoint.show();
  }

  private showJobs(): void {
    const jobs = this.services.jobs.list();
    const running = jobs.filter((job) => job.status === 'running');
    const waiting = jobs.filter((job) => job.status === 'queued').length;
    this.set(CONTEXT_KEYS.hasEndedJobs, jobs.length > running.length + waiting);
    const [first] = running;
    if (first === undefined && waiting === 0) {
      this.job.hide();
      return;
    }
    const share = first === undefined ? null : shareDone(first.progress);
    const percent = share === null ? '' : ` ${String(Math.floor(share * 100))} %`;
    const more = running.length + waiting - (first === undefined ? 0 : 1);
    this.job.text =
      first === undefined
        ? `$(clock) ${vscode.l10n.t('{0} jobs waiting', waiting)}`
        : `$(sync~spin) ${first.title}${percent}${more > 0 ? ` +${String(more)}` : ''}`;
    this.job.tooltip = first === undefined ? '' : `${first.title}\n${progressText(first.progress)}`;
    this.job.show();
  }
}
