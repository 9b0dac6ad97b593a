// The extension as it ships: built, packed by vsce, installed into an extensions folder of its own, and what is in it checked.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeServerEnvironment, codeServerArguments } from './e2e-server.mjs';
import { root } from './run.mjs';
export { buildAndPack, target } from './vsix.mjs';

/** Bytes of the minified bundles: a host that loads slowly, or a page that does, is felt on every start. */
const BUDGETS = [
  { file: /^dist\/extension\.js$/, most: 150_000 },
  { file: /^dist\/extension\/[^/]+\.js$/, most: 300_000 },
  { file: /^dist\/webview\/[^/]+\.js$/, most: 600_000 },
];
/** All that may be packed (vsce adds its own manifest and a package.json of its own). */
const ALLOWED = [
  /^\.vsixmanifest$/,
  /^package\.json$/,
  /^package\.nls(\.[a-z-]+)?\.json$/i,
  /^(readme|changelog)\.md$/i,
  /^license(\.txt|\.md)?$/i,
  /^l10n\/[^/]+\.json$/,
  /^media\//,
  /^dist\/(extension|worker|job|infer)\.js$/,
  // Its parts; the hash follows their content.
  /^dist\/extension\/[\w-]+-[A-Z0-9]{8}\.js$/,
  /^dist\/ThirdPartyNotices\.txt$/,
  // ONNX Runtime of this platform (scripts/lib/native.mjs).
  /^dist\/node_modules\/onnxruntime-(node|common)\/(package\.json|dist\/.*\.(js|json))$/,
  /^dist\/node_modules\/onnxruntime-node\/bin\/napi-v6\/linux\/x64\/[^/]+$/,
  /^dist\/webview\/[^/]+\.(js|css|ttf|woff2?|svg)$/,
];

export function manifest() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
}

/** Installs the VSIX into `folder`/extensions and requires that the editor lists it; the extension's own folder. */
export function installVsix(tools, vsix, folder) {
  rmSync(folder, { recursive: true, force: true });
  const places = { extensions: join(folder, 'extensions'), user: join(folder, 'user'), home: join(folder, 'home') };
  for (const place of Object.values(places)) mkdirSync(place, { recursive: true });
  const config = join(folder, 'config.yaml');
  writeFileSync(config, 'auth: none\ncert: false\n');
  const command = (...args) => {
    const done = spawnSync(tools.node, [...codeServerArguments(tools, { ...places, config }), ...args], {
      env: codeServerEnvironment(places.home),
      encoding: 'utf8',
      timeout: 120_000,
    });
    if (done.status !== 0)
      throw new Error(`${args[0]}: exit ${done.status}\n${done.stdout}${done.stderr}${done.error?.message ?? ''}`);
    return done.stdout;
  };
  const installed = command('--install-extension', vsix);
  if (!installed.includes('successfully installed')) throw new Error(`the VSIX was not installed: ${installed}`);
  const { publisher, name, version } = manifest();
  const id = `${publisher}.${name}@${version}`;
  const listed = command('--list-extensions', '--show-versions');
  if (!listed.split('\n').includes(id)) throw new Error(`${id} is not among the installed extensions: ${listed}`);
  const own = readdirSync(places.extensions).find((entry) => entry.startsWith(`${publisher}.${name}-`));
  if (own === undefined) throw new Error(`no folder of ${id} in ${places.extensions}`);
  return { extensions: places.extensions, extension: join(places.extensions, own) };
}

/** What is wrong with the packed files: one line each; and their sizes. */
export function checkPacked(extension) {
  const files = readdirSync(extension, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(extension.length + 1))
    .sort();
  const sizes = new Map(files.map((file) => [file, statSync(join(extension, file)).size]));
  const problems = files
    .filter((file) => !ALLOWED.some((allowed) => allowed.test(file)))
    .map((file) => `${file} is packed, but not on the allow-list`);
  for (const { file: wanted, most } of BUDGETS) {
    const found = files.filter((file) => wanted.test(file));
    if (found.length === 0) problems.push(`nothing packed matches ${wanted}`);
    for (const file of found)
      if (sizes.get(file) > most) problems.push(`${file} has ${sizes.get(file)} bytes, over its budget of ${most}`);
  }
  return { sizes, problems };
}
