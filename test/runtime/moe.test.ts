/** The MoE block: same numbers in every way of building it, capacity dropping, traces, layouts, weights in two bytes. */
import { describe, expect, it } from 'vitest';
import { FORWARD_DEFAULTS } from '../../src/model/forward.ts';
import type { ForwardOptions } from '../../src/model/forward.ts';
import type { Capacity } from '../../src/model/moe.ts';
import type { WeightEntry } from '../../src/model/weights.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { floatData } from '../../src/runtime/session.ts';
import { sourceOf } from './folder.ts';
import { HIDDEN_SIZE, mixtralConfig, mixtralSource, mixtralWeights, sequence, WIDTH, worst } from './random-model.ts';
import type { MixtralShape } from './random-model.ts';

const SETTINGS = { weights: 'stored', threads: 1 } as const;

async function logitsWith(
  model: RunnableModel,
  ids: readonly number[],
  options: Partial<ForwardOptions>,
): Promise<Float32Array> {
  const session = await model.session({ ...FORWARD_DEFAULTS, ...options });
  return floatData((await session.run(model.feeds({ rows: [ids] }), ['logits'])).get('logits'), 'logits');
}

describe('dispatch', () => {
  const shapes: readonly MixtralShape[] = [
    { experts: 1, topK: 1 },
    { experts: 4, topK: 1 },
    { experts: 4, topK: 2 },
    { experts: 3, topK: 3 },
    // More experts than assignments: most are idle.
    { experts: 24, topK: 2 },
    { experts: 64, topK: 8, layers: 1 },
  ];
  it.each(shapes)('branches and flat nodes give the same, $experts experts top-$topK', async (shape) => {
    const model = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 7), SETTINGS);
    for (const length of [1, 5]) {
      const ids = sequence(length, length);
      const branch = await logitsWith(model, ids, { experts: 'branch' });
      const flat = await logitsWith(model, ids, { experts: 'flat' });
      expect(worst(branch, flat)).toBeLessThan(1e-6);
    }
    await model.release();
  });

  it('equal experts are one dense FFN, whatever the router says', async () => {
    const shape = { experts: 6, topK: 2 };
    const weights = mixtralWeights(shape, 3);
    for (const [name, entry] of [...weights]) {
      const source = weights.get(name.replace(/experts\.\d+\./, 'experts.0.'));
      weights.set(name, source ?? entry);
    }
    const dense = mixtralWeights({ experts: 1, topK: 1 }, 3);
    for (const name of dense.keys()) {
      const same = weights.get(name);
      if (same !== undefined && !name.includes('gate.weight')) dense.set(name, same);
    }
    const moe = new RunnableModel(mixtralConfig(shape), sourceOf(weights), SETTINGS);
    const one = new RunnableModel(mixtralConfig({ experts: 1, topK: 1 }), sourceOf(dense), SETTINGS);
    const ids = sequence(12, 1);
    expect(worst((await moe.logits({ rows: [ids] })).data, (await one.logits({ rows: [ids] })).data)).toBeLessThan(
      2e-6,
    );
    await moe.release();
    await one.release();
  });

  it('a batch is the same as its rows alone, pads or not', async () => {
    const shape = { experts: 5, topK: 2, window: 3 };
    const model = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 9), SETTINGS);
    const rows = [sequence(7, 1), sequence(3, 2), sequence(5, 3)];
    const together = await model.logits({ rows });
    for (const [i, ids] of rows.entries()) {
      const alone = await model.logits({ rows: [ids] });
      const start = i * 7 * together.vocabulary;
      expect(worst(together.data.subarray(start, start + alone.data.length), alone.data)).toBeLessThan(1e-6);
    }
    await model.release();
  });
});

describe('expert layouts', () => {
  const shape = { experts: 4, topK: 2 };
  const join = (entries: readonly (WeightEntry | undefined)[], dims: readonly number[]): WeightEntry => {
    const parts = entries.map((entry) => {
      if (entry?.data.kind !== 'memory') throw new Error('in memory');
      return entry.data.bytes;
    });
    return { dtype: 'F32', shape: dims, data: { kind: 'memory', bytes: new Uint8Array(Buffer.concat(parts)) } };
  };
  const packed = (gateUp: string, down: string, router: string): ReadonlyMap<string, WeightEntry> => {
    const weights = mixtralWeights(shape, 5);
    const result = new Map([...weights].filter(([name]) => !name.includes('block_sparse_moe')));
    for (let layer = 0; layer < 2; layer++) {
      const at = `model.layers.${layer}.`;
      const experts = Array.from({ length: shape.experts }, (_, e) => `${at}block_sparse_moe.experts.${e}.`);
      result.set(
        at + gateUp,
        join(
          experts.flatMap((e) => [weights.get(`${e}w1.weight`), weights.get(`${e}w3.weight`)]),
          [shape.experts, 2 * WIDTH, HIDDEN_SIZE],
        ),
      );
      result.set(
        at + down,
        join(
          experts.map((e) => weights.get(`${e}w2.weight`)),
          [shape.experts, HIDDEN_SIZE, WIDTH],
        ),
      );
      result.set(at + router, join([weights.get(`${at}block_sparse_moe.gate.weight`)], [shape.experts, HIDDEN_SIZE]));
    }
    return result;
  };
  it.each([
    ['packed by transformers 5', 'mlp.experts.gate_up_proj', 'mlp.experts.down_proj', 'mlp.gate.weight'],
    [
      'fused as granitemoe',
      'block_sparse_moe.input_linear.weight',
      'block_sparse_moe.output_linear.weight',
      'block_sparse_moe.router.layer.weight',
    ],
  ])('%s: bit for bit the same logits', async (_name, gateUp, down, router) => {
    const each = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 5), SETTINGS);
    const stacked = new RunnableModel(mixtralConfig(shape), sourceOf(packed(gateUp, down, router)), SETTINGS);
    const ids = sequence(9, 4);
    expect((await stacked.logits({ rows: [ids] })).data).toEqual((await each.logits({ rows: [ids] })).data);
    await each.release();
    await stacked.release();
  });
});

describe('weights in two bytes', () => {
  it.each(['BF16', 'F16'] as const)('%s kept as stored, widened once, and widened beforehand agree', async (dtype) => {
    const shape = { experts: 4, topK: 2 };
    const source = mixtralSource(shape, 11, dtype);
    const stored = new RunnableModel(mixtralConfig(shape), source, SETTINGS);
    const widened = new RunnableModel(mixtralConfig(shape), source, { weights: 'packed', threads: 1 });
    const ids = sequence(9, 4);
    const [a, b] = [await stored.logits({ rows: [ids] }), await widened.logits({ rows: [ids] })];
    expect(worst(a.data, b.data)).toBeLessThan(1e-6);
    expect(a.data.every(Number.isFinite)).toBe(true);
    await stored.release();
    await widened.release();
  });
});

describe('capacity', () => {
  const shape = { experts: 4, topK: 2, layers: 1 };
  const ids = sequence(13, 21);

  /** What must be kept: computed from the traces in plain loops. */
  function expectedKept(chosen: readonly number[], probabilities: readonly number[][], capacity: Capacity): boolean[] {
    const [n, k, e] = [ids.length, shape.topK, shape.experts];
    const room = Math.ceil(((n * (capacity.convention === 'megatron' ? k : 1)) / e) * capacity.factor - 1e-9);
    const kept = Array<boolean>(n * k).fill(false);
    for (let expert = 0; expert < e; expert++) {
      const queue = Array.from({ length: n }, (_, token) => token).filter((token) =>
        chosen.slice(token * k, token * k + k).includes(expert),
      );
      if (capacity.policy === 'probability')
        queue.sort((a, b) => (probabilities[b]?.[expert] ?? 0) - (probabilities[a]?.[expert] ?? 0));
      for (const token of queue.slice(0, room))
        kept[token * k + chosen.slice(token * k, token * k + k).indexOf(expert)] = true;
    }
    return kept;
  }

  const cases: Capacity[] = (['megatron', 'paper'] as const).flatMap((convention) =>
    (['position', 'probability'] as const).flatMap((policy) =>
      [0.5, 1, 4].map((factor): Capacity => ({ factor, convention, policy })),
    ),
  );
  it.each(cases)('$convention, $policy, factor $factor: exactly the right assignments count', async (capacity) => {
    const model = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 13), SETTINGS);
    const options: Partial<ForwardOptions> = { capacity, head: 'none', hidden: [1], traces: true };
    const session = await model.session(options);
    const results = await session.run(model.feeds({ rows: [ids] }), ['hidden.1']);
    const [trace] = await model.traces({ rows: [ids] });
    if (trace === undefined) throw new Error('no trace');
    const probabilities = ids.map((_, token) => {
      const row = Array.from(trace.logits.subarray(token * 4, token * 4 + 4));
      const total = row.reduce((sum, v) => sum + Math.exp(v), 0);
      return row.map((v) => Math.exp(v) / total);
    });
    const kept = expectedKept(trace.chosen, probabilities, capacity);
    // The block's output is linear in the mixing weights: rebuild it from single-expert runs.
    const plain = await model.session({ head: 'none', hidden: [1] });
    const full = floatData((await plain.run(model.feeds({ rows: [ids] }), ['hidden.1'])).get('hidden.1'), 'hidden.1');
    const actual = floatData(results.get('hidden.1'), 'hidden.1');
    const dropped = kept.map((k) => !k);
    ids.forEach((_, token) => {
      const rowsDiffer =
        worst(
          actual.subarray(token * HIDDEN_SIZE, (token + 1) * HIDDEN_SIZE),
          full.subarray(token * HIDDEN_SIZE, (token + 1) * HIDDEN_SIZE),
        ) > 1e-7;
      expect(rowsDiffer).toBe(dropped[token * 2] === true || dropped[token * 2 + 1] === true);
    });
    if (capacity.factor === 4 && capacity.convention === 'megatron') expect(dropped.includes(true)).toBe(false);
    if (capacity.factor === 0.5) expect(dropped.includes(true)).toBe(true);
    await model.release();
  });
});

describe('traces', () => {
  it('chosen experts are the top-k of the logits, weights their softmax', async () => {
    const shape = { experts: 6, topK: 3 };
    const model = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 17), SETTINGS);
    const ids = sequence(10, 2);
    const traces = await model.traces({ rows: [ids] });
    expect(traces.map((trace) => trace.layer)).toEqual([0, 1]);
    for (const { logits, chosen, weights } of traces) {
      ids.forEach((_, token) => {
        const row = Array.from(logits.subarray(token * 6, token * 6 + 6));
        const order = row
          .map((value, i) => ({ value, i }))
          .sort((a, b) => b.value - a.value)
          .slice(0, 3);
        expect(chosen.slice(token * 3, token * 3 + 3)).toEqual(order.map((o) => o.i));
        const total = order.reduce((sum, o) => sum + Math.exp(o.value), 0);
        order.forEach((o, i) => expect(weights[token * 3 + i]).toBeCloseTo(Math.exp(o.value) / total, 5));
      });
    }
    await model.release();
  });
});
