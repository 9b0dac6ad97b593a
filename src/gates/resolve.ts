/** Router rows of a plan that come from prompts: found, computed by running the base model, recorded. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { canonicalJson } from '../common/json.ts';
import { throwIfCancelled } from '../evaluate/cancel.ts';
import { encodeRows, expressionDigest } from '../evaluate/resolved.ts';
import type { ResolvedLog } from '../evaluate/resolved.ts';
import type { PromptGate } from '../plan/expr.ts';
import { walkExpr } from '../plan/infer.ts';
import type { Plan } from '../plan/types.ts';
import { isPromptInit } from '../recipe/types.ts';
import { promptGates } from './prompts.ts';
import type { GateRunner } from './types.ts';

/** The prompt gates of a plan by their digests; empty for most plans. */
export function gatesOf(plan: Plan): ReadonlyMap<string, PromptGate> {
  const found = new Map<string, PromptGate>();
  if (!isPromptInit(plan.recipe.router.init)) return found;
  for (const { expr } of plan.tensors)
    walkExpr(expr, (node) => {
      if (node.op === 'prompt-gate') found.set(expressionDigest(node), node);
    });
  return found;
}

/**
 * Computes the rows of every prompt gate that `resolved` does not hold yet. Throws a MoeError `gates-need-runtime` where
 * nobody can run the model, and whatever running it or its tokenizer may throw.
 */
export async function resolveGates(
  plan: Plan,
  resolved: ResolvedLog,
  checkpoints: readonly Checkpoint[],
  runner: GateRunner | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const missing = [...gatesOf(plan)].filter(([digest]) => !resolved.gates.has(digest));
  const [base] = checkpoints;
  if (missing.length === 0 || base === undefined) return;
  if (runner === undefined)
    throw new MoeError(
      'internal',
      'gates-need-runtime',
      'This recipe makes router rows from prompts, which needs the model to be run; that is not possible here.',
      { field: 'router.init', hint: 'Use the command line: moe upcycle.' },
    );
  // Loaded only where it is needed: most plans have no prompts.
  const { tokenizerOf } = await import('../score/tokenizer.ts');
  const { tokenizer } = tokenizerOf(base);
  // One plan has one set of prompts; a set is run once for all its layers.
  const sets = new Map<string, (readonly [string, PromptGate])[]>();
  for (const entry of missing) {
    const key = canonicalJson([entry[1].mode, entry[1].prompts]);
    sets.set(key, [...(sets.get(key) ?? []), entry]);
  }
  await runner(
    base,
    async (model) => {
      for (const gates of sets.values()) {
        throwIfCancelled(signal);
        const [first] = gates;
        if (first === undefined) continue;
        const { mode, prompts } = first[1];
        const layers = gates.map(([, { layer }]) => layer);
        const matrices = await promptGates(model, tokenizer, mode, prompts, layers);
        gates.forEach(([digest, gate], i) => {
          const rows = matrices[i] ?? new Float32Array();
          const [experts, hidden] = gate.shape;
          if (rows.length !== experts * hidden)
            throw new MoeError(
              'internal',
              'gate-shape',
              `The model gave ${rows.length} numbers for the router of layer ${gate.layer}, expected ${experts} × ${hidden}.`,
            );
          resolved.gates.set(digest, { rows: encodeRows(rows) });
        });
      }
    },
    signal,
  );
}
