/** Reports as the plain JSON that results carry. */
import type { JsonValue } from '../common/json.ts';

/** As JSON.stringify writes it: what is undefined is left out, numbers that JSON cannot write are null. */
export function plainJson(value: object): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}
