/**
 * A small stand-in for the `vscode` module: what activation registers is recorded, nothing is shown. It fits what the
 * extension uses and no more; the real editor is tested end to end.
 */
type Listener = (value: unknown) => unknown;

class StubDisposable {
  constructor(private readonly call: () => unknown = () => undefined) {}
  static from(...all: { dispose(): unknown }[]): StubDisposable {
    return new StubDisposable(() => {
      for (const one of all) one.dispose();
    });
  }
  dispose(): unknown {
    return this.call();
  }
}

class StubEmitter {
  private readonly listeners = new Set<Listener>();
  readonly event = (listener: Listener): StubDisposable => {
    this.listeners.add(listener);
    return new StubDisposable(() => this.listeners.delete(listener));
  };
  fire(value: unknown): void {
    for (const listener of this.listeners) listener(value);
  }
  dispose(): void {
    this.listeners.clear();
  }
}

class StubUri {
  constructor(
    readonly scheme: string,
    readonly authority: string,
    readonly path: string,
    readonly query: string,
  ) {}
  static file(path: string): StubUri {
    return new StubUri('file', '', path, '');
  }
  static from({ scheme = 'file', authority = '', path = '', query = '' }: Record<string, string>): StubUri {
    return new StubUri(scheme, authority, path, query);
  }
  static joinPath(base: StubUri, ...parts: string[]): StubUri {
    const stack: string[] = [];
    for (const part of [base.path, ...parts].join('/').split('/'))
      if (part === '..') stack.pop();
      else if (part !== '' && part !== '.') stack.push(part);
    return new StubUri(base.scheme, base.authority, `/${stack.join('/')}`, base.query);
  }
  get fsPath(): string {
    return this.path;
  }
  toString(): string {
    return `${this.scheme}://${this.authority}${this.path}${this.query === '' ? '' : `?${this.query}`}`;
  }
}

class Plain {
  readonly args: readonly unknown[];
  constructor(...args: unknown[]) {
    this.args = args;
  }
}

export class StubPosition {
  constructor(
    readonly line: number,
    readonly character: number,
  ) {}
  translate(lines: number, characters: number): StubPosition {
    return new StubPosition(this.line + lines, this.character + characters);
  }
}
export class StubRange {
  readonly start: StubPosition;
  readonly end: StubPosition;
  constructor(a: number | StubPosition, b: number | StubPosition, c?: number, d?: number) {
    this.start = typeof a === 'number' ? new StubPosition(a, Number(b)) : a;
    this.end = typeof b === 'number' ? new StubPosition(c ?? 0, d ?? 0) : b;
  }
}

/** What was registered since the last `reset`. */
export const registered = {
  commands: new Map<string, Listener>(),
  customEditors: new Map<string, unknown>(),
  serializers: new Map<string, unknown>(),
  views: new Map<string, unknown>(),
  webviewViews: new Map<string, unknown>(),
  taskTypes: new Set<string>(),
  context: new Map<string, unknown>(),
  executed: [] as { readonly command: string; readonly args: readonly unknown[] }[],
  messages: [] as string[],
};

const settings = new Map<string, unknown>();
export function setSetting(key: string, value: unknown): void {
  settings.set(key, value);
}
export const settingsRead = new Set<string>();

export function reset(): void {
  for (const list of Object.values(registered)) {
    if (Array.isArray(list)) list.length = 0;
    else list.clear();
  }
  settings.clear();
  settingsRead.clear();
  workspace.isTrusted = true;
}

const nothing = (): StubDisposable => new StubDisposable();
const event = (): StubDisposable => new StubDisposable();
const message = (text: string): Promise<undefined> => {
  registered.messages.push(text);
  return Promise.resolve(undefined);
};
const log = { info: nothing, warn: nothing, error: nothing, debug: nothing, show: nothing, dispose: nothing };
const statusItem = (): object => ({ show: nothing, hide: nothing, dispose: nothing });

export const window = {
  createOutputChannel: () => log,
  createStatusBarItem: statusItem,
  createTreeView: (id: string, options: unknown) => {
    registered.views.set(id, options);
    return { dispose: nothing, description: '', message: '' };
  },
  registerTreeDataProvider: (id: string, provider: unknown) => {
    registered.views.set(id, provider);
    return nothing();
  },
  registerWebviewViewProvider: (id: string, provider: unknown) => {
    registered.webviewViews.set(id, provider);
    return nothing();
  },
  registerCustomEditorProvider: (id: string, provider: unknown) => {
    registered.customEditors.set(id, provider);
    return nothing();
  },
  registerWebviewPanelSerializer: (id: string, serializer: unknown) => {
    registered.serializers.set(id, serializer);
    return nothing();
  },
  registerFileDecorationProvider: nothing,
  registerUriHandler: nothing,
  showErrorMessage: message,
  showWarningMessage: message,
  showInformationMessage: message,
  setStatusBarMessage: nothing,
  withProgress: (_options: unknown, task: () => unknown) => task(),
  tabGroups: { onDidChangeTabs: event, activeTabGroup: { activeTab: undefined } },
};

export const workspace = {
  isTrusted: true,
  workspaceFolders: undefined,
  textDocuments: [],
  getConfiguration: (section: string) => ({
    get: (key: string) => {
      settingsRead.add(`${section}.${key}`);
      return settings.get(`${section}.${key}`);
    },
  }),
  getWorkspaceFolder: () => undefined,
  asRelativePath: (uri: StubUri) => uri.path,
  findFiles: () => Promise.resolve([]),
  createFileSystemWatcher: () => ({ onDidCreate: event, onDidDelete: event, onDidChange: event, dispose: nothing }),
  registerTextDocumentContentProvider: nothing,
  onDidChangeConfiguration: event,
  onDidChangeWorkspaceFolders: event,
  onDidGrantWorkspaceTrust: event,
  onDidOpenTextDocument: event,
  onDidChangeTextDocument: event,
  onDidCloseTextDocument: event,
  onDidSaveTextDocument: event,
};

export const commands = {
  registerCommand: (id: string, run: Listener) => {
    if (registered.commands.has(id)) throw new Error(`command '${id}' already exists`);
    registered.commands.set(id, run);
    return nothing();
  },
  executeCommand: (command: string, ...args: unknown[]) => {
    if (command === 'setContext') registered.context.set(String(args[0]), args[1]);
    else registered.executed.push({ command, args });
    return Promise.resolve(undefined);
  },
};

export const languages = {
  createDiagnosticCollection: () => ({ set: nothing, delete: nothing, dispose: nothing }),
  registerCodeLensProvider: nothing,
  registerCompletionItemProvider: nothing,
  registerHoverProvider: nothing,
  registerCodeActionsProvider: nothing,
  match: () => 0,
};

export const tasks = {
  registerTaskProvider: (type: string) => {
    registered.taskTypes.add(type);
    return nothing();
  },
};

export const env = {
  language: 'en',
  uriScheme: 'vscode',
  appName: 'stub',
  remoteName: undefined,
  clipboard: { writeText: () => Promise.resolve() },
};
export const l10n = {
  bundle: undefined,
  t: (text: string, ...values: unknown[]) => text.replaceAll(/\{(\d+)\}/g, (_, i: string) => String(values[Number(i)])),
};
export const version = '1.100.0';

export const Disposable = StubDisposable;
export const EventEmitter = StubEmitter;
export const Uri = StubUri;
export const Position = StubPosition;
export const Range = StubRange;
export class TreeItem {
  id = '';
  description: unknown = '';
  constructor(
    readonly label: unknown,
    readonly collapsibleState: number = 0,
  ) {}
}
export class ThemeIcon extends Plain {}
export class ThemeColor extends Plain {}
export class MarkdownString extends Plain {}
export class FileDecoration extends Plain {}
export class CodeLens extends Plain {}
export class CompletionItem extends Plain {}
export class Hover extends Plain {}
export class CodeAction extends Plain {}
export class WorkspaceEdit extends Plain {}
export class Task extends Plain {}
export class CustomExecution extends Plain {}
export class TabInputCustom extends Plain {}
export class TabInputWebview extends Plain {}
export class TabInputText extends Plain {}
export class Diagnostic {
  source = '';
  code: unknown = '';
  constructor(
    readonly range: StubRange,
    readonly message: string,
    readonly severity: number,
  ) {}
}
export const TreeItemCollapsibleState = { None: 0, Collapsed: 1, Expanded: 2 };
export const StatusBarAlignment = { Left: 1, Right: 2 };
export const DiagnosticSeverity = { Error: 0, Warning: 1, Information: 2, Hint: 3 };
export const CodeActionKind = { QuickFix: { value: 'quickfix' } };
export const CompletionItemKind = { Property: 9, EnumMember: 19 };
export const QuickPickItemKind = { Separator: -1, Default: 0 };
export const QuickInputButtons = { Back: {} };
export const ViewColumn = { Active: -1, Beside: -2 };
export const ProgressLocation = { Window: 10, Notification: 15 };
export const TaskScope = { Global: 1, Workspace: 2 };
export const TaskRevealKind = { Always: 1 };
export const TaskPanelKind = { Dedicated: 2 };
