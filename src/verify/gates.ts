/** Router rows that came from prompts: the model is run again, and what it gives compared with the record. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { ResolvedLog, decodeRows } from '../evaluate/index.ts';
import { gatesOf, resolveGates } from '../gates/resolve.ts';
import type { GateRunner } from '../gates/types.ts';
import { MANIFEST_NAME } from '../write/documents.ts';
import type { Manifest } from '../write/manifest.ts';
import type { Findings } from './problems.ts';

/** Rows have length 1; other processors and thread counts change the last bits only. */
const TOLERANCE = 1e-4;

/** Adds a check `gates` where the plan has prompt gates; says what is not proven where nothing can run the model. */
export async function checkGates(
  manifest: Manifest,
  checkpoints: readonly Checkpoint[],
  runner: GateRunner | undefined,
  findings: Findings,
  signal: AbortSignal | undefined,
): Promise<void> {
  const gates = gatesOf(manifest.plan);
  if (gates.size === 0) return;
  if (runner === undefined) {
    findings.notProven.push(
      'That the router rows are what the model makes of the prompts: the model was not run, they were compared with the record.',
    );
    return;
  }
  const again = new ResolvedLog();
  await resolveGates(manifest.plan, again, checkpoints, runner, signal);
  let worst = 0;
  let differing = 0;
  for (const [digest, { layer }] of gates) {
    const recorded = decodeRows(manifest.resolved.gates[digest]?.rows ?? '');
    const found = decodeRows(again.gates.get(digest)?.rows ?? '');
    let largest = recorded.length === found.length ? 0 : Infinity;
    found.forEach((value, i) => {
      const off = Math.abs(value - (recorded[i] ?? Number.NaN));
      largest = Math.max(largest, Number.isNaN(off) ? Infinity : off);
    });
    worst = Math.max(worst, largest);
    if (largest <= TOLERANCE) continue;
    differing += 1;
    findings.problem({
      code: 'gates-differ',
      message: `The router rows of layer ${layer} are not what the model makes of the prompts: they differ by up to ${largest.toPrecision(2)} (allowed ${TOLERANCE}).`,
      file: MANIFEST_NAME,
    });
  }
  findings.check(
    'gates',
    differing === 0,
    `router rows of ${gates.size} layers made again from the prompts; largest difference ${worst.toPrecision(2)}`,
  );
  if (differing === 0) findings.proven.push('Router rows are what the source model makes of the recipe’s prompts.');
}
