/** Links from outside: open a checkpoint at a tensor or expert. */
import * as vscode from 'vscode';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { parseLink } from './link.ts';
import type { Services } from './services.ts';
import { showError } from './show-error.ts';

export function registerUriHandler(services: Services, editors: CheckpointEditors): vscode.Disposable {
  return vscode.window.registerUriHandler({
    handleUri: (uri) => {
      const link = parseLink(uri.path, uri.query);
      if (link === null) {
        services.log.warn(`A link that is not understood: ${uri.toString()}`);
        void vscode.window.showWarningMessage(vscode.l10n.t('This link names no checkpoint.'));
        return;
      }
      editors.open(link.path, { place: link.place }).catch((error: unknown) => showError(services, link.path, error));
    },
  });
}
