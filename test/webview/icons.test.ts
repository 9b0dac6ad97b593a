import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { ICONS } from '../../webview/lib/icons.ts';

test('the table of icons has the code points of the installed codicons', () => {
  const css = readFileSync(createRequire(import.meta.url).resolve('@vscode/codicons/dist/codicon.css'), 'utf8');
  for (const [name, point] of Object.entries(ICONS))
    expect(css, name).toContain(`.codicon-${name}:before { content: "\\${point.toString(16)}" }`);
});
