/** package.json and the code say the same: commands, texts, settings, views, editors, protocol messages. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { COMMANDS, CONTEXT_KEYS, TASK_TYPE, VIEW_TYPES, VIEWS } from '../../src/extension/ids.ts';
import * as stub from './vscode-stub.ts';

vi.mock('vscode', () => import('./vscode-stub.ts'));

const root = join(import.meta.dirname, '../..');
const read = (name: string): string => readFileSync(join(root, name), 'utf8');

interface Manifest {
  readonly contributes: {
    readonly commands: readonly { readonly command: string; readonly category: string; readonly title: string }[];
    readonly menus: Readonly<Record<string, readonly { readonly command: string; readonly when?: string }[]>>;
    readonly views: Readonly<Record<string, readonly { readonly id: string; readonly type?: string }[]>>;
    readonly customEditors: readonly { readonly viewType: string; readonly priority: string }[];
    readonly configuration: readonly {
      readonly properties: Readonly<
        Record<string, { readonly default: unknown; readonly type: string; readonly scope?: string }>
      >;
    }[];
    readonly colors: readonly { readonly id: string; readonly defaults: Readonly<Record<string, string>> }[];
    readonly taskDefinitions: readonly { readonly type: string }[];
    readonly walkthroughs: readonly { readonly steps: readonly { readonly media: { readonly markdown: string } }[] }[];
  };
  readonly activationEvents: readonly string[];
  readonly capabilities: { readonly untrustedWorkspaces: { readonly restrictedConfigurations: readonly string[] } };
}
const manifest = JSON.parse(read('package.json')) as Manifest;
const { contributes } = manifest;
const nls = JSON.parse(read('package.nls.json')) as Record<string, string>;
const sources = readdirSync(join(root, 'src/extension')).map((name) => read(`src/extension/${name}`));
const allSource = sources.join('\n');

const storage = mkdtempSync(join(tmpdir(), 'moe-activate-'));
let deactivate: () => Promise<void> = () => Promise.resolve();

beforeAll(async () => {
  stub.reset();
  const main = await import('../../src/extension/main.ts');
  deactivate = main.deactivate;
  const memory = { get: () => undefined, update: () => Promise.resolve(), keys: () => [] };
  const context = {
    subscriptions: [],
    extensionUri: stub.Uri.file(root),
    globalStorageUri: stub.Uri.file(storage),
    globalState: memory,
    workspaceState: memory,
    extension: { id: 'moe-workbench.moe-workbench', packageJSON: { version: '0' } },
  };
  main.activate(context as unknown as Parameters<typeof main.activate>[0]);
});

afterAll(async () => {
  await deactivate();
  rmSync(storage, { recursive: true, force: true });
});

describe('commands', () => {
  const contributed = contributes.commands.map(({ command }) => command).sort();

  it('are contributed and registered, each once', () => {
    expect(contributed).toEqual(Object.values(COMMANDS).sort());
    expect([...stub.registered.commands.keys()].sort()).toEqual(contributed);
    expect(contributed.length).toBeGreaterThan(25);
  });

  it('each do something', async () => {
    const { checkpointCommands } = await import('../../src/extension/commands-checkpoints.ts');
    const { evaluateCommands } = await import('../../src/extension/commands-evaluate.ts');
    const { jobCommands } = await import('../../src/extension/commands-jobs.ts');
    const parts = { services: { jobs: {} } } as unknown as Parameters<typeof checkpointCommands>[0];
    const tables = [checkpointCommands(parts), evaluateCommands(parts), jobCommands(parts)];
    const done = tables.flatMap((table) => Object.keys(table)).sort();
    expect(done).toEqual(Object.keys(COMMANDS).sort());
  });

  it('stand under one category', () => {
    expect(new Set(contributes.commands.map(({ category }) => category))).toEqual(new Set(['%category%']));
  });

  it('in menus exist', () => {
    const used = Object.values(contributes.menus).flatMap((menu) => menu.map(({ command }) => command));
    expect(used.filter((command) => !contributed.includes(command))).toEqual([]);
    expect(used.length).toBeGreaterThan(30);
  });

  it('of links in texts exist', () => {
    const links = Object.values(nls).flatMap((text) =>
      [...text.matchAll(/\(command:(moe\.[\w.]+)\)/g)].map((m) => m[1]),
    );
    expect(links.length).toBeGreaterThan(5);
    expect(links.filter((command) => !contributed.includes(command ?? ''))).toEqual([]);
  });
});

describe('texts', () => {
  const used = [...read('package.json').matchAll(/"%([^%"]+)%"/g)].map((match) => match[1] ?? '');

  it('are all there, and none is left over', () => {
    expect([...new Set(used)].sort()).toEqual(Object.keys(nls).sort());
    expect(Object.entries(nls).filter(([, text]) => text.trim() === '')).toEqual([]);
  });

  it('titles and descriptions are texts with a key', () => {
    const plain = [
      ...read('package.json').matchAll(
        /"(?:title|description|markdownDescription|contents|displayName)": "(?!%)([^"]+)"/g,
      ),
    ];
    expect(plain.map((match) => match[0])).toEqual([]);
  });
});

describe('the template for translators', () => {
  const bundle = JSON.parse(read('l10n/bundle.l10n.json')) as Record<string, string>;
  const textsIn = (source: string, call: RegExp): string[] =>
    [...source.matchAll(call)].map((match) =>
      (match[1] ?? '').replaceAll(/\\(.)/g, (_, one: string) => (one === 'n' ? '\n' : one)),
    );
  it('has every text of the pages, those of tables too', () => {
    const pages = readdirSync(join(root, 'webview'), { recursive: true })
      .map(String)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(`webview/${name}`))
      .join('\n');
    const texts = textsIn(pages, /(?<![\w.])(?:t|key)\(\s*'((?:[^'\\\n]|\\.)*)'/g);
    expect(texts.length).toBeGreaterThan(300);
    expect(texts.filter((text) => bundle[text] !== text)).toEqual([]);
  });
  it('has every text of the host', () => {
    const texts = textsIn(allSource, /(?<!\w)t\(\s*'((?:[^'\\\n]|\\.)*)'/g);
    expect(texts.length).toBeGreaterThan(200);
    expect(texts.filter((text) => bundle[text] !== text)).toEqual([]);
    // Texts must be literals: what is put together cannot be translated.
    expect(allSource.match(/l10n\.t\(\s*[^'"\s]/g)).toBeNull();
  });
});

describe('settings', () => {
  it('are those that the code reads, with the same defaults', async () => {
    const { SETTINGS } = await import('../../src/extension/settings.ts');
    const properties = Object.assign({}, ...contributes.configuration.map((section) => section.properties)) as Record<
      string,
      { default: unknown; scope?: string }
    >;
    const defaults = Object.fromEntries(Object.entries(properties).map(([key, one]) => [key, one.default]));
    expect(defaults).toEqual(Object.fromEntries(Object.entries(SETTINGS).map(([key, value]) => [`moe.${key}`, value])));
    expect(Object.values(properties).filter(({ scope }) => scope === undefined)).toEqual([]);
    for (const key of Object.keys(SETTINGS)) expect(allSource, key).toContain(`setting('${key}')`);
    for (const key of manifest.capabilities.untrustedWorkspaces.restrictedConfigurations)
      expect(Object.keys(properties)).toContain(key);
  });
});

describe('views and editors', () => {
  it('are contributed and registered', () => {
    const views = Object.values(contributes.views).flat();
    expect(views.map(({ id }) => id).sort()).toEqual(Object.values(VIEWS).sort());
    for (const { id, type } of views)
      expect((type === 'webview' ? stub.registered.webviewViews : stub.registered.views).has(id), id).toBe(true);
    const editors = contributes.customEditors.map(({ viewType }) => viewType).sort();
    expect([...stub.registered.customEditors.keys()].sort()).toEqual(editors);
    const panels = [...stub.registered.serializers.keys()];
    expect([...editors, ...panels].sort()).toEqual(Object.values(VIEW_TYPES).sort());
    for (const panel of panels) expect(manifest.activationEvents).toContain(`onWebviewPanel:${panel}`);
    expect(contributes.taskDefinitions.map(({ type }) => type)).toEqual([TASK_TYPE]);
    expect([...stub.registered.taskTypes]).toEqual([TASK_TYPE]);
  });

  it('context keys in conditions are set by the code', () => {
    const keys = [...read('package.json').matchAll(/(?<![\w.'=/ ]|== )(?<=["!( ])moe\.[\w]+/g)].map(
      (match) => match[0],
    );
    const whens = [...read('package.json').matchAll(/"(?:when|enablement)": "([^"]*)"/g)].map(
      (match) => match[1] ?? '',
    );
    const named = new Set<string>();
    for (const when of whens)
      for (const part of when.split(/&&|\|\|/)) {
        const key = /^[\s(!]*(moe\.\w+)|\bin (moe\.\w+)/.exec(part);
        const name = key?.[1] ?? key?.[2];
        if (name !== undefined) named.add(name);
      }
    expect(keys).toBeDefined();
    expect([...named].sort()).toEqual(Object.values(CONTEXT_KEYS).sort());
  });

  it('walkthrough pages and pictures are there', () => {
    for (const { steps } of contributes.walkthroughs)
      for (const { media } of steps) expect(read(media.markdown)).toMatch(/^# /);
    for (const match of read('package.json').matchAll(/"media\/[\w./-]+\.(?:svg|png)"/g))
      expect(readFileSync(join(root, match[0].slice(1, -1))).length).toBeGreaterThan(100);
  });

  it('colours have a default for all four kinds of theme', () => {
    for (const { id, defaults } of contributes.colors) {
      expect(id).toMatch(/^moe\.[a-zA-Z]+$/);
      expect(Object.keys(defaults).sort()).toEqual(['dark', 'highContrast', 'highContrastLight', 'light']);
    }
  });
});

describe('protocol', () => {
  /** Definitions by name and which side serves them: requests and notes of a page are the host's. */
  const definitions = (file: string): { readonly name: string; readonly kind: string }[] =>
    [...read(`src/protocol/${file}.ts`).matchAll(/export const (\w+) = define(Request|Notification)\(/g)].map(
      (match) => ({
        name: match[1] ?? '',
        kind: match[2] ?? '',
      }),
    );
  const TO_PAGE = [
    'viewerChanged',
    'viewerReveal',
    'plannerChanged',
    'plannerJob',
    'plannerReveal',
    'compareChanged',
    'heatmapChanged',
    'resultsChanged',
    'playgroundChanged',
  ];

  it.each(['viewer', 'planner', 'compare', 'heatmap', 'results', 'playground'])(
    'every message of %s is handled or sent by the host',
    (page) => {
      const all = definitions(page);
      expect(all.length).toBeGreaterThan(4);
      const missing = all.filter(({ name, kind }) => {
        const serves =
          kind === 'Request' ? `.handle(${name},` : TO_PAGE.includes(name) ? `.notify(${name},` : `.on(${name},`;
        return !allSource.includes(serves);
      });
      expect(missing.map(({ name }) => name)).toEqual([]);
    },
  );

  it('every request of the worker is served there and asked for here', () => {
    const worker = readdirSync(join(root, 'src/worker'))
      .map((name) => read(`src/worker/${name}`))
      .join('\n');
    const all = [...definitions('worker'), ...definitions('worker-eval')].map(({ name }) => name);
    expect(all.length).toBeGreaterThan(20);
    expect(all.filter((name) => !worker.includes(`.handle(${name},`))).toEqual([]);
    expect(all.filter((name) => !new RegExp(`(?:request|ask)\\(\\s*${name},`).test(allSource))).toEqual([]);
  });
});
