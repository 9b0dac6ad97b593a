/** The Checkpoints view: those of the workspace, of the hub's cache, and recent ones. */
import * as vscode from 'vscode';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { findRecipes } from './workspace-files.ts';
import type { WorkspaceFiles } from './workspace-files.ts';
import { hubCacheFolder, hubModels } from './find-checkpoints.ts';
import type { FoundCheckpoint } from './find-checkpoints.ts';
import type { EvaluationHistory, PastEvaluation } from './evaluations.ts';
import { COMMANDS } from './ids.ts';
import { nameOf } from './checkpoint-session.ts';
import type { Services } from './services.ts';
import { setting } from './settings.ts';
import { kindWords } from './checkpoint-words.ts';

export interface CheckpointNode {
  readonly kind: 'checkpoint';
  readonly group: GroupId;
  readonly found: FoundCheckpoint;
}
interface RecipeNode {
  readonly kind: 'recipe';
  readonly uri: vscode.Uri;
}
/** Evaluations of the checkpoint above. */
interface EvaluationsNode {
  readonly kind: 'evaluations';
  readonly group: GroupId;
  readonly found: FoundCheckpoint;
  readonly past: readonly PastEvaluation[];
}
export interface EvaluationNode {
  readonly kind: 'evaluation';
  readonly group: GroupId;
  readonly past: PastEvaluation;
}
type GroupId = 'workspace' | 'recipes' | 'hub' | 'recent';
interface GroupNode {
  readonly kind: 'group';
  readonly id: GroupId;
  readonly children: readonly Node[];
}
type Node = GroupNode | CheckpointNode | RecipeNode | EvaluationsNode | EvaluationNode;

export class CheckpointsTree implements vscode.TreeDataProvider<Node> {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private evaluated: ReadonlySet<string> = new Set();

  constructor(
    private readonly services: Services,
    private readonly files: WorkspaceFiles,
    private readonly history: EvaluationHistory,
  ) {
    const refresh = (): void => {
      this.changed.fire(undefined);
    };
    files.onDidChange(refresh);
    history.onDidChange(refresh);
    services.recents.onDidChange(refresh);
    services.sessions.onDidChangeAny(refresh);
  }

  refresh(): void {
    this.files.rescan();
    this.changed.fire(undefined);
  }

  async getChildren(node?: Node): Promise<Node[]> {
    if (node !== undefined) return this.childrenOf(node);
    const [workspace, recipes, hub, recent] = await Promise.all([
      this.files.checkpoints(),
      findRecipes(),
      setting('checkpoints.hubCache') ? hubModels(hubCacheFolder(setting('checkpoints.hubCachePath'))) : [],
      this.recent(),
    ]);
    const nodes = (group: GroupId, found: readonly FoundCheckpoint[]): CheckpointNode[] =>
      found.map((one) => ({ kind: 'checkpoint', group, found: one }));
    const groups: GroupNode[] = [
      { kind: 'group', id: 'workspace', children: nodes('workspace', workspace) },
      { kind: 'group', id: 'recipes', children: recipes.map((uri) => ({ kind: 'recipe', uri })) },
      { kind: 'group', id: 'hub', children: nodes('hub', hub) },
      { kind: 'group', id: 'recent', children: nodes('recent', recent) },
    ];
    return groups.filter((group) => group.children.length > 0);
  }

  private async childrenOf(node: Node): Promise<Node[]> {
    switch (node.kind) {
      case 'group':
        // Which have evaluations is known before they are shown: only those can be opened.
        this.evaluated = new Set((await this.history.all()).map(({ checkpoint }) => checkpoint));
        return [...node.children];
      case 'checkpoint': {
        const { group, found } = node;
        const past = await this.history.of(found.path);
        return past.length === 0 ? [] : [{ kind: 'evaluations', group, found, past }];
      }
      case 'evaluations':
        return node.past.map((past) => ({ kind: 'evaluation', group: node.group, past }));
      default:
        return [];
    }
  }

  private async recent(): Promise<FoundCheckpoint[]> {
    const paths = this.services.recents.list();
    const there = await Promise.all(
      paths.map((path) =>
        stat(path).then(
          () => true,
          () => false,
        ),
      ),
    );
    return paths.filter((_, i) => there[i] === true).map((path) => ({ path, name: nameOf(path), files: 1 }));
  }

  getTreeItem(node: Node): vscode.TreeItem {
    if (node.kind === 'group') return groupItem(node);
    if (node.kind === 'recipe') return recipeItem(node.uri);
    if (node.kind === 'evaluations') return evaluationsItem(node);
    if (node.kind === 'evaluation') return evaluationItem(node);
    return this.checkpointItem(node);
  }

  private checkpointItem({ group, found }: CheckpointNode): vscode.TreeItem {
    const uri = vscode.Uri.file(found.path);
    const state = this.evaluated.has(resolve(found.path))
      ? vscode.TreeItemCollapsibleState.Collapsed
      : vscode.TreeItemCollapsibleState.None;
    const item = new vscode.TreeItem(found.name, state);
    const overview = this.services.sessions.get(resolve(found.path))?.overview ?? null;
    const words = overview === null ? null : kindWords(overview);
    item.id = `${group}:${found.path}`;
    item.resourceUri = uri;
    item.description = words ?? (group === 'workspace' ? vscode.workspace.asRelativePath(uri) : '');
    item.iconPath = new vscode.ThemeIcon(overview?.kind === 'moe' ? 'type-hierarchy' : 'database');
    item.contextValue = `checkpoint.${group}`;
    item.tooltip = found.path;
    item.accessibilityInformation = { label: `${found.name}, ${words ?? found.path}` };
    item.command = { command: COMMANDS.open, title: vscode.l10n.t('Open'), arguments: [uri] };
    return item;
  }
}

function evaluationsItem({ group, found, past }: EvaluationsNode): vscode.TreeItem {
  const item = new vscode.TreeItem(vscode.l10n.t('Evaluations'), vscode.TreeItemCollapsibleState.Expanded);
  item.id = `${group}:${found.path}#evaluations`;
  item.description = String(past.length);
  item.contextValue = 'evaluations';
  item.iconPath = new vscode.ThemeIcon('graph');
  return item;
}

function evaluationItem({ group, past }: EvaluationNode): vscode.TreeItem {
  // The checkpoint's name stands above it already.
  const own = nameOf(past.checkpoint);
  const item = new vscode.TreeItem(past.name.startsWith(`${own} `) ? past.name.slice(own.length + 1) : past.name);
  item.id = `${group}:${past.file}`;
  item.contextValue = 'evaluation';
  item.iconPath = new vscode.ThemeIcon('checklist');
  item.tooltip = past.file;
  item.command = {
    command: COMMANDS.openResults,
    title: vscode.l10n.t('Open'),
    arguments: [vscode.Uri.file(past.file)],
  };
  return item;
}

function groupItem({ id, children }: GroupNode): vscode.TreeItem {
  const titles: Readonly<Record<GroupId, string>> = {
    workspace: vscode.l10n.t('Workspace'),
    recipes: vscode.l10n.t('Recipes'),
    hub: vscode.l10n.t('Hub cache'),
    recent: vscode.l10n.t('Recent'),
  };
  const item = new vscode.TreeItem(
    titles[id],
    id === 'hub' ? vscode.TreeItemCollapsibleState.Collapsed : vscode.TreeItemCollapsibleState.Expanded,
  );
  item.id = `group:${id}`;
  item.description = String(children.length);
  item.contextValue = `group.${id}`;
  if (id === 'hub')
    item.tooltip = vscode.l10n.t('Models that other tools have downloaded. They are read, never written to.');
  return item;
}

function recipeItem(uri: vscode.Uri): vscode.TreeItem {
  const item = new vscode.TreeItem(uri, vscode.TreeItemCollapsibleState.None);
  item.description = true;
  item.iconPath = new vscode.ThemeIcon('checklist');
  item.contextValue = 'recipe';
  item.command = { command: COMMANDS.previewPlan, title: vscode.l10n.t('Preview Plan'), arguments: [uri] };
  return item;
}
