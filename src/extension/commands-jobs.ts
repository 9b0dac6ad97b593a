/** Commands about jobs. */
import * as vscode from 'vscode';
import type { JobView } from '../protocol/jobs.ts';
import { jobIdOf } from './command-args.ts';
import type { CommandParts, CommandTable } from './commands.ts';
import { VIEWS } from './ids.ts';
import { hasResult, resultPath, statusText } from './job-words.ts';

export function jobCommands({ services, editors, texts, results }: CommandParts): CommandTable {
  const { jobs } = services;

  /** The job of the row, else one that the user picks among those that fit. */
  const need = async (argument: unknown, fits: (job: JobView) => boolean): Promise<JobView | null> => {
    await jobs.open();
    const id = jobIdOf(argument);
    const known = id === null ? null : jobs.get(id);
    if (known !== null) return known;
    const items = jobs
      .list()
      .filter(fits)
      .map((job) => ({ label: job.title, description: statusText(job), job }));
    if (items.length === 0) {
      void vscode.window.showInformationMessage(vscode.l10n.t('There is no such job.'));
      return null;
    }
    const picked = await vscode.window.showQuickPick(items, { placeHolder: vscode.l10n.t('Job') });
    return picked?.job ?? null;
  };
  const isOpen = (job: JobView): boolean => job.status === 'queued' || job.status === 'running';

  return {
    devices: async () => {
      const { setUpGpu } = await import('./commands-devices.ts');
      await setUpGpu(services, texts);
    },
    focusJobs: () => vscode.commands.executeCommand(`${VIEWS.jobs}.focus`),
    jobCancel: async (argument) => {
      const job = await need(argument, isOpen);
      if (job !== null) await jobs.cancel(job.id);
    },
    jobResume: async (argument) => {
      const job = await need(argument, (one) => one.resumable);
      if (job !== null) await jobs.resume(job.id);
    },
    jobRerun: async (argument) => {
      const job = await need(argument, (one) => !isOpen(one));
      if (job !== null) await jobs.rerun(job.id);
    },
    jobLog: async (argument) => {
      const job = await need(argument, () => true);
      if (job !== null) await texts.showLog(job.id, job.title);
    },
    jobReport: async (argument) => {
      const job = await need(argument, (one) => one.outcome !== null);
      if (job !== null) await texts.showReport(job.id, job.title);
    },
    jobOpenResult: async (argument) => {
      const job = await need(argument, hasResult);
      const path = job === null ? null : resultPath(job);
      if (job?.kind === 'eval' || job?.kind === 'trace') await results.show(path ?? '');
      else if (path !== null) await editors.open(path);
    },
    jobRemove: async (argument) => {
      const job = await need(argument, (one) => !isOpen(one));
      if (job !== null) await jobs.remove(job.id);
    },
    jobsClear: async () => {
      const count = await jobs.clear();
      vscode.window.setStatusBarMessage(vscode.l10n.t('{0} jobs forgotten', count), 3000);
    },
  };
}
