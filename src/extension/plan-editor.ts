/** The plan editor: a page over a recipe file. The text document is the truth; one host per tab. */
import * as vscode from 'vscode';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { VIEW_TYPES } from './ids.ts';
import { PlanHost } from './plan-host.ts';
import type { Services } from './services.ts';
import type { TextDocuments } from './text-documents.ts';

export class PlanEditors implements vscode.CustomTextEditorProvider {
  private readonly hosts = new Map<string, PlanHost>();

  constructor(
    private readonly services: Services,
    private readonly editors: CheckpointEditors,
    private readonly texts: TextDocuments,
  ) {}

  register(): vscode.Disposable {
    return vscode.window.registerCustomEditorProvider(VIEW_TYPES.plan, this, {
      webviewOptions: { retainContextWhenHidden: false },
      supportsMultipleEditorsPerDocument: true,
    });
  }

  resolveCustomTextEditor(document: vscode.TextDocument, panel: vscode.WebviewPanel): void {
    const key = document.uri.toString();
    const { services, editors, texts } = this;
    const host = new PlanHost(document, panel, { services, editors, texts });
    this.hosts.set(key, host);
    panel.onDidDispose(() => {
      if (this.hosts.get(key) === host) this.hosts.delete(key);
    });
  }

  /** Opens the plan of a recipe; `field`: goes there. */
  async open(uri: vscode.Uri, field: string | null = null): Promise<void> {
    await vscode.commands.executeCommand('vscode.openWith', uri, VIEW_TYPES.plan);
    if (field !== null) this.hosts.get(uri.toString())?.reveal(field);
  }

  /** The host of a recipe's tab, opened if need be. */
  async hostOf(uri: vscode.Uri): Promise<PlanHost | null> {
    await this.open(uri);
    return this.hosts.get(uri.toString()) ?? null;
  }
}
