// Builds what exists: the CLI, later the extension, the job process, the worker and the webviews; and the safetensors-js
// package. Options: --watch (rebuild on change), --no-packages (leave out safetensors-js), --minify, --outdir DIR (instead of
// dist; only the CLI and what it forks are built then).
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { context, transform } from 'esbuild';
import { packagesOf, thirdPartyNotices } from './lib/notices.mjs';
import { root, run } from './lib/run.mjs';

const watch = process.argv.includes('--watch');
const outdirAt = process.argv.indexOf('--outdir');
const outdir = outdirAt < 0 ? null : resolve(process.argv[outdirAt + 1] ?? 'dist');
const minify = process.argv.includes('--minify');
const packages = !watch && outdir === null && !process.argv.includes('--no-packages');

/** What a newcomer looks for first: which source becomes which file. Entries whose source is not there yet are passed over. */
const HOST = [
  { from: 'src/cli/bin.ts', to: 'dist/cli.js', executable: true },
  // What activation does not need lies in parts of its own, loaded by `await import` when it is first asked for.
  { from: 'src/extension/main.ts', to: 'dist/extension.js', parts: 'extension' },
  { from: 'src/job/main.ts', to: 'dist/job.js' },
  { from: 'src/infer/main.ts', to: 'dist/infer.js', cli: true },
  { from: 'src/worker/main.ts', to: 'dist/worker.js' },
];
/** Every page is a folder of webview/ with a main.ts; its CSS, imported there, lands beside it. */
const WEBVIEWS = readdirSync(join(root, 'webview'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => ({ from: `webview/${name}/main.ts`, to: `dist/webview/${name}.js` }));

/** zod brings its messages in forty languages; ours are written by ourselves, so its list is left out (400 kB). */
const withoutLocales = {
  name: 'without-locales',
  setup(build) {
    build.onLoad({ filter: /zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({ contents: 'export {};', loader: 'js' }));
  },
};

const common = {
  absWorkingDir: root,
  bundle: true,
  sourcemap: true,
  minify,
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
  alias: { 'safetensors-js': join(root, 'packages/safetensors-js/src/index.ts') },
};

const node = { platform: 'node', target: 'node20', format: 'cjs' };
const banner = `'use strict';\nconst __bundleUrl = require('node:url').pathToFileURL(__filename).href;`;

/** esbuild splits ES modules only, and VS Code loads CommonJS: every part is turned into that after the split. */
const partsToCommonJs = {
  name: 'parts-to-commonjs',
  setup(build) {
    build.onEnd(async ({ errors, outputFiles }) => {
      if (errors.length > 0) return;
      for (const { path, text } of outputFiles) {
        const options = { ...node, minify, banner, sourcefile: basename(path), supported: { 'dynamic-import': false } };
        const { code, map } = await transform(text, { ...options, sourcemap: true, legalComments: 'none' });
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, `${code}//# sourceMappingURL=${basename(path)}.map\n`);
        writeFileSync(`${path}.map`, map);
      }
    });
  },
};

const jobs = [
  ...HOST.map((entry) => ({
    ...entry,
    options: {
      ...common,
      ...node,
      // Given by the editor, or native: never bundled.
      external: ['vscode', 'onnxruntime-node'],
      mainFields: ['module', 'main'],
      // Some dependencies are ESM that asks for its own address; in a CommonJS bundle that is the bundle's.
      define: { 'import.meta.url': '__bundleUrl' },
      ...(entry.parts === undefined
        ? { banner: { js: `${entry.executable ? '#!/usr/bin/env node\n' : ''}${banner}` } }
        : {
            format: 'esm',
            splitting: true,
            sourcemap: 'inline',
            write: false,
            chunkNames: `${entry.parts}/[name]-[hash]`,
          }),
    },
  })),
  ...WEBVIEWS.map((entry) => ({
    ...entry,
    options: { ...common, platform: 'browser', target: 'chrome128', format: 'esm' },
  })),
]
  .filter((job) => existsSync(join(root, job.from)))
  .filter((job) => outdir === null || job.executable || job.cli)
  .map((job) => ({ ...job, path: outdir === null ? join(root, job.to) : join(outdir, basename(job.to)) }));

const start = performance.now();
if (!watch && outdir === null) rmSync(join(root, 'dist'), { recursive: true, force: true });
mkdirSync(outdir ?? join(root, 'dist'), { recursive: true });

const bundled = new Set();
for (const job of jobs) {
  const made = await context({
    ...job.options,
    ...(job.parts === undefined
      ? { entryPoints: [join(root, job.from)], outfile: job.path }
      : { entryPoints: [{ in: join(root, job.from), out: job.parts }], outdir: dirname(job.path) }),
    plugins: [
      withoutLocales,
      ...(job.parts === undefined ? [] : [partsToCommonJs]),
      {
        name: 'after',
        setup(build) {
          build.onEnd((result) => {
            if (result.errors.length > 0) return;
            for (const name of packagesOf(result.metafile)) bundled.add(name);
            if (job.executable) chmodSync(job.path, 0o755);
            if (watch) console.log(`built ${job.to}`);
          });
        },
      },
    ],
  });
  if (watch) {
    await made.watch();
    continue;
  }
  try {
    await made.rebuild();
  } catch {
    // esbuild has printed what is wrong.
    process.exit(1);
  } finally {
    await made.dispose();
  }
  console.log(`${job.to.padEnd(42)} ${(statSync(job.path).size / 1024).toFixed(0).padStart(6)} kB`);
}

// The pages' icons: the font beside the style sheet that names it.
if (outdir === null && existsSync(join(root, 'dist/webview')))
  for (const name of ['codicon.css', 'codicon.ttf'])
    copyFileSync(join(root, 'node_modules/@vscode/codicons/dist', name), join(root, 'dist/webview', name));

// What is shipped of others, with their licences.
if (!watch && outdir === null)
  writeFileSync(join(root, 'dist/ThirdPartyNotices.txt'), thirdPartyNotices(root, bundled));

// The package is published on its own, as plain ES modules with types; nothing here needs its dist.
if (packages) {
  rmSync(join(root, 'packages/safetensors-js/dist'), { recursive: true, force: true });
  const project = 'packages/safetensors-js/tsconfig.build.json';
  const status = await run('node', ['node_modules/typescript/bin/tsc', '-p', project]);
  if (status !== 0) process.exit(status);
  console.log('packages/safetensors-js/dist');
}
if (watch) console.log('watching for changes');
else console.log(`built in ${((performance.now() - start) / 1000).toFixed(1)} s`);
