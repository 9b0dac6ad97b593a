/** Files that a command writes at its end: looked at before the work, so that hours of it do not end at a missing folder. */
import { constants } from 'node:fs';
import { access, open, stat, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';

/** JSON that belongs to a model, or to what we write of it. */
const OF_A_MODEL =
  /^(?:config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|moe-.*|.*\.index)\.json$/i;

const BEGINS = { json: /^\s*[[{]/, csv: /^\w+,/ } as const;

/**
 * Throws `cannot-write` where a file could not be made, and `output-would-replace` where it would take the place of something that
 * is no result: a model's own file, or one that does not begin as `kind` does. By option; absent ones are passed over.
 */
export async function checkOutputs(
  outputs: Readonly<Record<string, string | undefined>>,
  kind: keyof typeof BEGINS = 'json',
): Promise<void> {
  const seen = new Map<string, string>();
  for (const [option, path] of Object.entries(outputs)) {
    if (path === undefined) continue;
    const twice = seen.get(path);
    if (twice !== undefined)
      throw new MoeError('usage', 'same-output', `--${option} and --${twice} are the same file, ${path}`);
    if (!isDevice(path)) seen.set(path, option);
    await checkOutput(path, BEGINS[kind]);
  }
}

async function checkOutput(path: string, begins: RegExp): Promise<void> {
  const folder = dirname(path);
  const parent = await stat(folder).catch(() => null);
  if (parent?.isDirectory() !== true)
    throw cannotWrite(path, parent === null ? `there is no folder ${folder}` : `${folder} is no folder`);
  const there = await stat(path).catch(() => null);
  if (there?.isDirectory() === true) throw cannotWrite(path, 'it is a folder');
  const replaced = there?.isFile() === true && !isDevice(path);
  // A file is made, or replaced, in its folder; anything else is written to as it is.
  await access(there === null || replaced ? folder : path, constants.W_OK).catch((error: unknown) => {
    throw cannotWrite(path, reasonOf(error));
  });
  if (replaced && (OF_A_MODEL.test(basename(path)) || !(await beginsLike(path, begins))))
    throw new MoeError('input', 'output-would-replace', `${path} exists and is no result; it is not replaced`, {
      file: path,
      hint: 'Name another file.',
    });
}

async function beginsLike(path: string, begins: RegExp): Promise<boolean> {
  const handle = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
    return bytesRead === 0 || begins.test(buffer.toString('latin1', 0, bytesRead));
  } finally {
    await handle.close();
  }
}

/** Writes a file whole or not at all; a pipe or a device is written to as it is. */
export async function writeOutput(path: string, text: string | Iterable<string>): Promise<void> {
  try {
    const there = await stat(path).catch(() => null);
    if (isDevice(path) || (there !== null && !there.isFile()))
      await writeFile(path, typeof text === 'string' ? text : [...text].join(''));
    else await writeWhole(path, text);
  } catch (error) {
    // No room left is told apart from all else by its code.
    const code = systemCodeOf(error);
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') throw error;
    throw cannotWrite(path, reasonOf(error));
  }
}

/** `/dev/stdout` may lead to an ordinary file, and must not be replaced by one. */
function isDevice(path: string): boolean {
  return path.startsWith('/dev/') || path.startsWith('/proc/');
}

function reasonOf(error: unknown): string {
  const code = systemCodeOf(error);
  if (code === 'EACCES' || code === 'EPERM') return 'you may not write there';
  if (code === 'EROFS') return 'its file system is read-only';
  return messageOf(error);
}

function cannotWrite(path: string, why: string): MoeError {
  return new MoeError('input', 'cannot-write', `${path} cannot be written: ${why}`, {
    file: path,
    hint: 'Make the folder, or name another file.',
  });
}
