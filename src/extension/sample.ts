/** The sample checkpoint: written once into the extension's own storage, or into the workspace where there is one. */
import * as vscode from 'vscode';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Services } from './services.ts';

/** Folder of the sample, made if need be. */
export async function openSample(services: Services): Promise<string> {
  const workspace = vscode.workspace.workspaceFolders?.[0]?.uri;
  const parent =
    workspace?.scheme === 'file' && vscode.workspace.isTrusted ? workspace : services.context.globalStorageUri;
  const folder = join(parent.fsPath, 'moe-sample', 'tiny-llama');
  const there = await stat(join(folder, 'model.safetensors')).catch(() => null);
  if (there !== null) return folder;
  await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Window, title: vscode.l10n.t('Writing the sample checkpoint') },
    async () => {
      const { writeSampleCheckpoint } = await import('../sample/sample.ts');
      await writeSampleCheckpoint(folder);
    },
  );
  services.log.info(`Wrote the sample checkpoint to ${folder}`);
  return folder;
}
