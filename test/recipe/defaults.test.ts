import { describe, expect, it } from 'vitest';
import { loadRecipe } from '../../src/recipe/load.ts';

/** Issue text, "Values shown are the defaults". */
const ISSUE = `
base: ./SmolLM2-135M          # folder, .safetensors, index or .gguf
parents: []                   # BTX: [{path, experts: n}, …]; rest: base | average
target: auto                  # mixtral | qwen2_moe | qwen3_moe | flex_olmo | granitemoe
experts: 8                    # routed experts written
top_k: 2
granularity: 1                # experts per dense FFN
layers: all                   # every:2 | [0, 2, 5] | 0-15,24-31
expert_init: { method: copy } # copy | noise | permute | drop | split | svd, each with its own fields
router: { init: normal, std: 0.02, order: topk-softmax }   # normal | uniform | zero | orthogonal
scale: auto                   # none | exact | megatron
shared_expert: auto           # none | a | b | c, or {plan, width}
tie: auto                     # true | false
output: { dtype: same, shard_size: 5GB, clone: auto }      # same | float32 | bfloat16 | float16
config: {}                    # extra config.json fields
seed: 42
`;

describe('defaults', () => {
  it('are those of the contract: the text that shows them loads to the same recipe as no text at all', () => {
    const shown = loadRecipe({ text: ISSUE, cwd: '/w' });
    const none = loadRecipe({ cwd: '/w' });
    expect(shown.recipe).toEqual({ ...none.recipe, base: './SmolLM2-135M' });
    expect(shown.warnings).toEqual([]);
    expect(none.recipe).toEqual({
      base: null,
      parents: [],
      rest: 'base',
      target: 'auto',
      experts: 8,
      top_k: 2,
      granularity: 1,
      layers: 'all',
      expert_init: { method: 'copy' },
      router: { init: 'normal', std: 0.02, order: 'topk-softmax' },
      scale: 'auto',
      shared_expert: 'auto',
      tie: 'auto',
      output: { dtype: 'same', shard_size: 5_000_000_000, clone: 'auto' },
      config: {},
      seed: 42,
    });
  });

  it('every default has the origin "default", and every written value its line', () => {
    const { origin } = loadRecipe({ text: 'experts: 4\nrouter:\n  std: 0.01\n', file: 'a.moe.yaml', cwd: '/w' });
    expect(origin.get('experts')).toBe('a.moe.yaml line 1');
    expect(origin.get('router.std')).toBe('a.moe.yaml line 3');
    expect(origin.get('router.init')).toBe('default');
    expect(origin.get('seed')).toBe('default');
  });
});
