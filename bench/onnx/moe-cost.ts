/**
 * Cost of one sparse MoE block (router, dispatch, experts, combination) over top-k times a dense FFN of one expert's size.
 * Goal: at most 1.25 for D >= 288 and N >= 1024. Arguments: threads rounds (default 1 and 12).
 */
import { GraphBuilder } from '../../src/onnx/builder.ts';
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
const SETTINGS: SessionSettings = { folder: null, weights: 'stored', threads };

/** Distinct random weights in the model itself. */
class RandomBinder implements WeightBinder {
  readonly #known = new Map<string, ReturnType<GraphBuilder['initializer']>>();
  constructor(private readonly g: GraphBuilder) {}
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
  const moe = async (experts: MoeOptions['experts']): Promise<Session> => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', ['N', D]);
    const names = { router: whole('router', [E, D]), expert, shared: null };
    g.output('y', mixture(g, spec, ffn, names, new RandomBinder(g), { experts, capacity: null }, x).output);
    return Session.create(g, SETTINGS);
  };
  const dense = async (): Promise<Session> => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', ['N', D]);
    const weights = new RandomBinder(g);
    g.output(
      'y',
      feedForward(g, spec, expert(0), x, (v, w, b) => linear(g, v, weights, w, b)),
    );
    return Session.create(g, SETTINGS);
  };
  const sessions = { dense: await dense(), branch: await moe('branch'), flat: await moe('flat') };
  const x = floats(gaussian(N * D, 1, 99), [N, D]);
  const run = (session: Session) => () => session.run({ x }, ['y']);
  const t = await interleaved(
    { dense: run(sessions.dense), branch: run(sessions.branch), flat: run(sessions.flat) },
    rounds,
  );
  for (const session of Object.values(sessions)) await session.release();
  const [d, b, f] = [t['dense'], t['branch'], t['flat']];
  if (d === undefined || b === undefined || f === undefined) throw new Error('timings');
  const ratio = (value: { wall: number; cpu: number }): string =>
    `${(value.cpu / d.cpu / K).toFixed(2)} cpu, ${(value.wall / d.wall / K).toFixed(2)} wall`;
  console.log(
    `D ${D} F ${F} E${E}T${K} N ${N}: dense x1 ${ms(d.wall)} ms (cpu ${ms(d.cpu)}); branch ${ms(b.wall)} ms = ${ratio(b)}; flat ${ms(f.wall)} ms = ${ratio(f)}`,
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
