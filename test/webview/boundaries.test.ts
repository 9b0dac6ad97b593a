/** Rules that keep the pages safe and small, checked on their source. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../webview', import.meta.url));
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name: relative(root, join(root, name)), text: readFileSync(join(root, name), 'utf8') }));

const importsOf = (text: string): string[] =>
  [...text.matchAll(/from '([^']+)'|import '([^']+)'/gu)].map((hit) => hit[1] ?? hit[2] ?? '');

test('there is something to check', () => {
  expect(files.length).toBeGreaterThan(20);
});

test('one file imports the toolkit', () => {
  const using = files.filter(({ text }) =>
    importsOf(text).some((from) => from.startsWith('@vscode/webview-ui-toolkit')),
  );
  expect(using.map(({ name }) => name)).toEqual(['toolkit.ts']);
});

test('the focus probe is held before the toolkit is loaded', () => {
  const imports = importsOf(files.find(({ name }) => name === 'toolkit.ts')?.text ?? '');
  expect(imports.indexOf('./parts/focus-probe.ts')).toBe(0);
});

test('text is never made markup, styles never an attribute', () => {
  for (const { name, text } of files) {
    expect(text, name).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|unsafeHTML|unsafeSVG|document\.write|styleMap\(/u,
    );
    expect(text, name).not.toMatch(/<[a-z-]+[^>`]* style=/u);
  }
});

test('pages import the protocol, pure texts and each other: nothing of the host', () => {
  const allowed =
    /^(\.\.?\/)+src\/(protocol\/(?!host|worker|job\b)|common\/(errors|json|lists)|report\/text|view\/format)/u;
  for (const { name, text } of files)
    for (const from of importsOf(text)) {
      if (from.includes('/src/')) expect(from, name).toMatch(allowed);
      expect(from, name).not.toMatch(/^(node:|vscode$|fs$|path$)/u);
    }
});

test('lib is pure: it names nothing of the page', () => {
  for (const { name, text } of files.filter((file) => file.name.startsWith('lib/'))) {
    expect(text, name).not.toMatch(/\b(document|customElements|window|HTMLElement)\.(?!ts)|from 'lit/u);
  }
});
