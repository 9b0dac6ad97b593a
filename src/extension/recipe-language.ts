/** Recipes as text: CodeLens, diagnostics, completion, hover, quick fixes. */
import * as vscode from 'vscode';
import { dirname } from 'node:path';
import { readFile } from 'node:fs/promises';
import { MoeError, messageOf } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import type { JsonObject } from '../common/json.ts';
import type { WireRecipeProblem } from '../protocol/planning.ts';
import { COMMANDS } from './ids.ts';
import { hoverText, placeAt, suggestionsAt } from './recipe-completion.ts';
import type { Services } from './services.ts';

const SELECTOR: vscode.DocumentSelector = { pattern: '**/*.moe.{yaml,yml}' };
const JUDGE_MS = 250;
/** A recipe has a few dozen lines; what is this large is none. */
const MAX_CHARACTERS = 262_144;

export function registerRecipeLanguage(services: Services): vscode.Disposable {
  const schema = new SchemaFile(
    vscode.Uri.joinPath(services.context.extensionUri, 'media', 'recipe.schema.json').fsPath,
  );
  return vscode.Disposable.from(
    vscode.languages.registerCodeLensProvider(SELECTOR, { provideCodeLenses: lenses }),
    vscode.languages.registerCompletionItemProvider(
      SELECTOR,
      { provideCompletionItems: (document, position) => completions(schema, document, position) },
      ':',
      ' ',
    ),
    vscode.languages.registerHoverProvider(SELECTOR, { provideHover: hover }),
    vscode.languages.registerCodeActionsProvider(
      SELECTOR,
      { provideCodeActions: quickFixes },
      { providedCodeActionKinds: [vscode.CodeActionKind.QuickFix] },
    ),
    new RecipeDiagnostics(services).register(),
  );
}

class SchemaFile {
  private reading: Promise<JsonObject> | null = null;
  constructor(private readonly file: string) {}
  read(): Promise<JsonObject> {
    this.reading ??= readFile(this.file, 'utf8').then((text) => {
      const schema: unknown = JSON.parse(text);
      return isJsonObject(schema) ? schema : {};
    });
    return this.reading;
  }
}

function isRecipe(document: vscode.TextDocument): boolean {
  return vscode.languages.match(SELECTOR, document) > 0;
}

function lenses(document: vscode.TextDocument): vscode.CodeLens[] {
  const top = new vscode.Range(0, 0, 0, 0);
  const lens = (title: string, command: string): vscode.CodeLens =>
    new vscode.CodeLens(top, { title, command, arguments: [document.uri] });
  return [
    lens(`$(preview) ${vscode.l10n.t('Preview plan')}`, COMMANDS.previewPlan),
    lens(`$(play) ${vscode.l10n.t('Run')}`, COMMANDS.runPlan),
  ];
}

async function completions(
  schema: SchemaFile,
  document: vscode.TextDocument,
  position: vscode.Position,
): Promise<vscode.CompletionItem[]> {
  const text = document.getText();
  if (text.length > MAX_CHARACTERS) return [];
  const lines = text.split(/\r?\n/);
  const place = placeAt(lines, position.line, position.character);
  return suggestionsAt(await schema.read(), place, keysBeside(lines, position.line)).map((one) => {
    const kind = one.kind === 'field' ? vscode.CompletionItemKind.Property : vscode.CompletionItemKind.EnumMember;
    const item = new vscode.CompletionItem(one.label, kind);
    item.insertText = one.insert;
    if (one.about !== '') item.documentation = new vscode.MarkdownString(one.about);
    if (one.kind === 'field' && one.insert.endsWith(' '))
      item.command = { command: 'editor.action.triggerSuggest', title: vscode.l10n.t('Suggest values') };
    return item;
  });
}

/** Keys already written at the same indentation, which would be there twice. */
function keysBeside(lines: readonly string[], line: number): Set<string> {
  const indentOf = (text: string): number => text.length - text.trimStart().length;
  const own = indentOf(lines[line] ?? '');
  const keys = new Set<string>();
  const look = (step: number): void => {
    for (let at = line + step; at >= 0 && at < lines.length; at += step) {
      const text = lines[at] ?? '';
      if (text.trim() === '' || text.trimStart().startsWith('#')) continue;
      if (indentOf(text) < own) return;
      const key = indentOf(text) === own ? /^\s*([\w.-]+)\s*:/.exec(text)?.[1] : undefined;
      if (key !== undefined) keys.add(key);
    }
  };
  look(-1);
  look(1);
  return keys;
}

function hover(document: vscode.TextDocument, position: vscode.Position): vscode.Hover | null {
  const range = document.getWordRangeAtPosition(position, /[\w.-]+/);
  if (range === undefined) return null;
  const lines = document
    .getText()
    .split(/\r?\n/)
    .slice(0, position.line + 1);
  const line = lines[position.line] ?? '';
  // The whole key, wherever in it the pointer is.
  const place = placeAt(lines, range.end.line, Math.min(line.length, range.end.character + 1));
  const path = place.key === null ? [...place.path, document.getText(range)] : [...place.path, place.key];
  const text = hoverText(path);
  return text === null ? null : new vscode.Hover(new vscode.MarkdownString(`**${path.join('.')}**\n\n${text}`), range);
}

/** "Did you mean top_k?" as a fix. */
function quickFixes(
  document: vscode.TextDocument,
  _range: vscode.Range,
  context: vscode.CodeActionContext,
): vscode.CodeAction[] {
  return context.diagnostics.flatMap((diagnostic) => {
    if (diagnostic.source !== 'moe') return [];
    const better = /did you mean ["“`']?([\w.-]+)/i.exec(diagnostic.message)?.[1];
    if (better === undefined) return [];
    const action = new vscode.CodeAction(vscode.l10n.t('Change to {0}', better), vscode.CodeActionKind.QuickFix);
    action.diagnostics = [diagnostic];
    action.isPreferred = true;
    action.edit = new vscode.WorkspaceEdit();
    const text = document.getText(diagnostic.range);
    const word = /^[\w.-]+/.exec(text)?.[0] ?? text;
    const end = diagnostic.range.start.translate(0, word.length);
    action.edit.replace(
      document.uri,
      new vscode.Range(diagnostic.range.start, end),
      better.split('.').at(-1) ?? better,
    );
    return [action];
  });
}

class RecipeDiagnostics {
  private readonly collection = vscode.languages.createDiagnosticCollection('moe-recipe');
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(private readonly services: Services) {}

  register(): vscode.Disposable {
    for (const document of vscode.workspace.textDocuments) this.later(document, 0);
    return vscode.Disposable.from(
      this.collection,
      vscode.workspace.onDidOpenTextDocument((document) => {
        this.later(document, 0);
      }),
      vscode.workspace.onDidChangeTextDocument(({ document }) => {
        this.later(document, JUDGE_MS);
      }),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => {
        this.forget(uri);
        this.collection.delete(uri);
      }),
    );
  }

  private forget(uri: vscode.Uri): void {
    const timer = this.timers.get(uri.toString());
    if (timer !== undefined) clearTimeout(timer);
    this.timers.delete(uri.toString());
  }

  private later(document: vscode.TextDocument, delay: number): void {
    if (!isRecipe(document)) return;
    this.forget(document.uri);
    this.timers.set(
      document.uri.toString(),
      setTimeout(() => void this.judge(document), delay),
    );
  }

  private async judge(document: vscode.TextDocument): Promise<void> {
    this.timers.delete(document.uri.toString());
    if (document.isClosed) return;
    const { version } = document;
    try {
      const { workerRecipe } = await import('../protocol/worker.ts');
      const { problems } = await this.services.worker.request(workerRecipe, {
        file: document.uri.fsPath,
        text: document.getText(),
        preset: null,
        sets: [],
        src: null,
        cwd: dirname(document.uri.fsPath),
        out: null,
      });
      if (document.version === version && !document.isClosed)
        this.collection.set(document.uri, problems.map(diagnosticOf));
    } catch (error) {
      if (error instanceof MoeError && error.kind === 'cancelled') return;
      this.services.log.warn(`${document.uri.fsPath} could not be judged: ${messageOf(error)}`);
    }
  }
}

/** Problems count from 1, editors from 0. */
export function diagnosticOf(problem: WireRecipeProblem): vscode.Diagnostic {
  const { at, message, hint, severity, code } = problem;
  const range =
    at === null
      ? new vscode.Range(0, 0, 0, 0)
      : new vscode.Range(at.line - 1, at.column - 1, at.endLine - 1, at.endColumn - 1);
  const level = severity === 'error' ? vscode.DiagnosticSeverity.Error : vscode.DiagnosticSeverity.Warning;
  const diagnostic = new vscode.Diagnostic(range, hint === null ? message : `${message}. ${hint}`, level);
  diagnostic.source = 'moe';
  diagnostic.code = code;
  return diagnostic;
}
