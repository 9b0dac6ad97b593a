// npm run bench [-- NAME …]: runs the benchmarks of bench/ (all, or those named), built on the fly, each in its own process.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { installIfNeeded, root, run } from './lib/run.mjs';

installIfNeeded();
const folder = join(root, 'bench');
const known = existsSync(folder)
  ? readdirSync(folder)
      .filter((name) => /\.bench\.(ts|mjs)$/.test(name))
      .map((name) => name.replace(/\.bench\.(ts|mjs)$/, ''))
  : [];
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const options = process.argv.slice(2).filter((word) => word.startsWith('-'));
const strange = wanted.filter((name) => !known.includes(name));
if (known.length === 0 || strange.length > 0) {
  console.error(strange.length > 0 ? `no benchmark named ${strange.join(', ')}` : 'bench/ holds no benchmark');
  console.error(`benchmarks: ${known.join(', ') || 'none'}`);
  process.exit(2);
}

// Inside node_modules, so that packages which are not bundled are found.
mkdirSync(join(root, 'node_modules', '.cache'), { recursive: true });
const scratch = mkdtempSync(join(root, 'node_modules', '.cache', 'moe-bench-'));
let failed = 0;
try {
  for (const name of wanted.length > 0 ? wanted : known) {
    const from = ['ts', 'mjs']
      .map((ending) => join(folder, `${name}.bench.${ending}`))
      .find((path) => existsSync(path));
    const outfile = join(scratch, `${name}.mjs`);
    await build({
      entryPoints: [from],
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      outfile,
      logLevel: 'warning',
      external: ['onnxruntime-node'],
      alias: { 'safetensors-js': join(root, 'packages/safetensors-js/src/index.ts') },
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
      },
    });
    console.log(`\n── ${name} ──`);
    const status = await run('node', ['--expose-gc', outfile, ...options]);
    if (status !== 0) failed = status;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exit(failed);
