/** Writing model.safetensors.index.json anew from the files' headers. Only ever on the user's word. */
import { join } from 'node:path';
import { buildIndex } from 'safetensors-js';
import { listed } from '../checkpoint/errors.ts';
import { openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';

const DEFAULT_NAME = 'model.safetensors.index.json';

export interface RebuiltIndex {
  readonly path: string;
  /** Tensors in the new index. */
  readonly entries: number;
  readonly totalSize: number;
  /** Tensors that the old index did not have, or gave another file. */
  readonly added: readonly string[];
  /** Tensors of the old index that are in no file. */
  readonly removed: readonly string[];
}

/**
 * Rebuilds the index of a folder (or of the index named). Throws MoeError `cannot-rebuild-index` where a file is missing or
 * refused, or a tensor lies in two files: an index that hides that would be worse than none.
 */
export async function rebuildIndex(
  path: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<RebuiltIndex> {
  const cp = await openCheckpoint(path, { ...options, lenient: true });
  refuseBroken(cp);
  const name = cp.index?.name ?? DEFAULT_NAME;
  const text = buildIndex(
    [...cp.tensors.values()].map(({ name: tensor, file, bytes }) => ({ name: tensor, file, bytes })),
  );
  const target = join(cp.root, name);
  await writeReplacing(target, text);
  const old = cp.index?.weightMap ?? new Map<string, string>();
  return {
    path: target,
    entries: cp.tensors.size,
    totalSize: [...cp.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0),
    added: [...cp.tensors.values()].filter(({ name: tensor, file }) => old.get(tensor) !== file).map((t) => t.name),
    removed: [...old.keys()].filter((tensor) => !cp.tensors.has(tensor)),
  };
}

function refuseBroken(cp: Checkpoint): void {
  const refuse = (message: string, hint: string, file?: string): never => {
    throw new MoeError('input', 'cannot-rebuild-index', message, { hint, ...(file === undefined ? {} : { file }) });
  };
  if (cp.format !== 'hf' || cp.planOnly || cp.pieces !== undefined || cp.tensors.size === 0) {
    refuse('An index is made for a folder of whole safetensors files', 'Name such a folder.');
  }
  const broken = cp.files.filter((file) => file.state !== 'ok').map((file) => file.name);
  if (broken.length > 0) {
    refuse(
      `The index is not rebuilt while files are missing or refused: ${listed(broken)}`,
      'Mend them first.',
      broken[0],
    );
  }
  const twice = cp.problems.find((problem) => problem.code === 'duplicate-tensor');
  if (twice !== undefined)
    refuse(`The index is not rebuilt: ${twice.message}`, 'Remove the wrong file first.', twice.file);
}

async function writeReplacing(target: string, text: string): Promise<void> {
  try {
    await writeWhole(target, text);
  } catch (error) {
    const full = systemCodeOf(error) === 'ENOSPC' || systemCodeOf(error) === 'EDQUOT';
    throw new MoeError(
      full ? 'resources' : 'input',
      full ? 'disk-full' : 'cannot-write',
      `${target} cannot be written: ${messageOf(error)}`,
      { file: target, hint: full ? 'Free some space.' : 'Check that the folder may be written to.' },
      { cause: error },
    );
  }
}
