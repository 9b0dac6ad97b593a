/** Playgrounds: a prompt and its continuation, every token coloured by its first expert. One tab per checkpoint. */
import * as vscode from 'vscode';
import { resolve } from 'node:path';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { nameOf } from './checkpoint-session.ts';
import { VIEW_TYPES } from './ids.ts';
import { openHost } from './open-host.ts';
import type { Services } from './services.ts';

export class Playgrounds {
  private readonly open = new Map<string, vscode.WebviewPanel>();

  constructor(
    private readonly services: Services,
    private readonly editors: CheckpointEditors,
  ) {}

  register(): vscode.Disposable {
    return vscode.window.registerWebviewPanelSerializer(VIEW_TYPES.playground, {
      deserializeWebviewPanel: (panel, state: unknown) => {
        const path = typeof state === 'object' && state !== null && 'path' in state ? state.path : null;
        if (typeof path === 'string' && path !== '') this.fill(panel, path);
        else panel.dispose();
        return Promise.resolve();
      },
    });
  }

  /** Opens a checkpoint's playground, or shows the tab that has it. */
  show(path: string): void {
    const key = resolve(path);
    const known = this.open.get(key);
    if (known !== undefined) {
      known.reveal();
      return;
    }
    const panel = vscode.window.createWebviewPanel(VIEW_TYPES.playground, '', vscode.ViewColumn.Active, {
      enableScripts: true,
      // A text that took minutes must not be gone because another tab was looked at.
      retainContextWhenHidden: true,
    });
    this.fill(panel, key);
  }

  private fill(panel: vscode.WebviewPanel, path: string): void {
    this.open.set(path, panel);
    panel.title = vscode.l10n.t('Playground: {0}', nameOf(path));
    void openHost(panel, this.services, async () => {
      const { PlaygroundHost } = await import('./playground-host.ts');
      return () => new PlaygroundHost(panel, path, this.services, this.editors);
    });
    panel.onDidDispose(() => {
      if (this.open.get(path) === panel) this.open.delete(path);
    });
  }
}
