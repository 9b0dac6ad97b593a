/** Expert statistics of a results file as JSON or CSV, where the user wants them. */
import * as vscode from 'vscode';
import { basename, dirname, join } from 'node:path';
import { workerExportTraces } from '../protocol/worker-eval.ts';
import type { Services } from './services.ts';

/** False: the dialogue was closed. */
export async function exportTraces(
  { worker }: Pick<Services, 'worker'>,
  file: string,
  format: 'json' | 'csv',
): Promise<boolean> {
  const name = `${basename(file).replace(/\.moe-eval\.json$|\.json$/i, '')} experts`;
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? dirname(file);
  const to = await vscode.window.showSaveDialog({
    title: format === 'csv' ? vscode.l10n.t('New Folder for the CSV Files') : vscode.l10n.t('Save Expert Statistics'),
    defaultUri: vscode.Uri.file(join(folder, format === 'csv' ? name : `${name}.json`)),
  });
  if (to === undefined) return false;
  const { files } = await worker.request(workerExportTraces, { file, to: to.fsPath, format });
  vscode.window.setStatusBarMessage(vscode.l10n.t('Written: {0}', files.map((one) => basename(one)).join(', ')), 5000);
  return true;
}
