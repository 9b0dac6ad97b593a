/** The files beside the weights, and what is wrong with them at first sight. */
import { open } from 'node:fs/promises';
import { parseLfsPointer } from 'safetensors-js';
import { grouped } from '../common/errors.ts';
import type { Entry } from './listing.ts';
import { danglingProblem } from './weight-file.ts';
import type { Problem, Sidecar } from './types.ts';

/** Git LFS pointers are shorter than this. */
const POINTER_BYTES = 1024;

/** Sidecars of a folder. Dead links and Git LFS pointers are left out and reported: copying them on would spread them. */
export async function sidecarsOf(
  others: readonly Entry[],
): Promise<{ readonly sidecars: Sidecar[]; readonly problems: Problem[] }> {
  const sidecars: Sidecar[] = [];
  const problems: Problem[] = [];
  for (const entry of others) {
    if (entry.kind === 'dangling') {
      problems.push(danglingProblem(entry));
      continue;
    }
    if (entry.kind !== 'file') continue;
    if (entry.linkAsText === true) problems.push(linkAsText(entry));
    const pointer = entry.bytes < POINTER_BYTES ? await pointerOf(entry.real) : undefined;
    if (pointer === undefined) {
      sidecars.push({ name: entry.name, path: entry.real, bytes: entry.bytes });
      continue;
    }
    problems.push({
      severity: 'error',
      code: 'git-lfs-pointer',
      file: entry.name,
      message: `${entry.name} is a Git LFS pointer (real size ${grouped(pointer.size)} bytes); run git lfs pull`,
      hint: 'Run git lfs pull in the folder (git lfs install first, if Git LFS is new here).',
      details: { oid: pointer.oid, size: pointer.size },
    });
  }
  return { sidecars, problems };
}

/** A link that was stored as text, and followed. */
export function linkAsText(entry: Entry): Problem {
  return {
    severity: 'warning',
    code: 'link-stored-as-text',
    file: entry.name,
    message: `${entry.name} is a link that was stored as a text file (it holds ${entry.link ?? ''}); its target in the cache is read instead`,
    hint: 'Other programs will not follow it: download again where links are allowed.',
  };
}

async function pointerOf(path: string): ReturnType<typeof readPointer> {
  try {
    return await readPointer(path);
  } catch {
    // Not readable: whoever needs the file will say so with a better reason.
    return undefined;
  }
}

async function readPointer(path: string): Promise<{ readonly oid: string; readonly size: number } | undefined> {
  const handle = await open(path, 'r');
  try {
    return parseLfsPointer(await handle.readFile());
  } finally {
    await handle.close();
  }
}
