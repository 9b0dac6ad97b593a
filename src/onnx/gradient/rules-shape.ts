/** Gradient rules of the operators that move data (ops-shape.ts). Only gathers, splits and joins: nothing here adds up in a race. */
import type { Value } from '../builder.ts';
import { dimOf } from '../builder.ts';
import { product, sameDim } from '../dims.ts';
import * as math from '../ops-math.ts';
import * as shape from '../ops-shape.ts';
import type { Dim } from '../types.ts';
import { reshapeLike, sumTo, widen, zerosLike } from './ops.ts';
import type { Rule, RuleContext } from './rule.ts';

/** A narrow gradient stays narrow where all its ones come after the axes that both shapes begin with. */
const reshape: Rule = (c) => {
  c.give(0, () => {
    const [x, y, d] = [c.input(0), c.output(), c.gradient()];
    let common = 0;
    while (common < Math.min(x.shape.length, y.shape.length) && sameDim(x.shape[common] ?? 0, y.shape[common] ?? 1))
      common++;
    const tail = d.shape.slice(common);
    if (tail.some((dim) => dim !== 1) || (tail.length === 0 && x.shape.length === common))
      return reshapeLike(c.g, widen(c.g, d, y), x);
    const dims: Dim[] = [...d.shape.slice(0, common), ...Array<number>(x.shape.length - common).fill(1)];
    return dims.filter((dim) => typeof dim === 'string').length <= 1
      ? shape.reshape(c.g, d, dims)
      : reshapeLike(c.g, widen(c.g, d, y), x);
  });
};

const transpose: Rule = (c) => {
  c.give(0, () => {
    const perm = c.node.attributes.get('perm');
    if (perm?.kind !== 'ints') throw c.fault('has no permutation');
    const inverse = perm.value.map((_, axis) => perm.value.indexOf(axis));
    return shape.transpose(c.g, c.gradient(), inverse);
  });
};

function axisOf(c: RuleContext, of: Value): number {
  const axis = c.int('axis');
  return axis < 0 ? axis + of.shape.length : axis;
}

/** The gradient cut into the parts that were joined. */
const concat: Rule = (c) => {
  const { g } = c;
  const axis = axisOf(c, c.output());
  const parts = c.node.inputs.map((_, index) => c.input(index));
  const dims = parts.map((part) => dimOf(part, axis));
  const hint = g.hints.get(c.output());
  const sizes =
    hint?.sizes ??
    (dims.every((dim) => typeof dim === 'number')
      ? g.constant('int64', [dims.length], dims)
      : shape.concat(
          g,
          parts.map((part) => shape.sizeOf(g, part, axis)),
          0,
        ));
  const whole = c.wide();
  const cut = shape.splitBy(g, hint?.shapeless === true ? shape.withoutShape(g, whole) : whole, sizes, axis, dims);
  cut.forEach((part, index) => {
    c.give(index, () => part);
  });
};

/** The parts' gradients joined; zeros for a part that nothing used. */
const split: Rule = (c) => {
  const { g } = c;
  c.give(0, () => {
    const x = c.input(0);
    const axis = axisOf(c, x);
    const parts = c.node.outputs.map((part, index) => {
      const d = c.gradientOrNull(index);
      return d === null ? zerosLike(g, part) : widen(g, d, part);
    });
    return shape.concat(g, parts, axis, dimOf(x, axis));
  });
};

/**
 * With an inverse (see `GradientHint`): every row of the source gathers what its copies got. Without one, rows are brought back by a
 * product with ones and zeros: right for any indices and the same in every run, at the price of a matrix product; an embedding is
 * better differentiated by its picked rows, which are then added up outside.
 */
const gather: Rule = (c) => {
  const { g } = c;
  c.give(0, () => {
    const [x, indices, d] = [c.input(0), c.input(1), c.wide()];
    if (axisOf(c, x) !== 0) throw c.fault('picks along another axis than the first');
    const picked = product(indices.shape);
    const rows = reshapeRows(c, d, picked, x);
    const inverse = g.hints.get(c.output())?.inverse;
    if (inverse !== undefined) {
      const copies = shape.gather(g, rows, inverse);
      return inverse.shape.length === 1 ? copies : math.reduceSum(g, copies, 1);
    }
    const numbers = shape.range(g, shape.reshape(g, shape.sizeOf(g, x, 0), []), dimOf(x, 0));
    const hits = math.equal(g, shape.reshape(g, indices, [picked, 1]), shape.reshape(g, numbers, [1, dimOf(x, 0)]));
    const width = product(x.shape.slice(1));
    const flat = shape.reshape(g, rows, [picked, width]);
    return reshapeLike(g, math.gemm(g, math.cast(g, hits, 'float32'), flat, { transA: true }), x);
  });
};

/** [indices…, rest…] as [picked, rest…]. */
function reshapeRows(c: RuleContext, d: Value, picked: Dim, x: Value): Value {
  return c.input(1).shape.length === 1 ? d : shape.reshape(c.g, d, [picked, ...x.shape.slice(1)]);
}

const gatherElements: Rule = (c) => {
  const { g } = c;
  c.give(0, () => {
    if (g.hints.get(c.output())?.unique !== true) throw c.fault('may pick an element twice');
    return shape.scatterElements(g, zerosLike(g, c.input(0)), c.input(1), c.wide(), c.int('axis'));
  });
};

const scatterElements: Rule = (c) => {
  const { g } = c;
  const [x, indices, axis] = [c.input(0), c.input(1), c.int('axis')];
  c.give(0, () => shape.scatterElements(g, widen(g, c.gradient(), x), indices, zerosLike(g, c.input(2)), axis));
  c.give(2, () => shape.gatherElements(g, c.wide(), indices, axis));
};

const where: Rule = (c) => {
  const { g } = c;
  const zero = g.scalar(0);
  const pick = (index: number, gradient: () => Value): void => {
    c.give(index, () => sumTo(g, widen(g, gradient(), c.output()), c.output(), c.input(index)));
  };
  pick(1, () => shape.where(g, c.input(0), c.gradient(), zero));
  pick(2, () => shape.where(g, c.input(0), zero, c.gradient()));
};

export const SHAPE_RULES: Readonly<Record<string, Rule>> = {
  Identity: (c) => {
    c.give(0, () => c.gradient());
  },
  Reshape: reshape,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Gather: gather,
  GatherElements: gatherElements,
  ScatterElements: scatterElements,
  Where: where,
};
