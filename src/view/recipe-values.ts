/** Changes of a recipe's values as plain data: what an edit of its text must come to. */
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import type { RecipeChange, RecipePath } from '../protocol/planning.ts';

/** The value after a change. Mappings that removing leaves empty go too; nothing that is not there is removed. */
export function changedValue(value: JsonObject, change: RecipeChange): JsonValue {
  if (change.op === 'set') return withValue(value, change.path, change.value);
  return without(value, change.path) ?? {};
}

function withValue(value: JsonValue | undefined, path: RecipePath, wanted: JsonValue): JsonValue {
  const [step, ...rest] = path;
  if (step === undefined) return wanted;
  if (Array.isArray(value) && typeof step === 'number') {
    const items = [...(value as readonly JsonValue[])];
    items[step] = withValue(items[step], rest, wanted);
    return items;
  }
  if (typeof step === 'number' && !isJsonObject(value)) return [withValue(undefined, rest, wanted)];
  const members: Record<string, JsonValue> = Object.create(null) as Record<string, JsonValue>;
  if (isJsonObject(value)) for (const [key, member] of Object.entries(value)) members[key] = member;
  members[String(step)] = withValue(members[String(step)], rest, wanted);
  return members;
}

/** Undefined where nothing is left. */
function without(value: JsonValue | undefined, path: RecipePath): JsonValue | undefined {
  const [step, ...rest] = path;
  if (step === undefined || value === undefined) return undefined;
  if (Array.isArray(value)) {
    const items = [...(value as readonly JsonValue[])];
    if (typeof step !== 'number' || step >= items.length) return items;
    if (rest.length === 0) items.splice(step, 1);
    else {
      const left = without(items[step], rest);
      items[step] = left ?? {};
    }
    return items;
  }
  if (!isJsonObject(value) || !Object.hasOwn(value, String(step))) return value;
  const members: Record<string, JsonValue> = Object.create(null) as Record<string, JsonValue>;
  for (const [key, member] of Object.entries(value)) {
    if (key !== String(step)) {
      members[key] = member;
      continue;
    }
    const left = rest.length === 0 ? undefined : without(member, rest);
    if (left !== undefined) members[key] = left;
  }
  return Object.keys(members).length === 0 ? undefined : members;
}
