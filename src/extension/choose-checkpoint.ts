/** Lets the user choose a checkpoint: one that is known, or any folder or file. */
import * as vscode from 'vscode';
import { nameOf } from './checkpoint-session.ts';
import type { Services } from './services.ts';
import type { WorkspaceFiles } from './workspace-files.ts';

interface Item extends vscode.QuickPickItem {
  readonly path?: string;
  readonly dialogue?: 'folder' | 'file';
}

export async function chooseCheckpoint(
  title: string,
  services: Services,
  files: WorkspaceFiles,
): Promise<string | null> {
  const here = await files.checkpoints();
  const seen = new Set(here.map((found) => found.path));
  const recent = services.recents.list().filter((path) => !seen.has(path));
  const items: Item[] = [
    ...separated(
      vscode.l10n.t('Workspace'),
      here.map((found) => ({ label: found.name, description: found.path, path: found.path })),
    ),
    ...separated(
      vscode.l10n.t('Recent'),
      recent.map((path) => ({ label: nameOf(path), description: path, path })),
    ),
    ...separated(vscode.l10n.t('Elsewhere'), [
      { label: `$(folder-opened) ${vscode.l10n.t('Choose a Folder…')}`, dialogue: 'folder' },
      { label: `$(file) ${vscode.l10n.t('Choose a File…')}`, dialogue: 'file' },
    ]),
  ];
  const picked = await vscode.window.showQuickPick(items, {
    title,
    placeHolder: vscode.l10n.t('Checkpoint'),
    matchOnDescription: true,
  });
  if (picked === undefined) return null;
  if (picked.path !== undefined) return picked.path;
  const folder = picked.dialogue === 'folder';
  const chosen = await vscode.window.showOpenDialog({
    title,
    canSelectFiles: !folder,
    canSelectFolders: folder,
    canSelectMany: false,
    openLabel: vscode.l10n.t('Choose'),
    ...(folder ? {} : { filters: { [vscode.l10n.t('Checkpoints')]: ['safetensors', 'gguf', 'json'] } }),
  });
  return chosen?.[0]?.fsPath ?? null;
}

function separated(label: string, items: readonly Item[]): Item[] {
  return items.length === 0 ? [] : [{ label, kind: vscode.QuickPickItemKind.Separator }, ...items];
}
