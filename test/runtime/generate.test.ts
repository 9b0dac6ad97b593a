/** Decoding with a cache gives what a run of the whole sequence gives; packed rows give what separate rows give. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { packSegments } from '../../src/model/masks.ts';
import { argMax } from '../../src/model/sampling.ts';
import { Decoder, generate } from '../../src/runtime/generate.ts';
import type { FinishReason, GeneratedToken } from '../../src/runtime/generate.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { floatData } from '../../src/runtime/session.ts';
import { openFolder } from './folder.ts';
import { mixtralConfig, mixtralSource, sequence, worst } from './random-model.ts';

const forward = path.resolve(import.meta.dirname, '../forward');
const running = fs.readdirSync(path.join(forward, 'fixtures-running'));
const SETTINGS = { weights: 'stored', threads: 1 } as const;

function fixture(name: string): RunnableModel {
  const { config, source } = openFolder(
    path.join(forward, running.includes(name) ? 'fixtures-running' : 'fixtures', name),
  );
  return new RunnableModel(config, source, SETTINGS);
}

async function collect(
  model: RunnableModel,
  prompt: readonly number[],
  options: Parameters<typeof generate>[2],
): Promise<{ tokens: GeneratedToken[]; reason: FinishReason }> {
  const tokens: GeneratedToken[] = [];
  const run = generate(model, prompt, options);
  for (;;) {
    const next = await run.next();
    if (next.done === true) return { tokens, reason: next.value };
    tokens.push(next.value);
  }
}

describe('cache', () => {
  it.each(['llama', 'mistral-window', 'qwen2-window', 'gemma', 'olmo2', 'granitemoe', 'phi3', ...running])(
    '%s: steps of any size equal one whole run',
    async (name) => {
      const model = fixture(name);
      const ids = Array.from({ length: 12 }, (_, i) => (i * 5) % 11);
      const whole = await model.logits({ rows: [ids] });
      for (const cuts of [[12], [5, 1, 1, 5], [1, 11]]) {
        const decoder = new Decoder(model);
        let at = 0;
        for (const size of cuts) {
          const { logits } = await decoder.advance(ids.slice(at, at + size));
          at += size;
          expect(worst(logits, whole.data.subarray((at - 1) * whole.vocabulary, at * whole.vocabulary))).toBeLessThan(
            1e-5,
          );
        }
        expect(decoder.length).toBe(12);
      }
      await model.release();
    },
  );

  it('grows, and prompts longer than one piece are cut', async () => {
    const shape = { experts: 4, topK: 2, layers: 1, window: 9 };
    const model = new RunnableModel(
      { ...mixtralConfig(shape), max_position_embeddings: 4096 },
      mixtralSource(shape, 1),
      SETTINGS,
    );
    const ids = sequence(700, 3);
    const decoder = new Decoder(model, true);
    const { logits, traces } = await decoder.advance(ids);
    const whole = await model.logits({ rows: [ids] });
    expect(worst(logits, whole.data.subarray(699 * whole.vocabulary))).toBeLessThan(1e-5);
    expect(traces[0]?.chosen).toEqual((await model.traces({ rows: [ids] }))[0]?.chosen);
    await model.release();
  });
});

describe('generation', () => {
  it('greedy is the argmax of whole runs; log-probabilities and traces come along', async () => {
    const shape = { experts: 4, topK: 2 };
    const model = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 2), SETTINGS);
    const prompt = sequence(3, 8);
    const { tokens, reason } = await collect(model, prompt, { maxTokens: 8, traces: true, stop: [] });
    expect(reason).toBe('length');
    let ids = [...prompt];
    for (const token of tokens) {
      const logits = await model.logits({ rows: [ids] });
      const last = logits.data.subarray((ids.length - 1) * logits.vocabulary);
      expect(token.id).toBe(argMax(last));
      const total = last.reduce((sum, v) => sum + Math.exp(v), 0);
      expect(token.logprob).toBeCloseTo(Math.log(Math.exp(last[token.id] ?? 0) / total), 4);
      ids = [...ids, token.id];
    }
    expect(tokens.map((token) => token.traces[0]?.chosen.length)).toEqual([6, 2, 2, 2, 2, 2, 2, 2]);
    await model.release();
  });

  it('stops at a stop token, at the context, and repeats by seed', async () => {
    const shape = { experts: 2, topK: 1, layers: 1 };
    const model = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 4), SETTINGS);
    const free = await collect(model, [1, 2], { maxTokens: 5, stop: [] });
    const first = free.tokens[0]?.id ?? -1;
    expect(await collect(model, [1, 2], { maxTokens: 5, stop: [first] })).toMatchObject({
      reason: 'stop',
      tokens: [{ id: first }],
    });
    const full = await collect(model, sequence(60, 1), { maxTokens: 50, stop: [] });
    expect(full.reason).toBe('context');
    expect(full.tokens).toHaveLength(5);
    const draw = async (seed: number): Promise<number[]> =>
      (await collect(model, [1, 2], { maxTokens: 20, stop: [], temperature: 1.5, topP: 0.95, seed })).tokens.map(
        (t) => t.id,
      );
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
    await model.release();
  });

  it('refuses an empty prompt and foreign tokens', async () => {
    const shape = { experts: 2, topK: 1, layers: 1 };
    const model = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 4), SETTINGS);
    await expect(collect(model, [], { maxTokens: 1 })).rejects.toMatchObject({ code: 'no-tokens' });
    await expect(collect(model, [17], { maxTokens: 1 })).rejects.toMatchObject({ code: 'token-out-of-range' });
    await expect(collect(model, [-1], { maxTokens: 1 })).rejects.toMatchObject({ code: 'token-out-of-range' });
    await model.release();
  });
});

describe('packed rows and targets', () => {
  it.each(['llama', 'mistral-window', 'qwen2_moe', 'deepseek_v3', 'gpt_oss'])(
    '%s: endings that share a prefix score as they do alone',
    async (name) => {
      const model = fixture(name);
      const context = [3, 8, 11, 2, 7, 1];
      const endings = [[4], [5, 6, 2], [9, 9]];
      const row = packSegments([{ ids: context, parent: -1 }, ...endings.map((ids) => ({ ids, parent: 0 }))]);
      const at: number[] = [];
      const targets: number[] = [];
      endings.forEach((ids, e) => {
        ids.forEach((id, i) => {
          at.push(i === 0 ? context.length - 1 : (row.starts[e + 1] ?? 0) + i - 1);
          targets.push(id);
        });
      });
      const packed = await model.targets(model.packedFeeds(row), at, targets);
      let k = 0;
      for (const ids of endings) {
        const whole = [...context, ...ids];
        const logits = await model.logits({ rows: [whole] });
        for (const [i, id] of ids.entries()) {
          const here = context.length - 1 + i;
          const values = logits.data.subarray(here * logits.vocabulary, (here + 1) * logits.vocabulary);
          const total = values.reduce((sum, v) => sum + Math.exp(v), 0);
          expect(packed.logprob[k]).toBeCloseTo((values[id] ?? 0) - Math.log(total), 4);
          expect(packed.greedy[k]).toBe(argMax(values));
          k++;
        }
      }
      expect(k).toBe(packed.logprob.length);
      await model.release();
    },
  );

  it('chosen rows are rows of the whole', async () => {
    const shape = { experts: 4, topK: 2 };
    const model = new RunnableModel(mixtralConfig(shape), mixtralSource(shape, 2), SETTINGS);
    const rows = [sequence(4, 1), sequence(6, 2)];
    const all = await model.logits({ rows });
    const some = await model.logitsAt({ rows }, [3, 11]);
    expect(some.rows).toBe(2);
    expect(
      worst(some.data.subarray(0, some.vocabulary), all.data.subarray(3 * all.vocabulary, 4 * all.vocabulary)),
    ).toBeLessThan(1e-6);
    expect(
      worst(some.data.subarray(some.vocabulary), all.data.subarray(11 * all.vocabulary, 12 * all.vocabulary)),
    ).toBeLessThan(1e-6);
    const session = await model.session({ head: 'none', hidden: [0, 2] });
    const hidden = await session.run(model.feeds({ rows }), ['hidden.0', 'hidden.2']);
    expect(floatData(hidden.get('hidden.2'), 'hidden.2')).toHaveLength(12 * 8);
    await model.release();
  });
});
