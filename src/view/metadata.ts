/** `__metadata__` of safetensors and the key-values of GGUF, as texts to show. */
import { open } from 'node:fs/promises';
import { readHeader } from 'safetensors-js';
import type { Checkpoint } from '../checkpoint/types.ts';
import { grouped } from '../common/errors.ts';
import { scanGgufHeader } from '../gguf/header.ts';
import type { GgufArray, GgufValue } from '../gguf/types.ts';
import type { Overview } from './wire-types.ts';

type Metadata = Overview['metadata'];

const MAX_VALUE = 2000;
const MAX_KEYS = 10_000;
/** Headers up to this size are parsed again for their metadata; of larger ones only the beginning is looked at. */
const WHOLE_HEADER = 8 * 2 ** 20;
const BEGINNING = 2 ** 18;

export interface FoundMetadata {
  readonly entries: Metadata;
  /** What was left out. */
  readonly note: string | null;
}

/** Metadata of the first readable file. Never throws for what lies on disk. */
export async function metadataOf(cp: Checkpoint): Promise<FoundMetadata> {
  const file = cp.files.find(({ state }) => state === 'ok') ?? cp.files.find(({ state }) => state === 'unreadable');
  if (file === undefined || cp.planOnly) return { entries: [], note: null };
  if (cp.format === 'gguf') {
    const scan = scanGgufHeader(file.path);
    return shown([...scan.metadata].map(([key, value]) => [key, ggufText(value)]));
  }
  try {
    const handle = await open(file.path, 'r');
    let size: number;
    let beginning: string;
    try {
      const buffer = Buffer.alloc(BEGINNING);
      const { bytesRead } = await handle.read(buffer, 0, BEGINNING, 0);
      if (bytesRead < 10) return { entries: [], note: null };
      size = Number(buffer.readBigUInt64LE(0));
      beginning = buffer.toString('utf8', 8, Math.min(bytesRead, 8 + size));
    } finally {
      await handle.close();
    }
    const early = metadataAtStart(beginning);
    if (early !== null) return shown(early);
    if (size > WHOLE_HEADER) {
      return {
        entries: [],
        note: `not looked for: the header of ${file.name} has ${grouped(size)} bytes and does not begin with it`,
      };
    }
    return shown([...(await readHeader(file.path)).metadata]);
  } catch {
    // The checkpoint's problems say what is wrong with the file.
    return { entries: [], note: null };
  }
}

/** `{"__metadata__":{…}` where a header begins with it, as writers do; null where it does not, or is cut. */
function metadataAtStart(text: string): [string, string][] | null {
  const found = /^\s*\{\s*"__metadata__"\s*:\s*(\{\s*(?:"(?:[^"\\]|\\.)*"\s*:\s*"(?:[^"\\]|\\.)*"\s*,?\s*)*\})/.exec(
    text,
  );
  if (found?.[1] === undefined) return null;
  try {
    const value: unknown = JSON.parse(found[1]);
    if (typeof value !== 'object' || value === null) return null;
    return Object.entries(value).map(([key, member]) => [key, String(member)]);
  } catch {
    return null;
  }
}

function shown(pairs: readonly (readonly [string, string])[]): FoundMetadata {
  const entries = pairs.slice(0, MAX_KEYS).map(([key, value]) => ({
    key: key.slice(0, MAX_VALUE),
    value: value.slice(0, MAX_VALUE),
    cut: value.length > MAX_VALUE || key.length > MAX_VALUE,
  }));
  const left = pairs.length - entries.length;
  return { entries, note: left > 0 ? `${grouped(left)} more keys are left out` : null };
}

function ggufText(value: GgufValue): string {
  return typeof value === 'object' ? arrayText(value) : String(value);
}

function arrayText(array: GgufArray): string {
  const { values } = array;
  const some: string[] = [];
  for (let i = 0; i < Math.min(values.length, 20); i++) {
    const value = values[i];
    some.push(
      typeof value === 'object' ? arrayText(value) : typeof value === 'string' ? JSON.stringify(value) : String(value),
    );
  }
  const more = values.length > some.length ? `, … (${grouped(values.length)} values)` : '';
  return `[${some.join(', ')}${more}]`;
}
