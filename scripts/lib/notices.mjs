// The licences of what is bundled: a text that ships with the bundles.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Shipped beside the bundles in the VSIX (see native.mjs), so that esbuild does not see them. */
const BESIDE = ['onnxruntime-node', 'onnxruntime-common', '@vscode/codicons'];

/** Names of the packages that an esbuild metafile has inputs of. */
export function packagesOf(metafile) {
  const names = new Set();
  for (const [path, { bytesInOutput }] of Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs),
  )) {
    const at = path.lastIndexOf('node_modules/');
    if (at < 0 || bytesInOutput === 0) continue;
    const parts = path.slice(at + 'node_modules/'.length).split('/');
    names.add(parts.slice(0, parts[0].startsWith('@') ? 2 : 1).join('/'));
  }
  return names;
}

/** Name, version, licence and licence text of each package, sorted. */
export function thirdPartyNotices(root, bundled) {
  const names = [...new Set([...bundled, ...BESIDE])].sort();
  const parts = names.map((name) => {
    const folder = join(root, 'node_modules', name);
    const { version, license, repository } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = existsSync(folder) ? readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry)) : undefined;
    const text = file === undefined ? `Licence: ${license}` : readFileSync(join(folder, file), 'utf8').trim();
    const url = typeof repository === 'string' ? repository : (repository?.url ?? '');
    return `${name} ${version} (${license})\n${url}\n\n${text}\n`;
  });
  return `MoE Workbench contains the following software of others.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}
