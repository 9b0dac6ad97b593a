/** What a job is called, and what it writes to. */
import { basename, dirname, resolve } from 'node:path';
import type { JobParams } from '../protocol/jobs.ts';

/** "Upcycle SmolLM2-135M → smol-moe". */
export function titleOf(params: JobParams): string {
  switch (params.kind) {
    case 'upcycle':
      return `Upcycle ${sourceOf(params)} → ${basename(params.out)}`;
    case 'verify':
      return `Verify ${basename(params.out)}`;
    case 'revert':
      return `Revert ${basename(params.out)} → ${basename(params.dest)}`;
    case 'doctor':
      return `Examine ${checkpointName(params.path)}${params.rebuildIndex ? ', index rebuilt' : ''}`;
  }
}

/** Absolute path that only one job at a time may write; null for jobs that only read. */
export function outputOf(params: JobParams): string | null {
  switch (params.kind) {
    case 'upcycle':
      return resolve(params.out);
    case 'revert':
      return resolve(params.dest);
    case 'verify':
    case 'doctor':
      return null;
  }
}

function sourceOf(params: Extract<JobParams, { kind: 'upcycle' }>): string {
  const { from } = params;
  if (from.type === 'plan') return `plan ${basename(from.file)}`;
  if (from.src !== null) return checkpointName(from.src);
  return from.file === null ? 'a recipe' : basename(from.file).replace(/\.moe\.ya?ml$/i, '');
}

/** Weight files are all called alike: the folder names the model. */
function checkpointName(path: string): string {
  const name = basename(path);
  return /^(?:model|pytorch_model|config)\b.*\.(?:safetensors|json|gguf)$/i.test(name)
    ? basename(dirname(path)) || name
    : name;
}
