// npm run workbench [-- FOLDER] : the extension as it ships, in a real VS Code workbench in your browser, on a loopback port.
//   FOLDER      what to open; without it a folder with the built-in sample and an MoE made of it
//   --port N    that port instead of a free one
//   --no-build  pack what lies in dist
// Runs until Ctrl+C. Its profile and the sample lie in the ignored .cache/e2e/workbench and are kept for the next time.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { installIfNeeded, root } from './lib/run.mjs';

const words = process.argv.slice(2);
const valueOf = (name) => (words.includes(name) ? words[words.indexOf(name) + 1] : undefined);
const port = Number(valueOf('--port') ?? 0);
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error('--port takes a number from 0 to 65535');
  process.exit(2);
}
const wanted = words.find((word, at) => !word.startsWith('--') && words[at - 1] !== '--port');

installIfNeeded();
const { ensureTools, CannotRun, cache } = await import('./lib/e2e-setup.mjs');
const { buildAndPack, installVsix } = await import('./lib/e2e-package.mjs');
const { startServer } = await import('./lib/e2e-server.mjs');

const place = join(cache, 'workbench');
try {
  const tools = ensureTools({ browser: false });
  console.log('Building and packing the extension …');
  const { extensions } = installVsix(
    tools,
    buildAndPack(place, { build: !words.includes('--no-build') }),
    join(place, 'installed'),
  );
  const folder = wanted === undefined ? sample() : resolve(process.env.INIT_CWD ?? process.cwd(), wanted);
  const server = await startServer(tools, { folder: join(place, 'profile'), extensions, port });
  for (const signal of ['SIGINT', 'SIGTERM'])
    process.once(signal, () => void server.stop().then(() => process.exit(0)));
  console.log(`\nOpen in a browser (Ctrl+C ends it):\n\n  ${server.url}/?folder=${encodeURIComponent(folder)}\n`);
  await server.gone;
} catch (error) {
  console.error(error instanceof CannotRun ? `The workbench cannot run here: ${error.message}` : error);
  process.exit(1);
}

/** A folder with the sample, and an MoE of it to look at at once. */
function sample() {
  const folder = join(place, 'sample');
  const moe = (...args) =>
    execFileSync(process.execPath, [join(root, 'dist/cli.js'), ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  mkdirSync(folder, { recursive: true });
  const [dense, upcycled] = [join(folder, 'tiny-llama'), join(folder, 'tiny-llama-8x')];
  if (!existsSync(dense)) moe('sample', dense);
  if (!existsSync(upcycled)) moe('upcycle', dense, upcycled, '--set', 'experts=8', '--set', 'top_k=2');
  return folder;
}
