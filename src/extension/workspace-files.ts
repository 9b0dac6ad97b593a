/** Weight files and recipes of the workspace, found once and kept up to date by a watcher. */
import * as vscode from 'vscode';
import { dirname } from 'node:path';
import { groupFiles } from './find-checkpoints.ts';
import type { FoundCheckpoint } from './find-checkpoints.ts';
import { CONTEXT_KEYS } from './ids.ts';

const WEIGHTS = '**/*.{safetensors,gguf,safetensors.index.json}';
const RECIPES = '**/*.moe.{yaml,yml}';
const IGNORED = '**/{node_modules,.git,.venv}/**';
/** More weight files than this are not listed. */
const MAX_FILES = 5000;

export class WorkspaceFiles {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChange = this.changed.event;
  private readonly listed = new vscode.EventEmitter<readonly FoundCheckpoint[]>();
  /** The workspace has been looked through. */
  readonly onDidFind = this.listed.event;
  private found: Promise<FoundCheckpoint[]> | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly log: vscode.LogOutputChannel) {}

  register(): vscode.Disposable {
    const touch = (): void => {
      if (this.timer !== null) clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        this.rescan();
      }, 500);
    };
    const watchers = [WEIGHTS, RECIPES].map((pattern) => {
      // Changed contents change no list.
      const watcher = vscode.workspace.createFileSystemWatcher(pattern, false, true, false);
      watcher.onDidCreate(touch);
      watcher.onDidDelete(touch);
      return watcher;
    });
    return vscode.Disposable.from(...watchers, vscode.workspace.onDidChangeWorkspaceFolders(touch), this.changed);
  }

  rescan(): void {
    this.found = null;
    this.changed.fire(undefined);
    void this.checkpoints();
  }

  async checkpoints(): Promise<FoundCheckpoint[]> {
    this.found ??= this.find();
    return this.found;
  }

  private async find(): Promise<FoundCheckpoint[]> {
    const weights = await vscode.workspace.findFiles(WEIGHTS, IGNORED, MAX_FILES);
    const paths = weights.filter((uri) => uri.scheme === 'file').map((uri) => uri.fsPath);
    if (paths.length === MAX_FILES) this.log.warn(`More than ${String(MAX_FILES)} weight files: the list ends there`);
    const folders = new Set(paths.map((path) => dirname(path)));
    // A config beside weights makes the folder one checkpoint.
    const configs = await vscode.workspace.findFiles('**/config.json', IGNORED, MAX_FILES);
    for (const { scheme, fsPath } of configs) if (scheme === 'file' && folders.has(dirname(fsPath))) paths.push(fsPath);
    await vscode.commands.executeCommand('setContext', CONTEXT_KEYS.folders, [...folders]);
    await vscode.commands.executeCommand('setContext', CONTEXT_KEYS.scanned, true);
    const found = groupFiles(paths);
    this.listed.fire(found);
    return found;
  }
}

/** Recipes of the workspace. */
export async function findRecipes(): Promise<vscode.Uri[]> {
  const found = await vscode.workspace.findFiles(RECIPES, IGNORED, 500);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}
