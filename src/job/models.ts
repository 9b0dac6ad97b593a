/** Runs models for a job, in a process of their own. */
import type { GateRunner } from '../gates/types.ts';
import { cacheFolder } from '../infer/cache-folder.ts';
import { inferEntry } from '../infer/entry.ts';
import { gateRunner } from '../infer/gates.ts';

/** For router rows that come from prompts. */
export function jobGates(): GateRunner {
  return gateRunner({ entry: inferEntry(), cacheFolder: cacheFolder(process.env) });
}
