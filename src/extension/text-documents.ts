/** Read-only texts in tabs: logs and reports of jobs, plans, diagnostics. */
import * as vscode from 'vscode';
import { TEXT_SCHEME } from './ids.ts';
import type { JobsHost } from './jobs-host.ts';

/** A log is shown up to this size; the file itself has all of it. */
const MAX_LOG = 4_000_000;

export class TextDocuments implements vscode.TextDocumentContentProvider {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changed.event;
  private readonly texts = new Map<string, string>();

  constructor(private readonly jobs: JobsHost) {}

  register(): vscode.Disposable {
    const log = this.jobs.onDidChange(() => {
      for (const { uri } of vscode.workspace.textDocuments)
        if (uri.scheme === TEXT_SCHEME && uri.authority === 'log') this.changed.fire(uri);
    });
    return vscode.Disposable.from(
      vscode.workspace.registerTextDocumentContentProvider(TEXT_SCHEME, this),
      new vscode.Disposable(() => {
        log.dispose();
      }),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => {
        if (uri.scheme === TEXT_SCHEME) this.texts.delete(uri.toString());
      }),
    );
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    if (uri.authority === 'text')
      return this.texts.get(uri.toString()) ?? vscode.l10n.t('This text is no longer at hand.');
    const id = uri.query;
    if (uri.authority === 'report') {
      const result = await this.jobs.result(id);
      return result?.text ?? vscode.l10n.t('This job has left no report.');
    }
    return this.logText(id);
  }

  private async logText(id: string): Promise<string> {
    let text = '';
    for (let from = 0; text.length < MAX_LOG;) {
      const piece = await this.jobs.log(id, from);
      for (const { time, level, message } of piece.lines) text += `${time} [${level}] ${message}\n`;
      if (piece.next === from) break;
      from = piece.next;
    }
    const error = this.jobs.get(id)?.error ?? null;
    if (error !== null) {
      const { message, code, place } = error;
      text += `\n${message} [${code}]\n${place.hint === undefined ? '' : `${place.hint}\n`}`;
    }
    return text === '' ? vscode.l10n.t('Nothing has been logged yet.') : text;
  }

  async showLog(id: string, title: string): Promise<void> {
    await this.show(
      vscode.Uri.from({ scheme: TEXT_SCHEME, authority: 'log', path: `/${clean(title)}.log`, query: id }),
    );
  }

  /** `kept`: not in the preview tab, which the next file would take. */
  async showReport(id: string, title: string, { kept = false } = {}): Promise<void> {
    const uri = vscode.Uri.from({
      scheme: TEXT_SCHEME,
      authority: 'report',
      path: `/${clean(title)} report.txt`,
      query: id,
    });
    await this.show(uri, kept);
  }

  async showText(title: string, text: string): Promise<void> {
    const uri = vscode.Uri.from({ scheme: TEXT_SCHEME, authority: 'text', path: `/${clean(title)}` });
    this.texts.set(uri.toString(), text);
    this.changed.fire(uri);
    await this.show(uri);
  }

  private async show(uri: vscode.Uri, kept = false): Promise<void> {
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document, { preview: !kept });
  }
}

function clean(title: string): string {
  return title.replaceAll(/[\\/:*?"<>|#]+/g, ' ').trim();
}
