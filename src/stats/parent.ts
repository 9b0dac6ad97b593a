/** Which dense checkpoint an upcycled one came from, by its manifest, and where it may lie. */
import { open, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import type { JsonObject } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import { configInteger } from '../inspect/moe-config.ts';
import { MANIFEST_NAME } from '../write/documents.ts';

export interface UpcycleRecord {
  readonly recipe: JsonObject;
  /** Names of the sources, for people: a folder, `org/name`, a file. */
  readonly sourceNames: readonly string[];
}

export interface FoundParent {
  readonly path: string;
  readonly name: string;
  readonly why: string;
}

/** The manifest of a million tensors is large; what is asked for stands at its beginning. */
const HEAD_BYTES = 2 ** 22;

/** What the manifest says about how this checkpoint was made; null where there is none that can be read. Never throws. */
export async function upcycleRecord(cp: Checkpoint): Promise<UpcycleRecord | null> {
  try {
    const handle = await open(join(cp.root, MANIFEST_NAME), 'r');
    let text: string;
    try {
      const buffer = Buffer.alloc(HEAD_BYTES);
      text = buffer.toString('utf8', 0, (await handle.read(buffer, 0, HEAD_BYTES, 0)).bytesRead);
    } finally {
      await handle.close();
    }
    // The members before `documents` are small; nested ones are indented further.
    const end = text.indexOf(',\n "documents":');
    const head: unknown = end < 0 ? null : JSON.parse(`${text.slice(0, end)}}`);
    if (!isJsonObject(head) || !isJsonObject(head['recipe'])) return null;
    const names = [...text.matchAll(/\n\{"name":("(?:[^"\\]|\\.)*"),"format":"/g)].map((match) =>
      String(JSON.parse(match[1] ?? '""')),
    );
    return { recipe: head['recipe'], sourceNames: names };
  } catch {
    return null;
  }
}

/**
 * The dense parent, where it lies beside the checkpoint (or where the recipe's path leads from there) and its hidden size is
 * the same; null where it is not found. Never throws.
 */
export async function findParent(cp: Checkpoint, record: UpcycleRecord | null): Promise<FoundParent | null> {
  if (record === null) return null;
  const base = record.recipe['base'];
  const written = [typeof base === 'string' ? base : null, record.sourceNames[0] ?? null];
  const names = written.filter((name): name is string => name !== null && name !== '' && !name.includes('\0'));
  const beside = dirname(cp.root);
  for (const name of new Set(names.flatMap((one) => [one, basename(one)]))) {
    for (const folder of [beside, cp.root, dirname(beside)]) {
      const path = resolve(folder, name);
      if (path === resolve(cp.root) || path === resolve(cp.path)) continue;
      const facts = await stat(path).catch(() => null);
      if (facts === null || !(facts.isDirectory() || /\.(?:gguf|safetensors)$/i.test(path))) continue;
      if (facts.isDirectory() && !(await sameHidden(cp, path))) continue;
      return {
        path,
        name: basename(path),
        why: `${MANIFEST_NAME} names it as the source, and it lies ${folder === beside ? 'beside this checkpoint' : `in ${folder}`}`,
      };
    }
  }
  return null;
}

async function sameHidden(cp: Checkpoint, folder: string): Promise<boolean> {
  const names = ['hidden_size', 'd_model', 'n_embd', 'dim'];
  const own = cp.config === null ? undefined : configInteger(cp.config, names)?.value;
  try {
    const config: unknown = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
    return isJsonObject(config) && configInteger(config, names)?.value === own;
  } catch {
    return false;
  }
}
