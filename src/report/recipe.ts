/** Recipes and presets as text. */
import { stringify } from 'yaml';
import type { JsonValue } from '../common/json.ts';
import type { Preset } from '../recipe/presets.ts';
import type { Recipe } from '../recipe/types.ts';
import { layersText } from '../recipe/units.ts';
import { bullets, table } from './text.ts';
import type { Style } from './text.ts';
import { largest } from '../common/lists.ts';

/** The whole recipe as YAML that loads again, each value with a comment that says where it came from. */
export function recipeText(recipe: Recipe, origin: ReadonlyMap<string, string>): string {
  const lines: [string, string][] = [];
  for (const [key, value] of Object.entries(recipe)) {
    const shown: unknown = key === 'layers' ? layersText(recipe.layers) : value;
    if (origin.has(key) || !isObject(shown)) lines.push([`${key}: ${flow(shown)}`, origin.get(key) ?? '']);
    else if (Object.keys(shown).length === 0) lines.push([`${key}: {}`, 'default']);
    else {
      lines.push([`${key}:`, '']);
      for (const [member, inner] of Object.entries(shown))
        lines.push([`  ${flowKey(member)}: ${flow(inner)}`, origin.get(`${key}.${member}`) ?? '']);
    }
  }
  const wide = Math.min(60, largest(lines.map(([text]) => text.length)));
  return lines.map(([text, from]) => (from === '' ? text : `${text.padEnd(wide)}  # ${from}`)).join('\n') + '\n';
}

function isObject(value: unknown): value is Readonly<Record<string, JsonValue>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value on one line. */
function flow(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim();
}

function flowKey(key: string): string {
  return stringify(key, { lineWidth: 0 }).trim();
}

export function presetListText(presets: readonly Preset[], style: Style): string {
  const rows = presets.map((preset) => [preset.name, preset.title, preset.source]);
  return `${table([{ title: 'preset' }, { title: 'what' }, { title: 'source' }], rows, style)}\n`;
}

/** Values and assumption sheet. */
export function presetText(preset: Preset, style: Style): string {
  return `${style.bold(preset.name)}: ${preset.title}
${preset.source}

${stringify(preset.values, { lineWidth: 0 }).trim()}

${style.bold('Assumptions')}
${bullets(preset.assumptions)}
`;
}
