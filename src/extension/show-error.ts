/** Failures, shown to people. */
import * as vscode from 'vscode';
import type { Services } from './services.ts';

/** Shows a failure of a command: its message with its hint, details in the log. */
export async function showError(services: Services, what: string, error: unknown): Promise<void> {
  const { toWireError } = await import('../protocol/errors.ts');
  const { kind, code, message, place } = toWireError(error);
  if (kind === 'cancelled') return;
  services.log.error(`${what}: ${message} [${code}]${error instanceof Error ? `\n${error.stack ?? ''}` : ''}`);
  const showLog = vscode.l10n.t('Show Log');
  const text = place.hint === undefined ? message : `${message}. ${place.hint}`;
  const chosen = await vscode.window.showErrorMessage(`${what}: ${text}`, showLog);
  if (chosen === showLog) services.log.show();
}
