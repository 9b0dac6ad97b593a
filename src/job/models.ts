/** Runs models for a job, in a process of their own. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GateRunner } from '../gates/types.ts';
import { cacheFolder } from '../infer/cache-folder.ts';
import { gateRunner } from '../infer/gates.ts';

/** For router rows that come from prompts. */
export function jobGates(): GateRunner {
  const entry = join(dirname(fileURLToPath(import.meta.url)), 'infer.js');
  return gateRunner({ entry, cacheFolder: cacheFolder(process.env) });
}
