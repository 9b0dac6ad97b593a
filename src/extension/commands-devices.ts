/** Where models can run, and how to get a GPU. */
import * as vscode from 'vscode';
import { workerDevices } from '../protocol/worker-eval.ts';
import { COMMANDS } from './ids.ts';
import type { Services } from './services.ts';
import type { TextDocuments } from './text-documents.ts';

/** Tries all devices, shows what came of it, and offers the command that fetches the CUDA provider. It is never run from here. */
export async function setUpGpu({ worker }: Services, texts: TextDocuments): Promise<void> {
  const title = vscode.l10n.t('Trying the devices of this machine');
  const found = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    async (progress, token) => {
      const aborter = new AbortController();
      token.onCancellationRequested(() => {
        aborter.abort();
      });
      try {
        return await worker.request(
          workerDevices,
          {},
          {
            signal: aborter.signal,
            onProgress: ({ what, total }) => {
              progress.report({ message: what, increment: 100 / Math.max(1, total) });
            },
          },
        );
      } catch (error) {
        if (aborter.signal.aborted) return null;
        throw error;
      }
    },
  );
  if (found === null) return;
  await texts.showText('Devices.txt', found.text);
  const working = found.devices.filter(({ available }) => available).map(({ device }) => device);
  const fetch = found.steps.find(({ command }) => command !== null && /onnxruntime-node-install|nuget/.test(command));
  const [inTerminal, choose] = [vscode.l10n.t('Put the Command into a Terminal'), vscode.l10n.t('Choose the Device…')];
  const words = vscode.l10n.t('Models can run on: {0}.', working.join(', '));
  const chosen = await vscode.window.showInformationMessage(
    fetch === undefined ? words : `${words} ${vscode.l10n.t('The steps for an NVIDIA GPU are in Devices.txt.')}`,
    ...(fetch === undefined ? [choose] : [inTerminal, choose]),
  );
  if (chosen === choose) await vscode.commands.executeCommand(COMMANDS.openSettings, 'moe.device');
  if (chosen !== inTerminal || fetch?.command === undefined || fetch.command === null) return;
  const terminal = vscode.window.createTerminal({ name: vscode.l10n.t('GPU for MoE Workbench') });
  terminal.show();
  // Typed, not entered: it fetches from the network, and that is for the user to start.
  terminal.sendText(fetch.command, false);
}
