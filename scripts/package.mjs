// npm run package [-- --target T…] [--out FOLDER]: a VSIX per platform, this machine's unless told. All: --target all.
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { installIfNeeded, root } from './lib/run.mjs';

const words = process.argv.slice(2);
const values = (flag) => words.flatMap((word, at) => (words[at - 1] === flag ? [word] : []));
const wanted = values('--target');
const out = resolve(values('--out')[0] ?? join(root, '.cache/package'));

installIfNeeded();
const { buildAndPack } = await import('./lib/vsix.mjs');
const { TARGETS } = await import('./lib/native.mjs');
const targets = wanted.includes('all') ? TARGETS : wanted.length > 0 ? wanted : [`${process.platform}-${process.arch}`];
const unknown = targets.filter((target) => !TARGETS.includes(target));
if (unknown.length > 0) {
  console.error(`no such target: ${unknown.join(', ')}; there are ${TARGETS.join(', ')}, all`);
  process.exit(2);
}
let build = true;
for (const target of targets) {
  const vsix = buildAndPack(out, { target, build });
  build = false;
  console.log(`${vsix}  ${(statSync(vsix).size / 1e6).toFixed(1)} MB`);
}
