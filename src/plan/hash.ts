/** The plan's hash: sha256 of everything that decides the output's bytes; no path, preset name or clone setting is in it. */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../common/json.ts';
import type { Expr } from './expr.ts';
import { walkExpr } from './infer.ts';
import type { Plan } from './types.ts';

/** sha256 (hex) over canonical JSON, tensor by tensor so that a large plan needs no large string. */
export function planHash(plan: Omit<Plan, 'hash'>): string {
  const hash = createHash('sha256');
  hash.update(
    canonicalJson({
      schema: plan.schema,
      seed: plan.recipe.seed,
      config: plan.target.config,
      configFloats: plan.target.configFloats,
      preconditions: plan.preconditions.map(({ from, a, b }) => [from, a, b]),
    }),
  );
  for (const file of plan.files) {
    hash.update(`\nfile ${file.name} ${String(file.headerBytes)} ${String(file.dataBytes)} ${file.cloneOf ?? '-'}`);
  }
  // Replicas share expression objects: each is put into words once. A plain copy has the source's dtype and shape; for all
  // else those of what is read belong to the meaning.
  const texts = new Map<Expr, string>();
  const wordsOf = (expr: Expr): string => {
    if (expr.op === 'source') return `source ${String(expr.from)} ${counted(expr.tensor)}`;
    const known = texts.get(expr);
    if (known !== undefined) return known;
    const read: string[] = [];
    walkExpr(expr, (node) => {
      if (node.op !== 'source') return;
      const tensor = plan.sources[node.from]?.tensors.get(node.tensor);
      read.push(`${tensor?.dtype ?? '?'} ${tensor?.shape.join() ?? '?'}`);
    });
    const made = `${canonicalJson(expr)} reads ${read.join(' ')}`;
    texts.set(expr, made);
    return made;
  };
  let block: string[] = [];
  for (const tensor of plan.tensors) {
    block.push(
      `\n${counted(tensor.name)} ${tensor.dtype} ${tensor.shape.join()} ${tensor.file} ${wordsOf(tensor.expr)}`,
    );
    if (block.length === 4096) {
      hash.update(block.join(''));
      block = [];
    }
  }
  hash.update(block.join(''));
  return hash.digest('hex');
}

/** A string behind its length: unambiguous without escaping. */
function counted(text: string): string {
  return `${String(text.length)}:${text}`;
}
