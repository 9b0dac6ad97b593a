import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isBuiltin } from 'node:module';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Folders of src that adapt the core to a host. Everything else is core. */
const ADAPTERS = ['cli', 'extension', 'job', 'worker', 'runtime', 'infer'];

interface Import {
  readonly file: string;
  readonly name: string;
  readonly typeOnly: boolean;
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

/** Every module that a file imports: static, re-exported, dynamic, required. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if (
      (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) &&
      node.moduleSpecifier !== undefined &&
      ts.isStringLiteral(node.moduleSpecifier)
    )
      found.push({
        file,
        name: node.moduleSpecifier.text,
        typeOnly: ts.isImportDeclaration(node) ? node.importClause?.isTypeOnly === true : node.isTypeOnly,
      });
    if (ts.isCallExpression(node)) {
      const [first] = node.arguments;
      const loads =
        node.expression.kind === ts.SyntaxKind.ImportKeyword ||
        (ts.isIdentifier(node.expression) && node.expression.text === 'require');
      if (loads && first !== undefined && ts.isStringLiteralLike(first))
        found.push({ file, name: first.text, typeOnly: false });
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

function folderOf(file: string): string {
  return file.split(sep)[1] ?? '';
}

describe('import boundaries', () => {
  const all = sources('src').flatMap(importsOf);
  const core = all.filter(({ file }) => !ADAPTERS.includes(folderOf(file)));

  it('sees the imports it judges', () => {
    expect(all.length).toBeGreaterThan(200);
    expect(core.some(({ name }) => name === 'safetensors-js')).toBe(true);
    expect(all.some(({ file, name }) => file === join('src', 'cli', 'command.ts') && name === 'node:util')).toBe(true);
  });

  it('the core imports neither vscode nor onnxruntime nor a user-interface library', () => {
    const forbidden = /^(vscode$|onnxruntime|lit$|lit\/|@vscode|uplot)/;
    expect(core.filter(({ name }) => forbidden.test(name))).toEqual([]);
  });

  it('the core imports no adapter', () => {
    const wrong = core.filter(({ file, name }) => {
      if (!name.startsWith('.')) return false;
      const target = relative(join(root, 'src'), resolve(root, dirname(file), name));
      return ADAPTERS.includes(target.split(sep)[0] ?? '');
    });
    expect(wrong).toEqual([]);
  });

  it('the core is compiled without the DOM: its types are not in the project', () => {
    const config: unknown = ts.parseConfigFileTextToJson(
      'tsconfig.base.json',
      readFileSync(join(root, 'tsconfig.base.json'), 'utf8'),
    ).config;
    expect(config).toMatchObject({ compilerOptions: { lib: ['ES2023'] } });
  });

  it('node built-ins carry their prefix', () => {
    expect(all.filter(({ name }) => !name.startsWith('node:') && isBuiltin(name))).toEqual([]);
  });

  it('safetensors-js imports node: and itself only', () => {
    const inside = sources('packages/safetensors-js/src').flatMap(importsOf);
    expect(inside.length).toBeGreaterThan(10);
    expect(inside.filter(({ name }) => !name.startsWith('node:') && !name.startsWith('./'))).toEqual([]);
  });
});
