/** The plan's hash: sha256 of everything that decides the output's bytes; no path, preset name or clone setting is in it. */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../common/json.ts';
import type { Expr } from './expr.ts';
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
  for (const source of plan.sources) {
    hash.update('\nsource\n');
    const lines: string[] = [];
    for (const [name, tensor] of source.tensors) lines.push(`${counted(name)} ${tensor.dtype} ${tensor.shape.join()}`);
    lines.sort();
    hash.update(lines.join('\n'));
  }
  for (const file of plan.files) {
    hash.update(`\nfile ${file.name} ${String(file.headerBytes)} ${String(file.dataBytes)} ${file.cloneOf ?? '-'}`);
  }
  // Replicas share expression objects: each is put into words once.
  const texts = new Map<Expr, string>();
  const wordsOf = (expr: Expr): string => {
    if (expr.op === 'source') return `source ${String(expr.from)} ${counted(expr.tensor)}`;
    const known = texts.get(expr) ?? canonicalJson(expr);
    texts.set(expr, known);
    return known;
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
