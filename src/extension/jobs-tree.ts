/** The jobs view: running and waiting ones first, then the history. */
import * as vscode from 'vscode';
import type { JobView } from '../protocol/jobs.ts';
import { COMMANDS } from './ids.ts';
import { jobContext, statusText } from './job-words.ts';
import type { JobsHost } from './jobs-host.ts';

const ICONS: Readonly<Record<JobView['status'], readonly [string, string | null]>> = {
  queued: ['clock', null],
  running: ['sync~spin', null],
  done: ['pass', 'testing.iconPassed'],
  'checked-bad': ['warning', 'list.warningForeground'],
  failed: ['error', 'testing.iconFailed'],
  cancelled: ['circle-slash', null],
  interrupted: ['debug-disconnect', 'list.warningForeground'],
};

export class JobsTree implements vscode.TreeDataProvider<JobView> {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;

  constructor(private readonly jobs: JobsHost) {
    jobs.onDidChange(() => {
      this.changed.fire(undefined);
    });
  }

  async getChildren(job?: JobView): Promise<JobView[]> {
    if (job !== undefined) return [];
    await this.jobs.open();
    const open = (one: JobView): boolean => one.status === 'running' || one.status === 'queued';
    const all = this.jobs.list();
    return [...all.filter(open).reverse(), ...all.filter((one) => !open(one))];
  }

  getTreeItem(job: JobView): vscode.TreeItem {
    const item = new vscode.TreeItem(job.title);
    item.id = job.id;
    item.description = statusText(job);
    item.contextValue = jobContext(job);
    const [icon, color] = ICONS[job.status];
    item.iconPath = new vscode.ThemeIcon(icon, color === null ? undefined : new vscode.ThemeColor(color));
    item.tooltip = tooltipOf(job);
    item.accessibilityInformation = { label: `${job.title}, ${statusText(job)}` };
    item.command = { command: COMMANDS.jobLog, title: vscode.l10n.t('Show Log'), arguments: [job] };
    return item;
  }
}

function tooltipOf(job: JobView): string {
  const lines = [job.title, statusText(job)];
  if (job.outcome !== null) lines.push(job.outcome.summary);
  if (job.error !== null) {
    lines.push(job.error.message);
    if (job.error.place.hint !== undefined) lines.push(job.error.place.hint);
  }
  return lines.join('\n');
}
