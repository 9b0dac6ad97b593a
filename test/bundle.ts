/** Programs for tests, bundled as scripts/build.mjs bundles them. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { BuildOptions } from 'esbuild';

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/[\\/]$/, '');

/** Bundles `from` (an entry below the repository's root, or TypeScript text with imports relative to it) into `outfile`. */
export async function bundleInto(outfile: string, from: string | { readonly contents: string }): Promise<void> {
  const source: BuildOptions =
    typeof from === 'string'
      ? { entryPoints: [from] }
      : { stdin: { contents: from.contents, resolveDir: root, loader: 'ts' } };
  await build({
    ...source,
    absWorkingDir: root,
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['onnxruntime-node'],
    mainFields: ['module', 'main'],
    alias: { 'safetensors-js': `${root}/packages/safetensors-js/src/index.ts` },
    define: { 'import.meta.url': '__bundleUrl' },
    banner: { js: "'use strict';\nconst __bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
    logLevel: 'warning',
  });
}
