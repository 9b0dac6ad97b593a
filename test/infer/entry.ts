/** The model process for tests: bundled as the build bundles it, below the repository so that the native runtime is found. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Bundles src/infer/main.ts once per test file; returns the program. */
export async function bundleInfer(): Promise<string> {
  const folder = join(root, 'node_modules', '.cache', 'moe-tests', `infer-${String(process.pid)}`);
  mkdirSync(folder, { recursive: true });
  process.on('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  const outfile = join(folder, 'infer.js');
  await build({
    absWorkingDir: root,
    entryPoints: ['src/infer/main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['onnxruntime-node'],
    mainFields: ['module', 'main'],
    alias: { 'safetensors-js': join(root, 'packages/safetensors-js/src/index.ts') },
    define: { 'import.meta.url': '__bundleUrl' },
    banner: { js: "'use strict';\nconst __bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
    logLevel: 'warning',
  });
  return outfile;
}
