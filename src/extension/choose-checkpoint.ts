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
    ...separated(vscode.l10n.t('Elsewhere'), elsewhere()),
  ];
  const picked = await vscode.window.showQuickPick(items, {
    title,
    placeHolder: vscode.l10n.t('Checkpoint'),
    matchOnDescription: true,
  });
  if (picked === undefined) return null;
  if (picked.path !== undefined) return picked.path;
  return dialogue(title, picked.dialogue === 'folder' ? 'folder' : 'file');
}

/** Lets the user choose a folder, or a file in it, by a dialog that begins at `start`. */
export async function pickCheckpoint(title: string, start?: vscode.Uri): Promise<string | null> {
  // The dialogs of Windows and Linux show either files or folders; VS Code's own (in a browser, or remote) shows both.
  const native = vscode.env.uiKind === vscode.UIKind.Desktop && vscode.env.remoteName === undefined;
  if (!native || process.platform === 'darwin') return dialogue(title, 'both', start);
  const picked = await vscode.window.showQuickPick<Item>(elsewhere(), { title });
  return picked?.dialogue === undefined ? null : dialogue(title, picked.dialogue, start);
}

function elsewhere(): Item[] {
  return [
    { label: `$(folder-opened) ${vscode.l10n.t('Choose a Folder…')}`, dialogue: 'folder' },
    { label: `$(file) ${vscode.l10n.t('Choose a File…')}`, dialogue: 'file' },
  ];
}

async function dialogue(title: string, what: 'folder' | 'file' | 'both', start?: vscode.Uri): Promise<string | null> {
  const chosen = await vscode.window.showOpenDialog({
    title,
    canSelectFiles: what !== 'folder',
    canSelectFolders: what !== 'file',
    canSelectMany: false,
    openLabel: vscode.l10n.t('Choose'),
    ...(start === undefined ? {} : { defaultUri: start }),
    ...(what === 'folder' ? {} : { filters: { [vscode.l10n.t('Checkpoints')]: ['safetensors', 'gguf', 'json'] } }),
  });
  return chosen?.[0]?.fsPath ?? null;
}

function separated(label: string, items: readonly Item[]): Item[] {
  return items.length === 0 ? [] : [{ label, kind: vscode.QuickPickItemKind.Separator }, ...items];
}
