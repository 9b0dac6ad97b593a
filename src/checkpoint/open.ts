/**
 * Opening a checkpoint from whatever the user names: a folder, a shard, an index, a config, a GGUF file or a hub cache.
 * Headers only; what a file is, is judged by its content. What is wrong is listed in `problems` as long as anything can be
 * shown; a target that cannot be read at all is a `MoeError` of kind input (exit 3).
 */
import { lstat, open, readlink, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { MAX_HEADER_BYTES, parseLfsPointer, recognise } from 'safetensors-js';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { classify, shardName } from './classify.ts';
import { PICKLE_HINT, listed, throwIfAborted, toMoeError } from './errors.ts';
import { openFolder, pickleError } from './folder.ts';
import { openGguf } from './gguf.ts';
import { chooseSnapshot, emptyFolder, isHubModel, severalModels } from './hub-cache.ts';
import { readConfigFile } from './json-file.ts';
import { entryOf, listFolder } from './listing.ts';
import type { Entry } from './listing.ts';
import { openLoneFile } from './lone-file.ts';
import type { Checkpoint } from './types.ts';

export interface OpenCheckpointOptions {
  readonly signal?: AbortSignal | undefined;
  /** Report a folder whose only weight file is refused instead of throwing (for health checks). */
  readonly lenient?: boolean;
  /** Called after each header of a folder of safetensors files. */
  readonly onHeader?: (done: number, total: number) => void;
}

/**
 * Opens a checkpoint. Throws MoeError `input` where nothing can be shown (with code, file, byte and hint; for truncated files
 * and trailing bytes `details.tensors` names the tensors that are whole), `cancelled` once the signal is aborted.
 */
export async function openCheckpoint(path: string, options: OpenCheckpointOptions = {}): Promise<Checkpoint> {
  throwIfAborted(options.signal);
  const target = resolve(path);
  const kind = await kindOf(target, path);
  return kind === 'folder' ? openFolderAt(target, target, options) : openFileAt(target, options);
}

async function kindOf(target: string, shown: string): Promise<'file' | 'folder'> {
  try {
    const facts = await stat(target);
    if (facts.isDirectory()) return 'folder';
    if (facts.isFile()) return 'file';
    throw new MoeError('input', 'not-a-file', `${shown} is neither a file nor a folder`, {
      file: shown,
      hint: 'Name a model folder, a .safetensors or a .gguf file.',
    });
  } catch (error) {
    if (error instanceof MoeError) throw error;
    const code = systemCodeOf(error);
    const isLink = await lstat(target).then(
      (facts) => facts.isSymbolicLink(),
      () => false,
    );
    if (isLink && code !== 'EACCES') {
      const link = await readlink(target).catch(() => '');
      throw new MoeError(
        'input',
        'dangling-link',
        code === 'ELOOP'
          ? `${shown}: the link leads in a circle`
          : `${shown}: link points to ${link} which does not exist`,
        { file: shown, hint: 'Fetch the file again.', details: { link, resolved: resolve(dirname(target), link) } },
      );
    }
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    throw new MoeError(
      'input',
      missing ? 'not-found' : 'file-unreadable',
      missing ? `${shown} does not exist` : `${shown} cannot be read: ${messageOf(error)}`,
      { file: shown, ...(missing ? { hint: 'Check the path.' } : {}), details: { systemCode: code ?? null } },
      { cause: error },
    );
  }
}

async function openFolderAt(
  folder: string,
  path: string,
  options: OpenCheckpointOptions,
  depth = 0,
): Promise<Checkpoint> {
  const entries = await listFolder(folder);
  if (isHubModel(folder, entries) && depth === 0) {
    return openFolderAt(await chooseSnapshot(folder), path, options, depth + 1);
  }
  if (entries.every((entry) => entry.name.startsWith('.') && entry.kind !== 'folder')) throw emptyFolder(folder);
  const contents = classify(entries);
  if (contents.safetensors.length === 0 && contents.indexes.length === 0) {
    const models = contents.folders.map((entry) => entry.name).filter((name) => name.startsWith('models--'));
    if (models.length === 1 && models[0] !== undefined && contents.gguf.length === 0) {
      return openFolderAt(join(folder, models[0]), path, options);
    }
    if (models.length > 1) throw severalModels(folder, models);
    const gguf = await chooseGguf(folder, contents.gguf);
    if (gguf !== null) return openGguf(gguf, path, options);
    if (contents.pickles.length > 0 && contents.leftovers.length === 0) throw pickleError(contents.pickles);
  }
  return openFolder(folder, entries, {
    path,
    lenient: options.lenient ?? false,
    signal: options.signal,
    onHeader: options.onHeader,
  });
}

/** The one GGUF of a folder, or the first part of a split one; null where there is none. */
async function chooseGguf(folder: string, files: readonly Entry[]): Promise<string | null> {
  const names = files.filter((entry) => entry.kind === 'file').map((entry) => entry.name);
  const [only, ...more] = names;
  if (only === undefined) return null;
  if (more.length === 0) return join(folder, only);
  const parts = names.map((name) => shardName(name.replace(/\.gguf$/i, '.safetensors')));
  const [first] = parts;
  if (
    first !== null &&
    first !== undefined &&
    parts.every((part) => part?.stem === first.stem && part.of === first.of)
  ) {
    return join(folder, only);
  }
  throw new MoeError('input', 'several-gguf', `${folder} holds ${String(names.length)} GGUF files: ${listed(names)}`, {
    file: folder,
    hint: 'Name one of them.',
  });
}

async function openFileAt(target: string, options: OpenCheckpointOptions): Promise<Checkpoint> {
  const folder = dirname(target);
  const name = basename(target);
  const entry = await entryOf(folder, name);
  const head = await readHead(entry.real, name);
  if (head.toString('latin1', 0, 4) === 'GGUF') return openGguf(target, target, options);
  const lfs = parseLfsPointer(head);
  const looks = recognise(head)?.kind;
  if (/\.safetensors$/i.test(name)) return openLoneFile(target, entry, options);
  if (/\.gguf$/i.test(name) && lfs === undefined) return openGguf(target, target, options);
  if (lfs !== undefined) return openLoneFile(target, entry, options);
  if (startsLikeSafetensors(head)) return openLoneFile(target, entry, options);
  if (looks === 'json' || /\.json$/i.test(name)) return openJson(target, options);
  if (looks === 'pickle' || looks === 'zip' || /\.(?:bin|pt|pth|ckpt|pkl)$/i.test(name)) {
    throw new MoeError('input', 'pickle-refused', `${name} is a Python pickle, which is not opened`, {
      file: name,
      hint: PICKLE_HINT,
    });
  }
  const what = recognise(head)?.what;
  throw new MoeError(
    'input',
    'unknown-format',
    `${name} is no checkpoint${what === undefined ? '' : `: it is ${what}`}`,
    {
      file: name,
      hint: 'Name a model folder, a .safetensors or a .gguf file.',
    },
  );
}

/** A safetensors file under another name: a believable length, then '{'. */
function startsLikeSafetensors(head: Buffer): boolean {
  return head.length > 8 && head[8] === 0x7b && head.readBigUInt64LE(0) <= BigInt(MAX_HEADER_BYTES);
}

async function readHead(path: string, name: string): Promise<Buffer> {
  try {
    const handle = await open(path, 'r');
    try {
      const head = Buffer.alloc(1024);
      const { bytesRead } = await handle.read(head, 0, head.length, 0);
      return head.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw toMoeError(error, name);
  }
}

/** An index opens its folder by that index; a config.json (or any other JSON of a model folder) opens the folder. */
async function openJson(target: string, options: OpenCheckpointOptions): Promise<Checkpoint> {
  const folder = dirname(target);
  const name = basename(target);
  const { lenient = false, signal, onHeader } = options;
  const base = { path: target, lenient, signal, onHeader };
  if (/\.safetensors\.index\.json$/i.test(name)) {
    return openFolder(folder, await listFolder(folder), { ...base, index: name });
  }
  let config: Readonly<Record<string, unknown>>;
  try {
    config = (await readConfigFile(target, name)).config;
  } catch (error) {
    throw toMoeError(error, name);
  }
  if (Object.hasOwn(config, 'weight_map')) {
    return openFolder(folder, await listFolder(folder), { ...base, index: name });
  }
  if (name === 'config.json') return openFolderAt(folder, target, options);
  throw new MoeError('input', 'unknown-format', `${name} is neither an index (it has no weight_map) nor config.json`, {
    file: name,
    hint: 'Name the model folder.',
  });
}
