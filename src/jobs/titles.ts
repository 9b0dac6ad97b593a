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
    case 'eval':
      return `Evaluate ${checkpointName(params.path)}: ${few(params.tasks)}`;
    case 'trace':
      return `Trace ${checkpointName(params.path)}: ${few(params.texts.map(({ name }) => name))}`;
  }
}

/** Absolute path that only one job at a time may write; null for jobs that only read. */
export function outputOf(params: JobParams): string | null {
  switch (params.kind) {
    case 'upcycle':
      return resolve(params.out);
    case 'revert':
      return resolve(params.dest);
    case 'eval':
    case 'trace':
      return resolve(params.out);
    case 'verify':
    case 'doctor':
      return null;
  }
}

/** "mmlu, piqa and 3 more". */
function few(names: readonly string[]): string {
  const rest = names.length - 3;
  return rest > 1 ? `${names.slice(0, 3).join(', ')} and ${String(rest)} more` : names.join(', ');
}

function sourceOf(params: Extract<JobParams, { kind: 'upcycle' }>): string {
  const { from } = params;
  if (from.type === 'plan') return `plan ${basename(from.file)}`;
  if (from.src !== null) return checkpointName(from.src);
  const base = baseIn(from.text ?? '');
  if (base !== null) return checkpointName(base);
  return from.file === null ? 'a recipe' : basename(from.file).replace(/\.moe\.ya?ml$/i, '');
}

/** The base that a recipe names in one line, as recipes of ours and mergekit's do. Only for the title: a guess may fail. */
function baseIn(text: string): string | null {
  const value = /^base(?:_model)?:[ \t]+(.+)$/m.exec(text)?.[1] ?? '';
  const bare = value.replace(/[ \t]+#.*$/, '').trim();
  const name = (/^(["'])(.*)\1$/.exec(bare)?.[2] ?? bare).replace(/[\\/]+$/, '');
  return /^[\[{|>&*!]/.test(name) || name === '' || name === '.' ? null : name;
}

/** Weight files are all called alike: the folder names the model. */
function checkpointName(path: string): string {
  const name = basename(path);
  return /^(?:model|pytorch_model|config)\b.*\.(?:safetensors|json|gguf)$/i.test(name)
    ? basename(dirname(path)) || name
    : name;
}
