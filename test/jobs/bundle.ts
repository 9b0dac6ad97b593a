/** Programs for tests that fork: bundled as the build bundles the job program. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleInto } from '../bundle.ts';

export { root } from '../bundle.ts';
const folder = mkdtempSync(join(tmpdir(), 'moe-jobs-'));
let count = 0;
process.on('exit', () => {
  rmSync(folder, { recursive: true, force: true });
});

/** A new path in a folder that goes when the tests end. */
export function newPath(name = 'x'): string {
  return join(folder, `${String(count++)}-${name}`);
}

/** Bundles TypeScript text (imports relative to the repository's root) into a program; returns its file. */
export async function bundle(contents: string): Promise<string> {
  const outfile = newPath('program.js');
  await bundleInto(outfile, { contents });
  return outfile;
}

/** The job program. */
export async function bundleJob(): Promise<string> {
  return bundle("import './src/job/main.ts';");
}

/** A plain program, as it is. */
export function program(text: string): string {
  const path = newPath('program.cjs');
  writeFileSync(path, text);
  return path;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** Waits for `condition`; fails with `what` after `ms`. */
export async function until(condition: () => boolean, what: string, ms = 20_000): Promise<void> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > ms) throw new Error(`waited in vain for: ${what}`);
    await sleep(20);
  }
}
