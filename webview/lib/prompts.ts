/** Prompts of experts as lines of a text box. No DOM. */
import type { JsonValue } from '../../src/common/json.ts';
import type { RecipeChange, RecipeField } from '../../src/protocol/planning.ts';

export interface Prompts {
  readonly positive: readonly string[];
  readonly negative: readonly string[];
}

/** The prompts of a recipe value, leniently. */
export function promptsOf(value: unknown): readonly Prompts[] {
  if (!Array.isArray(value)) return [];
  return value.map((each: unknown): Prompts => {
    const entry = typeof each === 'object' && each !== null ? (each as Record<string, unknown>) : {};
    return { positive: texts(entry['positive_prompts']), negative: texts(entry['negative_prompts']) };
  });
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

/** One prompt a line, spaces at its ends included; line breaks inside one are written \n. */
export function linesOf(prompts: readonly string[]): string {
  return prompts.map((one) => one.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r')).join('\n');
}

export function promptsIn(lines: string): string[] {
  return lines
    .split(/\r?\n/u)
    .filter((line) => line.trim() !== '')
    .map((line) => line.replaceAll(/\\([nr\\])/gu, (_, c: string) => (c === 'n' ? '\n' : c === 'r' ? '\r' : c)));
}

/** Boxes to show: what is there, and an empty one while experts are left without prompts. */
export function promptBoxes(field: RecipeField): readonly Prompts[] {
  const there = promptsOf(field.value);
  const room = field.max === null || there.length < field.max;
  return room && field.disabled === null ? [...there, { positive: [], negative: [] }] : there;
}

/**
 * The edit for what was typed into a box; null: it changes nothing, or (with a word) cannot be. Clearing the last expert's box
 * takes it away.
 */
export function promptEdit(
  field: RecipeField,
  index: number,
  kind: keyof Prompts,
  typed: string,
): RecipeChange | 'needed' | null {
  const there = promptsOf(field.value);
  const now = there[index]?.[kind] ?? [];
  const wanted = promptsIn(typed);
  if (JSON.stringify(now) === JSON.stringify(wanted)) return null;
  const key = kind === 'positive' ? 'positive_prompts' : 'negative_prompts';
  const entry = [...field.path, index];
  if (wanted.length > 0) {
    const value: JsonValue = wanted;
    if (kind === 'negative' && there[index] === undefined) return 'needed';
    return { op: 'set', path: [...entry, key], value };
  }
  if (kind === 'negative') return { op: 'remove', path: [...entry, key] };
  if (index !== there.length - 1) return 'needed';
  return { op: 'remove', path: there.length === 1 ? field.path : entry };
}
