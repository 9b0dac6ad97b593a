/** What is loaded when the extension is activated: every window with a checkpoint in its folder pays for it. */
import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Modules that a file loads at once: imports and re-exports of values; what `import()` loads comes later. */
function eager(file: string): string[] {
  const tree = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest);
  return tree.statements.flatMap((node) => {
    if (!ts.isImportDeclaration(node) && !ts.isExportDeclaration(node)) return [];
    const typeOnly = ts.isImportDeclaration(node) ? node.importClause?.isTypeOnly === true : node.isTypeOnly;
    const name = node.moduleSpecifier;
    return typeOnly || name === undefined || !ts.isStringLiteral(name) ? [] : [name.text];
  });
}

function closure(entry: string): { readonly files: ReadonlySet<string>; readonly packages: ReadonlySet<string> } {
  const [files, packages] = [new Set<string>(), new Set<string>()];
  const visit = (file: string): void => {
    if (files.has(file)) return;
    files.add(file);
    for (const name of eager(file))
      if (name.startsWith('.')) visit(resolve(dirname(file), name));
      else if (!name.startsWith('node:')) packages.add(name);
  };
  visit(entry);
  return { files, packages };
}

describe('activation', () => {
  const { files, packages } = closure(resolve(root, 'src/extension/main.ts'));
  const names = [...files].map((file) => relative(root, file).replaceAll('\\', '/'));

  it('loads no package: schemas, YAML and RPC come with what needs them', () => {
    expect([...packages]).toEqual(['vscode']);
    expect(names.length).toBeGreaterThan(30);
  });

  it('loads the adapter, and of the core no more than words, errors and small helpers', () => {
    const core = names.filter((name) => !name.startsWith('src/extension/') && !name.startsWith('src/common/'));
    expect(core.sort()).toEqual([
      'src/eval/leftovers.ts',
      'src/protocol/choices.ts',
      'src/recipe/fields.ts',
      'src/report/text.ts',
      'src/view/natural.ts',
    ]);
  });
});
