/** One safetensors file as part of a checkpoint: its header, or why it has none. */
import { join } from 'node:path';
import { SafetensorsError, readHeader } from 'safetensors-js';
import type { SafetensorsHeader } from 'safetensors-js';
import { MoeError } from '../common/errors.ts';
import { freeBytes, pullHint } from './disk.ts';
import { toProblem } from './errors.ts';
import type { Entry } from './listing.ts';
import type { CheckpointFile, Problem, SourceTensor } from './types.ts';

export interface WeightFile {
  readonly file: CheckpointFile;
  /** In offset order; of a refused file only those whose bytes are all there. */
  readonly tensors: readonly SourceTensor[];
  readonly metadata: ReadonlyMap<string, string>;
  /** Why the file is refused. */
  readonly problem?: Problem;
  /** What was thrown, for a caller that wants to throw it on. */
  readonly cause?: unknown;
}

const NO_METADATA: ReadonlyMap<string, string> = new Map();

/** Reads a file's header. Never throws for what lies on disk: a bad file has a `problem`. */
export async function readWeightFile(folder: string, entry: Entry): Promise<WeightFile> {
  const { name } = entry;
  if (entry.kind === 'dangling') return refused(entry, danglingProblem(entry));
  try {
    const header = await readHeader(entry.linkAsText === true ? entry.real : join(folder, name));
    const file: CheckpointFile = { name, path: entry.real, bytes: header.dataStart + header.dataBytes, state: 'ok' };
    return { file, tensors: tensorsOf(header, name, header.dataBytes), metadata: header.metadata };
  } catch (error) {
    const problem = await withRoom(toProblem(error, name), folder);
    const header = error instanceof SafetensorsError ? error.header : undefined;
    if (header === undefined) return { ...refused(entry, problem), cause: error };
    const have = entry.bytes - header.dataStart;
    return {
      file: { name, path: entry.real, bytes: entry.bytes, state: 'unreadable' },
      tensors: tensorsOf(header, name, have),
      metadata: header.metadata,
      problem,
      cause: error,
    };
  }
}

/** A Git LFS pointer: says what pulling it needs, and what is free. */
async function withRoom(problem: Problem, folder: string): Promise<Problem> {
  const size = problem.details?.['size'];
  if (problem.code !== 'git-lfs-pointer' || typeof size !== 'number') return problem;
  const free = await freeBytes(folder);
  const details = { ...problem.details, neededBytes: size, freeBytes: free };
  return { ...problem, hint: pullHint(size, 1, free), details };
}

/** What to throw where a refused file is all there is; null for a file that is in order. */
export function refusalOf({ file, problem, cause }: WeightFile): MoeError | null {
  if (file.state === 'ok' || problem === undefined) return null;
  const { severity: _, code, message, ...place } = problem;
  return new MoeError('input', code, message, { ...place, file: file.name }, cause === undefined ? {} : { cause });
}

function refused(entry: Entry, problem: Problem): WeightFile {
  const state = entry.kind === 'dangling' ? 'missing' : 'unreadable';
  const file: CheckpointFile = { name: entry.name, path: entry.real, bytes: entry.bytes, state };
  return { file, tensors: [], metadata: NO_METADATA, problem };
}

/** Tensors that end within `have` bytes of data. */
function tensorsOf(header: SafetensorsHeader, file: string, have: number): SourceTensor[] {
  const tensors: SourceTensor[] = [];
  for (const { name, dtype, shape, begin, end } of header.tensors.values()) {
    if (end > have) continue;
    tensors.push({ name, dtype, shape, file, begin: header.dataStart + begin, bytes: end - begin });
  }
  return tensors;
}

/** What to say of a link whose target is not there. */
export function danglingProblem(entry: Entry): Problem {
  const target = entry.link ?? entry.real;
  return {
    severity: 'error',
    code: 'dangling-link',
    file: entry.name,
    message: `${entry.name}: link points to ${target} which does not exist`,
    hint: 'Fetch the file again; a cache that was moved or made with a relative cache_dir leaves such links.',
    details: { link: target, resolved: entry.real },
  };
}
