/** Tabs whose code is loaded with the first of them: activation does without protocol and pages. */
import * as vscode from 'vscode';
import { messageOf } from '../common/errors.ts';
import { messageHtml } from './page-html.ts';
import type { Services } from './services.ts';

/**
 * Makes the host of a tab once its code is there, and disposes of it with the tab. Null where the tab was closed meanwhile, or
 * where the code cannot be loaded (a broken installation; tab and log say so).
 */
export async function openHost<H extends { dispose(): void }>(
  panel: Pick<vscode.WebviewPanel, 'onDidDispose' | 'webview'>,
  services: Pick<Services, 'log'>,
  load: () => Promise<() => H>,
): Promise<H | null> {
  let closed = false;
  let host: H | null = null;
  panel.onDidDispose(() => {
    closed = true;
    host?.dispose();
  });
  try {
    const make = await load();
    if (!closed) host = make();
  } catch (error) {
    services.log.error(`A tab cannot be filled: ${messageOf(error)}`);
    // Node adds who asked for a missing module, line by line: that is for the log.
    const [reason = ''] = messageOf(error).split('\n');
    const text = vscode.l10n.t('This tab cannot be filled: {0}. Install the extension again.', reason);
    if (!closed) panel.webview.html = messageHtml(text);
  }
  return host;
}
