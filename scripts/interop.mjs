// Runs test/interop/interop.py: our outputs, loaded and measured by transformers. Python is no part of the product, so where it,
// torch or transformers is absent this says so and ends with 0. Arguments are passed on (--only TEXT, --keep DIR, --verify).
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const probe = 'import torch, transformers, safetensors; print(torch.__version__, transformers.__version__)';
const candidates = [process.env['PYTHON'], join(root, '.venv', 'bin', 'python'), 'python3', 'python'].filter(Boolean);

const found = candidates
  .map((python) => ({ python, probed: spawnSync(python, ['-c', probe], { encoding: 'utf8' }) }))
  .find(({ probed }) => probed.status === 0);

if (found === undefined) {
  console.log('============================================================================');
  console.log('SKIPPED: the interop run. No Python with torch, transformers and safetensors.');
  console.log(`Looked at: ${candidates.join(', ')}. Set PYTHON to one that has them:`);
  console.log('  python3 -m venv .venv && .venv/bin/pip install torch==2.13.0 transformers==5.24.0 safetensors');
  console.log('============================================================================');
  process.exit(0);
}

if (!existsSync(join(root, 'dist', 'cli.js'))) {
  console.error('dist/cli.js is missing: run `npm run build` first.');
  process.exit(2);
}

console.error(`${found.python}: torch and transformers ${found.probed.stdout.trim()}`);
const script = join(root, 'test', 'interop', 'interop.py');
const run = spawnSync(found.python, ['-B', script, ...process.argv.slice(2)], { cwd: root, stdio: 'inherit' });
process.exit(run.status ?? 1);
