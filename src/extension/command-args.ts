/** What a command was called on: a file of the Explorer, a row of a view, a path, or nothing. */
import * as vscode from 'vscode';

/** The file or folder that a command is about, or null. */
export function uriOf(argument: unknown): vscode.Uri | null {
  if (argument instanceof vscode.Uri) return argument;
  if (typeof argument === 'string') return argument === '' ? null : vscode.Uri.file(argument);
  if (typeof argument !== 'object' || argument === null) return null;
  if ('found' in argument && typeof argument.found === 'object' && argument.found !== null && 'path' in argument.found)
    return typeof argument.found.path === 'string' ? vscode.Uri.file(argument.found.path) : null;
  if ('uri' in argument) return uriOf(argument.uri);
  if ('resourceUri' in argument) return uriOf(argument.resourceUri);
  return null;
}

/** All files of a multiple selection: `(uri, uris)`. */
export function urisOf(args: readonly unknown[]): vscode.Uri[] {
  const [first, all] = args;
  const list = Array.isArray(all) ? all.map(uriOf).filter((uri): uri is vscode.Uri => uri !== null) : [];
  const one = uriOf(first);
  return list.length > 0 ? list : one === null ? [] : [one];
}

/** The id of a job: from a row of the jobs view, or itself. */
export function jobIdOf(argument: unknown): string | null {
  if (typeof argument === 'string') return argument;
  if (typeof argument !== 'object' || argument === null || !('id' in argument)) return null;
  return typeof argument.id === 'string' ? argument.id : null;
}

/** The file of the active editor, text or custom. */
export function activeUri(): vscode.Uri | null {
  const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
  if (input instanceof vscode.TabInputText || input instanceof vscode.TabInputCustom) return input.uri;
  return null;
}
