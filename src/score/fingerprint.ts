/** What tells one set of weights from another without reading them. */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import type { Checkpoint } from '../checkpoint/types.ts';

/** sha256 over config, tensor table and each file's size and time of change. */
export function fingerprintOf(checkpoint: Checkpoint): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify(checkpoint.config));
  for (const { name, dtype, shape, file, begin } of checkpoint.tensors.values())
    hash.update(JSON.stringify([name, dtype, shape, file, begin]));
  for (const { name, path } of checkpoint.files) {
    const facts = statSync(path, { throwIfNoEntry: false });
    hash.update(JSON.stringify([name, facts?.size ?? null, facts?.mtimeMs ?? null]));
  }
  return hash.digest('hex');
}
