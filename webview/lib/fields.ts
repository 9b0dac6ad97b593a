/** Recipe fields as controls: how a value is written in a text box, and what a text means as a value. No DOM. */
import type { JsonValue } from '../../src/common/json.ts';
import type { RecipeField } from '../../src/protocol/planning.ts';
import { jsonText } from './format.ts';
import { key, t } from '../strings.ts';

/** What is typed into a control, judged. */
export type Parsed =
  { readonly ok: true; readonly value: JsonValue } | { readonly ok: false; readonly message: string };

const ok = (value: JsonValue): Parsed => ({ ok: true, value });
const bad = (field: RecipeField): Parsed => ({ ok: false, message: t('expected {0}', field.expected) });

/** The text that a control shows for a value. */
export function shownText(field: RecipeField): string {
  const { value, control } = field;
  if (value === null) return '';
  if (control === 'json') return JSON.stringify(value, null, 2);
  if (control === 'layers' && Array.isArray(value)) return value.map(jsonText).join(', ');
  return jsonText(value);
}

/** The value of a text. The recipe's own check is the judge; here only what cannot be meant is refused. */
export function parseText(field: RecipeField, text: string): Parsed {
  const trimmed = text.trim();
  switch (field.control) {
    case 'number': {
      const value = Number(trimmed.replaceAll(/[_,]/gu, ''));
      if (trimmed === '' || !Number.isFinite(value)) return bad(field);
      if (field.min !== null && value < field.min) return { ok: false, message: t('at least {0}', field.min) };
      if (field.max !== null && value > field.max) return { ok: false, message: t('at most {0}', field.max) };
      return ok(value);
    }
    case 'size':
      if (/^\d+$/u.test(trimmed)) return ok(Number(trimmed));
      return trimmed === '' ? bad(field) : ok(trimmed);
    case 'layers': {
      if (trimmed === '') return bad(field);
      const list = trimmed.replace(/^\[/u, '').replace(/\]$/u, '');
      if (/^\d+(\s*,\s*\d+)*$/u.test(list)) return ok(list.split(',').map((each) => Number(each.trim())));
      return ok(trimmed);
    }
    case 'json':
      try {
        return ok(JSON.parse(trimmed) as JsonValue);
      } catch (error) {
        return { ok: false, message: error instanceof Error ? error.message : String(error) };
      }
    case 'switch':
    case 'choice':
      return ok(trimmed === 'true' ? true : trimmed === 'false' ? false : trimmed);
    default:
      return ok(text);
  }
}

export interface FieldGroup {
  readonly id: string;
  readonly title: string;
  readonly fields: readonly RecipeField[];
}

/** Which group a field's first step belongs to; the rest stand in a group of their own at the end. */
const HEADS: readonly (readonly [string, string, readonly string[]])[] = [
  ['source', key('Source'), ['preset', 'base', 'parents', 'rest']],
  ['shape', key('Mixture'), ['target', 'experts', 'top_k', 'granularity', 'layers', 'shared_expert', 'scale', 'tie']],
  ['init', key('Expert initialisation'), ['expert_init', 'seed']],
  ['router', key('Router'), ['router']],
  ['output', key('Output'), ['output']],
];

export function groupFields(fields: readonly RecipeField[]): readonly FieldGroup[] {
  const left = new Set(fields);
  const groups = HEADS.map(([id, title, heads]): FieldGroup => {
    const members = heads.flatMap((head) => fields.filter(({ path }) => path[0] === head));
    for (const member of members) left.delete(member);
    return { id, title: t(title), fields: members };
  });
  groups.push({ id: 'more', title: t('More'), fields: [...left] });
  return groups.filter((group) => group.fields.length > 0);
}

/** A field whose value was written by someone can be put back to its default. */
export function isSet(field: RecipeField): boolean {
  return field.origin !== 'default' && !field.origin.startsWith('preset ');
}

/** `mixtral` in "auto → mixtral", or null where nothing was resolved. */
export function resolvedText(field: RecipeField): string | null {
  if (field.resolved === null || JSON.stringify(field.resolved) === JSON.stringify(field.value)) return null;
  const { resolved } = field;
  return Array.isArray(resolved) ? resolved.map(jsonText).join(', ') : jsonText(resolved);
}
