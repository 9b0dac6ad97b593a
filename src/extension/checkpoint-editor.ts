/** Opening checkpoints: the read-only custom editor for files, a panel of the same page for folders. */
import * as vscode from 'vscode';
import { resolve } from 'node:path';
import type { ViewerPlace } from '../protocol/viewer.ts';
import { VIEW_TYPES } from './ids.ts';
import type { Services } from './services.ts';
import { nameOf } from './checkpoint-session.ts';
import { messageHtml } from './page-html.ts';
import { openHost } from './open-host.ts';
import type { ViewerHost } from './viewer-host.ts';

const OPTIONS: vscode.WebviewPanelOptions = { enableFindWidget: false, retainContextWhenHidden: false };

class CheckpointDocument implements vscode.CustomDocument {
  constructor(readonly uri: vscode.Uri) {}
  dispose(): void {
    // The session is each panel's own to let go of.
  }
}

/** Everything that shows checkpoints in tabs. */
export class CheckpointEditors implements vscode.CustomReadonlyEditorProvider<CheckpointDocument> {
  private readonly viewers = new Map<string, Promise<ViewerHost | null>>();
  private readonly folders = new Map<string, vscode.WebviewPanel>();
  /** Where a tab that is about to open should go. */
  private readonly wanted = new Map<string, ViewerPlace>();

  /** Told of every viewer of a file. */
  onViewer: (path: string) => void = () => undefined;

  /** Folder panels of the last session by title: pages may not have saved their state before the window closed. */
  private readonly before: readonly (readonly [string, string])[];

  constructor(private readonly services: Services) {
    this.before = services.context.workspaceState.get<[string, string][]>('folders') ?? [];
  }

  register(): vscode.Disposable {
    return vscode.Disposable.from(
      ...[VIEW_TYPES.checkpoint, VIEW_TYPES.index].map((type) =>
        vscode.window.registerCustomEditorProvider(type, this, {
          webviewOptions: OPTIONS,
          supportsMultipleEditorsPerDocument: true,
        }),
      ),
      vscode.window.registerWebviewPanelSerializer(VIEW_TYPES.folder, {
        deserializeWebviewPanel: (panel, state: unknown) => {
          const path = pathIn(state) ?? this.restoredPath(panel);
          if (path === null) {
            this.services.log.warn('A tab could not be restored: its checkpoint is not known');
            panel.dispose();
          } else this.fillFolder(panel, path);
          return Promise.resolve();
        },
      }),
    );
  }

  openCustomDocument(uri: vscode.Uri): CheckpointDocument {
    return new CheckpointDocument(uri);
  }

  resolveCustomEditor(document: CheckpointDocument, panel: vscode.WebviewPanel): void {
    const { uri } = document;
    if (uri.scheme !== 'file') {
      // Checkpoints are read by ranges, which only real files can do.
      const message = vscode.l10n.t(
        '"{0}" lies in a virtual workspace ({1}): checkpoints are read by ranges, which only real files allow. Open the folder on the machine that has it, over SSH say.',
        uri.path,
        uri.scheme,
      );
      this.services.log.warn(message);
      panel.webview.html = messageHtml(message);
      return;
    }
    this.fill(panel, uri.fsPath);
    this.onViewer(resolve(uri.fsPath));
  }

  private fill(panel: vscode.WebviewPanel, path: string): void {
    const key = resolve(path);
    const ref = this.services.sessions.acquire(key);
    this.services.recents.add(key);
    const place = this.wanted.get(key) ?? null;
    this.wanted.delete(key);
    const host = openHost(panel, this.services, async () => {
      const viewer = await import('./viewer-host.ts');
      return () => new viewer.ViewerHost(panel, this.services, ref.session, place);
    });
    panel.onDidDispose(() => {
      if (this.viewers.get(key) === host) this.viewers.delete(key);
      ref.dispose();
    });
    this.viewers.set(key, host);
  }

  private fillFolder(panel: vscode.WebviewPanel, path: string): void {
    const key = resolve(path);
    this.folders.set(key, panel);
    panel.title = nameOf(key);
    const media = vscode.Uri.joinPath(this.services.context.extensionUri, 'media');
    panel.iconPath = {
      light: vscode.Uri.joinPath(media, 'checkpoint-light.svg'),
      dark: vscode.Uri.joinPath(media, 'checkpoint-dark.svg'),
    };
    panel.onDidDispose(() => {
      if (this.folders.get(key) === panel) this.folders.delete(key);
      void this.remember();
    });
    void this.remember();
    this.fill(panel, key);
  }

  private remember(): Thenable<void> {
    const open = [...this.folders].map(([path, panel]) => [panel.title, path] as const);
    return this.services.context.workspaceState.update('folders', open);
  }

  private restoredPath(panel: vscode.WebviewPanel): string | null {
    return this.before.find(([title, path]) => title === panel.title && !this.folders.has(path))?.[1] ?? null;
  }

  /** Opens a checkpoint, or shows the tab that has it, at `place`. */
  async open(path: string, options: { readonly place?: ViewerPlace; readonly beside?: boolean } = {}): Promise<void> {
    const key = resolve(path);
    const { place, beside = false } = options;
    const known = this.viewers.get(key);
    if (known !== undefined) {
      (await known)?.reveal(place ?? { tab: null, tensor: null, layer: null, expert: null });
      return;
    }
    if (place !== undefined) this.wanted.set(key, place);
    const column = beside ? vscode.ViewColumn.Beside : vscode.ViewColumn.Active;
    if (/\.(?:safetensors|gguf|safetensors\.index\.json)$/i.test(key)) {
      const type = /\.json$/i.test(key) ? VIEW_TYPES.index : VIEW_TYPES.checkpoint;
      await vscode.commands.executeCommand('vscode.openWith', vscode.Uri.file(key), type, column);
      return;
    }
    const panel = vscode.window.createWebviewPanel(VIEW_TYPES.folder, nameOf(key), column, {
      ...OPTIONS,
      enableScripts: true,
    });
    this.fillFolder(panel, key);
  }
}

/** The page's saved state may carry the path. */
function pathIn(state: unknown): string | null {
  if (typeof state !== 'object' || state === null || !('path' in state)) return null;
  return typeof state.path === 'string' && state.path !== '' ? state.path : null;
}
