/**
 * Cost of one sparse MoE block (router, dispatch, experts, combination) over top-k times a dense FFN of one expert's size:
 * forward, and forward with the gradients of input, router and all expert weights. Goals: at most 1.25 and 1.4 for D >= 288
 * and N >= 1024. Arguments: threads rounds weights (default 1, 12 and stored).
 *
 * All gradients are outputs of the graph, so all are computed; only that of the input is fetched, because the binding copies
 * what is fetched, and eight experts' gradients are more bytes than one's whatever they cost to compute.
 */
import { GraphBuilder } from '../../src/onnx/builder.ts';
import type { Value } from '../../src/onnx/builder.ts';
import { gradients } from '../../src/onnx/gradient/index.ts';
import { feedForward, linear } from '../../src/model/layers.ts';
import { mixture } from '../../src/model/moe.ts';
import type { MoeOptions } from '../../src/model/moe.ts';
import { whole } from '../../src/model/weights.ts';
import { specFromConfig } from '../../src/model/spec.ts';
import type { FfnWeights } from '../../src/model/naming.ts';
import type { WeightBinder, WeightRef } from '../../src/model/weights.ts';
import { floats, Session } from '../../src/runtime/session.ts';
import type { SessionSettings } from '../../src/runtime/session.ts';
import { gaussian, interleaved, ms } from './measure.ts';

const [threads, rounds] = [Number(process.argv[2] ?? 1), Number(process.argv[3] ?? 12)];
const weights = process.argv[4] === 'packed' ? 'packed' : 'stored';
const SETTINGS: SessionSettings = { folder: null, weights, threads };

/** Distinct random weights in the model itself. */
class RandomBinder implements WeightBinder {
  readonly #known = new Map<string, ReturnType<GraphBuilder['initializer']>>();
  constructor(private readonly g: GraphBuilder) {}
  /** Every weight, in order of first use. */
  get all(): readonly Value[] {
    return [...this.#known.values()];
  }
  raw(ref: WeightRef): ReturnType<GraphBuilder['initializer']> {
    const known = this.#known.get(ref.tensor);
    if (known !== undefined) return known;
    const count = ref.shape.reduce((a, b) => a * b, 1);
    const made = this.g.initializer(ref.tensor, 'float32', ref.shape, {
      kind: 'inline',
      bytes: new Uint8Array(gaussian(count, 0.05, this.#known.size + 1).buffer),
    });
    this.#known.set(ref.tensor, made);
    return made;
  }
  float(ref: WeightRef): ReturnType<GraphBuilder['initializer']> {
    return this.raw(ref);
  }
  needsCast(): boolean {
    return false;
  }
}

async function measure(D: number, F: number, E: number, K: number, N: number): Promise<void> {
  const spec = specFromConfig({
    model_type: 'mixtral',
    hidden_size: D,
    intermediate_size: F,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    num_key_value_heads: 1,
    vocab_size: 8,
    max_position_embeddings: 8,
    num_local_experts: E,
    num_experts_per_tok: K,
  });
  const ffn = spec.layers[0]?.ffn;
  if (ffn?.kind !== 'moe') throw new Error('moe');
  const expert = (e: number): FfnWeights => ({
    gate: whole(`g${e}`, [F, D]),
    up: whole(`u${e}`, [F, D]),
    down: whole(`d${e}`, [D, F]),
    bias: null,
  });
  const block = (
    build: (g: GraphBuilder, x: Value, weights: RandomBinder) => Value,
    backward: boolean,
  ): Promise<Session> => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', ['N', D]);
    const weights = new RandomBinder(g);
    const y = build(g, x, weights);
    g.output('y', y);
    if (backward) {
      const seed = g.input('dy', 'float32', ['N', D]);
      gradients(g, [{ of: y, gradient: seed }], [x, ...weights.all]).forEach((gradient, i) => {
        if (gradient === null) throw new Error('a weight without gradient');
        g.output(i === 0 ? 'dx' : `dw${i}`, gradient);
      });
    }
    return Session.create(g, SETTINGS);
  };
  const names = { router: whole('router', [E, D]), routerBias: null, choiceBias: null, expert, shared: null };
  const moe = (experts: MoeOptions['experts'], backward: boolean): Promise<Session> =>
    block((g, x, w) => mixture(g, spec, ffn, names, w, { experts, capacity: null }, x).output, backward);
  const dense = (backward: boolean): Promise<Session> =>
    block((g, x, w) => feedForward(g, spec, expert(0), x, (v, ref, b) => linear(g, v, w, ref, b)), backward);
  const [x, dy] = [floats(gaussian(N * D, 1, 99), [N, D]), floats(gaussian(N * D, 1, 98), [N, D])];
  const shape = `D ${D} F ${F} E${E}T${K} N ${N}`;
  const compare = async (
    phase: string,
    one: Session,
    others: Readonly<Record<string, Session>>,
    run: (s: Session) => () => Promise<unknown>,
  ): Promise<void> => {
    const t = await interleaved(
      Object.fromEntries([['dense', run(one)], ...Object.entries(others).map(([name, s]) => [name, run(s)] as const)]),
      rounds,
    );
    for (const session of [one, ...Object.values(others)]) await session.release();
    const d = t['dense'];
    if (d === undefined) throw new Error('timings');
    const texts = Object.keys(others).map((name) => {
      const value = t[name];
      if (value === undefined) throw new Error('timings');
      return `${name} ${ms(value.wall)} ms = ${(value.cpu / d.cpu / K).toFixed(2)} cpu, ${(value.wall / d.wall / K).toFixed(2)} wall`;
    });
    console.log(`${shape} ${phase}: dense x1 ${ms(d.wall)} ms (cpu ${ms(d.cpu)}); ${texts.join('; ')}`);
  };
  await compare(
    'forward',
    await dense(false),
    { branch: await moe('branch', false), flat: await moe('flat', false) },
    (s) => () => s.run({ x }, ['y']),
  );
  await compare(
    'forward + backward',
    await dense(true),
    { flat: await moe('flat', true) },
    (s) => () => s.run({ x, dy }, ['y', 'dx']),
  );
}

for (const [D, F] of [
  [288, 768],
  [576, 1536],
  [1024, 2816],
] as const) {
  await measure(D, F, 8, 2, 1024);
}
await measure(576, 1536, 4, 2, 1024);
await measure(288, 768, 8, 2, 4096);
await measure(576, 384, 64, 8, 1024);
await measure(576, 384, 64, 8, 4096);
