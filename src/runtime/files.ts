/** Weight files as ONNX Runtime wants them: real paths under one folder (links that leave the folder are refused by it). */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { MoeError, systemCodeOf } from '../common/errors.ts';
import type { Locate, WeightSource } from '../model/weights.ts';

export interface PlacedFiles {
  /** Folder for `session.model_external_initializers_file_folder_path`; null when no weight lies in a file. */
  readonly folder: string | null;
  readonly locate: Locate;
}

/**
 * Resolves links of all files that the source points into (hub caches are links into another folder) and finds the folder
 * that holds them all. Throws a MoeError for a file that is gone or for files on different drives.
 */
export function placeFiles(source: WeightSource): PlacedFiles {
  const real = new Map<string, string>();
  for (const name of source.names()) {
    const data = source.get(name)?.data;
    if (data?.kind === 'file' && !real.has(data.file)) real.set(data.file, realPath(data.file));
  }
  const paths = [...real.values()];
  if (paths.length === 0) return { folder: null, locate: (file) => file };
  const folder = commonFolder(paths);
  const locate: Locate = (file) => {
    const resolved = real.get(file);
    if (resolved === undefined) throw new Error(`${file} is not one of the source's files`);
    return path.relative(folder, resolved).split(path.sep).join('/');
  };
  return { folder, locate };
}

function realPath(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch (error) {
    throw new MoeError(
      'input',
      'weight-file-unreadable',
      `The weight file ${file} cannot be read (${systemCodeOf(error) ?? 'unknown error'}).`,
      { file },
      { cause: error },
    );
  }
}

/** The deepest folder that holds all paths. */
export function commonFolder(paths: readonly string[]): string {
  const [first] = paths;
  if (first === undefined) throw new Error('no paths');
  const root = path.parse(first).root;
  const foreign = paths.find((other) => path.parse(other).root !== root);
  if (foreign !== undefined) {
    throw new MoeError(
      'input',
      'weights-on-several-drives',
      `Weight files lie on several drives (${first} and ${foreign}), which ONNX Runtime cannot read together.`,
      {
        hint: 'Put the whole checkpoint on one drive.',
      },
    );
  }
  let parts = path.dirname(first).slice(root.length).split(path.sep);
  for (const other of paths) {
    const theirs = path.dirname(other).slice(root.length).split(path.sep);
    let same = 0;
    while (same < parts.length && same < theirs.length && parts[same] === theirs[same]) same++;
    parts = parts.slice(0, same);
  }
  return root + parts.join(path.sep);
}
