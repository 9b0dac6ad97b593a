/** Commands that run models: evaluation, expert traces, the results of both. */
import * as vscode from 'vscode';
import { basename, resolve } from 'node:path';
import type { TraceParams } from '../protocol/jobs.ts';
import { checkpointAt } from './commands-checkpoints.ts';
import { activeUri, uriOf } from './command-args.ts';
import type { CommandParts, CommandTable } from './commands.ts';
import { chooseCheckpoint } from './choose-checkpoint.ts';
import { nameOf } from './checkpoint-session.ts';
import { deviceSetting } from './settings.ts';

/** More text than this is traced in part: it says so before. */
const TRACE_TOKENS = 20_000;

export function evaluateCommands({ services, files, history, results, playgrounds }: CommandParts): CommandTable {
  /** What was clicked, else what is looked at, else what the user chooses. */
  const target = async (argument: unknown, title: string): Promise<string | null> => {
    const uri = uriOf(argument);
    if (uri !== null && !isText(uri)) return checkpointAt(uri);
    const active = services.sessions.active?.session.path;
    if (active !== undefined) return checkpointAt(vscode.Uri.file(active));
    return chooseCheckpoint(title, services, files);
  };

  return {
    evaluate: async (argument) => {
      services.jobs.requireTrust();
      const path = await target(argument, vscode.l10n.t('Evaluate Checkpoint'));
      if (path === null) return;
      const { evaluateWizard } = await import('./evaluate-wizard.ts');
      const asked = await evaluateWizard(services, path, deviceSetting());
      if (asked === null) return;
      const out = await history.begin(path, nameOf(path), asked.tasks.join(', '));
      await services.jobs.add({ ...asked, out });
      await results.show(out);
    },
    trace: async (argument) => {
      services.jobs.requireTrust();
      const texts = await chooseTexts(argument);
      if (texts === null) return;
      const path = await target(argument, vscode.l10n.t('Trace Experts'));
      if (path === null) return;
      const what = vscode.l10n.t('trace of {0}', texts.map(({ name }) => name).join(', '));
      const out = await history.begin(path, nameOf(path), what);
      await services.jobs.add({ kind: 'trace', path, texts, limit: TRACE_TOKENS, device: deviceSetting(), out });
      await results.show(out);
    },
    playground: async (argument) => {
      services.jobs.requireTrust();
      const path = await target(argument, vscode.l10n.t('Open Playground'));
      if (path !== null) playgrounds.show(path);
    },
    openResults: async (argument) => {
      const given = uriOf(argument)?.fsPath;
      const path = given ?? (await chooseResults());
      if (path !== undefined) await results.show(path);
    },
    removeEvaluation: async (argument) => {
      const file = fileOf(argument);
      if (file !== null) await history.remove(file);
    },
  };

  async function chooseResults(): Promise<string | undefined> {
    const past = await history.all();
    const choose = `$(folder-opened) ${vscode.l10n.t('Choose a File…')}`;
    const items: (vscode.QuickPickItem & { readonly file?: string })[] = [
      {
        label: choose,
        detail: vscode.l10n.t('results of lm-evaluation-harness (results_….json), or saved ones of MoE Workbench'),
      },
      ...past.map(({ name, checkpoint, file }) => ({ label: name, description: checkpoint, file })),
    ];
    const picked = await vscode.window.showQuickPick(items, {
      title: vscode.l10n.t('Open Evaluation Results'),
      matchOnDescription: true,
    });
    if (picked === undefined || picked.file !== undefined) return picked?.file;
    const chosen = await vscode.window.showOpenDialog({
      title: vscode.l10n.t('Open Evaluation Results'),
      canSelectMany: false,
      filters: { [vscode.l10n.t('Results')]: ['json'] },
    });
    return chosen?.[0]?.fsPath;
  }
}

function isText(uri: vscode.Uri): boolean {
  return /\.(?:txt|md|jsonl?|py|ts|js|rst|tex|html)$/i.test(uri.path) && basename(uri.path) !== 'config.json';
}

function fileOf(argument: unknown): string | null {
  if (typeof argument !== 'object' || argument === null || !('past' in argument))
    return uriOf(argument)?.fsPath ?? null;
  const { past } = argument;
  return typeof past === 'object' && past !== null && 'file' in past && typeof past.file === 'string'
    ? past.file
    : null;
}

/** The texts to run: the selection, the open file, files, or the built-in text. */
async function chooseTexts(argument: unknown): Promise<TraceParams['texts'] | null> {
  const uri = uriOf(argument);
  if (uri !== null && isText(uri)) return [{ name: basename(uri.fsPath), file: resolve(uri.fsPath), text: null }];
  const editor = vscode.window.activeTextEditor;
  const open = activeUri();
  type Item = vscode.QuickPickItem & { readonly take: () => Promise<TraceParams['texts'] | null> };
  const items: Item[] = [];
  if (editor !== undefined && !editor.selection.isEmpty) {
    const { document, selection } = editor;
    const name = vscode.l10n.t('selection in {0}', basename(document.uri.path));
    const text = document.getText(selection);
    items.push({
      label: `$(selection) ${vscode.l10n.t('Selection')}`,
      description: basename(document.uri.path),
      take: () => Promise.resolve([{ name, file: null, text }]),
    });
  }
  if (open !== null && isText(open))
    items.push({
      label: `$(file) ${basename(open.path)}`,
      description: vscode.l10n.t('the open file'),
      take: () => Promise.resolve([{ name: basename(open.fsPath), file: open.fsPath, text: null }]),
    });
  items.push(
    {
      label: `$(beaker) ${vscode.l10n.t('Built-in text')}`,
      description: vscode.l10n.t('prose, a question, code and other languages: a few hundred tokens'),
      take: builtInTexts,
    },
    {
      label: `$(files) ${vscode.l10n.t('Choose Files…')}`,
      description: vscode.l10n.t('each file is a domain of its own'),
      take: async () => {
        const chosen = await vscode.window.showOpenDialog({
          title: vscode.l10n.t('Texts to Trace'),
          canSelectMany: true,
        });
        if (chosen === undefined) return null;
        return chosen.map(({ fsPath }) => ({ name: basename(fsPath), file: fsPath, text: null }));
      },
    },
  );
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Trace Experts'),
    placeHolder: vscode.l10n.t('Text whose tokens are followed through the routers'),
  });
  return picked === undefined ? null : picked.take();
}

/** Parts of the text that logits are proven with, each a domain. */
async function builtInTexts(): Promise<TraceParams['texts']> {
  const { PROOF_TEXT } = await import('../verify/proof-text.ts');
  const parts = PROOF_TEXT.split(/\n{2,}/u);
  const at = (from: number, to: number): string => parts.slice(from, to).join('\n\n');
  const code = parts.findIndex((part) => part.startsWith('def '));
  const question = parts.findIndex((part) => part.startsWith('The following'));
  if (code < 0 || question < 0) return [{ name: 'built-in', file: null, text: PROOF_TEXT }];
  return [
    { name: 'prose', file: null, text: at(0, question) },
    { name: 'question', file: null, text: at(question, code) },
    { name: 'code', file: null, text: at(code, code + 1) },
    { name: 'languages', file: null, text: at(code + 1, parts.length) },
  ];
}
