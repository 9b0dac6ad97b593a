/** Shards that are not there, and half-written files that may be what is left of them (field case G8-05). */
import { join } from 'node:path';
import { SafetensorsError, readHeader } from 'safetensors-js';
import { grouped } from '../common/errors.ts';
import type { Entry } from './listing.ts';
import type { CheckpointFile, Problem } from './types.ts';
import type { WeightFile } from './weight-file.ts';

const FETCH_AGAIN = 'Fetch the missing file, or save the checkpoint again.';

/** The entry of a file that the checkpoint should have and the folder does not. */
export function missingFile(folder: string, name: string): WeightFile {
  const file: CheckpointFile = { name, path: join(folder, name), bytes: 0, state: 'missing' };
  return { file, tensors: [], metadata: new Map() };
}

/** One problem per missing shard; those of which only a temporary file exists say so and how whole it is. */
export async function missingProblems(
  folder: string,
  missing: readonly string[],
  leftovers: readonly Entry[],
  tensorsIn: (file: string) => number | null,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const name of missing) {
    const count = tensorsIn(name);
    const lost = count === null ? '' : ` with ${grouped(count)} tensors`;
    const leftover = leftovers.find((entry) => entry.name.startsWith(`${name}.`) || entry.name === `.${name}.tmp`);
    problems.push(
      leftover === undefined
        ? {
            severity: 'error',
            code: 'missing-shard',
            file: name,
            message: `${name}${lost} is missing`,
            hint: FETCH_AGAIN,
            ...(count === null ? {} : { details: { tensorCount: count } }),
          }
        : {
            severity: 'error',
            code: 'only-temporary-file',
            file: name,
            message: `${name}${lost} is missing: there is only a temporary file, ${leftover.name}, ${await wholeness(folder, leftover)}`,
            hint: FETCH_AGAIN,
            details: { temporary: leftover.name, bytes: leftover.bytes },
          },
    );
  }
  return problems;
}

/** Temporary files that stand beside a whole file: harmless, but worth clearing up. */
export async function leftoverProblems(
  folder: string,
  leftovers: readonly Entry[],
  missing: readonly string[],
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const entry of leftovers) {
    if (missing.some((name) => entry.name.startsWith(`${name}.`))) continue;
    problems.push({
      severity: 'warning',
      code: 'leftover-file',
      file: entry.name,
      message: `${entry.name} (${grouped(entry.bytes)} bytes) is a temporary file of an interrupted save or download, ${await wholeness(folder, entry)}`,
      hint: 'Remove it when nothing is writing here.',
    });
  }
  return problems;
}

async function wholeness(folder: string, entry: Entry): Promise<string> {
  if (entry.kind !== 'file') return 'unreadable';
  try {
    await readHeader(join(folder, entry.name));
    return 'whole by its header';
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const missing = error.details?.['missing'];
    if (error.code === 'empty-file') return 'empty (0 bytes)';
    if (typeof missing === 'number') return `${grouped(missing)} bytes short`;
    return error.code === 'trailing-bytes' ? 'longer than its header says' : 'not whole';
  }
}
