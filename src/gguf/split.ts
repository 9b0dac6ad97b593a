/**
 * Models that `llama-gguf-split` or the converter cut into parts, NAME-00001-of-00003.gguf: any part opens all. The first part has
 * the metadata; each part has its own tensor table and data.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { MoeError, grouped } from '../common/errors.ts';
import { readGgufHeader } from './header.ts';
import type { GgufHeader, GgufTensor } from './types.ts';

const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/** A whole model: metadata of the first part, tensors of all (each names its file). */
export interface GgufModel extends GgufHeader {
  /** In order; one for a model that is not split. */
  readonly parts: readonly GgufHeader[];
}

/** Number of parts that the file says its model has; 1 for a whole one. */
export function partCount(header: Pick<GgufHeader, 'metadata'>): number {
  const count = header.metadata.get('split.count');
  return typeof count === 'number' && Number.isInteger(count) && count > 1 ? count : 1;
}

/**
 * Opens a model from its file, or from any of its parts.
 * @throws MoeError as `readGgufHeader`; `gguf-split-missing` where parts are absent; `gguf-split` where they do not belong together
 */
export function openGgufModel(path: string): GgufModel {
  const opened = readGgufHeader(path);
  const count = partCount(opened);
  if (count === 1) return { ...opened, parts: [opened] };
  const parts = partPaths(path, opened, count).map((part) => (part === path ? opened : readGgufHeader(part)));
  const tensors = new Map<string, GgufTensor>();
  for (const [i, part] of parts.entries()) {
    if (part.metadata.get('split.no') !== i || partCount(part) !== count) {
      throw mismatch(
        part.path,
        `says that it is part ${String(part.metadata.get('split.no'))} (from 0) of ${partCount(part)}; part ${i} of ${count} is expected`,
      );
    }
    for (const tensor of part.tensors.values()) {
      const other = tensors.get(tensor.name);
      if (other !== undefined)
        throw mismatch(part.path, `tensor "${tensor.name}" is in ${basename(other.file)} too`, tensor.name);
      tensors.set(tensor.name, tensor);
    }
  }
  const [first] = parts;
  if (first === undefined) throw mismatch(path, 'has no parts');
  const total = first.metadata.get('split.tensors.count');
  if (total !== undefined && total !== tensors.size) {
    throw mismatch(first.path, `announces ${String(total)} tensors in all parts, which hold ${grouped(tensors.size)}`);
  }
  const notes = parts.flatMap((part) => part.notes.filter((note) => note.code !== 'gguf-split'));
  return { ...first, path, tensors, notes, parts };
}

function partPaths(path: string, header: GgufHeader, count: number): string[] {
  const match = PART_NAME.exec(basename(path));
  const [, stem, number, total] = match ?? [];
  if (stem === undefined || Number(total) !== count || Number(number) - 1 !== header.metadata.get('split.no')) {
    throw mismatch(
      path,
      `is part ${String(header.metadata.get('split.no'))} (from 0) of ${count}, but its name is not NAME-0000i-of-${String(count).padStart(5, '0')}.gguf`,
    );
  }
  const paths = Array.from({ length: count }, (_, i) =>
    i + 1 === Number(number)
      ? path
      : join(dirname(path), `${stem}-${String(i + 1).padStart(5, '0')}-of-${total ?? ''}.gguf`),
  );
  const missing = paths.filter((part) => !existsSync(part)).map((part) => basename(part));
  if (missing.length === 0) return paths;
  throw new MoeError(
    'input',
    'gguf-split-missing',
    `${path}: ${grouped(missing.length)} of ${count} parts are not beside it: ${missing.slice(0, 5).join(', ')}`,
    {
      file: path,
      hint: 'Put all parts into one folder under their own names.',
      details: { missing: missing.slice(0, 100) },
    },
  );
}

function mismatch(file: string, what: string, tensor?: string): MoeError {
  return new MoeError('input', 'gguf-split', `${file}: ${what}`, {
    file,
    ...(tensor === undefined ? {} : { tensor }),
    hint: 'The parts are of different models or conversions: fetch them again together.',
  });
}
