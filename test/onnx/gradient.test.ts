/** Gradient rules, one operator at a time, against central differences of plain float64 arithmetic. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import type { Value } from '../../src/onnx/builder.ts';
import { gradients, PLAIN, RULES } from '../../src/onnx/gradient/index.ts';
import * as math from '../../src/onnx/ops-math.ts';
import * as shape from '../../src/onnx/ops-shape.ts';
import { logSumExp } from '../../src/onnx/ops-sum.ts';

interface Array_ {
  readonly dims: readonly number[];
  readonly values: readonly number[];
}

/** The same operator twice: as a graph, and in float64. */
interface Case {
  readonly inputs: readonly (readonly number[])[];
  readonly build: (g: GraphBuilder, ...x: readonly Value[]) => Value;
  readonly plain: (...x: readonly Array_[]) => readonly number[];
  /** Values from which inputs are made; all between -1 and 1 otherwise. */
  readonly from?: (random: number, index: number) => number;
}

/** Numbers in [-1, 1) without a pattern that an operator could share. */
const noise = (i: number, seed: number): number => 2 * ((Math.sin(i * 12.9898 + seed * 78.233) * 43758.5453) % 1) * 0.5;

async function check({ inputs, build, plain, from }: Case): Promise<void> {
  const given = inputs.map((dims, index): Array_ => {
    const count = dims.reduce((a, b) => a * b, 1);
    const values = Array.from({ length: count }, (_, i) =>
      Math.fround((from ?? ((r) => r))(noise(i + 1, index + 1), index)),
    );
    return { dims, values };
  });
  const g = new GraphBuilder('t');
  const x = given.map(({ dims }, i) => g.input(`x${i}`, 'float32', dims));
  const y = build(g, ...x);
  const seed = g.input('d', 'float32', y.shape);
  const found = gradients(g, [{ of: y, gradient: seed }], x);
  found.forEach((gradient, i) => {
    if (gradient === null) throw new Error(`no gradient of input ${i}`);
    expect(gradient.shape).toEqual(x[i]?.shape);
    g.output(`g${i}`, gradient);
  });
  g.output('y', y);
  const size = y.shape.reduce((a: number, b) => a * Number(b), 1);
  const weights = Array.from({ length: size }, (_, i) => Math.fround(noise(i + 1, 99)));
  const session = await InferenceSession.create(g.serialize(), {
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  });
  const results = await session.run({
    ...Object.fromEntries(
      given.map(({ dims, values }, i) => [`x${i}`, new Tensor('float32', Float32Array.from(values), dims)]),
    ),
    d: new Tensor('float32', Float32Array.from(weights), y.shape.map(Number)),
  });
  await session.release();
  const forward = plain(...given);
  expect(forward.length).toBe(size);
  close(results['y']?.data as Float32Array, forward, 3e-6);
  given.forEach((input, at) => {
    const numeric = input.values.map((_, i) => {
      const moved = (step: number): number => {
        const values = input.values.map((value, j) => (i === j ? value + step : value));
        return plain(...given.map((one, k) => (k === at ? { ...one, values } : one))).reduce(
          (sum, value, j) => sum + value * (weights[j] ?? 0),
          0,
        );
      };
      return (moved(1e-5) - moved(-1e-5)) / 2e-5;
    });
    close(results[`g${at}`]?.data as Float32Array, numeric, 5e-6);
  });
}

function close(found: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expect(found.length).toBe(expected.length);
  const scale = Math.max(1, ...expected.map(Math.abs));
  expected.forEach((value, i) => {
    expect(Math.abs((found[i] ?? Number.NaN) - value), `element ${i}: ${found[i]} against ${value}`).toBeLessThan(
      tolerance * scale,
    );
  });
}

const strides = (dims: readonly number[]): number[] =>
  dims.map((_, axis) => dims.slice(axis + 1).reduce((a, b) => a * b, 1));

/** f over two arrays broadcast against each other. */
function broadcast(f: (a: number, b: number) => number, a: Array_, b: Array_): number[] {
  const rank = Math.max(a.dims.length, b.dims.length);
  const padded = (x: Array_): number[] => [...Array<number>(rank - x.dims.length).fill(1), ...x.dims];
  const [pa, pb] = [padded(a), padded(b)];
  const out = pa.map((dim, axis) => Math.max(dim, pb[axis] ?? 1));
  const at = (x: Array_, dims: readonly number[], index: readonly number[]): number =>
    x.values[strides(dims).reduce((sum, s, axis) => sum + (dims[axis] === 1 ? 0 : s * (index[axis] ?? 0)), 0)] ??
    Number.NaN;
  const steps = strides(out);
  return Array.from({ length: out.reduce((p, q) => p * q, 1) }, (_, flat) => {
    const index = steps.map((s, axis) => Math.floor(flat / s) % (out[axis] ?? 1));
    return f(at(a, pa, index), at(b, pb, index));
  });
}

/** Rows of the last axis. */
const rows = ({ dims, values }: Array_): number[][] => {
  const width = dims.at(-1) ?? 1;
  return Array.from({ length: values.length / width }, (_, i) => values.slice(i * width, (i + 1) * width));
};
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const softmaxRow = (row: readonly number[]): number[] => {
  const e = row.map(Math.exp);
  return e.map((value) => value / sum(e));
};
/** erf by its series, for |x| below 3. */
const erf = (x: number): number => {
  let [term, total] = [x, x];
  for (let n = 1; n < 60; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
};

const each =
  (f: (x: number) => number) =>
  ({ values }: Array_): number[] =>
    values.map(f);
const wide = (r: number): number => 3 * r;
/** Away from 0. */
const positive = (r: number): number => 1.5 + r;

const CASES: Readonly<Record<string, Case>> = {
  sigmoid: { inputs: [[5]], build: math.sigmoid, plain: each((x) => 1 / (1 + Math.exp(-x))), from: wide },
  tanh: { inputs: [[5]], build: math.tanh, plain: each(Math.tanh), from: wide },
  exp: { inputs: [[5]], build: math.exp, plain: each(Math.exp) },
  log: { inputs: [[5]], build: math.log, plain: each(Math.log), from: positive },
  relu: { inputs: [[6]], build: math.relu, plain: each((x) => Math.max(0, x)) },
  silu: { inputs: [[6]], build: math.silu, plain: each((x) => x / (1 + Math.exp(-x))), from: wide },
  gelu: {
    inputs: [[9]],
    build: (g, x) => math.gelu(g, x as Value, 'none'),
    plain: each((x) => (x / 2) * (1 + erf(x / Math.SQRT2))),
    from: wide,
  },
  'gelu by tanh': {
    inputs: [[9]],
    build: (g, x) => math.gelu(g, x as Value, 'tanh'),
    plain: each((x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))),
    from: wide,
  },
  clamp: {
    inputs: [[8]],
    build: (g, x) => math.clamp(g, x as Value, 0.4),
    plain: each((x) => Math.min(0.4, Math.max(-0.4, x))),
  },
  softmax: {
    inputs: [[3, 4]],
    build: (g, x) => math.softmax(g, x as Value),
    plain: (x) => rows(x).flatMap(softmaxRow),
  },
  'log-sum-exp, in runs': {
    inputs: [[2, 1025]],
    build: (g, x) => logSumExp(g, x as Value),
    plain: (x) => rows(x).map((row) => Math.log(sum(row.map(Math.exp)))),
  },
  'reduce max': {
    inputs: [[3, 4]],
    build: (g, x) => math.reduceMax(g, x as Value, 1),
    plain: (x) => rows(x).map((row) => Math.max(...row)),
  },
  'sum of the first axis': {
    inputs: [[3, 2]],
    build: (g, x) => math.reduceSum(g, x as Value, 0),
    plain: (x) => [0, 1].map((i) => sum(rows(x).map((row) => row[i] ?? 0))),
  },
  'RMS norm': {
    inputs: [[2, 3, 4], [4]],
    build: (g, x, w) => math.rmsNorm(g, x as Value, w as Value, 0.01),
    plain: (x, w) =>
      rows(x).flatMap((row) => {
        const r = 1 / Math.sqrt(sum(row.map((v) => v * v)) / row.length + 0.01);
        return row.map((v, i) => v * r * (w?.values[i] ?? 0));
      }),
  },
  'top-k values': {
    inputs: [[3, 5]],
    build: (g, x) => math.topK(g, x as Value, 2)[0],
    plain: (x) => rows(x).flatMap((row) => [...row].sort((a, b) => b - a).slice(0, 2)),
  },
  transpose: {
    inputs: [[2, 3]],
    build: (g, x) => shape.transpose(g, x as Value, [1, 0]),
    plain: (x) => [0, 1, 2].flatMap((i) => rows(x).map((row) => row[i] ?? 0)),
  },
  'rows picked twice': {
    inputs: [[3, 2]],
    build: (g, x) => shape.gather(g, x as Value, g.constant('int64', [2, 2], [2, 0, 2, 2])),
    plain: (x) => [2, 0, 2, 2].flatMap((i) => rows(x)[i] ?? []),
  },
  'parts, one of them unused': {
    inputs: [[5, 2]],
    build: (g, x) => {
      const [a, , c] = shape.split(g, x as Value, [1, 2, 2], 0);
      return shape.concat(g, [c as Value, a as Value], 0);
    },
    plain: (x) => [3, 4, 0].flatMap((i) => rows(x)[i] ?? []),
  },
  'scattered elements': {
    inputs: [
      [2, 3],
      [2, 1],
    ],
    build: (g, x, u) => shape.scatterElements(g, x as Value, g.constant('int64', [2, 1], [2, 0]), u as Value, 1),
    plain: (x, u) => rows(x).flatMap((row, i) => row.map((v, j) => (j === [2, 0][i] ? (u?.values[i] ?? 0) : v))),
  },
  where: {
    inputs: [[3, 2], [2]],
    build: (g, a, b) => shape.where(g, g.constant('bool', [3, 1], [1, 0, 1]), a as Value, b as Value),
    plain: (a, b) => rows(a).flatMap((row, i) => (i === 1 ? (b?.values ?? []) : row)),
  },
  'a sum used in its whole shape': {
    // The sum's gradient is narrow; the reshape splits the axis along which it is.
    inputs: [[2, 6]],
    build: (g, x) =>
      math.reduceSum(
        g,
        math.mul(g, shape.reshape(g, x as Value, [2, 3, 2]), shape.reshape(g, x as Value, [2, 3, 2])),
        1,
      ),
    plain: (x) => rows(x).flatMap((row) => [0, 1].map((i) => sum([0, 2, 4].map((j) => (row[i + j] ?? 0) ** 2)))),
  },
};

describe('the gradient of', () => {
  it.each(Object.keys(CASES))('%s', async (name) => {
    const one = CASES[name];
    if (one === undefined) throw new Error(name);
    await check(one);
  });

  const shapes: readonly (readonly [readonly number[], readonly number[]])[] = [
    [
      [2, 3],
      [2, 3],
    ],
    [[2, 3], [3]],
    [[3], [2, 3]],
    [
      [2, 1, 3],
      [4, 1],
    ],
    [[1], [2, 2]],
    [[], [3]],
  ];
  const binary = {
    add: [math.add, (a: number, b: number) => a + b],
    sub: [math.sub, (a: number, b: number) => a - b],
    mul: [math.mul, (a: number, b: number) => a * b],
    div: [math.div, (a: number, b: number) => a / b],
  } as const;
  for (const [name, [build, plain]] of Object.entries(binary))
    it.each(shapes)(`${name} of %j and %j`, async (a, b) => {
      await check({
        inputs: [a, b],
        build: (g, x, y) => build(g, x as Value, y as Value),
        plain: (x, y) => broadcast(plain, x as Array_, y as Array_),
        from: (r) => 1.5 + r,
      });
    });

  it.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])('matrix products, transposed %s and %s', async (transA, transB) => {
    const product = (x: Array_, y: Array_, alpha: number, batch = 0): number[] => {
      const [m, k, n] = [2, 3, 4];
      const a = (i: number, j: number): number => x.values[batch * m * k + (transA ? j * m + i : i * k + j)] ?? 0;
      const b = (i: number, j: number): number => y.values[transB ? j * k + i : i * n + j] ?? 0;
      return Array.from({ length: m * n }, (_, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        return alpha * sum([0, 1, 2].map((t) => a(i, t) * b(t, j)));
      });
    };
    const [aDims, bDims] = [transA ? [3, 2] : [2, 3], transB ? [4, 3] : [3, 4]];
    await check({
      inputs: [aDims, bDims, [4]],
      build: (g, a, b, bias) =>
        math.gemm(g, a as Value, b as Value, { transA, transB, alpha: 0.5, bias: bias as Value }),
      plain: (a, b, bias) => product(a as Array_, b as Array_, 0.5).map((v, i) => v + (bias?.values[i % 4] ?? 0)),
    });
    // One matrix for all of a batch: its gradient is summed over it.
    await check({
      inputs: [[2, ...aDims], bDims],
      build: (g, a, b) => math.matmul(g, a as Value, b as Value, { transA, transB, alpha: 2 }),
      plain: (a, b) => [0, 1].flatMap((batch) => product(a as Array_, b as Array_, 2, batch)),
    });
  });

  it('a value used many times, along any way', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 6 }), async (steps) => {
        // y ← f(y, x): a chain in which x comes in again and again.
        const graph = (g: GraphBuilder, x: Value, y: Value, step: number): Value =>
          [
            math.add(g, y, x),
            math.mul(g, y, x),
            math.sub(g, x, y),
            math.tanh(g, y),
            math.mul(g, y, math.reduceSum(g, x, 1, true)),
          ][step] ?? y;
        const plain = (x: readonly number[], y: readonly number[], step: number): number[] =>
          y.map((v, i) => {
            const w = x[i] ?? 0;
            const row = Math.floor(i / 3);
            return [v + w, v * w, w - v, Math.tanh(v), v * sum(x.slice(row * 3, row * 3 + 3))][step] ?? v;
          });
        await check({
          inputs: [[2, 3]],
          build: (g, x) => steps.reduce((y, step) => graph(g, x as Value, y, step), x as Value),
          plain: ({ values }) => steps.reduce<readonly number[]>((y, step) => plain(values, y, step), values),
        });
      }),
      { numRuns: 25 },
    ));
});

describe('differentiation', () => {
  it('has a rule for every operator of ops-*.ts, or says that it is plain', () => {
    const folder = join(import.meta.dirname, '../../src/onnx');
    const text = ['ops-math.ts', 'ops-shape.ts'].map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');
    const ops = new Set(
      [...text.matchAll(/(?:emit1?\(\s*|unary\(g, |binary\(g, |reduce\(g, )'([A-Z]\w+)'/g)].map(([, op]) => op ?? ''),
    );
    expect(ops.size).toBeGreaterThan(30);
    expect([...ops].filter((op) => !RULES.has(op) && !PLAIN.has(op))).toEqual([]);
    expect([...RULES.keys()].filter((op) => PLAIN.has(op))).toEqual([]);
  });

  it('gives null for what the loss does not depend on, and refuses what it cannot do', () => {
    const g = new GraphBuilder('t');
    const [x, z] = [g.input('x', 'float32', [2]), g.input('z', 'float32', [2])];
    const ids = g.input('ids', 'int64', [2]);
    const y = math.mul(g, x, x);
    expect(gradients(g, [{ of: y, gradient: x }], [z])).toEqual([null]);
    expect(() => gradients(g, [{ of: y }], [x])).toThrow(/more than one element/);
    expect(() => gradients(g, [{ of: y, gradient: x }], [ids])).toThrow(/int64/);
    const twice = shape.gatherElements(g, x, ids, 0);
    expect(() => gradients(g, [{ of: twice, gradient: z }], [x])).toThrow(/GatherElements.*pick an element twice/);
    const odd = g.emit1('Sin', [x], { type: 'float32', shape: [2] });
    expect(() => gradients(g, [{ of: odd, gradient: z }], [x])).toThrow(/\(Sin\) cannot be differentiated/);
  });
});
