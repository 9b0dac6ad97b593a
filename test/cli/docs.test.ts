import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands/index.ts';
import { PRESETS } from '../../src/recipe/presets.ts';
import { FIELD_TEXTS } from '../../src/recipe/fields.ts';
import { METHOD_NAMES, methodFields } from '../../src/recipe/schema.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

describe('documentation', () => {
  it('docs/cli.md has every command and every option', () => {
    const text = read('docs/cli.md');
    for (const { spec } of COMMANDS) {
      expect(text).toMatch(new RegExp(`^## ${spec.name}\\b`, 'm'));
      for (const option of Object.keys(spec.options)) expect(text).toContain(`--${option}`);
    }
  });

  it('docs/recipe.md has every field, method, default and preset', () => {
    const text = read('docs/recipe.md');
    for (const path of FIELD_TEXTS.keys()) if (!path.includes('.')) expect(text).toMatch(new RegExp(`\\b${path}\\b`));
    for (const method of METHOD_NAMES) {
      const row = text.split('\n').find((line) => line.startsWith(`| \`${method}\``)) ?? '';
      expect(row).not.toBe('');
      for (const field of methodFields(method)) expect(row).toContain(`\`${field}\``);
    }
    for (const { name } of PRESETS) expect(text).toContain(`\`${name}\``);
  });

  it('the example of docs/recipe.md is the recipe of all defaults', async () => {
    const { loadRecipe } = await import('../../src/recipe/load.ts');
    const yaml = /```yaml\n([\s\S]*?)```/.exec(read('docs/recipe.md'))?.[1] ?? '';
    const shown = loadRecipe({ text: yaml, cwd: '/' });
    expect(shown.recipe).toEqual({ ...loadRecipe({ cwd: '/' }).recipe, base: './SmolLM2-135M' });
    expect(shown.warnings).toEqual([]);
  });

  it('links of README, CONTRIBUTING and docs lead to files that exist', () => {
    const pages = [
      'README.md',
      'CONTRIBUTING.md',
      ...readdirSync(join(root, 'docs'))
        .filter((name) => name.endsWith('.md'))
        .map((name) => `docs/${name}`),
    ];
    const dead = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
        .map(([, target]) => target ?? '')
        .filter((target) => !existsSync(join(root, dirname(page), target)))
        .map((target) => `${page} → ${target}`),
    );
    expect(dead).toEqual([]);
  });

  it('docs/architecture.md knows every folder of the core', () => {
    const text = read('docs/architecture.md');
    for (const name of [
      'common',
      'checkpoint',
      'gguf',
      'inspect',
      'doctor',
      'diff',
      'families',
      'recipe',
      'plan',
      'random',
      'evaluate',
      'write',
      'verify',
      'revert',
      'report',
      'sample',
      'cli',
    ])
      expect(text).toContain(`\`${name}\``);
  });
});
