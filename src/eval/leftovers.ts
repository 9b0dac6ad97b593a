/** What an evaluation that has not ended well keeps beside its results file, to go on from. */
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Ending of the results files that the editor opens. */
const RESULTS = /\.moe-eval\.json$/i;

/** Where finished requests are kept until the evaluation is whole. */
export function journalOf(out: string): string {
  return `${out.replace(RESULTS, '')}.moe-eval-journal.jsonl`;
}

/** Where the expert statistics of a journal's requests are kept. */
export function traceStateOf(journal: string): string {
  return `${journal}.traces`;
}

/** Held while a run writes a journal. */
export function lockOf(journal: string): string {
  return `${journal}.lock`;
}

/** Takes away what killed processes left of saved statistics. */
export async function removeHalves(traces: string): Promise<void> {
  const names = await readdir(dirname(traces)).catch(() => []);
  for (const name of names)
    if (name.startsWith(`${basename(traces)}.`) && name.endsWith('.tmp'))
      await rm(join(dirname(traces), name), { force: true });
}

/** Takes away what is kept for `out`, half-written files of a killed process included. */
export async function removeLeftovers(out: string): Promise<void> {
  const journal = journalOf(out);
  const traces = traceStateOf(journal);
  for (const file of [journal, traces, lockOf(journal)]) await rm(file, { force: true });
  await removeHalves(traces);
}
