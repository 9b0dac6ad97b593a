import { isJsonObject } from '../common/json.ts';
import type { JsonObject } from '../common/json.ts';

/** An optional small file as an object; anything else counts as absent. */
export function parseJson(text: string | undefined): JsonObject | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
