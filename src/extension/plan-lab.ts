/** The host side of the router lab in a plan tab. */
import * as vscode from 'vscode';
import { basename } from 'node:path';
import type { Endpoint } from '../protocol/host.ts';
import { plannerLab, workerLab } from '../protocol/lab.ts';
import type { PlanRequest } from '../protocol/planning.ts';
import type { Services } from './services.ts';
import { deviceSetting } from './settings.ts';

/** More of a text tells little more of a fresh router; what was taken of it is said. */
const LAB_TOKENS = 4096;

/** Runs the lab on the document as it is when the page asks. */
export function serveLabPage(endpoint: Endpoint, { worker, jobs }: Services, plan: () => PlanRequest): void {
  endpoint.handle(plannerLab, ({ file, text }, { signal, progress }) => {
    jobs.requireTrust();
    const name =
      file !== null
        ? basename(file)
        : text === null
          ? vscode.l10n.t('the built-in text')
          : vscode.l10n.t('the text that was typed');
    return worker.request(
      workerLab,
      { plan: plan(), texts: [{ name, file, text }], limit: LAB_TOKENS, device: deviceSetting() },
      { signal, onProgress: progress },
    );
  });
}

export async function pickLabText(): Promise<string | null> {
  const chosen = await vscode.window.showOpenDialog({
    title: vscode.l10n.t('Text for the Router Lab'),
    canSelectMany: false,
  });
  return chosen?.[0]?.fsPath ?? null;
}
