/** Puts a page into a webview: options, HTML, endpoint. */
import * as vscode from 'vscode';
import { webviewEndpoint } from '../protocol/host.ts';
import type { Endpoint } from '../protocol/host.ts';
import { pageHtml } from './page-html.ts';
import type { Services } from './services.ts';

export type PageName = 'viewer' | 'planner' | 'compare' | 'heatmap' | 'results' | 'playground';

/** Fills the webview with a page and connects to it. Listen to the endpoint before anything else: the page asks at once. */
export function openPage(webview: vscode.Webview, page: PageName, title: string, services: Services): Endpoint {
  const { extensionUri } = services.context;
  const built = vscode.Uri.joinPath(extensionUri, 'dist', 'webview');
  const address = (name: string): string => webview.asWebviewUri(vscode.Uri.joinPath(built, name)).toString();
  webview.options = { enableScripts: true, enableForms: false, localResourceRoots: [built] };
  const endpoint = webviewEndpoint(webview, {
    onFault: ({ method, message, error }) => {
      services.log.warn(`${page} page: ${method}: ${error instanceof Error ? (error.stack ?? message) : message}`);
    },
  });
  webview.html = pageHtml({
    cspSource: webview.cspSource,
    script: address(`${page}.js`),
    styles: [address('codicon.css'), address(`${page}.css`)],
    title,
    language: vscode.env.language,
    translations: translationsOf(),
  });
  return endpoint;
}

/** The bundle that VS Code has loaded for this language has the pages' texts too. */
function translationsOf(): Record<string, string> | null {
  const { bundle } = vscode.l10n;
  if (bundle === undefined) return null;
  const texts: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, text] of Object.entries(bundle)) texts[key] = text;
  return texts;
}

/** Copies a text for a page; `what` names it for the status bar. */
export async function copyText({ text, what }: { readonly text: string; readonly what: string }): Promise<object> {
  await vscode.env.clipboard.writeText(text);
  vscode.window.setStatusBarMessage(vscode.l10n.t('Copied {0}', what), 3000);
  return {};
}

/** Logs a fault of a page. */
export function logPageFault(services: Services, page: PageName, message: string, stack: string | null): void {
  services.log.error(`${page} page: ${stack ?? message}`);
}
