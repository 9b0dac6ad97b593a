/** Reading a config's JSON without trusting it: bounded size and depth, Python's NaN and Infinity tolerated and said. */
import { readFile, stat } from 'node:fs/promises';
import { parseLfsPointer } from 'safetensors-js';
import { MoeError, grouped, messageOf } from '../common/errors.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import { floatMembers } from '../common/python-json.ts';
import type { Problem } from './types.ts';

const MAX_CONFIG_BYTES = 32 * 2 ** 20;
const MAX_DEPTH = 64;

export interface ParsedConfig {
  readonly config: JsonObject;
  /** Members whose number is written as a float. */
  readonly floats: readonly string[];
  readonly problems: readonly Problem[];
}

/**
 * Reads a JSON object from a file. `name` is used in messages.
 * Throws MoeError input: `git-lfs-pointer`, `file-too-large`, `config-not-json` (with the byte where known), `config-too-deep`.
 */
export async function readConfigFile(path: string, name: string): Promise<ParsedConfig> {
  const facts = await stat(path);
  // A pipe would be waited for without end.
  if (!facts.isFile()) throw new MoeError('input', 'not-a-file', `${name} is no regular file`, { file: name });
  if (facts.size > MAX_CONFIG_BYTES) {
    throw new MoeError(
      'input',
      'file-too-large',
      `${name} has ${grouped(facts.size)} bytes; a config has a few thousand`,
      {
        file: name,
        hint: 'Check what this file is.',
      },
    );
  }
  return parseConfig(await readFile(path), name);
}

/** As `readConfigFile`, from bytes. */
export function parseConfig(bytes: Buffer, name: string): ParsedConfig {
  const pointer = parseLfsPointer(bytes);
  if (pointer !== undefined) {
    throw new MoeError(
      'input',
      'git-lfs-pointer',
      `${name} is a Git LFS pointer (real size ${grouped(pointer.size)} bytes); run git lfs pull`,
      { file: name, hint: 'Run git lfs pull in the folder.', details: { oid: pointer.oid, size: pointer.size } },
    );
  }
  const text = bytes.toString('utf8').replace(/^\uFEFF/, '');
  const { clean, replaced } = screen(text, name);
  let value: JsonValue;
  try {
    value = JSON.parse(clean) as JsonValue;
  } catch (error) {
    const at = /position (\d+)/.exec(messageOf(error))?.[1];
    throw new MoeError('input', 'config-not-json', `${name} is not JSON: ${messageOf(error)}`, {
      file: name,
      ...(at === undefined ? {} : { byte: Buffer.byteLength(clean.slice(0, Number(at))) }),
      hint: 'Correct it, or fetch it again.',
    });
  }
  if (!isJsonObject(value)) {
    throw new MoeError('input', 'config-not-json', `${name} holds no JSON object`, {
      file: name,
      hint: 'A config is an object: { "model_type": …, … }.',
    });
  }
  const problems: Problem[] =
    replaced.length === 0
      ? []
      : [
          {
            severity: 'info',
            code: 'config-not-finite',
            file: name,
            message: `${name} holds ${replaced.join(', ')}, which Python writes but JSON does not know: read as null`,
          },
        ];
  return { config: value, floats: floatMembers(clean), problems };
}

/** Replaces NaN and ±Infinity outside strings by null, and refuses nesting that would exhaust the stack of later readers. */
function screen(text: string, name: string): { clean: string; replaced: string[] } {
  const replaced = new Set<string>();
  const pieces: string[] = [];
  let from = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22) i = endOfString(text, i);
    else if (c === 0x7b || c === 0x5b) {
      depth++;
      if (depth > MAX_DEPTH) {
        throw new MoeError('input', 'config-too-deep', `${name} is nested more than ${String(MAX_DEPTH)} levels deep`, {
          file: name,
          byte: Buffer.byteLength(text.slice(0, i)),
          hint: 'No config is: check where the file comes from.',
        });
      }
    } else if (c === 0x7d || c === 0x5d) depth--;
    else if (c === 0x4e || c === 0x49 || c === 0x2d) {
      const word = text.startsWith('NaN', i) ? 'NaN' : text.startsWith('Infinity', i) ? 'Infinity' : null;
      const literal = word ?? (text.startsWith('-Infinity', i) ? '-Infinity' : null);
      if (literal === null) continue;
      replaced.add(literal);
      pieces.push(text.slice(from, i), 'null');
      i += literal.length - 1;
      from = i + 1;
    }
  }
  if (replaced.size === 0) return { clean: text, replaced: [] };
  pieces.push(text.slice(from));
  return { clean: pieces.join(''), replaced: [...replaced] };
}

/** Index of the closing quote of the string that opens at `start`, or the text's end. */
function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x5c) i++;
    else if (c === 0x22) return i;
  }
  return text.length;
}
