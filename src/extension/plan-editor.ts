/** The plan editor: a page over a recipe file. The text document is the truth; one host per tab. */
import * as vscode from 'vscode';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { VIEW_TYPES } from './ids.ts';
import type { PlanHost } from './plan-host.ts';
import type { Services } from './services.ts';
import type { TextDocuments } from './text-documents.ts';

export class PlanEditors implements vscode.CustomTextEditorProvider {
  private readonly hosts = new Map<string, Promise<PlanHost>>();

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

  async resolveCustomTextEditor(document: vscode.TextDocument, panel: vscode.WebviewPanel): Promise<void> {
    const key = document.uri.toString();
    const host = this.makeHost(document, panel);
    this.hosts.set(key, host);
    panel.onDidDispose(() => {
      if (this.hosts.get(key) === host) this.hosts.delete(key);
    });
    await host;
  }

  /** Loaded when first needed: it brings YAML with it, which activation must not wait for. */
  private async makeHost(document: vscode.TextDocument, panel: vscode.WebviewPanel): Promise<PlanHost> {
    const { services, editors, texts } = this;
    const { PlanHost } = await import('./plan-host.ts');
    return new PlanHost(document, panel, { services, editors, texts });
  }

  /** Opens the plan of a recipe; `field`: goes there. */
  async open(uri: vscode.Uri, field: string | null = null): Promise<void> {
    await vscode.commands.executeCommand('vscode.openWith', uri, VIEW_TYPES.plan);
    if (field !== null) (await this.hosts.get(uri.toString()))?.reveal(field);
  }

  /** The host of a recipe's tab, opened if need be. */
  async hostOf(uri: vscode.Uri): Promise<PlanHost | null> {
    await this.open(uri);
    return (await this.hosts.get(uri.toString())) ?? null;
  }
}
