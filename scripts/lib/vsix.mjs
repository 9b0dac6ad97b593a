// Packs the extension by vsce: what .vscodeignore lists, and the native runtime of one platform.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { stageRuntime, unstageRuntime } from './native.mjs';
import { root } from './run.mjs';

/** What the end-to-end tests run on. */
export const target = 'linux-x64';

/** Builds (minified) and packs into `folder`; the path of the VSIX. A failure here is the product's and throws. */
export function buildAndPack(folder, { build = true, target: platform = target } = {}) {
  if (build) node('the build', ['scripts/build.mjs', '--minify', '--no-packages']);
  mkdirSync(folder, { recursive: true });
  const vsix = join(folder, `moe-workbench-${platform}.vsix`);
  rmSync(vsix, { force: true });
  if (!stageRuntime(platform)) console.log(`${platform}: there is no ONNX Runtime for it; everything else is packed`);
  try {
    node('vsce package', [
      'node_modules/@vscode/vsce/vsce',
      'package',
      '--no-dependencies',
      '--target',
      platform,
      '--out',
      vsix,
      '--allow-missing-repository',
      '--no-rewrite-relative-links',
    ]);
  } finally {
    // Another platform's library must not be what this checkout runs.
    unstageRuntime();
  }
  return vsix;
}

function node(what, args) {
  const done = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', timeout: 300_000, maxBuffer: 1 << 26 });
  if (done.status !== 0) throw new Error(`${what} failed (exit ${done.status})\n${done.stdout}${done.stderr}`);
  return done.stdout;
}
