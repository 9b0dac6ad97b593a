/** Operators run in ONNX Runtime and compared with plain arithmetic; shapes that the builder promises are the real ones. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import type { Value } from '../../src/onnx/builder.ts';
import * as math from '../../src/onnx/ops-math.ts';
import * as shape from '../../src/onnx/ops-shape.ts';
import { logSumExp } from '../../src/onnx/ops-sum.ts';

type Inputs = Readonly<
  Record<string, { readonly dims: readonly number[]; readonly values: readonly number[]; readonly type?: 'int64' }>
>;

interface Result {
  readonly dims: readonly number[];
  readonly values: readonly number[];
}

/** Builds, checks the promised shapes against the real ones, and returns the outputs. */
async function run(
  inputs: Inputs,
  symbols: Readonly<Record<string, readonly (number | string)[]>>,
  build: (g: GraphBuilder, x: Readonly<Record<string, Value>>) => Readonly<Record<string, Value>>,
): Promise<Record<string, Result>> {
  const g = new GraphBuilder('t');
  const values = Object.fromEntries(
    Object.entries(inputs).map(([name, { dims, type }]) => [
      name,
      g.input(name, type ?? 'float32', symbols[name] ?? dims),
    ]),
  );
  const outputs = build(g, values);
  for (const [name, value] of Object.entries(outputs)) g.output(name, value);
  const session = await InferenceSession.create(g.serialize(), {
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  });
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, { dims, values: data, type }]) => [
      name,
      type === 'int64'
        ? new Tensor('int64', BigInt64Array.from(data, BigInt), dims)
        : new Tensor('float32', Float32Array.from(data), dims),
    ]),
  );
  const results = await session.run(feeds);
  await session.release();
  return Object.fromEntries(
    Object.entries(outputs).map(([name, value]) => {
      const tensor = results[name];
      if (tensor === undefined) throw new Error(`no output ${name}`);
      expect(tensor.dims.length).toBe(value.shape.length);
      value.shape.forEach((dim, axis) => {
        if (typeof dim === 'number') expect(tensor.dims[axis]).toBe(dim);
      });
      return [name, { dims: tensor.dims, values: Array.from(tensor.data as ArrayLike<number | bigint>, Number) }];
    }),
  );
}

const close = (actual: readonly number[] | undefined, expected: readonly number[]): void => {
  expect(actual).toHaveLength(expected.length);
  expected.forEach((value, i) => expect(actual?.[i]).toBeCloseTo(value, 5));
};

describe('arithmetic', () => {
  it('elementwise and activations', async () => {
    const x = [-2, -0.5, 0, 1, 3];
    const out = await run({ x: { dims: [5], values: x } }, {}, (g, { x: v }) => {
      if (v === undefined) throw new Error('x');
      return {
        silu: math.silu(g, v),
        tanhGelu: math.gelu(g, v, 'tanh'),
        clamp: math.clamp(g, v, 1),
        softmax: math.softmax(g, v),
        max: math.reduceMax(g, v, 0),
        cast: math.cast(g, v, 'int64'),
        same: math.cast(g, v, 'float32') === v ? math.relu(g, v) : math.tanh(g, v),
      };
    });
    close(
      out['silu']?.values,
      x.map((v) => v / (1 + Math.exp(-v))),
    );
    close(
      out['tanhGelu']?.values,
      x.map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))),
    );
    close(out['clamp']?.values, [-1, -0.5, 0, 1, 1]);
    const total = x.reduce((sum, v) => sum + Math.exp(v), 0);
    close(
      out['softmax']?.values,
      x.map((v) => Math.exp(v) / total),
    );
    close(out['max']?.values, [3]);
    close(out['cast']?.values, [-2, 0, 0, 1, 3]);
    close(out['same']?.values, [0, 0, 0, 1, 3]);
  });

  it('matrix products with transposes, bias and broadcast batches', async () => {
    const a = { dims: [2, 3], values: [1, 2, 3, 4, 5, 6] };
    const b = { dims: [2, 3], values: [1, 0, 1, 2, 1, 0] };
    const out = await run(
      { a, b, bias: { dims: [2], values: [10, 20] }, batch: { dims: [2, 1, 3], values: [1, 1, 1, 2, 2, 2] } },
      { a: ['N', 3], batch: ['B', 1, 3] },
      (g, v) => {
        const [x, y, bias, batch] = [v['a'], v['b'], v['bias'], v['batch']];
        if (x === undefined || y === undefined || bias === undefined || batch === undefined) throw new Error('inputs');
        return {
          gemm: math.gemm(g, x, y, { transB: true, bias, alpha: 2 }),
          matmul: math.matmul(g, batch, y, { transB: true, alpha: 0.5 }),
        };
      },
    );
    close(out['gemm']?.values, [2 * 4 + 10, 2 * 4 + 20, 2 * 10 + 10, 2 * 13 + 20]);
    expect(out['matmul']?.dims).toEqual([2, 1, 2]);
    close(out['matmul']?.values, [1, 1.5, 2, 3]);
  });

  it('refuses shapes that do not fit', () => {
    const g = new GraphBuilder('t');
    const x = g.input('x', 'float32', ['N', 3]);
    expect(() => math.gemm(g, x, g.input('w', 'float32', [4, 2]))).toThrow(/3 against 4/);
    expect(() => math.add(g, x, g.input('y', 'float32', ['N', 2]))).toThrow(/cannot be broadcast/);
    expect(() => math.add(g, x, g.constant('int64', [1], [1]))).toThrow(TypeError);
    expect(() => shape.reshape(g, x, ['N', 2])).toThrow(/cannot reshape/);
    expect(() => shape.reshape(g, x, ['M', 3])).toThrow(/cannot reshape/);
  });

  it('RMS norm and rotary embedding, whole and partial', async () => {
    const x = [1, 2, 3, 4, 5, 6, 7, 8];
    const half = [0.1, 0.7];
    const cos = half.map(Math.cos);
    const sin = half.map(Math.sin);
    const inputs: Inputs = {
      x: { dims: [1, 1, 8], values: x },
      w: { dims: [8], values: [1, 1, 1, 1, 2, 2, 2, 2] },
      pos: { dims: [1, 1], values: [1], type: 'int64' },
      cos: { dims: [2, 2], values: [1, 1, ...cos] },
      sin: { dims: [2, 2], values: [0, 0, ...sin] },
    };
    const out = await run(inputs, {}, (g, v) => {
      const [value, weight, pos, c, s] = [v['x'], v['w'], v['pos'], v['cos'], v['sin']];
      if (value === undefined || weight === undefined || pos === undefined || c === undefined || s === undefined)
        throw new Error('inputs');
      return {
        norm: math.rmsNorm(g, value, weight, 1e-5),
        two: math.rotary(g, value, pos, c, s, 2, 4),
        partial: math.rotary(g, value, pos, c, s, 1, 4),
      };
    });
    const scale = 1 / Math.sqrt(204 / 8 + 1e-5);
    close(
      out['norm']?.values,
      x.map((v, i) => v * scale * (i < 4 ? 1 : 2)),
    );
    // Element i of the first half turns against element i of the second half of its head.
    const turn = (head: readonly number[]): number[] =>
      [0, 1]
        .map((i) => (head[i] ?? 0) * (cos[i] ?? 0) - (head[i + 2] ?? 0) * (sin[i] ?? 0))
        .concat([0, 1].map((i) => (head[i + 2] ?? 0) * (cos[i] ?? 0) + (head[i] ?? 0) * (sin[i] ?? 0)));
    close(out['two']?.values, [...turn([1, 2, 3, 4]), ...turn([5, 6, 7, 8])]);
    close(out['partial']?.values, [...turn([1, 2, 3, 4]), 5, 6, 7, 8]);
  });

  it('top-k breaks ties by the lower index, also along the first axis with a run-time k', async () => {
    const out = await run(
      { x: { dims: [2, 4], values: [1, 3, 3, 2, 0, 0, 0, 0] }, k: { dims: [1], values: [1], type: 'int64' } },
      {},
      (g, v) => {
        const [x, k] = [v['x'], v['k']];
        if (x === undefined || k === undefined) throw new Error('inputs');
        const [values, indices] = math.topK(g, x, 2);
        const [, rows] = math.topK(g, x, { value: k, dim: 'c' }, 0);
        return { values, indices, rows, arg: math.argMax(g, x), sums: math.cumSum(g, x, 1, true) };
      },
    );
    expect(out['values']?.values).toEqual([3, 3, 0, 0]);
    expect(out['indices']?.values).toEqual([1, 2, 0, 1]);
    expect(out['rows']?.values).toEqual([0, 0, 0, 0]);
    expect(out['arg']?.values).toEqual([1, 0]);
    expect(out['sums']?.values).toEqual([0, 1, 4, 7, 0, 0, 0, 0]);
  });
});

describe('moving data', () => {
  it('reshapes by constants, by copying and by run-time sizes', async () => {
    const values = Array.from({ length: 24 }, (_, i) => i);
    const out = await run({ x: { dims: [2, 3, 4], values } }, { x: ['B', 'T', 4] }, (g, v) => {
      const x = v['x'];
      if (x === undefined) throw new Error('x');
      const flat = shape.reshape(g, x, ['B*T', 4]);
      const heads = shape.reshape(g, flat, ['B', 'T', 2, 2]);
      return { flat, heads, swapped: shape.reshape(g, shape.transpose(g, heads, [0, 2, 1, 3]), ['B', 2, '2*T']) };
    });
    expect(out['flat']?.dims).toEqual([6, 4]);
    expect(out['heads']?.dims).toEqual([2, 3, 2, 2]);
    expect(out['swapped']?.dims).toEqual([2, 2, 6]);
    expect(out['swapped']?.values.slice(0, 12)).toEqual([0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]);
  });

  it('gathers, scatters, splits, joins and fills', async () => {
    const inputs: Inputs = {
      x: { dims: [3, 2], values: [1, 2, 3, 4, 5, 6] },
      at: { dims: [2, 2], values: [2, 0, 1, 1], type: 'int64' },
      sizes: { dims: [3], values: [2, 0, 1], type: 'int64' },
      pick: { dims: [3, 1], values: [1, 0, 1], type: 'int64' },
    };
    const out = await run(inputs, { x: ['N', 2] }, (g, v) => {
      const [x, at, sizes, pick] = [v['x'], v['at'], v['sizes'], v['pick']];
      if (x === undefined || at === undefined || sizes === undefined || pick === undefined) throw new Error('inputs');
      const [a, b, c] = shape.splitBy(g, x, sizes, 0, ['n0', 'n1', 'n2']);
      if (a === undefined || b === undefined || c === undefined) throw new Error('split');
      const empty = shape.filled(g, shape.shapeOf(g, pick), pick.shape, 'float32', 9);
      return {
        gathered: shape.gather(g, x, at),
        elements: shape.gatherElements(g, x, pick, 1),
        scattered: shape.scatterElements(g, x, pick, empty, 1),
        a,
        b,
        joined: shape.concat(g, [c, b, a], 0, 'N'),
        where: shape.where(g, math.less(g, x, g.scalar(3.5)), x, g.scalar(0)),
        range: shape.range(g, shape.reshape(g, g.symbol('N'), []), 'N'),
      };
    });
    expect(out['gathered']?.values).toEqual([5, 6, 1, 2, 3, 4, 3, 4]);
    expect(out['elements']?.values).toEqual([2, 3, 6]);
    expect(out['scattered']?.values).toEqual([1, 9, 9, 4, 5, 9]);
    expect(out['a']?.values).toEqual([1, 2, 3, 4]);
    expect(out['b']?.dims).toEqual([0, 2]);
    expect(out['joined']?.values).toEqual([5, 6, 1, 2, 3, 4]);
    expect(out['where']?.values).toEqual([1, 2, 3, 0, 0, 0]);
    expect(out['range']?.values).toEqual([0, 1, 2]);
  });

  it('runs one of two branches, which see the graph around them', async () => {
    const build = (condition: number): Promise<Record<string, Result>> =>
      run(
        { x: { dims: [2], values: [1, 2] }, n: { dims: [1], values: [condition], type: 'int64' } },
        { x: ['N'] },
        (g, v) => {
          const [x, n] = [v['x'], v['n']];
          if (x === undefined || n === undefined) throw new Error('inputs');
          const doubled = math.add(g, x, x);
          const yes = g.branch(() => math.mul(g, doubled, g.scalar(10)));
          const no = g.branch(() => g.emit1('Identity', [x], { type: 'float32', shape: x.shape }));
          const y = g.emit1(
            'If',
            [math.less(g, g.constant('int64', [1], [0]), n)],
            { type: 'float32', shape: x.shape },
            { attributes: { then_branch: yes, else_branch: no } },
          );
          // `doubled` is used inside a branch by name: naming it as an output must not break that.
          return { y, doubled };
        },
      );
    expect((await build(1))['y']?.values).toEqual([20, 40]);
    expect((await build(0))['y']?.values).toEqual([1, 2]);
  });
});

describe('sums of long rows', () => {
  // A vocabulary: one likely token, tens of thousands of unlikely ones, each far below the last bit of the sum.
  it.each([49152, 32003, 50257, 512, 7])('logSumExp of %d values is right to the last bits', async (size) => {
    const rows = [0, 1, 2].map((row) =>
      Array.from({ length: size }, (_, i) => Math.fround(i === 3 ? 12 + row : Math.sin(i * 12.9898 + row) * 1.5 - 1)),
    );
    const { y } = await run({ x: { dims: [3, size], values: rows.flat() } }, { x: ['M', size] }, (g, { x }) => {
      if (x === undefined) throw new Error('no input');
      return { y: logSumExp(g, x) };
    });
    expect(y?.dims).toEqual([3, 1]);
    rows.forEach((row, i) => {
      const top = Math.max(...row.slice(0, 100));
      const exact = top + Math.log(row.reduce((sum, value) => sum + Math.exp(value - top), 0));
      // One plain ReduceSum is wrong by up to 4e-5 here.
      expect(Math.abs((y?.values[i] ?? Number.NaN) - exact)).toBeLessThan(2e-6);
    });
  });
});
