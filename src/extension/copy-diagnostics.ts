/** *Copy Diagnostics*: what a bug report needs, and nothing that names people or places unasked. */
import * as vscode from 'vscode';
import { homedir, release } from 'node:os';
import { workerFacts } from '../protocol/worker.ts';
import { toWireError } from '../protocol/errors.ts';
import type { Services } from './services.ts';
import { SETTINGS, setting } from './settings.ts';
import type { TextDocuments } from './text-documents.ts';

export async function copyDiagnostics(services: Services, path: string | null, texts: TextDocuments): Promise<void> {
  const text = await diagnosticsText(services, path);
  await vscode.env.clipboard.writeText(text);
  const show = vscode.l10n.t('Show');
  const chosen = await vscode.window.showInformationMessage(vscode.l10n.t('Diagnostics are on the clipboard.'), show);
  if (chosen === show) await texts.showText('Diagnostics.json', text);
}

async function diagnosticsText(services: Services, path: string | null): Promise<string> {
  const { context, sessions, worker, jobs } = services;
  const session = (path === null ? null : sessions.get(path)) ?? sessions.active?.session ?? null;
  const manifest: unknown = context.extension.packageJSON;
  const version = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? manifest.version : '';
  const facts = await worker
    .request(workerFacts, {}, { timeoutMs: 5000 })
    .catch((error: unknown) => toWireError(error));
  const changed = Object.keys(SETTINGS).filter((key) => {
    const name = key as keyof typeof SETTINGS;
    return setting(name) !== SETTINGS[name];
  });
  const report = {
    extension: version,
    editor: `${vscode.env.appName} ${vscode.version}`,
    remote: vscode.env.remoteName ?? null,
    system: `${process.platform} ${process.arch} ${release()}`,
    node: process.version,
    memory: process.memoryUsage(),
    trusted: vscode.workspace.isTrusted,
    changedSettings: changed,
    worker: facts,
    jobs: jobs
      .list()
      .slice(0, 10)
      .map(({ id, kind, status, progress, error, outcome }) => ({ id, kind, status, progress, error, outcome })),
    checkpoint:
      session === null
        ? null
        : {
            path: session.path,
            status: session.status,
            openedSeconds: session.seconds,
            error: session.error,
            overview:
              session.overview === null
                ? null
                : { ...session.overview, config: null, metadata: [], files: session.overview.files.slice(0, 20) },
          },
  };
  return JSON.stringify(report, null, 2).replaceAll(JSON.stringify(homedir()).slice(1, -1), '~');
}
