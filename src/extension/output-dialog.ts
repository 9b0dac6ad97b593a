/** Asks before a run would meet something that stands in its place. */
import * as vscode from 'vscode';
import { readdir, stat } from 'node:fs/promises';
import { basename } from 'node:path';

export interface Output {
  readonly out: string;
  readonly overwrite: boolean;
}

/** Null: the user closed the dialogue. */
export async function confirmOutput(
  out: string,
  request: { readonly resume: boolean; readonly overwrite: boolean },
): Promise<Output | null> {
  let wanted = out;
  for (;;) {
    if (request.resume || request.overwrite || !(await holdsSomething(wanted)))
      return { out: wanted, overwrite: request.overwrite };
    const replace = vscode.l10n.t('Replace');
    const other = vscode.l10n.t('Choose Another Folder…');
    const chosen = await vscode.window.showWarningMessage(
      vscode.l10n.t('"{0}" exists already.', basename(wanted)),
      {
        modal: true,
        detail: vscode.l10n.t('{0}\n\nReplacing it removes what is there once the new checkpoint is complete.', wanted),
      },
      replace,
      other,
    );
    if (chosen === replace) return { out: wanted, overwrite: true };
    if (chosen !== other) return null;
    const picked = await vscode.window.showSaveDialog({
      title: vscode.l10n.t('Output Folder'),
      defaultUri: vscode.Uri.file(wanted),
    });
    if (picked === undefined) return null;
    wanted = picked.fsPath;
  }
}

async function holdsSomething(path: string): Promise<boolean> {
  const facts = await stat(path).catch(() => null);
  if (facts === null) return false;
  if (!facts.isDirectory()) return true;
  return (await readdir(path).catch(() => ['?'])).length > 0;
}
