// Bundles a TypeScript benchmark of this folder and runs it: node bench/onnx/run.mjs NAME [arguments]
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const [name, ...rest] = process.argv.slice(2);
if (name === undefined) {
  console.error('usage: node bench/onnx/run.mjs moe-cost|creation|memory|engine [arguments]');
  process.exit(2);
}
const outfile = join(root, 'node_modules', '.cache', 'moe-bench', `${name}-${process.pid}.mjs`);
mkdirSync(dirname(outfile), { recursive: true });
await build({
  entryPoints: [join(here, `${name}.ts`)],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  alias: { 'safetensors-js': join(root, 'packages', 'safetensors-js', 'src', 'index.ts') },
  logLevel: 'error',
});
const result = spawnSync(process.execPath, ['--expose-gc', outfile, ...rest], { stdio: 'inherit', cwd: root });
process.exit(result.status ?? 1);
