/** The Experts view: layers → experts of the checkpoint that is looked at, a short ratio behind each. */
import * as vscode from 'vscode';
import type { ExpertGrid, ExpertMetric, LayerExperts } from '../protocol/checkpoint.ts';
import { COMMANDS } from './ids.ts';
import { expertText, findings, flagWords, meanNorm } from './expert-words.ts';
import { byNeed, loadOf, loadWords } from './expert-loads.ts';
import type { ExpertLoad, ExpertLoads } from './expert-loads.ts';
import type { Services } from './services.ts';
import { t } from './words.ts';
import { append } from '../common/lists.ts';

interface LayerNode {
  readonly kind: 'layer';
  readonly row: ExpertGrid['layers'][number];
}
export interface ExpertNode {
  readonly kind: 'expert';
  readonly layer: number;
  readonly expert: number | 'shared';
}
type Node = LayerNode | ExpertNode;

export class ExpertsTree implements vscode.TreeDataProvider<Node> {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private view: vscode.TreeView<Node> | null = null;

  constructor(private readonly services: Services) {}

  register(id: string): vscode.Disposable {
    const view = vscode.window.createTreeView(id, { treeDataProvider: this, showCollapseAll: true });
    this.view = view;
    const refresh = (): void => {
      this.describe();
      this.changed.fire(undefined);
    };
    const { sessions } = this.services;
    const { loads } = this.services;
    /** Shown at once without loads, and with them when they are read. */
    const both = (): void => {
      refresh();
      const path = sessions.active?.session.path;
      const before = path === undefined ? null : loads.peek(path);
      if (path === undefined) return;
      void loads.of(path).then((found) => {
        if (found !== before) refresh();
      });
    };
    const listening = [sessions.onDidChangeActive(both), sessions.onDidChangeMetrics(refresh), loads.onDidChange(both)];
    this.describe();
    return vscode.Disposable.from(
      view,
      new vscode.Disposable(() => {
        for (const one of listening) one.dispose();
      }),
    );
  }

  /** Says whose experts these are, and why there are none. */
  private describe(): void {
    if (this.view === null) return;
    const session = this.services.sessions.active?.session ?? null;
    this.view.description = session?.name ?? '';
    const grid = session?.grid ?? null;
    let message = '';
    const kind = session?.overview?.kind ?? null;
    const unavailable = grid?.unavailable ?? null;
    if (kind !== null && kind !== 'moe') message = vscode.l10n.t('This checkpoint is dense: it has no experts.');
    else if (unavailable !== null) message = unavailable;
    else if (grid?.identicalExpected === true)
      message = vscode.l10n.t('Freshly upcycled: identical experts are expected until training.');
    const loads = this.loads();
    if (loads !== null) {
      const told = vscode.l10n.t('Loads of the latest run: dead, cold and busy ones first.');
      message = message === '' ? told : `${message} ${told}`;
    }
    this.view.message = message;
  }

  private loads(): ExpertLoads | null {
    const path = this.services.sessions.active?.session.path;
    return path === undefined ? null : this.services.loads.peek(path);
  }

  getChildren(node?: Node): Node[] {
    const session = this.services.sessions.active?.session;
    const grid = session?.grid ?? null;
    if (session === undefined || grid === null) return [];
    if (node === undefined) return grid.layers.map((row) => ({ kind: 'layer', row }));
    if (node.kind === 'expert') return [];
    const { layer, experts, shared } = node.row;
    const nodes: ExpertNode[] = Array.from({ length: experts }, (_, expert) => ({ kind: 'expert', layer, expert }));
    if (shared) nodes.push({ kind: 'expert', layer, expert: 'shared' });
    const loads = this.loads();
    return loads === null ? nodes : byNeed(nodes, loads, layer);
  }

  getTreeItem(node: Node): vscode.TreeItem {
    const session = this.services.sessions.active?.session;
    const grid = session?.grid ?? null;
    const layers = session?.metrics.layers;
    const loads = this.loads();
    if (node.kind === 'layer')
      return layerItem(node.row, layers?.get(node.row.layer), grid, session?.path ?? '', loads);
    const known = layers?.get(node.layer);
    const load = loads === null ? null : loadOf(loads, node.layer, node.expert);
    return expertItem(node, known, grid, session?.path ?? '', load);
  }
}

function layerItem(
  row: ExpertGrid['layers'][number],
  known: LayerExperts | undefined,
  grid: ExpertGrid | null,
  path: string,
  loads: ExpertLoads | null,
): vscode.TreeItem {
  const item = new vscode.TreeItem(vscode.l10n.t('Layer {0}', row.layer), vscode.TreeItemCollapsibleState.Collapsed);
  item.id = `${path}#${String(row.layer)}`;
  const bad = grid === null || known === undefined ? 0 : known.experts.filter((one) => findings(one, grid)).length;
  const mean = known === undefined ? null : meanNorm(known);
  item.description =
    bad > 0
      ? vscode.l10n.t('{0} of {1} experts flagged', bad, row.experts)
      : `${vscode.l10n.t('{0} experts', row.experts)}${mean === null ? '' : `, norm ${mean.toPrecision(4)}`}`;
  const traced = loads?.traces.layers.find(({ layer }) => layer === row.layer);
  if (traced !== undefined) {
    const dead = traced.dead.length === 0 ? '' : `, ${vscode.l10n.t('{0} dead', traced.dead.length)}`;
    const away = traced.maxVio === null ? '' : `, MaxVio ${traced.maxVio.toFixed(2)}`;
    item.description += `${away}${dead}`;
  }
  item.iconPath = new vscode.ThemeIcon('layers', bad > 0 ? new vscode.ThemeColor('list.warningForeground') : undefined);
  item.contextValue = 'layer';
  item.accessibilityInformation = { label: `Layer ${String(row.layer)}, ${item.description}` };
  return item;
}

function expertItem(
  node: ExpertNode,
  layer: LayerExperts | undefined,
  grid: ExpertGrid | null,
  path: string,
  load: ExpertLoad | null,
): vscode.TreeItem {
  const title = node.expert === 'shared' ? vscode.l10n.t('Shared expert') : vscode.l10n.t('Expert {0}', node.expert);
  const item = new vscode.TreeItem(title);
  item.id = `${path}#${String(node.layer)}/${String(node.expert)}`;
  const metric = layer?.experts.find((one) => one.expert === node.expert);
  const weights = metric === undefined || layer === undefined ? '' : expertText(metric, meanNorm(layer));
  const text = [...(load === null ? [] : [loadWords(load)]), ...(weights === '' ? [] : [weights])].join(', ');
  item.description = text;
  item.iconPath = load?.state === 'dead' ? DEAD : iconOf(metric, grid);
  item.contextValue = 'expert';
  item.accessibilityInformation = {
    label: `${title} of layer ${String(node.layer)}${text === '' ? ', not computed yet' : `, ${text}`}`,
  };
  if (metric !== undefined) item.tooltip = tooltipOf(title, metric);
  item.command = { command: COMMANDS.open, title: vscode.l10n.t('Show'), arguments: [node] };
  return item;
}

const DEAD = new vscode.ThemeIcon('circle-slash', new vscode.ThemeColor('list.warningForeground'));

/** Shape and word carry the state; colour only repeats it. */
function iconOf(metric: ExpertMetric | undefined, grid: ExpertGrid | null): vscode.ThemeIcon {
  if (metric === undefined || grid === null) return new vscode.ThemeIcon('circle-outline');
  if (!findings(metric, grid)) {
    const colour = metric.expert === 'shared' ? 'moe.expertShared' : 'moe.expertHot';
    return new vscode.ThemeIcon('circle-filled', new vscode.ThemeColor(colour));
  }
  const dead = metric.flags.includes('dead') || metric.flags.includes('not-finite');
  return new vscode.ThemeIcon(dead ? 'error' : 'warning', new vscode.ThemeColor('list.warningForeground'));
}

function tooltipOf(
  title: string,
  { norm, distance, nearest, effectiveRank, routerNorm, ...metric }: ExpertMetric,
): string {
  const lines = [title];
  const add = (label: string, value: number | null): void => {
    if (value !== null) lines.push(`${label}: ${value.toPrecision(6)}`);
  };
  add(t('Norm'), norm.all);
  add(t('Norm of gate'), norm.gate);
  add(t('Norm of up'), norm.up);
  add(t('Norm of down'), norm.down);
  add(t('Distance to parent'), distance);
  if (nearest !== null)
    lines.push(t('Nearest: expert {0}, cosine {1}', String(nearest.expert), nearest.cosine.toPrecision(6)));
  add(t('Effective rank (estimate)'), effectiveRank);
  add(t('Router row norm'), routerNorm);
  append(lines, flagWords({ norm, distance, nearest, effectiveRank, routerNorm, ...metric }));
  return lines.join('\n');
}
