// Writes l10n/bundle.l10n.json, the template for translators: every text of the extension and of its pages, English → English.
// A translation is l10n/bundle.l10n.LANGUAGE.json (and package.nls.LANGUAGE.json for package.json).
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './lib/run.mjs';

const CALLS = [
  { folder: 'src/extension', call: /\bl10n\.t\(\s*('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")/g },
  // src/extension/words.ts and webview/strings.ts: a `t` of their own, for what cannot import vscode.
  { folder: 'src/extension', call: /(?<![\w.])t\(\s*('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")/g },
  { folder: 'webview', call: /(?<![\w.])(?:t|key)\(\s*('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")/g },
];

const texts = new Set();
for (const { folder, call } of CALLS)
  for (const name of readdirSync(join(root, folder), { recursive: true }))
    if (String(name).endsWith('.ts'))
      for (const [, literal] of readFileSync(join(root, folder, String(name)), 'utf8').matchAll(call))
        texts.add(unquote(literal));

/** The text of a string literal of one line. */
function unquote(literal) {
  const inner = literal.slice(1, -1).replaceAll(/\\(.)/g, (_, one) => (one === 'n' ? '\n' : one));
  return inner;
}

const sorted = [...texts].sort();
mkdirSync(join(root, 'l10n'), { recursive: true });
writeFileSync(
  join(root, 'l10n/bundle.l10n.json'),
  `${JSON.stringify(Object.fromEntries(sorted.map((text) => [text, text])), null, 2)}\n`,
);
console.log(`l10n/bundle.l10n.json: ${sorted.length} texts`);
