// code-server: its command line, its environment and its life, for the tests and for `npm run workbench`.
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** User settings: the same quiet workbench each time, and nothing that asks the network. */
export const SETTINGS = {
  'workbench.startupEditor': 'none',
  'telemetry.telemetryLevel': 'off',
  'update.mode': 'none',
  'git.enabled': false,
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'chat.disableAIFeatures': true,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.editor.useModal': 'off',
  'workbench.enableExperiments': false,
  'workbench.reduceMotion': 'on',
};

export function codeServerArguments(tools, { config, user, extensions }) {
  // Without --config it would write one into the home folder.
  return [tools.codeServer, '--config', config, '--user-data-dir', user, '--extensions-dir', extensions];
}

/** Nothing leaks into or from the home folder of whoever runs this, and no extension gallery is asked. */
export function codeServerEnvironment(home) {
  const env = {
    ...process.env,
    HOME: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_DATA_HOME: join(home, '.local/share'),
    XDG_CACHE_HOME: join(home, '.cache'),
    HF_HOME: join(home, '.cache/huggingface'),
    EXTENSIONS_GALLERY: '{"serviceUrl":"","itemUrl":"","resourceUrlTemplate":""}',
  };
  // Set inside a VS Code terminal: the command line would talk to that window.
  delete env.VSCODE_IPC_HOOK_CLI;
  return env;
}

/**
 * Starts a server on a loopback port with a profile of its own in `folder` (user/, home/). `trust`: whether workspace trust is
 * asked for. Resolves with its address, process id, log so far and `stop`.
 */
export async function startServer(
  tools,
  { folder, extensions, settings = {}, trust = false, port = 0, timeout = 60_000 },
) {
  const places = {
    user: join(folder, 'user'),
    home: join(folder, 'home'),
    config: join(folder, 'config.yaml'),
    extensions,
  };
  mkdirSync(join(places.user, 'User'), { recursive: true });
  mkdirSync(places.home, { recursive: true });
  writeFileSync(places.config, 'auth: none\ncert: false\n');
  writeFileSync(
    join(places.user, 'User/settings.json'),
    JSON.stringify({ ...SETTINGS, 'security.workspace.trust.enabled': trust, ...settings }, null, 2),
  );
  const args = [
    ...codeServerArguments(tools, places),
    '--bind-addr',
    `127.0.0.1:${port}`,
    '--auth',
    'none',
    '--disable-telemetry',
    '--disable-update-check',
    '--disable-getting-started-override',
    ...(trust ? [] : ['--disable-workspace-trust']),
  ];
  const child = spawn(tools.node, args, { env: codeServerEnvironment(places.home), stdio: ['ignore', 'pipe', 'pipe'] });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (log += String(data)));
  const stop = async () => {
    child.kill('SIGTERM');
    await Promise.race([gone, sleep(8000, null, { ref: false })]);
    child.kill('SIGKILL');
    await gone;
    process.off('exit', kill);
  };
  const end = Date.now() + timeout;
  for (;;) {
    const listening = /HTTP server listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(log);
    if (listening !== null) return { url: listening[1], pid: child.pid, user: places.user, stop, gone, log: () => log };
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`code-server ended: ${log}`);
    if (Date.now() > end) {
      await stop();
      throw new Error(`code-server does not listen after ${timeout} ms: ${log}`);
    }
    await sleep(50);
  }
}
