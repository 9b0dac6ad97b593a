import { describe, expect, it } from 'vitest';
import { buildPlan } from '../../src/plan/build.ts';
import { parsePlan, planJsonChunks } from '../../src/plan/json.ts';
import { checkPlanHolds } from '../../src/plan/replay.ts';
import type { Plan } from '../../src/plan/types.ts';
import type { Recipe } from '../../src/recipe/types.ts';
import { denseConfig, fakeCheckpoint, recipe } from './fakes.ts';

const saved = (plan: Plan): Plan => parsePlan([...planJsonChunks(plan)].join(''), 'p.json');

describe('a saved plan', () => {
  const cases: [string, Partial<Recipe>][] = [
    ['llama', {}],
    ['llama', { layers: 'every:2', router: { init: 'zero', std: 0.02, order: 'softmax-topk' } }],
    ['llama', { granularity: 4, top_k: 4, scale: 'megatron', expert_init: { method: 'split', by: 'norm' } }],
    ['llama', { tie: true, output: { dtype: 'bfloat16', shard_size: 4000, clone: false } }],
    ['mistral', { expert_init: { method: 'drop', ratio: 0.5, variant: 'official' }, config: { note: 'x' } }],
    ['qwen2', { shared_expert: { plan: 'a', width: 2 } }],
    ['qwen2', { shared_expert: 'c' }],
    ['qwen3', { layers: [1], expert_init: { method: 'svd', rank: 3, scale: 0.5 } }],
    ['phi3', { expert_init: { method: 'permute' } }],
    ['gemma', { expert_init: { method: 'noise', std: 0.1, ratio: 1 } }],
    ['olmo2', { router: { init: 'uniform', std: 0.1, order: 'topk-softmax' } }],
    ['granite', { router: { init: 'orthogonal', std: 0.1, order: 'topk-softmax' } }],
  ];
  it.each(cases)('%s %j holds where nothing was changed', (family, changes) => {
    const source = fakeCheckpoint(denseConfig(family));
    expect(() => {
      checkPlanHolds(saved(buildPlan(recipe(changes), [source])), [source]);
    }).not.toThrow();
  });

  it('several parents hold too', () => {
    const sources = [fakeCheckpoint(denseConfig('llama')), fakeCheckpoint(denseConfig('llama'))];
    const made = buildPlan(recipe({ parents: [{ path: '/b', experts: 4 }], rest: 'average' }), sources);
    expect(() => {
      checkPlanHolds(saved(made), sources);
    }).not.toThrow();
  });

  it('is refused where the source’s config is another now, with the field', () => {
    const made = saved(buildPlan(recipe(), [fakeCheckpoint(denseConfig('llama'))]));
    expect(() => {
      checkPlanHolds(made, [fakeCheckpoint(denseConfig('llama', { rms_norm_eps: 0.5 }))]);
    }).toThrow(/rms_norm_eps is .* in the plan and would now be 0\.5/);
  });

  it('is refused where its recipe was edited', () => {
    const source = fakeCheckpoint(denseConfig('llama'));
    const made = saved(buildPlan(recipe(), [source]));
    expect(() => {
      checkPlanHolds({ ...made, recipe: { ...made.recipe, experts: 9 } }, [source]);
    }).toThrow(/num_local_experts is 8 in the plan and would now be 9/);
  });
});
