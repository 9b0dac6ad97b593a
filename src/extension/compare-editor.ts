/** Two checkpoints side by side. */
import * as vscode from 'vscode';
import { resolve } from 'node:path';
import type { CheckpointEditors } from './checkpoint-editor.ts';
import { nameOf } from './checkpoint-session.ts';
import type { CompareActions, Pair } from './compare-host.ts';
import { VIEW_TYPES } from './ids.ts';
import type { Services } from './services.ts';
import { openHost } from './open-host.ts';

export class CompareEditors {
  private readonly open = new Map<string, vscode.WebviewPanel>();
  /** Those of the last session: title and the two paths. */
  private readonly before: readonly (readonly string[])[];

  constructor(
    private readonly services: Services,
    private readonly editors: CheckpointEditors,
  ) {
    this.before = services.context.workspaceState.get<string[][]>('comparisons') ?? [];
  }

  register(): vscode.Disposable {
    return vscode.window.registerWebviewPanelSerializer(VIEW_TYPES.compare, {
      deserializeWebviewPanel: (panel, state: unknown) => {
        const pair = pairIn(state) ?? this.remembered(panel.title);
        if (pair === null) panel.dispose();
        else this.fill(panel, pair);
        return Promise.resolve();
      },
    });
  }

  /** Compares b with a. */
  show(a: string, b: string): void {
    const pair: Pair = [resolve(a), resolve(b)];
    const known = this.open.get(pair.join('\0'));
    if (known !== undefined) {
      known.reveal();
      return;
    }
    const panel = vscode.window.createWebviewPanel(VIEW_TYPES.compare, titleOf(pair), vscode.ViewColumn.Active, {
      enableScripts: true,
      retainContextWhenHidden: false,
    });
    this.fill(panel, pair);
  }

  private fill(panel: vscode.WebviewPanel, pair: Pair): void {
    const key = pair.join('\0');
    this.open.set(key, panel);
    panel.title = titleOf(pair);
    const actions: CompareActions = {
      open: (path, tensor) =>
        this.editors.open(
          path,
          tensor === null ? {} : { place: { tab: 'tensors', tensor, layer: null, expert: null } },
        ),
      swap: () => {
        panel.dispose();
        this.show(pair[1], pair[0]);
      },
    };
    void openHost(panel, this.services, async () => {
      const { CompareHost } = await import('./compare-host.ts');
      return () => new CompareHost(panel, pair, this.services, actions);
    });
    panel.onDidDispose(() => {
      this.open.delete(key);
      void this.remember();
    });
    void this.remember();
  }

  private remember(): Thenable<void> {
    const pairs = [...this.open].map(([key, panel]) => [panel.title, ...key.split('\0')]);
    return this.services.context.workspaceState.update('comparisons', pairs);
  }

  private remembered(title: string): Pair | null {
    const found = this.before.find((one) => one[0] === title && !this.open.has(`${one[1] ?? ''}\0${one[2] ?? ''}`));
    return found?.[1] === undefined || found[2] === undefined ? null : [found[1], found[2]];
  }
}

function titleOf([a, b]: Pair): string {
  return `${nameOf(a)} ↔ ${nameOf(b)}`;
}

function pairIn(state: unknown): Pair | null {
  if (typeof state !== 'object' || state === null || !('a' in state) || !('b' in state)) return null;
  return typeof state.a === 'string' && typeof state.b === 'string' ? [state.a, state.b] : null;
}
