/** Values as YAML on one line. */
import { isJsonObject } from '../common/json.ts';
import type { JsonValue } from '../common/json.ts';

/** Words that YAML 1.1 or 1.2 readers take for something else than text. */
const SPECIAL = /^(?:true|false|null|yes|no|on|off|y|n|~|\.inf|\.nan|<<|=)$/i;
/** Text that needs no quotes, wherever it stands. */
const PLAIN = /^[A-Za-z_./][\w./+@%-]*(?: [\w./+@%-]+)*$/;

/** `flow`: inside `[…]` or `{…}`, where more characters have a meaning. */
export function flowText(value: JsonValue, flow: boolean): string {
  if (typeof value === 'string') return scalarText(value, flow);
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : 'null';
  if (Array.isArray(value))
    return `[${(value as readonly JsonValue[]).map((item) => flowText(item, true)).join(', ')}]`;
  if (isJsonObject(value)) {
    const members = Object.entries(value).map(([key, member]) => `${scalarText(key, true)}: ${flowText(member, true)}`);
    return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`;
  }
  return String(value);
}

/** A key, quoted where it must be. */
export function keyText(key: string): string {
  return scalarText(key, true);
}

function scalarText(text: string, flow: boolean): string {
  const plain = PLAIN.test(text) && !SPECIAL.test(text) && !/^[.+-]?\.?\d/.test(text) && text.length < 200;
  // `5GB` and `every:2` read well without quotes; they are neither numbers nor mappings.
  const word =
    /^(?:\d+(?:\.\d+)?[kKMGT]i?B|every:\d+|all)$/.test(text) || (!flow && /^\d+-\d+(?:,\d+(?:-\d+)?)*$/.test(text));
  return plain || word ? text : JSON.stringify(text);
}
