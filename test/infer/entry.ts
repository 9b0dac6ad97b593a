/** The model process for tests: bundled as the build bundles it, below the repository so that the native runtime is found. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bundleInto, root } from '../bundle.ts';

export { root } from '../bundle.ts';

/** Bundles src/infer/main.ts once per test file; returns the program. */
export async function bundleInfer(): Promise<string> {
  const folder = join(root, 'node_modules', '.cache', 'moe-tests', `infer-${String(process.pid)}`);
  mkdirSync(folder, { recursive: true });
  process.on('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  const outfile = join(folder, 'infer.js');
  await bundleInto(outfile, 'src/infer/main.ts');
  return outfile;
}
