/** What happens when a job of this window ends: the result opens, failures are told, long waits are announced. */
import * as vscode from 'vscode';
import type { JobView } from '../protocol/jobs.ts';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { COMMANDS } from './ids.ts';
import { resultPath, secondsOf } from './job-words.ts';
import type { ResultsEditors } from './results-editor.ts';
import type { Services } from './services.ts';
import { setting } from './settings.ts';
import type { TextDocuments } from './text-documents.ts';
import { showError } from './show-error.ts';

export interface JobEndParts {
  readonly services: Services;
  readonly editors: CheckpointEditors;
  readonly texts: TextDocuments;
  readonly results: ResultsEditors;
}

export function followJobs(parts: JobEndParts): vscode.Disposable {
  const { services } = parts;
  const listening = services.jobs.onDidEnd((job) => {
    ended(job, parts).catch((error: unknown) => showError(services, job.title, error));
  });
  return new vscode.Disposable(() => {
    listening.dispose();
  });
}

async function ended(job: JobView, { editors, texts, results }: JobEndParts): Promise<void> {
  if (job.status === 'failed' || job.status === 'interrupted') {
    await tellFailure(job);
    return;
  }
  if (job.status === 'cancelled') return;
  const { kind } = job.params;
  if (kind === 'upcycle' || kind === 'revert') {
    // Views of what stood there before see the change by themselves.
    const open = setting('upcycle.openResult');
    const path = resultPath(job);
    // The report first, so that the checkpoint ends up in front of it.
    if (open === 'resultAndReport' && job.outcome !== null) await texts.showReport(job.id, job.title, { kept: true });
    if (open !== 'never' && path !== null) await editors.open(path);
  } else if (job.params.kind === 'eval' || job.params.kind === 'trace') {
    // A tab that shows it has followed it.
    if (!results.isOpen(job.params.out)) await results.show(job.params.out);
  } else await texts.showReport(job.id, job.title);
  const long = (secondsOf(job) ?? 0) >= setting('jobs.notifyAfterSeconds');
  if (job.status === 'checked-bad' || job.outcome?.ok === false)
    void vscode.window.showWarningMessage(`${job.title}: ${job.outcome?.summary ?? vscode.l10n.t('damage was found')}`);
  else if (long) void vscode.window.showInformationMessage(`${job.title}: ${job.outcome?.summary ?? ''}`);
}

async function tellFailure(job: JobView): Promise<void> {
  const { message, place } = job.error ?? { message: vscode.l10n.t('its process has ended'), place: {} };
  const log = vscode.l10n.t('Show Log');
  const resume = vscode.l10n.t('Resume');
  const text = `${job.title}: ${message}${place.hint === undefined ? '' : `. ${place.hint}`}`;
  const buttons = job.resumable ? [resume, log] : [log];
  const chosen = await vscode.window.showErrorMessage(text, ...buttons);
  if (chosen === log) await vscode.commands.executeCommand(COMMANDS.jobLog, job);
  if (chosen === resume) await vscode.commands.executeCommand(COMMANDS.jobResume, job);
}
