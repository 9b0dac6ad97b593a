/** What a verification that found nothing wrong has proven, and what it cannot prove, in words. */
import { grouped } from '../common/errors.ts';
import { BLOCK_ELEMENTS, floatPool } from '../evaluate/value.ts';
import type { Evaluator } from '../evaluate/index.ts';
import type { Expr } from '../plan/expr.ts';
import { walkExpr } from '../plan/infer.ts';
import type { PlanContents } from '../write/contents.ts';
import type { Manifest } from '../write/manifest.ts';
import type { Findings } from './problems.ts';

type Kind = 'copy' | 'multiple' | 'computed' | 'prompted' | 'generated';

function holds(expr: Expr, op: Expr['op']): boolean {
  let found = false;
  walkExpr(expr, (node) => {
    if (node.op === op) found = true;
  });
  return found;
}

/** True for expressions that only move elements. */
export function isMove(expr: Expr): boolean {
  switch (expr.op) {
    case 'source':
      return true;
    case 'slice':
    case 'reshape':
    case 'take':
      return isMove(expr.of);
    case 'concat':
      return expr.of.every(isMove);
    default:
      return false;
  }
}

export function isPowerOfTwo(x: number): boolean {
  const exponent = Math.log2(Math.abs(x));
  return Number.isInteger(exponent) && 2 ** exponent === Math.abs(x);
}

function kindOf(expr: Expr): Kind {
  if (isMove(expr)) return 'copy';
  if (expr.op === 'scale' && isPowerOfTwo(expr.by) && isMove(expr.of)) return 'multiple';
  if (holds(expr, 'prompt-gate')) return 'prompted';
  return holds(expr, 'source') ? 'computed' : 'generated';
}

/** Elements whose product with a power of two is rounded (overflow, subnormals); 0 proves an exact multiple. */
export function inexactMultiples(evaluator: Evaluator, expr: Extract<Expr, { op: 'scale' }>): number {
  const operand = evaluator.compile(expr.of);
  const product = evaluator.compile(expr);
  const a = floatPool.take(BLOCK_ELEMENTS);
  const b = floatPool.take(BLOCK_ELEMENTS);
  let inexact = 0;
  for (let at = 0; at < operand.elements; at += BLOCK_ELEMENTS) {
    const end = Math.min(operand.elements, at + BLOCK_ELEMENTS);
    operand.numbers(at, end, a);
    product.numbers(at, end, b);
    for (let i = 0; i < end - at; i++) if (!Object.is((a[i] ?? 0) * expr.by, b[i] ?? 0)) inexact += 1;
  }
  floatPool.give(a);
  floatPool.give(b);
  return inexact;
}

function plural(n: number, what: string): string {
  return `${grouped(n)} ${what}${n === 1 ? '' : 's'}`;
}

/** Claims after a comparison with the source, of which `equal` says whether it found all tensors equal. */
export function claimAgainstSource(evaluator: Evaluator, layout: PlanContents, findings: Findings): void {
  const tensors: Record<Kind, number> = { copy: 0, multiple: 0, computed: 0, prompted: 0, generated: 0 };
  const copied = new Set<string>();
  let inexact = 0;
  for (const { expr, targets } of layout.contents) {
    const kind = kindOf(expr);
    tensors[kind] += targets.length;
    if (kind === 'copy') {
      walkExpr(expr, (node) => {
        if (node.op === 'source') copied.add(`${String(node.from)}/${node.tensor}`);
      });
    }
    if (kind === 'multiple' && expr.op === 'scale') inexact += inexactMultiples(evaluator, expr);
  }
  const { proven, notProven } = findings;
  if (tensors.copy > 0) {
    proven.push(
      `${plural(tensors.copy, 'piece')} of the output are byte-equal copies or slices of ${plural(copied.size, 'source tensor')}.`,
    );
  }
  if (tensors.multiple > 0) {
    if (inexact === 0)
      proven.push(
        `${plural(tensors.multiple, 'piece')} are exact power-of-two multiples of their source: no element was rounded.`,
      );
    else
      notProven.push(
        `Multiples by a power of two: ${plural(inexact, 'element')} overflow or become subnormal and were rounded.`,
      );
  }
  if (tensors.computed > 0) {
    proven.push(
      `${plural(tensors.computed, 'piece')} equal, to the bit, what the plan computes from the source (noise, rounding or re-drawn values included).`,
    );
  }
  if (tensors.prompted > 0) {
    proven.push(`${plural(tensors.prompted, 'piece')} are the recorded router rows, rounded to their dtype.`);
  }
  if (tensors.generated > 0)
    proven.push(`${plural(tensors.generated, 'piece')} follow from the seed alone (routers, zeros).`);
}

/** What no comparison of bytes can tell. */
export function claimLimits(manifest: Manifest, findings: Findings): void {
  const { exactness } = manifest.plan;
  findings.notProven.push(
    `That both models compute the same is algebra, not bytes: the plan is ${exactness.class} (${exactness.reason}).`,
  );
}
