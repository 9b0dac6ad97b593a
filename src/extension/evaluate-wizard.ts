/** *Evaluate Checkpoint…*: data, tasks, how much of them; then a job. */
import * as vscode from 'vscode';
import { basename } from 'node:path';
import type { EvalParams } from '../protocol/jobs.ts';
import { workerTasks } from '../protocol/worker-eval.ts';
import type { TaskOffer } from '../protocol/worker-eval.ts';
import { nameOf } from './checkpoint-session.ts';
import type { Services } from './services.ts';
import { setting } from './settings.ts';
import { pickStep } from './steps.ts';

const DATA_KEY = 'evalData';
const TASKS_KEY = 'evalTasks';
const LIMITS = [10, 100, 1000] as const;
const SHOTS = [1, 3, 5] as const;

/** Asks what to run; null: closed. */
export async function evaluateWizard(
  services: Services,
  path: string,
  device: EvalParams['device'],
): Promise<Omit<EvalParams, 'out'> | null> {
  const title = vscode.l10n.t('Evaluate {0}', nameOf(path));
  const chosen = await chooseTasks(services, title);
  if (chosen === null) return null;
  const { data, tasks } = chosen;
  const total = tasks.some(({ fewshot }) => fewshot) ? 3 : 2;
  const limit = await pickStep<number | null>(
    { title, step: 2, total },
    vscode.l10n.t('Documents of each task (or type a number, or a share like 0.1)'),
    [
      { label: vscode.l10n.t('All'), description: vscode.l10n.t('comparable with published scores'), value: null },
      ...LIMITS.map((value) => ({
        label: String(value),
        description: vscode.l10n.t('the first {0}: a quick look', value),
        value,
      })),
    ],
    {
      free: (text) => {
        const value = Number(text);
        return value > 0 && Number.isFinite(value) && (value < 1 || Number.isInteger(value))
          ? { label: text, value }
          : null;
      },
    },
  );
  if (limit === 'back') return evaluateWizard(services, path, device);
  if (limit === null) return null;
  let numFewshot: number | null = null;
  if (total === 3) {
    const shots = await pickStep<number | null>(
      { title, step: 3, total },
      vscode.l10n.t('Examples before each question (or type a number)'),
      [
        {
          label: vscode.l10n.t('None (0-shot)'),
          description: vscode.l10n.t('the tasks’ own number'),
          value: null,
        },
        ...SHOTS.map((value) => ({ label: vscode.l10n.t('{0}-shot', value), value })),
      ],
      { free: (text) => (/^\d{1,3}$/.test(text) ? { label: `${text}-shot`, value: Number(text) } : null) },
    );
    if (shots === 'back') return evaluateWizard(services, path, device);
    if (shots === null) return null;
    numFewshot = shots.value;
  }
  return {
    kind: 'eval',
    path,
    tasks: tasks.map(({ name }) => name),
    data,
    limit: limit.value,
    numFewshot,
    device,
    traces: true,
    resume: false,
  };
}

interface Chosen {
  readonly data: string | null;
  readonly tasks: readonly TaskOffer[];
}

/** The folder of data that holds: the setting's, else the one that was used last. */
function knownData(services: Services): string | null {
  const set = setting('eval.dataPath').trim();
  if (set !== '') return set;
  const last: unknown = services.context.globalState.get(DATA_KEY);
  return typeof last === 'string' && last !== '' ? last : null;
}

async function chooseTasks(services: Services, title: string): Promise<Chosen | null> {
  let data = knownData(services);
  for (;;) {
    const { tasks } = await offersOf(services, data);
    // Nothing anywhere: the only sensible question is where the data lies.
    if (!tasks.some(({ found }) => found)) {
      const next = await chooseData(title, data);
      if (next === null) return null;
      data = next;
      await services.context.globalState.update(DATA_KEY, data);
      const again = await offersOf(services, data);
      if (!again.tasks.some(({ found }) => found)) {
        const retry = vscode.l10n.t('Choose Again');
        const answer = await vscode.window.showWarningMessage(
          vscode.l10n.t('No data of any task was found in {0}', data),
          {
            modal: true,
            detail: vscode.l10n.t(
              'Files are found by their names, for example hellaswag_validation.jsonl, mmlu/test.jsonl or piqa_validation.parquet.',
            ),
          },
          retry,
        );
        if (answer !== retry) return null;
        data = null;
      }
      continue;
    }
    const picked = await pickTasks(services, title, data, tasks);
    if (picked === null) return null;
    if (picked !== 'data') {
      await services.context.workspaceState.update(
        TASKS_KEY,
        picked.map(({ name }) => name),
      );
      return { data, tasks: picked };
    }
    const next = await chooseData(title, data);
    if (next !== null) {
      data = next;
      await services.context.globalState.update(DATA_KEY, data);
    }
  }
}

/** A remembered folder may be gone: then the Hub's cache is all there is. */
async function offersOf(services: Services, data: string | null): Promise<{ readonly tasks: readonly TaskOffer[] }> {
  try {
    return await services.worker.request(workerTasks, { data });
  } catch (error) {
    if (data === null) throw error;
    services.log.warn(`Data of evaluations: ${error instanceof Error ? error.message : String(error)}`);
    return services.worker.request(workerTasks, { data: null });
  }
}

async function chooseData(title: string, now: string | null): Promise<string | null> {
  const folder = vscode.l10n.t('Choose a Folder…');
  const file = vscode.l10n.t('Choose a File…');
  const kind = await vscode.window.showQuickPick(
    [
      { label: `$(folder-opened) ${folder}`, detail: vscode.l10n.t('holds the data of several tasks'), files: false },
      {
        label: `$(file) ${file}`,
        detail: vscode.l10n.t('the data of one task: jsonl, json, parquet or txt'),
        files: true,
      },
    ],
    {
      title,
      placeHolder:
        now === null
          ? vscode.l10n.t('Where does the data of the tasks lie? Nothing is downloaded.')
          : vscode.l10n.t('Data now: {0}', now),
    },
  );
  if (kind === undefined) return null;
  const chosen = await vscode.window.showOpenDialog({
    title: vscode.l10n.t('Data of Evaluations'),
    canSelectFiles: kind.files,
    canSelectFolders: !kind.files,
    openLabel: vscode.l10n.t('Choose'),
    ...(kind.files ? { filters: { [vscode.l10n.t('Data')]: ['jsonl', 'json', 'parquet', 'txt'] } } : {}),
    ...(now === null ? {} : { defaultUri: vscode.Uri.file(now) }),
  });
  return chosen?.[0]?.fsPath ?? null;
}

interface TaskItem extends vscode.QuickPickItem {
  readonly offer?: TaskOffer;
}

/** Several of the tasks; those without data are listed with what they need, and cannot be chosen. */
function pickTasks(
  services: Services,
  title: string,
  data: string | null,
  offers: readonly TaskOffer[],
): Promise<readonly TaskOffer[] | 'data' | null> {
  const before: unknown = services.context.workspaceState.get(TASKS_KEY);
  const wanted = new Set(Array.isArray(before) ? before : []);
  const item = (offer: TaskOffer): TaskItem => ({
    label: offer.name,
    description: offer.found ? offer.help : vscode.l10n.t('no data: {0}', offer.about),
    ...(offer.found ? { detail: basename(offer.about) } : {}),
    offer,
  });
  const found = offers.filter((offer) => offer.found).map(item);
  const missing = offers.filter((offer) => !offer.found).map(item);
  return new Promise((resolve) => {
    const pick = vscode.window.createQuickPick<TaskItem>();
    pick.title = title;
    pick.step = 1;
    pick.totalSteps = 3;
    pick.canSelectMany = true;
    pick.matchOnDescription = true;
    pick.ignoreFocusOut = true;
    pick.placeholder = vscode.l10n.t('Tasks. Data: {0}', data ?? vscode.l10n.t('the Hugging Face hub’s cache'));
    pick.buttons = [
      { iconPath: new vscode.ThemeIcon('folder-opened'), tooltip: vscode.l10n.t('Data from Another Folder…') },
    ];
    const separator = (label: string): TaskItem => ({ label, kind: vscode.QuickPickItemKind.Separator });
    pick.items = [
      separator(vscode.l10n.t('Data found')),
      ...found,
      ...(missing.length === 0 ? [] : [separator(vscode.l10n.t('Without data: cannot be chosen')), ...missing]),
    ];
    pick.selectedItems = found.filter(({ offer }) => wanted.has(offer?.name));
    let answer: readonly TaskOffer[] | 'data' | null = null;
    pick.onDidChangeSelection((items) => {
      const fit = items.filter(({ offer }) => offer?.found === true);
      if (fit.length < items.length) pick.selectedItems = fit;
    });
    pick.onDidTriggerButton(() => {
      answer = 'data';
      pick.hide();
    });
    pick.onDidAccept(() => {
      const tasks = pick.selectedItems.flatMap(({ offer }) => (offer?.found === true ? [offer] : []));
      if (tasks.length === 0) return;
      answer = tasks;
      pick.hide();
    });
    pick.onDidHide(() => {
      pick.dispose();
      resolve(answer);
    });
    pick.show();
  });
}
