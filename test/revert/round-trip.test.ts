/** Dense → MoE → dense, bit for bit, for every family and every recipe that keeps the values. */
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Recipe } from '../../src/recipe/types.ts';
import { revertOutput } from '../../src/revert/index.ts';
import { executePlan } from '../../src/write/index.ts';
import { hashes, planOf, writeDense } from '../write/dense.ts';
import type { DenseOptions } from '../write/dense.ts';

async function roundTrip(changes: Partial<Recipe>, options: DenseOptions): Promise<void> {
  const dense = writeDense(options);
  const { plan, sources } = await planOf([dense], changes);
  const out = join(dirname(dense), 'moe');
  const back = join(dirname(dense), 'back');
  await executePlan(plan, sources, out);
  const report = await revertOutput(out, back);
  expect(report.identical).toBe(true);
  expect(hashes(back)).toEqual(hashes(dense));
}

const f32 = { dtype: 'float32', shard_size: 2000, clone: 'auto' } as const;
const bf16 = { dtype: 'bfloat16', shard_size: 5_000_000_000, clone: 'auto' } as const;

describe('revert gives the dense files back bit for bit', () => {
  const cases: [string, Partial<Recipe>, DenseOptions][] = [
    ['copy', {}, {}],
    ['copy of F32 and F16', {}, { dtype: 'F16' }],
    ['split into slices', { granularity: 2, experts: 8, top_k: 4 }, {}],
    ['permuted neurons', { expert_init: { method: 'permute' } }, {}],
    ['permuted slices', { granularity: 2, experts: 4, top_k: 2, expert_init: { method: 'permute' } }, {}],
    ['dealt by norm', { granularity: 2, experts: 4, top_k: 2, expert_init: { method: 'split', by: 'norm' } }, {}],
    ['dealt at random', { granularity: 4, experts: 8, top_k: 4, expert_init: { method: 'split', by: 'random' } }, {}],
    ['widened and permuted', { output: f32, expert_init: { method: 'permute' } }, {}],
    ['widened from F16', { output: f32 }, { dtype: 'F16' }],
    ['granite, stacked experts', {}, { modelType: 'granite' }],
    ['granite, stacked slices', { granularity: 2, top_k: 4 }, { modelType: 'granite' }],
    ['qwen2, shared plan a', {}, { modelType: 'qwen2' }],
    ['qwen2, shared plan c', { shared_expert: 'c' }, { modelType: 'qwen2' }],
    ['qwen3', {}, { modelType: 'qwen3' }],
    ['olmo2', {}, { modelType: 'olmo2' }],
    ['phi3, fused tensors', { granularity: 2, top_k: 2 }, { modelType: 'phi3', config: { sliding_window: 2047 } }],
    ['some layers only', { layers: [1] }, {}],
    ['three shards', {}, { shards: 3 }],
    // A dropped equal head comes back from the embedding; old rotary tables out of the manifest.
    ['tied with a stored head', {}, { config: { tie_word_embeddings: true }, tiedHead: 'equal' }],
    ['unused tensors', {}, { extra: { 'model.layers.0.self_attn.rotary_emb.inv_freq': Buffer.from('12345678') } }],
    // Noise spoils the experts, but the shared expert of plan c holds the dense network itself.
    [
      'noisy experts beside a shared copy',
      { shared_expert: 'c', expert_init: { method: 'noise', std: 0.1, ratio: 1 } },
      { modelType: 'qwen2' },
    ],
    // Every neuron survives in some of 32 experts (seed fixed; a share of 1/4 is re-drawn in each).
    [
      're-drawn a little in many experts',
      { experts: 32, expert_init: { method: 'drop', ratio: 0.25, variant: 'paper' } },
      {},
    ],
  ];
  it.each(cases)('%s', async (_name, changes, options) => {
    await roundTrip(changes, options);
  });

  it('rounded nothing, though it was narrowed: refused all the same (the plan cannot know)', async () => {
    await expect(roundTrip({ output: bf16 }, { dtype: 'F32' })).rejects.toMatchObject({ code: 'not-revertible' });
  });

  it('any lossless recipe', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          granularity: fc.constantFrom(1, 2, 4),
          replicas: fc.constantFrom(1, 2, 4),
          init: fc.constantFrom<Recipe['expert_init']>(
            { method: 'copy' },
            { method: 'permute' },
            { method: 'split', by: 'random' },
            { method: 'split', by: 'norm' },
          ),
          shards: fc.constantFrom(1, 2),
          model: fc.constantFrom('llama', 'qwen2', 'qwen3', 'granite', 'olmo2'),
          wide: fc.boolean(),
          seed: fc.nat(1000),
        }),
        async ({ granularity, replicas, init, shards, model, wide, seed }) => {
          await roundTrip(
            {
              granularity,
              experts: granularity * replicas,
              top_k: granularity,
              expert_init: init,
              seed,
              ...(wide ? { output: f32 } : {}),
            },
            { modelType: model, shards },
          );
        },
      ),
      { numRuns: 12 },
    );
  });
});
