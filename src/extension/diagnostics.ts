/** Problems of open checkpoints in the Problems panel, with what can be done about them. */
import * as vscode from 'vscode';
import { dirname, isAbsolute, join } from 'node:path';
import { existsSync } from 'node:fs';
import { messageOf } from '../common/errors.ts';
import type { ErrorPage, WireProblem } from '../protocol/wire.ts';
import type { CheckpointSession } from './checkpoint-session.ts';
import { COMMANDS } from './ids.ts';
import type { Services } from './services.ts';
import { onSettings, setting } from './settings.ts';
import type { WorkspaceFiles } from './workspace-files.ts';

/** More than these of one checkpoint are in the viewer alone. */
const MAX_SHOWN = 200;
/** Checkpoints of a workspace that are looked through unasked. */
const MAX_SCANNED = 50;
const SELECTOR: vscode.DocumentSelector = [{ pattern: '**/config.json' }, { pattern: '**/*.safetensors.index.json' }];

export class Diagnostics {
  private readonly collection = vscode.languages.createDiagnosticCollection('moe');
  /** Which files a checkpoint's problems were put on. */
  private readonly placed = new Map<string, Map<string, vscode.Diagnostic[]>>();
  private scanning = new AbortController();

  constructor(
    private readonly services: Services,
    private readonly files: WorkspaceFiles,
  ) {}

  register(): vscode.Disposable {
    const { sessions } = this.services;
    const listening = sessions.onDidChangeAny((session) => {
      if (session.loading === null) this.show(session);
    });
    this.files.onDidFind((found) => void this.scan(found.map(({ path }) => path)));
    return vscode.Disposable.from(
      this.collection,
      new vscode.Disposable(() => {
        listening.dispose();
      }),
      onSettings(() => {
        for (const session of sessions.all()) this.show(session);
      }),
      vscode.languages.registerCodeActionsProvider(
        SELECTOR,
        { provideCodeActions: actions },
        { providedCodeActionKinds: [vscode.CodeActionKind.QuickFix] },
      ),
    );
  }

  private show(session: CheckpointSession): void {
    // What is known of a closed one stays until its files change.
    if (this.services.sessions.get(session.path) !== session) return;
    const { overview, error } = session;
    this.put(session.path, overview?.problems ?? (error === null ? [] : [asProblem(error)]));
  }

  /** Looks through the checkpoints of the workspace, one after the other; headers alone are read, in the worker. */
  private async scan(paths: readonly string[]): Promise<void> {
    this.scanning.abort();
    const aborter = new AbortController();
    this.scanning = aborter;
    const { worker, sessions, log } = this.services;
    for (const path of [...this.placed.keys()])
      if (!paths.includes(path) && sessions.get(path) === null) this.put(path, []);
    for (const path of paths.slice(0, MAX_SCANNED)) {
      if (aborter.signal.aborted || !setting('problems.show')) return;
      if (sessions.get(path) !== null) continue;
      try {
        const { workerProblems } = await import('../protocol/worker.ts');
        const { problems, error } = await worker.request(workerProblems, { path }, { signal: aborter.signal });
        this.put(path, error === null ? problems : [asProblem(error)]);
      } catch (error) {
        if (!aborter.signal.aborted) log.warn(`${path} could not be looked through: ${messageOf(error)}`);
      }
    }
  }

  private put(checkpoint: string, problems: readonly WireProblem[]): void {
    const byFile = new Map<string, vscode.Diagnostic[]>();
    if (setting('problems.show')) {
      for (const problem of problems.slice(0, MAX_SHOWN)) {
        if (problem.severity === 'info') continue;
        const file = fileOf(checkpoint, problem);
        byFile.set(file, [...(byFile.get(file) ?? []), diagnosticOf(problem, checkpoint)]);
      }
    }
    const before = this.placed.get(checkpoint);
    if (byFile.size === 0) this.placed.delete(checkpoint);
    else this.placed.set(checkpoint, byFile);
    // A file can belong to two open checkpoints (the folder, and one of its shards).
    for (const file of new Set([...(before?.keys() ?? []), ...byFile.keys()])) {
      const all = [...this.placed.values()].flatMap((one) => one.get(file) ?? []);
      this.collection.set(vscode.Uri.file(file), all);
    }
  }
}

/** A checkpoint that cannot be opened has one problem. */
function asProblem(error: ErrorPage): WireProblem {
  return {
    severity: 'error',
    code: error.code,
    message: error.message,
    ...(error.file === null ? {} : { file: error.file }),
    ...(error.tensor === null ? {} : { tensor: error.tensor }),
    ...(error.byte === null ? {} : { byte: error.byte }),
    ...(error.hint === null ? {} : { hint: error.hint }),
  };
}

/** The file that a problem is shown at: the one that it names, else config or index, which can be edited. */
function fileOf(checkpoint: string, problem: WireProblem): string {
  const folder = /\.(?:safetensors|gguf|json)$/i.test(checkpoint) ? dirname(checkpoint) : checkpoint;
  if (problem.file !== undefined) {
    const path = isAbsolute(problem.file) ? problem.file : join(folder, problem.file);
    if (existsSync(path)) return path;
  }
  const wanted = /index|shard|missing/.test(problem.code) ? [join(folder, 'model.safetensors.index.json')] : [];
  const found = [...wanted, join(folder, 'config.json')].find((path) => existsSync(path));
  return found ?? checkpoint;
}

function diagnosticOf(problem: WireProblem, checkpoint: string): vscode.Diagnostic {
  const where = [
    problem.tensor === undefined ? '' : ` (${problem.tensor})`,
    problem.byte === undefined ? '' : ` at byte ${String(problem.byte)}`,
  ].join('');
  const hint = problem.hint === undefined ? '' : `. ${problem.hint}`;
  const level = problem.severity === 'error' ? vscode.DiagnosticSeverity.Error : vscode.DiagnosticSeverity.Warning;
  const diagnostic = new vscode.Diagnostic(new vscode.Range(0, 0, 0, 0), `${problem.message}${where}${hint}`, level);
  diagnostic.source = 'moe';
  diagnostic.code = { value: problem.code, target: linkTo(checkpoint, problem.tensor) };
  return diagnostic;
}

/** A link that opens the checkpoint at the tensor. */
function linkTo(path: string, tensor: string | undefined): vscode.Uri {
  const query = new URLSearchParams({ path, ...(tensor === undefined ? {} : { tensor }) });
  return vscode.Uri.from({
    scheme: vscode.env.uriScheme,
    authority: 'moe-workbench.moe-workbench',
    path: '/open',
    query: query.toString(),
  });
}

function actions(
  document: vscode.TextDocument,
  _range: vscode.Range,
  context: vscode.CodeActionContext,
): vscode.CodeAction[] {
  const ours = context.diagnostics.filter((one) => one.source === 'moe');
  if (ours.length === 0) return [];
  const folder = vscode.Uri.joinPath(document.uri, '..');
  const action = (title: string, command: string): vscode.CodeAction => {
    const made = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
    made.command = { command, title, arguments: [folder] };
    made.diagnostics = ours;
    return made;
  };
  const list = [action(vscode.l10n.t('Open the checkpoint'), COMMANDS.openFolder)];
  const codes = ours.map(({ code }) => (typeof code === 'object' ? String(code.value) : String(code)));
  if (codes.some((code) => /index|total-size/.test(code)))
    list.unshift(action(vscode.l10n.t('Rebuild the index from the files'), COMMANDS.rebuildIndex));
  list.push(action(vscode.l10n.t('Examine the checkpoint'), COMMANDS.examine));
  return list;
}
