/** Entry of the extension: puts the parts together. Everything heavy lives in the worker and the job process. */
import * as vscode from 'vscode';
import { messageOf } from '../common/errors.ts';
import { CheckpointEditors } from './checkpoint-editor.ts';
import { CheckpointsTree } from './checkpoints-tree.ts';
import { registerCommands } from './commands.ts';
import { Diagnostics } from './diagnostics.ts';
import { Decorations } from './decorations.ts';
import { EvaluationHistory } from './evaluations.ts';
import { ExpertLoadsReader } from './expert-loads.ts';
import { ExpertsTree } from './experts-tree.ts';
import { HeatmapView } from './heatmap-view.ts';
import { VIEWS } from './ids.ts';
import { JobsHost } from './jobs-host.ts';
import { JobsTree } from './jobs-tree.ts';
import { CompareEditors } from './compare-editor.ts';
import { NativeCompare } from './native-compare.ts';
import { PlanEditors } from './plan-editor.ts';
import { Playgrounds } from './playground.ts';
import { Recents } from './recents.ts';
import { registerRecipeLanguage } from './recipe-language.ts';
import { ResultsEditors } from './results-editor.ts';
import { CheckpointSessions } from './sessions.ts';
import type { Services } from './services.ts';
import { setting } from './settings.ts';
import { followJobs } from './job-ends.ts';
import { StatusBar } from './status-bar.ts';
import { registerTasks } from './tasks.ts';
import { TextDocuments } from './text-documents.ts';
import { registerUriHandler } from './uri-handler.ts';
import { WorkerClient } from './worker-client.ts';
import { useTranslator } from './words.ts';
import { WorkspaceFiles } from './workspace-files.ts';

let running: Services | null = null;

export function activate(context: vscode.ExtensionContext): void {
  const start = performance.now();
  const log = vscode.window.createOutputChannel('MoE Workbench', { log: true });
  useTranslator(vscode.l10n.t);
  try {
    running = assemble(context, log);
    log.info(`Activated in ${(performance.now() - start).toFixed(1)} ms`);
  } catch (error) {
    // VS Code shows nothing when an extension fails to activate.
    log.error(error instanceof Error ? error : String(error));
    void vscode.window.showErrorMessage(vscode.l10n.t('MoE Workbench could not start: {0}', messageOf(error)));
    throw error;
  }
}

export async function deactivate(): Promise<void> {
  const services = running;
  running = null;
  if (services === null) return;
  services.sessions.dispose();
  await Promise.all([services.worker.dispose(), services.jobs.dispose()]);
}

function assemble(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): Services {
  const services = makeServices(context, log);
  const files = new WorkspaceFiles(log);
  const editors = new CheckpointEditors(services);
  const texts = new TextDocuments(services.jobs);
  const plans = new PlanEditors(services, editors, texts);
  const comparisons = new CompareEditors(services, editors);
  const native = new NativeCompare((a, b) => {
    comparisons.show(a, b);
  });
  editors.onViewer = (path) => {
    native.viewerMade(path);
  };
  const { history } = services;
  const checkpoints = new CheckpointsTree(services, files, history);
  const heatmap = new HeatmapView(services);
  const results = new ResultsEditors(services, editors, history);
  const playgrounds = new Playgrounds(services, editors);
  const parts = {
    services,
    editors,
    texts,
    plans,
    comparisons,
    checkpoints,
    heatmap,
    files,
    history,
    results,
    playgrounds,
  };
  context.subscriptions.push(
    log,
    files.register(),
    editors.register(),
    plans.register(),
    comparisons.register(),
    results.register(),
    playgrounds.register(),
    texts.register(),
    vscode.window.registerTreeDataProvider(VIEWS.checkpoints, checkpoints),
    new ExpertsTree(services).register(VIEWS.experts),
    heatmap.register(VIEWS.heatmap),
    vscode.window.registerTreeDataProvider(VIEWS.jobs, new JobsTree(services.jobs)),
    new StatusBar(services).register(),
    new Diagnostics(services, files).register(),
    new Decorations(services).register(),
    registerCommands(parts),
    registerRecipeLanguage(services),
    registerTasks(services),
    registerUriHandler(services, editors),
    followJobs(parts),
    vscode.workspace.onDidGrantWorkspaceTrust(() => {
      services.jobs.trustGranted();
    }),
  );
  // Not in the way of activation: the list for menus, and jobs that wait from an earlier session.
  setTimeout(() => {
    void files.checkpoints();
    services.jobs.open().catch((error: unknown) => {
      log.error(`Jobs are not available: ${messageOf(error)}`);
    });
  }, 500);
  return services;
}

function makeServices(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): Services {
  const built = (name: string): string => vscode.Uri.joinPath(context.extensionUri, 'dist', name).fsPath;
  const worker = new WorkerClient({
    entry: built('worker.js'),
    log: (level, message) => {
      log[level](message);
    },
  });
  const sessions = new CheckpointSessions({
    worker,
    log: (message) => {
      log.info(message);
    },
  });
  const jobs = new JobsHost({
    entry: built('job.js'),
    folder: vscode.Uri.joinPath(context.globalStorageUri, 'jobs').fsPath,
    concurrency: Math.max(1, setting('jobs.concurrency')),
    keep: Math.max(1, setting('jobs.keep')),
    trusted: () => vscode.workspace.isTrusted,
    log: (level, message) => {
      log[level === 'warning' ? 'warn' : level](message);
    },
  });
  const history = new EvaluationHistory(vscode.Uri.joinPath(context.globalStorageUri, 'evaluations').fsPath);
  const loads = new ExpertLoadsReader({
    worker,
    history,
    log: (message) => {
      log.warn(message);
    },
  });
  return { context, log, worker, sessions, jobs, recents: new Recents(context.globalState), history, loads };
}
