/** The results editor: `*.moe-eval.json`, whether its job still runs or is long done; and results of the harness. */
import * as vscode from 'vscode';
import { resolve } from 'node:path';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import type { EvaluationHistory } from './evaluations.ts';
import { VIEW_TYPES } from './ids.ts';
import type { ResultsHost } from './results-host.ts';
import type { Services } from './services.ts';

class ResultsDocument implements vscode.CustomDocument {
  constructor(readonly uri: vscode.Uri) {}
  dispose(): void {
    // The page's host lets go of everything.
  }
}

export class ResultsEditors implements vscode.CustomReadonlyEditorProvider<ResultsDocument> {
  private readonly open = new Map<string, Set<vscode.WebviewPanel>>();

  constructor(
    private readonly services: Services,
    private readonly editors: CheckpointEditors,
    private readonly history: EvaluationHistory,
  ) {}

  register(): vscode.Disposable {
    return vscode.window.registerCustomEditorProvider(VIEW_TYPES.results, this, {
      webviewOptions: { retainContextWhenHidden: false },
      supportsMultipleEditorsPerDocument: true,
    });
  }

  openCustomDocument(uri: vscode.Uri): ResultsDocument {
    return new ResultsDocument(uri);
  }

  async resolveCustomEditor(document: ResultsDocument, panel: vscode.WebviewPanel): Promise<void> {
    const file = resolve(document.uri.fsPath);
    const panels = this.open.get(file) ?? new Set();
    panels.add(panel);
    this.open.set(file, panels);
    let host: ResultsHost | null = null;
    let closed = false;
    panel.onDidDispose(() => {
      closed = true;
      panels.delete(panel);
      host?.dispose();
    });
    // Loaded when first needed: activation does not wait for it.
    const loaded = await import('./results-host.ts');
    const { services, editors, history } = this;
    if (!closed)
      host = new loaded.ResultsHost(panel, file, { services, editors, history, show: (one) => this.show(one) });
  }

  /** Opens a results file. */
  async show(file: string): Promise<void> {
    await vscode.commands.executeCommand('vscode.openWith', vscode.Uri.file(file), VIEW_TYPES.results);
  }

  /** A tab shows the file already. */
  isOpen(file: string): boolean {
    return (this.open.get(resolve(file))?.size ?? 0) > 0;
  }
}
