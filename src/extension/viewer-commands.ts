/** Buttons of the checkpoint viewer. */
import * as vscode from 'vscode';
import { basename, dirname, join } from 'node:path';
import { stat } from 'node:fs/promises';
import { workerTensor } from '../protocol/worker.ts';
import type { viewerCommand } from '../protocol/viewer.ts';
import type { ParamsOf } from '../protocol/define.ts';
import type { CheckpointSession } from './checkpoint-session.ts';
import { isErrorAction } from './error-actions.ts';
import { exportTraces } from './export-traces.ts';
import { COMMANDS } from './ids.ts';
import type { Services } from './services.ts';

type ViewerCommand = ParamsOf<typeof viewerCommand>['command'];

/** Does what the page asks for. False: the user closed a dialogue, or there is nothing to do. */
export async function runViewerCommand(
  services: Services,
  session: CheckpointSession,
  command: ViewerCommand,
  argument: string | null,
): Promise<boolean> {
  const uri = vscode.Uri.file(session.path);
  const run = async (id: string, ...args: unknown[]): Promise<boolean> => {
    await vscode.commands.executeCommand(id, ...args);
    return true;
  };
  switch (command) {
    case 'upcycle':
      return run(COMMANDS.upcycle, uri);
    case 'compare':
      return run(COMMANDS.compare, uri);
    case 'verify':
      return run(COMMANDS.verify, uri);
    case 'revert':
      return run(COMMANDS.revert, uri);
    case 'doctor':
      return run(COMMANDS.examine, uri);
    case 'rebuildIndex':
      return run(COMMANDS.rebuildIndex, uri);
    case 'reveal':
      return run(COMMANDS.reveal, vscode.Uri.file(fileOf(session, argument) ?? session.path));
    case 'openFile': {
      const file = fileOf(session, argument);
      if (file === null) return false;
      return run('vscode.open', vscode.Uri.file(file));
    }
    case 'openConfig': {
      const folder = (await isFolder(session.path)) ? session.path : dirname(session.path);
      const config = join(folder, 'config.json');
      if (await isFile(config)) return run('vscode.open', vscode.Uri.file(config));
      return false;
    }
    case 'openSettings':
      return run(COMMANDS.openSettings);
    case 'manageTrust':
      return run('workbench.trust.manage');
    case 'reload':
      await session.reload();
      return true;
    case 'copyPython': {
      if (argument === null) return false;
      const { python } = await session.ask(workerTensor, { tensor: argument });
      await vscode.env.clipboard.writeText(python);
      vscode.window.setStatusBarMessage(vscode.l10n.t('Copied Python for {0}', argument), 3000);
      return true;
    }
    case 'copyDiagnostics':
      return run(COMMANDS.copyDiagnostics, uri);
    case 'trace':
      return run(COMMANDS.trace, uri);
    case 'openResults': {
      const loads = await services.loads.of(session.path);
      return loads !== null && run(COMMANDS.openResults, vscode.Uri.file(loads.file));
    }
    case 'exportTraces': {
      const loads = await services.loads.of(session.path);
      return loads !== null && exportTraces(services, loads.file, argument === 'csv' ? 'csv' : 'json');
    }
    case 'errorAction':
      return errorAction(services, session, argument ?? '');
  }
}

async function errorAction(services: Services, session: CheckpointSession, id: string): Promise<boolean> {
  if (!isErrorAction(id)) {
    services.log.warn(`No such action: ${id}`);
    return false;
  }
  const uri = vscode.Uri.file(session.path);
  switch (id) {
    case 'reload':
      await session.reload();
      return true;
    case 'openText':
      await vscode.commands.executeCommand(
        'vscode.openWith',
        vscode.Uri.file(fileOf(session, session.error?.file ?? null) ?? session.path),
        'default',
      );
      return true;
    case 'examine':
      await vscode.commands.executeCommand(COMMANDS.examine, uri);
      return true;
    case 'rebuildIndex':
      await vscode.commands.executeCommand(COMMANDS.rebuildIndex, uri);
      return true;
    case 'reveal':
      await vscode.commands.executeCommand(COMMANDS.reveal, uri);
      return true;
    case 'copyDiagnostics':
      await vscode.commands.executeCommand(COMMANDS.copyDiagnostics, uri);
      return true;
  }
}

/** A file of the checkpoint by the name that the page shows; only files of this checkpoint are opened. */
function fileOf(session: CheckpointSession, name: string | null): string | null {
  if (name === null || name === '') return null;
  const known = session.overview?.files.find((file) => file.name === name || file.path === name);
  if (known !== undefined) return known.path;
  // Of a checkpoint that could not be opened: the file that the error names, in its own folder.
  if (session.error?.file === name) {
    const folder = session.path.endsWith(basename(name)) ? dirname(session.path) : session.path;
    return name === session.path ? name : join(folder, basename(name));
  }
  return null;
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (facts) => facts.isDirectory(),
    () => false,
  );
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (facts) => facts.isFile(),
    () => false,
  );
}
