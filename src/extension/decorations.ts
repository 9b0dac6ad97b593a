/**
 * Badges in the Explorer: Mo for MoE (one letter alone would read as Git's), ! for what is incomplete. Only for checkpoints
 * that are or were open.
 */
import * as vscode from 'vscode';
import { resolve } from 'node:path';
import { kindWords } from './checkpoint-words.ts';
import type { CheckpointSession } from './checkpoint-session.ts';
import type { Services } from './services.ts';

interface Mark {
  readonly badge: string;
  readonly tooltip: string;
  readonly warn: boolean;
}

const KEPT_MARKS = 500;

export class Decorations implements vscode.FileDecorationProvider {
  private readonly changed = new vscode.EventEmitter<vscode.Uri[]>();
  readonly onDidChangeFileDecorations = this.changed.event;
  /** Kept after closing: it is still true. */
  private readonly marks = new Map<string, Mark>();

  constructor(private readonly services: Services) {}

  register(): vscode.Disposable {
    const listening = this.services.sessions.onDidChangeAny((session) => {
      this.look(session);
    });
    return vscode.Disposable.from(
      this.changed,
      new vscode.Disposable(() => {
        listening.dispose();
      }),
      vscode.window.registerFileDecorationProvider(this),
    );
  }

  private look(session: CheckpointSession): void {
    if (session.status === 'loading') return;
    const mark = markOf(session);
    const before = this.marks.get(session.path);
    if (JSON.stringify(mark ?? null) === JSON.stringify(before ?? null)) return;
    this.marks.delete(session.path);
    if (mark !== null) this.marks.set(session.path, mark);
    const [oldest] = this.marks.keys();
    if (this.marks.size > KEPT_MARKS && oldest !== undefined) this.marks.delete(oldest);
    this.changed.fire([vscode.Uri.file(session.path)]);
  }

  provideFileDecoration(uri: vscode.Uri): vscode.FileDecoration | undefined {
    if (uri.scheme !== 'file') return undefined;
    const mark = this.marks.get(resolve(uri.fsPath));
    if (mark === undefined) return undefined;
    const colour = mark.warn ? new vscode.ThemeColor('list.warningForeground') : undefined;
    return new vscode.FileDecoration(mark.badge, mark.tooltip, colour);
  }
}

function markOf({ overview, error }: CheckpointSession): Mark | null {
  if (error !== null) return error.kind === 'internal' ? null : { badge: '!', tooltip: error.message, warn: true };
  if (overview === null) return null;
  const missing = overview.files.filter((file) => file.state !== 'ok').length;
  if (missing > 0 && !overview.planOnly)
    return {
      badge: '!',
      tooltip: vscode.l10n.t('{0} of {1} weight files are missing or damaged', missing, overview.files.length),
      warn: true,
    };
  return overview.kind === 'moe' ? { badge: 'Mo', tooltip: kindWords(overview), warn: false } : null;
}
