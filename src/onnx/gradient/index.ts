/**
 * Reverse-mode differentiation of a graph: its nodes are walked backwards, and each operator's rule appends the nodes that compute
 * the gradients of its inputs. Pure; docs/decisions/gradients.md says why it is our own.
 */
import { MoeError } from '../../common/errors.ts';
import type { GraphBuilder, Node, Value } from '../builder.ts';
import * as math from '../ops-math.ts';
import { widen } from './ops.ts';
import { RuleContext } from './rule.ts';
import type { Rule } from './rule.ts';
import { MATH_RULES } from './rules-math.ts';
import { SHAPE_RULES } from './rules-shape.ts';

/** By operator. */
export const RULES: ReadonlyMap<string, Rule> = new Map(Object.entries({ ...MATH_RULES, ...SHAPE_RULES }));

/** Operators whose results do not change by little when their inputs do, or that are made of whole numbers. */
export const PLAIN: ReadonlySet<string> = new Set([
  'ArgMax',
  'Ceil',
  'Compress',
  'ConstantOfShape',
  'CumSum',
  'Equal',
  'Less',
  'Min',
  'Range',
  'Shape',
]);

/** A value whose gradient is known at the start. */
export interface Seed {
  readonly of: Value;
  /** In the shape of `of`; 1 where it is left out, for a value of one element. */
  readonly gradient?: Value;
}

/**
 * Appends to `g` what computes the gradients of the seeds' values with respect to each of `wrt`, and returns them in the values'
 * own shapes; null for one on which nothing depends. `wrt` may hold any float32 values of the graph, node results too.
 * Throws `no-gradient` for an operator that cannot be differentiated.
 */
export function gradients(g: GraphBuilder, seeds: readonly Seed[], wrt: readonly Value[]): readonly (Value | null)[] {
  const nodes = [...g.prologue, ...g.nodes];
  const active = activeValues(g, nodes, wrt);
  const found = new Map<Value, Value>();
  const send = (value: Value, gradient: Value): void => {
    const known = found.get(value);
    found.set(value, known === undefined ? gradient : math.add(g, known, gradient));
  };
  for (const { of, gradient } of seeds) send(of, gradient ?? oneFor(g, of));
  const shared = new Map<string, Value>();
  for (const node of nodes.reverse()) {
    const outputs = node.outputs.map((value) => (active.has(value) ? (found.get(value) ?? null) : null));
    if (outputs.every((value) => value === null)) continue;
    const rule = RULES.get(node.op);
    const context = new RuleContext(g, node, outputs, active, send, shared);
    if (rule === undefined) throw context.fault('cannot be differentiated');
    g.scoped(`gradient/${node.name}`, () => {
      rule(context);
    });
  }
  return wrt.map((value) => {
    const gradient = found.get(value);
    return gradient === undefined || !active.has(value) ? null : widen(g, gradient, value);
  });
}

/** Values through which something of `wrt` is seen. */
function activeValues(g: GraphBuilder, nodes: readonly Node[], wrt: readonly Value[]): ReadonlySet<Value> {
  const active = new Set(wrt);
  for (const value of wrt) {
    if (value.type !== 'float32')
      throw new MoeError('internal', 'no-gradient', `${value.name} is ${value.type}: gradients are of float32 values.`);
  }
  const names = new Set(wrt.map(({ name }) => name));
  for (const node of nodes) {
    if (PLAIN.has(node.op) || !reads(node).some((name) => names.has(name))) continue;
    for (const output of node.outputs)
      if (output.type === 'float32' && g.hints.get(output)?.constant !== true) {
        active.add(output);
        names.add(output.name);
      }
  }
  return active;
}

/** Names of all values that a node reads, those that its branches capture among them. */
function reads(node: Node): string[] {
  const inner = [...node.attributes.values()].flatMap((attribute) =>
    attribute.kind === 'graph' ? attribute.value.nodes.flatMap(({ inputs }) => inputs) : [],
  );
  return [...node.inputs.flatMap((input) => (input === null ? [] : [input.name])), ...inner];
}

function oneFor(g: GraphBuilder, of: Value): Value {
  if (of.shape.every((dim) => dim === 1))
    return g.constant(
      'float32',
      of.shape.map(() => 1),
      [1],
    );
  throw new MoeError('internal', 'no-gradient', `${of.name} has more than one element: give its gradient.`);
}
