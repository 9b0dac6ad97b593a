// What the scripts share: the repository's root, running a command, installing when needed.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Runs a command in the root with its output shown; resolves with its exit status. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command === 'node' ? process.execPath : command, args, {
      cwd: root,
      stdio: 'inherit',
      ...options,
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve(code ?? (signal === 'SIGINT' ? 130 : 1));
    });
  });
}

/**
 * Installs dependencies unless node_modules already holds every package of package-lock.json in its version (npm's own record
 * of what it installed says so). No install script runs (.npmrc), so nothing but the npm registry is asked. Exits the process on
 * failure.
 */
export function installIfNeeded() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  console.log(
    `Installing dependencies (npm ci): ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ' …' : ''} missing`,
  );
  // On Windows npm is a .cmd file, which needs the shell; nothing here comes from a user.
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (npm.status !== 0) {
    console.error('npm ci failed; the log above says why. Only the npm registry is needed.');
    process.exit(npm.status ?? 1);
  }
}

/** Packages of the lock that are not installed in its version; those of other platforms are optional and do not count. */
function missingPackages() {
  const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  const record = 'node_modules/.package-lock.json';
  const installed = existsSync(join(root, record)) ? read(record) : {};
  return Object.entries(read('package-lock.json'))
    .filter(([path, { optional, link }]) => path.startsWith('node_modules/') && optional !== true && link !== true)
    .filter(
      ([path, { version }]) => installed[path]?.version !== version || !existsSync(join(root, path, 'package.json')),
    )
    .map(([path]) => path.slice('node_modules/'.length));
}
