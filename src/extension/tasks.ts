/** Jobs as VS Code tasks: type `moe`, for tasks.json and *Run Task*. */
import * as vscode from 'vscode';
import { basename, isAbsolute, resolve } from 'node:path';
import { readFile } from 'node:fs/promises';
import { MoeError, messageOf } from '../common/errors.ts';
import type { JobParams } from '../protocol/jobs.ts';
import { TASK_TYPE } from './ids.ts';
import { phaseText, shareDone, statusText } from './job-words.ts';
import { defaultOutput } from './default-output.ts';
import type { Services } from './services.ts';
import { deviceSetting, proveSetting, setting } from './settings.ts';
import { t } from './words.ts';
import { findRecipes } from './workspace-files.ts';

/** As package.json defines it. */
interface MoeTask extends vscode.TaskDefinition {
  readonly action?: unknown;
  readonly recipe?: unknown;
  readonly path?: unknown;
  readonly out?: unknown;
  readonly overwrite?: unknown;
  readonly sources?: unknown;
  readonly logits?: unknown;
}

export function registerTasks(services: Services): vscode.Disposable {
  return vscode.tasks.registerTaskProvider(TASK_TYPE, {
    provideTasks: async () => {
      const recipes = await findRecipes();
      return recipes.map((uri) => {
        const folder = vscode.workspace.getWorkspaceFolder(uri);
        const recipe = vscode.workspace.asRelativePath(uri, false);
        return taskOf({ type: TASK_TYPE, action: 'upcycle', recipe }, folder ?? vscode.TaskScope.Workspace, services);
      });
    },
    // From tasks.json: the same definition, with something to run.
    resolveTask: (task) => taskOf(task.definition, task.scope ?? vscode.TaskScope.Workspace, services),
  });
}

function taskOf(
  definition: MoeTask,
  scope: vscode.WorkspaceFolder | vscode.TaskScope,
  services: Services,
): vscode.Task {
  const folder = typeof scope === 'object' ? scope.uri.fsPath : vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  const what = text(definition.recipe) ?? text(definition.path) ?? '';
  const name = `${text(definition.action) ?? 'upcycle'} ${basename(what)}`;
  const execution = new vscode.CustomExecution(() =>
    Promise.resolve(new JobTerminal(services, () => paramsOf(definition, folder ?? null))),
  );
  const target = scope === vscode.TaskScope.Global ? vscode.TaskScope.Workspace : scope;
  // No problem matchers, and said so: else VS Code asks for one at every run.
  const task = new vscode.Task(definition, target, name, 'moe', execution, []);
  task.presentationOptions = { reveal: vscode.TaskRevealKind.Always, panel: vscode.TaskPanelKind.Dedicated };
  return task;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

/** The job of a task's definition. Throws MoeError `usage` where something is missing. */
export async function paramsOf(definition: MoeTask, folder: string | null): Promise<JobParams> {
  const absolute = (value: unknown, what: string): string => {
    const path = text(value);
    if (path === null) throw new MoeError('usage', 'task-field-missing', `The task has no "${what}"`, { field: what });
    if (isAbsolute(path)) return path;
    if (folder === null)
      throw new MoeError('usage', 'task-relative-path', `"${what}" is relative, but no folder is open`, {
        field: what,
      });
    return resolve(folder, path);
  };
  const action = text(definition.action) ?? 'upcycle';
  switch (action) {
    case 'upcycle': {
      const file = absolute(definition.recipe, 'recipe');
      const out = definition.out === undefined ? defaultOutput(file) : absolute(definition.out, 'out');
      const from = {
        type: 'recipe' as const,
        file,
        text: await readFile(file, 'utf8'),
        preset: null,
        sets: [],
        src: null,
      };
      return {
        kind: 'upcycle',
        from,
        out,
        planHash: null,
        overwrite: definition.overwrite === true,
        resume: false,
        clone: true,
        verify: setting('upcycle.verify'),
        logits: proveSetting(),
        device: deviceSetting(),
        keepPartial: setting('upcycle.keepPartial'),
      };
    }
    case 'verify': {
      const sources = Array.isArray(definition.sources) ? definition.sources : [];
      const logits = definition.logits === true;
      if (logits && sources.length === 0)
        throw new MoeError(
          'usage',
          'task-field-missing',
          'The task asks for logits, but names no source to compare with',
          {
            field: 'sources',
            hint: 'Name the dense checkpoint under "sources", or leave "logits" out.',
          },
        );
      return {
        kind: 'verify',
        out: absolute(definition.path, 'path'),
        sources: sources.map((source: unknown) => absolute(source, 'sources')),
        ...(logits ? { logits, device: deviceSetting() } : {}),
      };
    }
    case 'examine':
      return { kind: 'doctor', path: absolute(definition.path, 'path'), rebuildIndex: false };
    default:
      throw new MoeError('usage', 'task-action', `"${action}" is no action: upcycle, verify or examine`, {
        field: 'action',
      });
  }
}

/** Shows a job's log and progress; closing it cancels the job. */
class JobTerminal implements vscode.Pseudoterminal {
  private readonly write = new vscode.EventEmitter<string>();
  private readonly end = new vscode.EventEmitter<number>();
  readonly onDidWrite = this.write.event;
  readonly onDidClose = this.end.event;
  private id: string | null = null;
  private closed = false;
  private last = '';

  constructor(
    private readonly services: Services,
    private readonly params: () => Promise<JobParams>,
  ) {}

  open(): void {
    void this.run();
  }

  close(): void {
    this.closed = true;
    if (this.id !== null) void this.services.jobs.cancel(this.id).catch(() => undefined);
  }

  private line(words: string, colour = ''): void {
    this.write.fire(`${colour}${words.replaceAll('\n', '\r\n')}${colour === '' ? '' : '\x1b[0m'}\r\n`);
  }

  private async run(): Promise<void> {
    const { jobs } = this.services;
    const listening: { dispose(): void }[] = [];
    try {
      const job = await jobs.add(await this.params());
      this.id = job.id;
      if (this.closed) await jobs.cancel(job.id);
      this.line(job.title);
      listening.push(
        jobs.onLog(({ id, line }) => {
          if (id === job.id)
            this.line(line.message, line.level === 'error' ? '\x1b[31m' : line.level === 'warning' ? '\x1b[33m' : '');
        }),
        jobs.onDidChange(() => {
          this.progress(job.id);
        }),
      );
      const done = await jobs.ended(job.id);
      const good = done.status === 'done';
      if (done.error !== null) this.line(done.error.message, '\x1b[31m');
      const result = await jobs.result(job.id);
      this.line(result?.text ?? statusText(done), good ? '\x1b[32m' : '');
      this.end.fire(good ? 0 : done.status === 'cancelled' ? 130 : 1);
    } catch (error) {
      this.line(messageOf(error), '\x1b[31m');
      this.end.fire(1);
    } finally {
      for (const one of listening) one.dispose();
    }
  }

  /** A line for every tenth part. */
  private progress(id: string): void {
    const progress = this.services.jobs.get(id)?.progress ?? null;
    const share = shareDone(progress);
    if (progress === null || share === null) return;
    const step = t('{0} {1} %', phaseText(progress.phase), String(Math.floor(share * 10) * 10));
    if (step === this.last) return;
    this.last = step;
    this.line(step);
  }
}
