/** Commands about checkpoints and recipes. */
import * as vscode from 'vscode';
import { open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MoeError } from '../common/errors.ts';
import { activeUri, uriOf, urisOf } from './command-args.ts';
import type { CommandParts, CommandTable } from './commands.ts';
import type { ExpertNode } from './experts-tree.ts';
import { nameOf } from './checkpoint-session.ts';
import type { Services } from './services.ts';
import { chooseCheckpoint } from './choose-checkpoint.ts';
import { COMMANDS, CONTEXT_KEYS } from './ids.ts';
import { deviceSetting } from './settings.ts';

/** Loaded when first needed: it brings YAML with it. */
async function upcycle(path: string): Promise<void> {
  const { upcycleWizard } = await import('./upcycle-wizard.ts');
  await upcycleWizard(path);
}

/** Checkpoints are always told by their folder where a part of one was clicked. */
export async function checkpointAt(uri: vscode.Uri): Promise<string> {
  const path = uri.fsPath;
  if (basename(path) === 'config.json' || /\.safetensors\.index\.json$/i.test(path)) return dirname(path);
  // A shard stands for its checkpoint.
  if (/-\d{5}-of-\d{5}\.safetensors$/i.test(path)) return dirname(path);
  if (/\.safetensors$/i.test(path)) {
    const config = await stat(join(dirname(path), 'config.json')).catch(() => null);
    return config === null ? path : dirname(path);
  }
  return path;
}

export function checkpointCommands(parts: CommandParts): CommandTable {
  const { services, editors, plans, comparisons, texts, checkpoints, heatmap, files } = parts;
  let selected: string | null = null;

  /** What was clicked, else what is looked at, else what the user chooses. */
  const target = async (argument: unknown, title: string): Promise<string | null> => {
    const uri = uriOf(argument);
    if (uri !== null) return checkpointAt(uri);
    const active = services.sessions.active?.session.path;
    if (active !== undefined) return checkpointAt(vscode.Uri.file(active));
    return chooseCheckpoint(title, services, files);
  };
  const recipe = (argument: unknown): vscode.Uri | null => {
    const uri = uriOf(argument) ?? activeUri();
    return uri !== null && /\.moe\.ya?ml$/i.test(uri.path) ? uri : null;
  };
  const needRecipe = async (argument: unknown): Promise<vscode.Uri | null> => {
    const known = recipe(argument);
    if (known !== null) return known;
    const chosen = await vscode.window.showOpenDialog({
      title: vscode.l10n.t('Choose a Recipe'),
      filters: { [vscode.l10n.t('MoE recipes')]: ['yaml', 'yml'] },
    });
    return chosen?.[0] ?? null;
  };

  return {
    open: async (argument) => {
      if (isExpertNode(argument)) {
        const layer = argument.layer;
        const expert = argument.expert === 'shared' ? null : argument.expert;
        services.sessions.active?.reveal({ tab: 'experts', tensor: null, layer, expert });
        return;
      }
      const path =
        uriOf(argument)?.fsPath ?? (await chooseCheckpoint(vscode.l10n.t('Open Checkpoint'), services, files));
      if (path !== null) await editors.open(path);
    },
    openFolder: async (argument) => {
      const uri = uriOf(argument);
      const path =
        uri !== null
          ? await checkpointAt(uri)
          : await chooseCheckpoint(vscode.l10n.t('Open Checkpoint'), services, files);
      if (path !== null) await editors.open(path);
    },
    openSample: async () => {
      const { openSample } = await import('./sample.ts');
      const folder = await openSample(services);
      checkpoints.refresh();
      await editors.open(folder);
    },
    upcycle: async (argument) => {
      const path = await target(argument, vscode.l10n.t('Upcycle to MoE'));
      if (path !== null) await upcycle(path);
    },
    newRecipe: async () => {
      const path = await chooseCheckpoint(vscode.l10n.t('Upcycle to MoE'), services, files);
      if (path !== null) await upcycle(path);
    },
    previewPlan: async (argument, field) => {
      const uri = await needRecipe(argument);
      if (uri !== null) await plans.open(uri, typeof field === 'string' ? field : null);
    },
    routerLab: async (argument) => {
      const uri = await needRecipe(argument);
      if (uri !== null) await plans.open(uri, 'router-lab');
    },
    runPlan: async (argument) => {
      const uri = await needRecipe(argument);
      if (uri === null) return;
      const host = await plans.hostOf(uri);
      await host?.runNow();
    },
    verify: async (argument) => {
      const path = await target(argument, vscode.l10n.t('Verify'));
      if (path === null) return;
      const sources = await sourcesOf(services, path);
      const logits = sources.length === 0 ? false : await askLogits();
      if (logits === null) return;
      const device = deviceSetting();
      await services.jobs.add({ kind: 'verify', out: path, sources, ...(logits ? { logits, device } : {}) });
      await vscode.commands.executeCommand(COMMANDS.focusJobs);
    },
    revert: async (argument) => {
      const path = await target(argument, vscode.l10n.t('Revert to Dense'));
      if (path === null) return;
      const dest = await vscode.window.showSaveDialog({
        title: vscode.l10n.t('Folder for the Dense Checkpoint'),
        saveLabel: vscode.l10n.t('Revert'),
        defaultUri: vscode.Uri.file(`${path}-dense`),
      });
      if (dest === undefined) return;
      await services.jobs.add({ kind: 'revert', out: path, dest: dest.fsPath, parent: 0, overwrite: false });
      await vscode.commands.executeCommand(COMMANDS.focusJobs);
    },
    examine: async (argument) => {
      const path = await target(argument, vscode.l10n.t('Examine'));
      if (path === null) return;
      await services.jobs.add({ kind: 'doctor', path, rebuildIndex: false });
      await vscode.commands.executeCommand(COMMANDS.focusJobs);
    },
    rebuildIndex: async (argument) => {
      const path = await target(argument, vscode.l10n.t('Rebuild Index'));
      if (path === null) return;
      const go = vscode.l10n.t('Rebuild');
      const chosen = await vscode.window.showWarningMessage(
        vscode.l10n.t('Rebuild the index of "{0}"?', nameOf(path)),
        {
          modal: true,
          detail: vscode.l10n.t(
            'model.safetensors.index.json is written anew from the headers of the files that are there.',
          ),
        },
        go,
      );
      if (chosen !== go) return;
      await services.jobs.add({ kind: 'doctor', path, rebuildIndex: true });
      await vscode.commands.executeCommand(COMMANDS.focusJobs);
    },
    selectForCompare: async (argument) => {
      const path = await target(argument, vscode.l10n.t('Select for Compare'));
      if (path === null) return;
      selected = path;
      await vscode.commands.executeCommand('setContext', CONTEXT_KEYS.compareSelected, true);
      vscode.window.setStatusBarMessage(vscode.l10n.t('Selected {0} for comparing', nameOf(path)), 4000);
    },
    compareWithSelected: async (argument) => {
      const path = await target(argument, vscode.l10n.t('Compare'));
      if (path === null) return;
      if (selected === null)
        throw new MoeError('usage', 'nothing-selected', vscode.l10n.t('Nothing is selected for comparing'), {
          hint: vscode.l10n.t('Choose "Select Checkpoint for Compare" on the other one first.'),
        });
      comparisons.show(selected, path);
    },
    compare: async (...args) => {
      const several = await Promise.all(urisOf(args).map(checkpointAt));
      const [first = await target(undefined, vscode.l10n.t('Compare')), second] = several;
      if (first === null) return;
      const other =
        second ?? (await chooseCheckpoint(vscode.l10n.t('Compare {0} with', nameOf(first)), services, files));
      if (other !== null) comparisons.show(first, other);
    },
    reveal: async (argument) => {
      const uri = uriOf(argument);
      if (uri === null) return;
      const inside = vscode.workspace.getWorkspaceFolder(uri) !== undefined;
      await vscode.commands.executeCommand(inside ? 'revealInExplorer' : 'revealFileInOS', uri);
    },
    refresh: async () => {
      checkpoints.refresh();
      await services.sessions.active?.session.reload(false);
    },
    removeRecent: (argument) => {
      const uri = uriOf(argument);
      if (uri !== null) services.recents.remove(uri.fsPath);
    },
    computeExperts: () =>
      vscode.window.withProgress(
        { location: { viewId: 'moe.experts' }, title: vscode.l10n.t('Metrics of experts') },
        () => heatmap.compute(),
      ),
    copyPath: async (argument) => {
      const uri = uriOf(argument);
      if (uri !== null) await vscode.env.clipboard.writeText(uri.fsPath);
    },
    copyDiagnostics: async (argument) => {
      const { copyDiagnostics } = await import('./copy-diagnostics.ts');
      await copyDiagnostics(services, uriOf(argument)?.fsPath ?? null, texts);
    },
    showLog: () => {
      services.log.show();
    },
    openWalkthrough: () =>
      vscode.commands.executeCommand(
        'workbench.action.openWalkthrough',
        `${services.context.extension.id}#moe.start`,
        false,
      ),
    openSettings: (setting) =>
      vscode.commands.executeCommand(
        'workbench.action.openSettings',
        typeof setting === 'string' ? setting : `@ext:${services.context.extension.id}`,
      ),
  };
}

function isExpertNode(argument: unknown): argument is ExpertNode {
  return typeof argument === 'object' && argument !== null && 'kind' in argument && argument.kind === 'expert';
}

/** The manifest of a million tensors is large; its sources stand at its beginning. */
const HEAD_BYTES = 1 << 22;

/**
 * The source to verify against: the dense parent, where there was one alone and it is still there. Without it the digests of
 * the manifest are checked.
 */
/** Bytes alone, or also what both compute; null: dismissed. */
async function askLogits(): Promise<boolean | null> {
  const bytes = {
    label: vscode.l10n.t('Compare the bytes'),
    detail: vscode.l10n.t('Every tensor is computed again from the source and compared.'),
  };
  const logits = {
    label: vscode.l10n.t('Compare the bytes and the logits'),
    detail: vscode.l10n.t('Both models are also run on the same text. That needs memory for both.'),
  };
  const picked = await vscode.window.showQuickPick([bytes, logits], { title: vscode.l10n.t('Verify') });
  return picked === undefined ? null : picked === logits;
}

async function sourcesOf(services: Services, out: string): Promise<string[]> {
  const head = await headOf(join(out, 'moe-manifest.json'));
  if ([...head.matchAll(/\n\{"name":"(?:[^"\\]|\\.)*","format":"/g)].length !== 1) return [];
  const ref = services.sessions.acquire(out);
  try {
    await ref.session.settled();
    const parent = ref.session.grid?.parent?.path;
    return parent === undefined ? [] : [parent];
  } finally {
    ref.dispose();
  }
}

async function headOf(file: string): Promise<string> {
  const handle = await open(file, 'r').catch(() => null);
  if (handle === null) return '';
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}
