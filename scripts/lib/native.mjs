// ONNX Runtime beside the bundles: the files of one platform, where dist/infer.js finds them (dist/node_modules).
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './run.mjs';

/** VS Code's targets that ONNX Runtime is published for; the others get everything but the running of models. */
const FOLDERS = {
  'linux-x64': 'linux/x64',
  'linux-arm64': 'linux/arm64',
  'darwin-arm64': 'darwin/arm64',
  'win32-x64': 'win32/x64',
  'win32-arm64': 'win32/arm64',
};
export const TARGETS = [...Object.keys(FOLDERS), 'darwin-x64', 'linux-armhf', 'alpine-x64', 'alpine-arm64'];
/** The same library under the name with its full version, which nothing links. */
const DUPLICATES = /^libonnxruntime\.\d+\.\d+\.\d+\.dylib$/;

/** Copies the runtime of `target` into dist/node_modules. False: there is none for it. */
export function stageRuntime(target) {
  unstageRuntime();
  const binaries = FOLDERS[target];
  if (binaries === undefined) return false;
  const bin = `bin/napi-v6/${binaries}`;
  copy('onnxruntime-node', ['package.json']);
  copy('onnxruntime-node', files('onnxruntime-node', 'dist', /\.js$/));
  copy(
    'onnxruntime-node',
    files('onnxruntime-node', bin, /./).filter((path) => !DUPLICATES.test(path.slice(path.lastIndexOf('/') + 1))),
  );
  copy('onnxruntime-common', ['package.json']);
  copy('onnxruntime-common', files('onnxruntime-common', 'dist/cjs', /(\.js|package\.json)$/));
  return true;
}

export function unstageRuntime() {
  rmSync(join(root, 'dist/node_modules'), { recursive: true, force: true });
}

function files(name, folder, wanted) {
  return readdirSync(join(root, 'node_modules', name, folder))
    .filter((entry) => wanted.test(entry))
    .map((entry) => `${folder}/${entry}`);
}

function copy(name, paths) {
  for (const path of paths) {
    const from = join(root, 'node_modules', name, path);
    if (!existsSync(from)) throw new Error(`${name} has no ${path}: run npm ci`);
    const to = join(root, 'dist/node_modules', name, path);
    mkdirSync(join(to, '..'), { recursive: true });
    copyFileSync(from, to);
  }
}
